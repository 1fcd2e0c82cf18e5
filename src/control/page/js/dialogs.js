// Dialogs: the browser's own, which keep the focus inside, close on Esc and give the focus back.

/**
 * Asks something. `fields` are elements of a form; the answer is the form's data, or `null` if the person would
 * rather not.
 */
function ask({ title, text = [], fields = [], action, danger = false }) {
  return new Promise((resolve) => {
    const submit = h("button", { type: "submit", class: danger ? "danger" : "primary" }, action);
    const cancel = h("button", { type: "button", onclick: () => element.close() }, "Cancel");
    const form = h("form", {
      onsubmit: (event) => {
        event.preventDefault();
        resolve(new FormData(form));
        element.close();
      },
    }, ...fields, h("div", { class: "buttons" }, cancel, submit));
    const element = shown(title, [...text.map((line) => h("p", {}, line)), form]);
    element.addEventListener("close", () => resolve(null));
    // What destroys is not what Enter does first.
    (form.querySelector("input, select") ?? (danger ? cancel : submit)).focus();
  });
}

/** Opens a dialog, and takes it away again when it is closed. */
function shown(title, content, className = "") {
  const id = `dialog-${(shown.count = (shown.count ?? 0) + 1)}`;
  const close = h("button", {
    type: "button", class: "close", "aria-label": "Close", onclick: () => element.close(),
  }, "×");
  const element = h("dialog", { "aria-labelledby": id, class: className },
    h("div", { class: "title" }, h("h2", { id }, title), close), ...content);
  element.addEventListener("close", () => element.remove());
  // A click beside it is a click on the backdrop, which is the dialog itself.
  element.addEventListener("click", (event) => { if (event.target === element) element.close(); });
  document.body.append(element);
  element.showModal();
  return element;
}

function field(label, input, note = null) {
  return h("label", { class: "field" }, h("span", {}, label), input, note && h("small", {}, note));
}

/** Whether there is a token now. Who asks while it is being asked for waits for the same answer. */
function askForToken(reason) {
  askForToken.open ??= (async () => {
    const input = h("input", {
      type: "password", name: "token", required: true, autocomplete: "off", spellcheck: "false",
    });
    const text = ["It is the content of the file that evenkeel was started with (--admin-token-file). It is kept until this tab is closed."];
    const alert = reason ? [h("p", { role: "alert", class: "problem" }, icon("down"), reason)] : [];
    const given = await ask({
      title: "Token", text, fields: [...alert, field("Token", input)], action: "Use this token",
    });
    if (given !== null) token.keep(given.get("token").trim());
    showToken();
    return given !== null;
  })().finally(() => { askForToken.open = null; });
  return askForToken.open;
}

function showToken() {
  say(byId("token"), token.read() ? "Forget token" : "Enter token");
}

byId("token").addEventListener("click", async () => {
  if (token.read()) {
    token.forget();
    showToken();
  } else if (await askForToken("")) {
    poll.soon();
  }
});

async function addBackend(pool) {
  const text = (name, more) => h("input", { name, autocomplete: "off", spellcheck: "false", ...more });
  const number = (name, more) => h("input", { type: "number", name, ...more });
  const given = await ask({
    title: `Add a backend to ${pool.name}`,
    text: ["It gets connections at once, or as soon as its checks succeed."],
    fields: [
      field("Address", text("address", { required: true, placeholder: "host:port or unix:PATH" })),
      field("Name", text("name", {}), "The address, if you leave it out."),
      field("Weight", number("weight", { min: 0, max: 256, value: 1 })),
      field("Most connections", number("most", { min: 1 }), "Any number, if you leave it out."),
      h("label", { class: "check" }, h("input", { type: "checkbox", name: "backup" }), "Backup: only when no other is there"),
    ],
    action: "Add backend",
  });
  if (given === null) return;
  const most = given.get("most");
  const body = {
    address: given.get("address").trim(),
    name: given.get("name").trim() || null,
    weight: Number(given.get("weight")),
    backup: given.get("backup") !== null,
    max_connections: most === "" ? null : Number(most),
  };
  await change("POST", `/api/pools/${encodeURIComponent(pool.name)}/backends`, body,
    (added) => `${fullName(added)} was added`);
}

