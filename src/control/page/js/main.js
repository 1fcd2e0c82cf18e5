// The heartbeat: one answer a second, one drawing of it; slower while nobody looks.

const POLL_MS = 1000;
const POLL_HIDDEN_MS = 10_000;
const RETRY_MS = 2000;

const model = new Model();
const charts = new Charts(byId("charts"));
const pools = new Pools(byId("pools"));
const heats = new HeatMaps();
const events = new Events();
const sessions = new SessionList();

function draw() {
  const { status } = model;
  drawHeader(status);
  drawBanners(status.banners);
  drawBottleneck(status.bottleneck);
  drawFigures(model);
  charts.draw(model);
  pools.draw(model);
  heats.draw(model);
  drawShards(model);
  drawListeners(model);
  sessions.draw(model);
}

const contact = {
  lostAt: null,

  kept() {
    this.lostAt = null;
    byId("lost").replaceChildren();
    set(document.documentElement, "data-contact", "kept");
    say(byId("contact-text"), "live");
  },

  /** Said once, loudly; then only what is shown goes on counting. */
  lost(reason, cure = null) {
    set(document.documentElement, "data-contact", "lost");
    say(byId("contact-text"), "no contact");
    if (this.lostAt === null) {
      this.lostAt = Date.now();
      const since = model.status ? ` What is shown is of ${clockText(model.status.time_ms)}.` : "";
      byId("lost").replaceChildren(h("div", { class: "banner bad", role: "alert" }, icon("down"),
        h("p", {}, h("strong", {}, "No contact"), " ", h("span", {}, `${reason}.${since} `), cure ?? "Trying again every two seconds.")));
    }
  },
};

const poll = {
  timer: null,
  busy: false,
  again: false,

  /** At once, also if an answer is just being waited for. */
  soon() {
    clearTimeout(this.timer);
    if (this.busy) this.again = true;
    else this.turn();
  },

  async turn() {
    this.busy = true;
    let rest = document.hidden ? POLL_HIDDEN_MS : POLL_MS;
    try {
      const pid = model.status?.pid;
      model.take(await request("GET", "/api/status"));
      if (pid !== undefined && pid !== model.status.pid) events.restart();
      contact.kept();
      draw();
      await events.fetch(model.status);
    } catch (refused) {
      rest = await this.failed(refused);
    }
    this.busy = false;
    if (this.again) rest = 0;
    this.again = false;
    if (rest !== null) this.timer = setTimeout(() => this.turn(), rest);
  },

  /** How long to rest then; `null` is until somebody enters a token. */
  async failed(refused) {
    // A mistake of this page: the console has it, and the next answer may be better.
    if (!(refused instanceof Refused)) {
      reportError(refused);
      return RETRY_MS;
    }
    if (refused.status !== 401) {
      contact.lost(refused.message);
      return RETRY_MS;
    }
    contact.lost("To see this a token is needed", h("button", { type: "button", onclick: () => byId("token").click() }, "Enter token"));
    return (await askAfterRefusal()) ? 0 : null;
  },
};

const THEMES = ["system", "light", "dark"];
const theme = {
  now: localStorage.getItem("evenkeel-theme") ?? "system",

  show() {
    set(document.documentElement, "data-theme", this.now === "system" ? null : this.now);
    say(byId("theme"), `Theme: ${this.now}`);
    heats.draw(model);
  },

  next() {
    this.now = THEMES[(THEMES.indexOf(this.now) + 1) % THEMES.length];
    localStorage.setItem("evenkeel-theme", this.now);
    this.show();
  },
};

byId("theme").addEventListener("click", () => theme.next());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme.show());
document.addEventListener("visibilitychange", () => { if (!document.hidden) poll.soon(); });
theme.show();
showToken();
poll.turn();
