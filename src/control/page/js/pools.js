// Pools, each with its backends: what they do, how they are, and what can be done with them.

const STATES = {
  up: ["up", "gets connections"],
  backup: ["backup", "waits until no other is there"],
  full: ["full", "has as many connections as it may have"],
  drain: ["drain", "gets no new clients"],
  ejected: ["ejected", "connects to it failed"],
  down: ["down", "its checks fail"],
  maint: ["maint", "gets nothing, is not checked"],
};
/** What a person looks for first. */
const TROUBLE = ["down", "ejected", "full", "maint", "drain", "backup", "up"];
const ROWS = 12;
const FEW = 16;

const HEADS = [
  { text: "Backend", key: "name" },
  { text: "State", key: "state" },
  { text: "Connections", key: "connections" },
  { text: "New/s", key: "connected" },
  { text: "To clients", key: "traffic" },
  { text: "Connect", key: "connect", note: "p50, p99" },
  { text: "First byte", key: "first_byte", note: "p50, p99" },
  { text: "Response", key: "response", note: "p50, p99" },
  { text: "Weight", key: "weight" },
  { text: "Actions" },
];

class Pools {
  constructor(host) {
    this.host = host;
  }

  draw(model) {
    this.model = model;
    keyed(this.host, model.status.pools, ({ name }) => name,
      (pool) => new PoolCard(pool).element,
      (element, pool) => element.card.draw(pool, model));
  }
}

class PoolCard {
  constructor(pool) {
    this.sort = null;
    this.all = false;
    this.search = h("input", {
      type: "search", placeholder: "Filter", "aria-label": `Filter the backends of ${pool.name} by name or state`,
      autocomplete: "off", spellcheck: "false", oninput: () => this.redraw(),
    });
    const add = h("button", {
      type: "button", "aria-label": `Add backend to ${pool.name}`, onclick: () => addBackend(this.pool),
    }, "Add backend");
    this.counts = h("span", { class: "counts" });
    this.line = h("p", { class: "soft" });
    this.list = this.makeTable(pool);
    this.none = h("p", { class: "soft", role: "status" });
    this.more = h("button", { type: "button", onclick: () => { this.all = !this.all; this.redraw(); } });
    this.element = h("section", { class: "card pool", "aria-label": `Pool ${pool.name}` },
      h("div", { class: "title" }, h("h2", {}, h("span", { class: "soft" }, "Pool "), nameOf(pool.name)),
        this.counts, h("div", { class: "buttons" }, this.search, add)),
      this.line, this.list.element, this.none, h("div", { class: "under" }, this.more));
    this.element.card = this;
  }

  makeTable(pool) {
    const list = table(`Backends of pool ${pool.name}. The latencies are of the last minute.`,
      HEADS.map(({ text }) => ({ text, hidden: true })), "backends");
    this.sorters = new Map();
    list.element.tHead.rows[0].childNodes.forEach((head, at) => {
      const { text, key, note } = HEADS[at];
      if (!key) return;
      const button = h("button", { type: "button", class: "sort", onclick: () => this.sortBy(key) },
        text, note ? h("small", {}, note) : null);
      head.replaceChildren(button);
      this.sorters.set(key, head);
    });
    return list;
  }

  /** Down, up, and as it was. */
  sortBy(key) {
    const [was, down] = this.sort ?? [];
    if (was !== key) this.sort = [key, key !== "name"];
    else if (down === (key !== "name")) this.sort = [key, !down];
    else this.sort = null;
    this.redraw();
  }

  redraw() {
    this.draw(this.pool, this.model);
  }

  draw(pool, model) {
    Object.assign(this, { pool, model });
    const backends = model.status.backends.filter((backend) => backend.pool === pool.name);
    this.search.hidden = backends.length <= FEW;
    say(this.line, describe(pool, backends, model));
    this.drawCounts(backends);
    this.drawHeads();
    const found = this.sorted(this.filtered(backends));
    this.list.element.hidden = found.length === 0;
    say(this.none, found.length < backends.length && found.length === 0
      ? `None of ${many(backends.length, "backend")} matches “${this.search.value.trim()}”.` : "");
    const short = found.length > FEW && !this.all;
    this.more.hidden = found.length <= FEW;
    say(this.more, this.all ? `Show ${ROWS} of ${found.length}` : `Show all ${found.length}`);
    keyed(this.list.body, short ? found.slice(0, ROWS) : found, keyOf,
      (backend) => new BackendRow(backend, this).element,
      (element, backend) => element.row.draw(backend, model));
  }

  drawCounts(backends) {
    const many = Object.keys(STATES).map((state) =>
      [state, backends.filter((one) => one.state === state).length]);
    keyed(this.counts, many.filter(([, number]) => number > 0), ([state]) => state,
      ([state]) => h("span", { class: `state ${state}` }, icon(state), h("span", {})),
      (element, [state, number]) => say(element.lastChild, `${number} ${state}`));
  }

