// What is seen at a glance: header, banners, the bottleneck, figures, shards, listeners, ends and counters.

const BANNERS = {
  "no-backend": ["bad", "down", "No backend"],
  "fail-open": ["bad", "warn", "Fail open"],
  "fallback-engine": ["warn", "warn", "Fall-back engine"],
  drift: ["warn", "warn", "Drift"],
  stopping: ["warn", "drain", "Stopping"],
  "log-dropped": ["warn", "warn", "Log lines dropped"],
};

function drawHeader({ version, engine, uptime_seconds: uptime, state, pid }) {
  say(byId("host"), location.host);
  const pill = byId("state");
  say(pill, state);
  set(pill, "class", `pill ${state}`);
  const facts = [["Version", version], ["Engine", engine], ["Up for", spanText(uptime)], ["Process", String(pid)]];
  keyed(byId("about"), facts, ([term]) => term,
    ([term]) => h("div", {}, h("dt", {}, term), h("dd", {})),
    (element, [, value]) => say(element.lastChild, value));
  document.title = `${state === "running" ? "" : `${state}: `}evenkeel on ${location.host}`;
}

function drawBanners(banners) {
  const subjects = banners.map(subjectOf);
  const numbered = banners.map((banner, at) => {
    const twins = subjects.slice(0, at).filter((subject) => subject === subjects[at]);
    return { ...banner, key: `${subjects[at]}\n${twins.length}` };
  });
  keyed(byId("banners"), numbered, ({ key }) => key, ({ kind, text }) => {
    const [level, sign, title] = BANNERS[kind] ?? ["warn", "warn", kind];
    // It is read aloud when it comes; that it counts on is not.
    return h("div", { class: `banner ${level}`, role: level === "bad" ? "alert" : "status" },
      icon(sign), h("p", {}, h("strong", {}, title), " ", h("span", { "aria-live": "off" }, text)));
  }, (element, { text }) => say(element.querySelector("span"), text));
}

/** What a banner is about: its words. Where only a number changes, it is the same trouble. */
function subjectOf({ kind, text }) {
  return `${kind} ${text.replace(/(?<=^|\s)\d+(?=[\s.,;:]|$)/g, "0")}`;
}

function drawBottleneck({ who, backend, sentence, evidence }) {
  say(byId("bottleneck-sentence"), sentence || "Who holds the traffic up is not known yet.");
  say(byId("bottleneck-evidence"), evidence);
  const held = who !== "network" ? who : backend === null ? "client-network" : "backend-network";
  for (const part of byId("chain").children) set(part, "class", part.dataset.who === held ? "held" : "");
}

function drawFigures(model) {
  const { status, rates } = model;
  const latency = (kind, part) => latencyParts(model.percentile(kind, part));
  const rate = (of) => (rates === null ? null : rates[of]);
  const half = (kind) => `p50 ${joined(latency(kind, 0.5))}`;
  const figures = [
    ["Sessions", [count(status.sessions), ""], `of ${count(status.sessions_max)} that fit`],
    ["New sessions", rateParts(rate("accepted")), `${rateText(rate("failed"))} failed connects`],
    ["To clients", byteRateParts(rate("toClients")), "answers"],
    ["To backends", byteRateParts(rate("toBackend")), "requests"],
    ["Spliced", rate("spliced") === null ? [NONE, ""] : [digits3(rate("spliced") * 100), "%"], "of bytes, not copied"],
    ["First byte p99", latency("first_byte", 0.99), half("first_byte")],
    ["Response p99", latency("response", 0.99), half("response")],
    ["Backends", [`${status.active_backends}`, ` of ${status.total_backends}`], "get new connections"],
  ];
  keyed(byId("figures"), figures, ([term]) => term,
    ([term]) => h("div", {}, h("dt", {}, term), h("dd", {}, h("b", {}), h("span", { class: "unit" }), h("small", {}))),
    (element, [, [value, unit], note]) => {
      const [number, suffix, small] = element.lastChild.children;
      say(number, value);
      say(suffix, unit);
      say(small, note);
    });
}

