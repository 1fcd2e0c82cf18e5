// Events: what changed and what that was based on, newest first. What is new is told to a screen reader in one
// sentence, and not more often than every few seconds.

const EVENTS_KEPT = 200;
const EVENTS_SHOWN = 40;
const ANNOUNCED_EVERY_MS = 5000;
const LEVELS = { INFO: ["info", "info"], WARNING: ["warn", "warn"], ERROR: ["bad", "down"] };

class Events {
  constructor() {
    this.list = [];
    this.next = null;
    this.all = false;
    this.fresh = [];
    this.rows = h("ol", { class: "events" });
    this.empty = h("p", { class: "soft" }, "Nothing has happened yet.");
    this.more = h("button", { type: "button", hidden: true, onclick: () => { this.all = !this.all; this.draw(); } });
    byId("events").append(this.empty, this.rows, h("div", { class: "under" }, this.more));
  }

  /** What came since the last time; at first the last few, which the status has. */
  async fetch({ events: last }) {
    if (this.next === null) {
      this.list = last;
      this.next = last.at(-1)?.seq ?? 0;
    } else {
      const { events: fresh, next } = await request("GET", `/api/events${query({ after: this.next, limit: EVENTS_KEPT })}`);
      this.next = next;
      this.list = [...this.list, ...fresh].slice(-EVENTS_KEPT);
      if (fresh.length > 0) this.announce(fresh);
    }
    this.draw();
  }

  /** The program has begun anew, and its numbers with it. */
  restart() {
    this.list = [];
    this.next = null;
  }

  draw() {
    const newest = this.list.toReversed();
    keyed(this.rows, this.all ? newest : newest.slice(0, EVENTS_SHOWN), ({ seq }) => seq, eventRow, () => {});
    this.empty.hidden = newest.length > 0;
    this.more.hidden = newest.length <= EVENTS_SHOWN;
    say(this.more, this.all ? `Show the last ${EVENTS_SHOWN}` : `Show all ${newest.length}`);
  }

  announce(fresh) {
    this.fresh.push(...fresh);
    this.timer ??= setTimeout(() => {
      this.timer = null;
      const [last, others] = [this.fresh.at(-1), this.fresh.length - 1];
      say(byId("announcer"), `${last.message}${others > 0 ? `, and ${many(others, "more event")}` : ""}`);
      this.fresh = [];
    }, ANNOUNCED_EVERY_MS);
  }
}

function eventRow({ level, message, evidence, time, time_ms: at, kind }) {
  const [className, sign] = LEVELS[level] ?? LEVELS.INFO;
  // What the message says already is not said twice.
  const more = evidence && !message.includes(evidence) ? h("small", {}, h("bdi", {}, evidence)) : null;
  return h("li", { class: className },
    h("time", { datetime: time, title: time }, clockText(at)),
    h("span", { class: "level" }, icon(sign), level.toLowerCase()),
    h("span", { class: "what" }, h("bdi", {}, message), more),
    h("span", { class: "kind soft" }, kind));
}

byId("reload").addEventListener("click", async () => {
  const sure = await ask({
    title: "Reload the configuration?",
    text: ["The configuration file is read again, as by SIGHUP. Sessions go on."],
    action: "Reload",
  });
  if (sure !== null) await change("POST", "/api/reload", null, (event) => event?.message ?? "Reloaded");
});
