// The admin API. Reading never needs more than GET; what changes something carries the token, which lives as
// long as the tab and is in no URL.

const TOKEN_KEY = "evenkeel-token";
const ANSWER_WITHIN_MS = 8000;

const token = {
  read: () => sessionStorage.getItem(TOKEN_KEY),
  keep: (value) => sessionStorage.setItem(TOKEN_KEY, value),
  forget: () => sessionStorage.removeItem(TOKEN_KEY),
};

/** An answer that is not 2xx; `status` 0 is no answer at all. */
class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** One request; what it answers as a value, `null` for an empty answer. */
async function request(method, path, body = null) {
  const headers = { Accept: "application/json" };
  if (token.read()) headers.Authorization = `Bearer ${token.read()}`;
  if (body !== null) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, {
    method, headers, cache: "no-store", credentials: "omit", redirect: "error",
    body: body === null ? null : JSON.stringify(body),
    signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
  }).catch((error) => { throw new Refused(0, noAnswer(error)); });
  const text = await answer.text().catch((error) => { throw new Refused(0, noAnswer(error)); });
  const value = parsed(text);
  if (!answer.ok) throw new Refused(answer.status, value?.error ?? `${answer.status} ${answer.statusText}`);
  return value;
}

function noAnswer(error) {
  return error.name === "TimeoutError" ? "This evenkeel did not answer in time" : "This evenkeel cannot be reached";
}

function parsed(text) {
  try {
    return text === "" ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

/** The same, and whoever is refused for want of a token is asked for one; `null` if they would rather not. */
async function withToken(method, path, body = null) {
  for (;;) {
    try {
      return { value: await request(method, path, body) };
    } catch (refused) {
      if (refused.status !== 401) throw refused;
      if (!(await askAfterRefusal())) return null;
    }
  }
}

/** A token that was refused is not kept; whether there is another. */
function askAfterRefusal() {
  const reason = token.read() === null ? "" : "The server does not accept this token.";
  token.forget();
  showToken();
  return askForToken(reason);
}

/** Changes something, and tells how that went; whether it was done. */
async function change(method, path, body, done) {
  try {
    const answer = await withToken(method, path, body);
    if (answer === null) return null;
    tell(typeof done === "function" ? done(answer.value) : done);
    poll.soon();
    return answer;
  } catch (refused) {
    complain(refused.message);
    return null;
  }
}

function backendPath({ pool, name }) {
  return `/api/pools/${encodeURIComponent(pool)}/backends/${encodeURIComponent(name)}`;
}

function query(fields) {
  const given = Object.entries(fields).filter(([, value]) => value !== "" && value !== null);
  return given.length === 0 ? "" : `?${new URLSearchParams(given)}`;
}

/** What was done goes away by itself; what failed stays until it is read. */
function tell(text) {
  toast(byId("done"), text, "done", 5000);
}

function complain(text) {
  toast(byId("failed"), text, "failed", 15_000);
}

function toast(host, text, className, staysMs) {
  const leave = () => element.remove();
  const element = h("div", { class: `toast ${className}` },
    icon(className === "done" ? "up" : "down"), h("span", {}, text),
    h("button", { type: "button", "aria-label": "Dismiss this message", onclick: leave }, "×"));
  host.append(element);
  // Dismissed by hand where the pointer or the focus rests on it.
  const later = () => (element.matches(":hover, :focus-within") ? setTimeout(later, 1000) : leave());
  setTimeout(later, staysMs);
  while (host.childElementCount > 4) host.firstElementChild.remove();
}