  drawHeads() {
    const [key, down] = this.sort ?? [];
    for (const [name, head] of this.sorters) {
      set(head, "aria-sort", name === key ? (down ? "descending" : "ascending") : null);
    }
  }

  filtered(backends) {
    const words = this.search.hidden ? "" : this.search.value.trim().toLowerCase();
    return backends.filter((one) => `${one.name} ${one.state} ${one.addresses.join(" ")}`.toLowerCase().includes(words));
  }

  /** As they are configured; where they are too many to be seen at once, trouble comes first. */
  sorted(backends) {
    const rank = ({ state }) => TROUBLE.indexOf(state);
    if (!this.sort) return backends.length > FEW ? backends.toSorted((a, b) => rank(a) - rank(b)) : backends;
    const [key, down] = this.sort;
    const p99 = (kind) => (one) => this.model.track(one).percentile(kind, 0.99, this.model.status.bounds_us) ?? -1;
    const of = {
      name: (one) => one.name, state: rank, connections: (one) => one.connections, weight: (one) => one.weight,
      connected: (one) => this.model.track(one).rates?.connected ?? 0,
      traffic: (one) => this.model.track(one).rates?.toClients ?? 0,
      connect: p99("connect"), first_byte: p99("first_byte"), response: p99("response"),
    }[key];
    const values = new Map(backends.map((one) => [one, of(one)]));
    const compare = (a, b) => (key === "name"
      ? values.get(a).localeCompare(values.get(b), undefined, { numeric: true })
      : values.get(a) - values.get(b));
    return backends.toSorted((a, b) => (down ? compare(b, a) : compare(a, b)));
  }
}

function describe(pool, backends, model) {
  const rates = backends.map((one) => model.track(one).rates).filter((rates) => rates !== null);
  const parts = [
    pool.algorithm === "original-dst" ? "to where each client wanted (original-dst)" : pool.algorithm,
    pool.sticky_key === "off" ? null : `sticky by ${pool.sticky_key}, ${many(pool.sticky_clients, "client")} remembered`,
    many(pool.connections, "connection"),
    rates.length > 0 ? `${rateText(sum(rates, (one) => one.connected))} new` : null,
    rates.length > 0 ? `${byteRateText(sum(rates, (one) => one.toClients))} to clients` : null,
    pool.waiting > 0 ? `${many(pool.waiting, "client")} waiting` : null,
  ];
  return parts.filter((part) => part !== null).join(" · ");
}

class BackendRow {
  constructor(backend, card) {
    this.card = card;
    const full = fullName(backend);
    this.address = h("small", {}, h("bdi", {}));
    this.evidence = h("small", { class: "evidence" }, h("bdi", {}));
    this.state = h("span", {});
    this.sign = icon("up");
    this.flag = h("span", { class: "state" }, this.sign, this.state);
    this.since = h("small", {});
    this.number = h("b", {});
    this.bar = h("i", {});
    this.cells = ["New/s", "To clients", "Connect", "First byte", "Response"].map((label) =>
      cell("", label, h("span", {}), h("small", { class: label === "New/s" ? "fails" : "" })));
    this.weight = new Weight(backend);
    this.choices = ["ready", "drain", "maint"].map((state) => this.choice(state, full));
    const act = (text, label, onclick, className = "") =>
      h("button", { type: "button", "aria-label": label, class: className, onclick }, text);
    this.element = h("tr", { role: "row" },
      rowHead(nameOf(backend.name), this.address, this.evidence),
      cell("", "State", this.flag, this.since),
      cell("", "Connections", this.number, h("span", { class: "bar", "aria-hidden": "true" }, this.bar)),
      ...this.cells,
      cell("", "Weight", this.weight.element),
      cell("actions", null,
        h("div", { class: "choice", role: "group", "aria-label": `What ${full} should do` }, ...this.choices),
        act("Explain", `Explain ${full}`, () => explainBackend(this.backend)),
        act("×", `Remove ${full}`, () => removeBackend(this.backend), "quiet")));
    this.element.row = this;
  }

  choice(state, full) {
    const [text, label] = {
      ready: ["Ready", `Ready: ${full} gets connections`],
      drain: ["Drain", `Drain ${full}`],
      maint: ["Maint", `Maint: nothing goes to ${full}`],
    }[state];
    return h("button", { type: "button", "aria-label": label, "data-state": state, onclick: () => this.want(state) }, text);
  }