async function removeBackend(backend) {
  const sure = await ask({
    title: `Remove ${fullName(backend)}?`,
    text: [
      `It has ${many(backend.connections, "connection")} now. They stay; no new ones come.`,
      "To empty it first, drain it and wait until it has none.",
    ],
    action: "Remove backend", danger: true,
  });
  if (sure !== null) await change("DELETE", backendPath(backend), null, `${fullName(backend)} was removed`);
}

/** Why a backend is as it is, and all that is known of it. */
function explainBackend(backend) {
  return explain(`Backend ${fullName(backend)}`, "backend", { pool: backend.pool, name: backend.name },
    [facts(backend), distributions(backend)]);
}

/** Why a session went where it is. */
function explainSession(id, who) {
  return explain(`Session ${id} of ${who}`, "session", { id }, []);
}

async function explain(title, what, asked, more) {
  const answer = h("div", { class: "explained", "aria-live": "polite" }, h("p", { class: "soft" }, "Asking …"));
  const element = shown(title, [answer, ...more], "wide");
  try {
    const got = await withToken("GET", `/api/explain/${what}${query(asked)}`);
    if (got === null) element.close();
    else answer.replaceChildren(...explanation(got.value));
  } catch (refused) {
    answer.replaceChildren(h("p", { class: "problem" }, icon("down"), refused.message));
  }
}

function explanation({ answer, because, events }) {
  const lines = [h("p", { class: "sentence" }, answer)];
  if (because.length > 0) lines.push(h("ul", {}, ...because.map((reason) => h("li", {}, reason))));
  if (events.length > 0) {
    lines.push(h("h3", {}, "What led to it"),
      h("ol", { class: "events" }, ...events.map((event) => eventRow(event))));
  }
  return lines;
}

function facts(backend) {
  const { tcp, ended } = backend;
  const rows = [
    ["Address", backend.addresses.join(", ") || `${backend.host}:${backend.port}`],
    ["Health", backend.health + (backend.since_ms ? `, since ${clockText(backend.since_ms)}` : "")],
    ["Last change", backend.evidence],
    ["Ejected until", backend.ejected_until_ms && clockText(backend.ejected_until_ms)],
    ["Weight", `${backend.weight}${backend.warmth < 256 ? `, warming up: ${percentText(backend.warmth / 256)} of it` : ""}`],
    ["Connections", `${count(backend.connections)} now${backend.max_connections ? ` of at most ${count(backend.max_connections)}` : ""}; ${count(backend.connected)} made, ${count(backend.failed)} failed`],
    ["Ejections", count(backend.ejections)],
    ["To it", `${bytesText(bytes(backend.to_backend))}, spliced ${bytesText(backend.to_backend.spliced)}`],
    ["From it", `${bytesText(bytes(backend.to_clients))}, spliced ${bytesText(backend.to_clients.spliced)}`],
    ["Round trip", tcp.samples > 0 ? `${latencyText(tcp.backend_rtt_us)} to it, ${latencyText(tcp.client_rtt_us)} to its clients` : null],
    ["Sent again", tcp.samples > 0 ? `${many(tcp.backend_retransmits, "segment")} to it, ${count(tcp.client_retransmits)} to its clients` : null],
    ["Comes from", backend.origin === "runtime" ? "added while the program ran" : "the configuration"],
    ...Object.entries(ended).map(([reason, times]) => [`Ended ${reason}`, count(times)]),
    ["Says of itself", backend.details && JSON.stringify(backend.details)],
  ];
  const known = rows.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts" },
    ...known.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, h("bdi", {}, value)))));
}

function distributions(backend) {
  const { element, body } = table(`Latency of ${fullName(backend)} since the program began`,
    ["", "p50", "p90", "p99", "p99.9", "values"].map((text, at) => ({ text: text || "What", hidden: at === 0 })));
  const rows = [["Connect", backend.connect], ["First byte", backend.first_byte],
    ["Response", backend.response], ["Session", backend.session]];
  for (const [what, latency] of rows) {
    const values = [latency.p50_us, latency.p90_us, latency.p99_us, latency.p999_us];
    body.append(h("tr", { role: "row" }, rowHead(what),
      ...values.map((us) => cell("", null, latencyText(us))), cell("", null, count(latency.count))));
  }
  return h("section", {}, h("h3", {}, "Latency since the program began"),
    scroller(h("div", { class: "scroll" }, element), "Latencies"));
}
