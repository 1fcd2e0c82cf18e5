// Sessions, on demand: shards are asked for them only when somebody wants to see them.

const FILTERS = [
  ["client", "Client", "text"], ["backend", "Backend", "select"], ["pool", "Pool", "select"],
  ["listener", "Listener", "select"], ["state", "State", "select"],
  ["min_age", "At least this old", "text"], ["min_idle", "At least this idle", "text"],
];
const SESSION_STATES = ["greeting", "waiting", "connecting", "relaying", "moving", "turned-away", "closing"];
const SESSIONS_SHOWN = 100;

class SessionList {
  constructor() {
    this.host = byId("sessions");
    this.toggle = byId("sessions-toggle");
    this.toggle.addEventListener("click", () => this.open(this.host.hidden));
    this.inputs = new Map(FILTERS.map(([name, , type]) => [name, type === "select"
      ? h("select", { name })
      : h("input", { name, autocomplete: "off", spellcheck: "false", placeholder: name === "client" ? "10.0.0.1" : "30s" })]));
    this.kill = h("button", { type: "button", class: "danger", onclick: () => this.killAll() }, "Kill all that match");
    const form = h("form", {
      class: "filters",
      onsubmit: (event) => { event.preventDefault(); this.load(); },
    }, ...FILTERS.map(([name, label]) => field(label, this.inputs.get(name))),
      h("div", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, "Find"), this.kill));
    this.note = h("p", { class: "soft", role: "status" });
    this.list = table("Sessions that match", ["Client", "Backend", "State", "Age", "Idle", "To backend", "To client",
      "Why there", "Listener", "Session", "Actions"].map((text) => ({ text })), "sessions");
    this.host.append(form, this.note, scroller(h("div", { class: "scroll" }, this.list.element), "List of sessions"));
  }

  async open(opened) {
    this.host.hidden = !opened;
    set(this.toggle, "aria-expanded", String(opened));
    say(this.toggle, opened ? "Hide sessions" : "Show sessions");
    if (opened) await this.load();
  }

  /** What can be chosen is what there is. */
  draw({ status }) {
    if (this.host.hidden) return;
    const names = {
      pool: status.pools.map(({ name }) => name), listener: status.listeners.map(({ name }) => name),
      backend: [...new Set(status.backends.map(({ name }) => name))], state: SESSION_STATES,
    };
    for (const [name, values] of Object.entries(names)) {
      const select = this.inputs.get(name);
      const key = values.join("\n");
      if (select.choices === key || select === document.activeElement) continue;
      const { value } = select;
      select.replaceChildren(h("option", { value: "" }, "any"), ...values.map((one) => h("option", { value: one }, one)));
      select.value = values.includes(value) ? value : "";
      select.choices = key;
    }
  }

  filter() {
    return Object.fromEntries([...this.inputs].map(([name, input]) => [name, input.value.trim()]));
  }

  async load() {
    this.draw(model);
    try {
      const got = await withToken("GET", `/api/sessions${query({ ...this.filter(), limit: SESSIONS_SHOWN })}`);
      if (got !== null) this.show(got.value);
    } catch (refused) {
      this.list.body.replaceChildren();
      this.list.body.known = null;
      say(this.note, refused.message);
    }
  }

  show({ sessions, matched, total, incomplete }) {
    this.matched = matched;
    const shown = sessions.length < matched ? `, of which the ${count(sessions.length)} oldest are shown` : "";
    const missing = incomplete ? ". A shard did not answer in time: some are missing" : "";
    say(this.note, `${count(matched)} of ${many(total, "session")} ${matched === 1 ? "matches" : "match"}${shown}${missing}. As of ${clockText(Date.now())}.`);
    keyed(this.list.body, sessions, ({ id }) => id, (session) => this.row(session), (row, session) => {
      const texts = [session.backend ? `${session.pool}/${session.backend}` : session.pool, session.state,
        spanText(session.age_ms / 1000), spanText(session.idle_ms / 1000), bytesText(bytes(session.to_backend)),
        bytesText(bytes(session.to_client)), session.by ?? NONE];
      texts.forEach((text, at) => say(row.cells[at + 1], text));
    });
  }

  row({ id, client, listener }) {
    const who = client ?? "a client without an address";
    return h("tr", { role: "row" }, rowHead(h("bdi", {}, client ?? NONE)), ...Array.from({ length: 7 }, () => cell()),
      cell("", null, h("bdi", {}, listener)), cell("soft", null, id),
      cell("acts", null,
        h("button", { type: "button", "aria-label": `Explain session ${id} of ${who}`, onclick: () => explainSession(id, who) }, "Explain"),
        h("button", {
          type: "button", class: "danger", "aria-label": `Kill session ${id} of ${who}`, onclick: () => this.killOne(id, who),
        }, "Kill")));
  }

  async killOne(id, who) {
    const sure = await ask({
      title: "Kill this session?", text: [`Session ${id} of ${who} is cut: both sides get a reset.`],
      action: "Kill it", danger: true,
    });
    if (sure === null) return;
    await change("DELETE", `/api/sessions/${encodeURIComponent(id)}`, null, `Session ${id} was cut`);
    await this.load();
  }

  async killAll() {
    const filter = this.filter();
    if (query(filter) === "") {
      complain("Choose at least one thing that sessions must match; a filter that matches all would cut everybody.");
      return;
    }
    await this.load();
    const sure = await ask({
      title: `Kill ${many(this.matched ?? 0, "session")}?`,
      text: ["Every session that matches the filter is cut: both sides get a reset."], action: "Kill them", danger: true,
    });
    if (sure === null) return;
    await change("DELETE", `/api/sessions${query(filter)}`, null, ({ killed }) => `${many(killed, "session")} cut`);
    await this.load();
  }
}