  draw(backend, model) {
    this.backend = backend;
    const [word, meaning] = STATES[backend.state] ?? [backend.state, ""];
    set(this.element, "class", `is-${backend.state}`);
    set(this.flag, "class", `state ${backend.state}`);
    set(this.flag, "title", meaning);
    changeIcon(this.sign, backend.state);
    say(this.state, word);
    say(this.since, backend.since_ms ? `for ${spanText((model.status.time_ms - backend.since_ms) / 1000)}` : "");
    sayInPieces(this.address.firstChild, addressOf(backend));
    const evidence = ["down", "ejected"].includes(backend.state) ? backend.evidence ?? "" : "";
    say(this.evidence.firstChild, evidence);
    set(this.evidence, "title", evidence || null);
    this.drawNumbers(backend, model);
    this.weight.draw(backend);
    for (const button of this.choices) set(button, "aria-pressed", button.dataset.state === backend.admin);
  }

  drawNumbers(backend, model) {
    const track = model.track(backend);
    const most = Math.max(1, ...model.status.backends.filter(({ pool }) => pool === backend.pool)
      .map((one) => one.connections));
    say(this.number, count(backend.connections) + (backend.max_connections ? ` / ${count(backend.max_connections)}` : ""));
    this.bar.style.width = `${(100 * backend.connections) / (backend.max_connections ?? most)}%`;
    const latency = (kind) => {
      const [p50, p99] = [0.5, 0.99].map((part) => track.percentile(kind, part, model.status.bounds_us));
      return [latencyText(p50), p99 === null ? "" : `p99 ${latencyText(p99)}`];
    };
    const { connected = null, toClients = null, failed = 0 } = track.rates ?? {};
    const texts = [
      [connected === null ? NONE : digits3(connected), failed > 0 ? `${digits3(failed)} fail` : ""],
      [byteRateText(toClients), ""], latency("connect"), latency("first_byte"), latency("response"),
    ];
    this.cells.forEach((one, at) => {
      texts[at].forEach((text, line) => say(one.children[line], text));
      set(one, "class", at > 1 && texts[at][0] === NONE ? "none" : null);
    });
  }

  /** What can be undone by the button beside it is done at once; what stops the pool is asked about. */
  async want(state) {
    const { backend } = this;
    if (backend.admin === state) return;
    const others = this.card.model.status.backends.some((one) =>
      one.pool === backend.pool && one.active && keyOf(one) !== keyOf(backend));
    if (state !== "ready" && backend.active && !others) {
      const sure = await ask({
        title: `${state === "drain" ? "Drain" : "Maintenance of"} the last backend of ${backend.pool}?`,
        text: [`No other backend of this pool gets connections. Without ${backend.name} new clients wait until one is back.`],
        action: state === "drain" ? "Drain it" : "Take it out", danger: true,
      });
      if (sure === null) return;
    }
    const done = { ready: "gets connections", drain: "drains", maint: "is in maintenance" }[state];
    await change("PATCH", backendPath(backend), { state }, `${fullName(backend)} ${done}`);
  }
}

/** Where it is, unless its name says that already. */
function addressOf(backend) {
  const host = backend.host.includes(":") ? `[${backend.host}]` : backend.host;
  const written = backend.port === 0 ? backend.host : `${host}:${backend.port}`;
  return backend.name === written || backend.name === `unix:${written}` ? "" : written;
}

/**
 * A number that is sent by Enter or its button. What is being typed is not overwritten meanwhile; who leaves it
 * unsent sees again what is in force.
 */
class Weight {
  constructor(backend) {
    this.input = h("input", {
      type: "number", min: 0, max: 256, required: true, "aria-label": `Weight of ${fullName(backend)}`,
      oninput: () => this.mark(),
      onkeydown: (event) => { if (event.key === "Escape") this.reset(); },
    });
    this.button = h("button", {
      type: "submit", hidden: true, "aria-label": `Set the weight of ${fullName(backend)}`,
      // Not every browser gives the focus to a button that is clicked; it stays where it is typed.
      onmousedown: (event) => event.preventDefault(),
    }, "Set");
    this.element = h("form", {
      class: "weight",
      // Once the focus is where it goes to. It stays here when only the window is left.
      onfocusout: () => setTimeout(() => this.draw(this.backend)),
      onsubmit: (event) => { event.preventDefault(); this.send(); },
    }, this.input, this.button);
  }

  draw(backend) {
    this.backend = backend;
    if (!this.element.contains(document.activeElement)) this.reset();
  }

  mark() {
    this.button.hidden = this.input.value === String(this.backend.weight);
  }

  reset() {
    this.input.value = String(this.backend.weight);
    this.button.hidden = true;
  }

  async send() {
    const weight = Number(this.input.value);
    const answer = await change("PATCH", backendPath(this.backend), { weight },
      `${fullName(this.backend)} has weight ${weight}`);
    if (answer === null) return;
    this.draw(answer.value ?? { ...this.backend, weight });
    this.mark();
  }
}