/** A table that is made once and whose rows are kept. */
function tableIn(id, caption, heads) {
  const host = byId(id);
  if (!host.rows) {
    const made = table(caption, heads.map((text) => ({ text })));
    host.append(made.element);
    host.rows = made.body;
    scroller(host, `${caption}, as a list`);
  }
  return host.rows;
}

/** Rows of texts, of which the first is the head of the row. */
function drawRows(body, rows) {
  keyed(body, rows, ([key]) => key,
    ([key, ...texts]) => h("tr", { role: "row" }, rowHead(nameOf(key)), ...texts.map(() => cell())),
    (element, [, ...texts]) => texts.forEach((text, at) => say(element.cells[at + 1], text)));
}

function drawShards({ status, shardRates }) {
  const body = tableIn("shards", "Shards", ["Shard", "Sessions", "Processor", "New/s", "Moved/s", "CPU"]);
  const most = Math.max(1, ...status.shards.map((shard) => shard.sessions));
  keyed(body, status.shards, ({ index }) => index,
    ({ index }) => h("tr", { role: "row" }, rowHead(String(index)),
      ...[true, true, false, false, false].map((bar) =>
        cell(bar ? "barred" : "", null, h("b", {}), ...(bar ? [h("span", { class: "bar", "aria-hidden": "true" }, h("i", {}))] : [])))),
    (element, shard) => {
      const rates = shardRates[status.shards.indexOf(shard)] ?? null;
      const texts = [
        count(shard.sessions) + (shard.alive ? "" : " (does not answer)"),
        rates ? percentText(Math.min(1, rates.cpu)) : NONE,
        rates ? digits3(rates.accepted) : NONE, rates ? digits3(rates.moved) : NONE, String(shard.cpu),
      ];
      texts.forEach((text, at) => say(element.cells[at + 1].firstChild, text));
      const parts = [shard.sessions / most, Math.min(1, rates?.cpu ?? 0)];
      parts.forEach((part, at) => { element.cells[at + 1].querySelector("i").style.width = `${part * 100}%`; });
      set(element, "class", shard.alive ? "" : "is-down");
    });
  say(byId("shards-note"), balance(status.shards));
}

function balance(shards) {
  const dead = shards.filter((shard) => !shard.alive).length;
  const mean = sum(shards, (shard) => shard.sessions) / Math.max(1, shards.length);
  const spread = Math.max(0, ...shards.map((shard) => Math.abs(shard.sessions - mean)));
  const even = mean < 1
    ? `${many(shards.length, "shard")}, hardly a session.`
    : `${many(shards.length, "shard")}, on average ${digits3(mean)} sessions; the farthest from that is ${digits3(spread)} off.`;
  return dead > 0 ? `${even} ${many(dead, "shard does", "shards do")} not answer.` : even;
}

function drawListeners({ status, listenerRates }) {
  const body = tableIn("listeners", "Listeners", ["Listener", "Sessions", "New/s", "Waiting", "Denied"]);
  keyed(body, status.listeners, ({ name, address, pool }) => `${name}\n${address}\n${pool}`, listenerRow,
    (element, one) => {
      const texts = [
        count(one.sessions) + (one.max_sessions ? ` / ${count(one.max_sessions)}` : ""),
        listenerRates.has(one.address) ? digits3(listenerRates.get(one.address)) : NONE,
        count(one.waiting), count(one.denied),
      ];
      texts.forEach((text, at) => say(element.cells[at + 1], text));
    });
  say(byId("listeners-note"), `${many(sum(status.listeners, (one) => one.waiting), "client")} waiting for room`);
  const pairs = (totals) => Object.entries(totals).toSorted(([, a], [, b]) => b - a)
    .map(([key, total]) => [key, count(total)]);
  drawRows(tableIn("ended", "How sessions ended, since the program began", ["Reason", "Sessions"]), pairs(status.ended));
  drawRows(tableIn("counters", "Counters, since the program began", ["Counter", "Times"]), pairs(status.counters));
}

/** Whom it lets in where, and to which pool they go. */
function listenerRow({ name, address, pool }) {
  const where = address === name ? [] : [h("bdi", {}, ...breakable(address)), " "];
  return h("tr", { role: "row" },
    rowHead(nameOf(name), h("small", {}, ...where, "to ", nameOf(pool))), ...Array.from({ length: 4 }, () => cell()));
}
