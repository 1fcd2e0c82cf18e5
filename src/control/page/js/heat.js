// Heat maps: time to the right, latency upwards, and the more values a cell has, the stronger its colour.
// All of them have the same scales, so that two backends can be held against one another.

const SLOT_MS = 2000;
const SLOTS = KEPT_MS / SLOT_MS;
const ROWS_A_DECADE = 8;
const SHADES = 10;
const HEATS = 12;

class HeatMaps {
  constructor() {
    this.kind = "response";
    this.all = false;
    this.chosen = false;
    this.host = byId("heats");
    const kinds = [["first_byte", "First byte"], ["response", "Response"], ["connect", "Connect"]];
    this.buttons = kinds.map(([kind, text]) => h("button", {
      type: "button", "aria-pressed": kind === this.kind, onclick: () => this.choose(kind),
    }, text));
    byId("heat-kinds").append(...this.buttons);
    this.kinds = kinds.map(([kind]) => kind);
    this.more = h("button", { type: "button", hidden: true, onclick: () => { this.all = !this.all; this.draw(this.model); } });
    byId("heat-under").append(this.more, this.legend());
  }

  choose(kind) {
    this.kind = kind;
    this.chosen = true;
    this.draw(this.model);
  }

  /** The shades are elements of the page, so that the theme decides about them; the canvas asks them. */
  legend() {
    this.shades = Array.from({ length: SHADES }, (_, at) => h("i", { class: `shade h${at}` }));
    this.least = h("span", {}, "1");
    this.most = h("span", {});
    return h("div", { class: "legend" }, this.least, h("span", { class: "steps", "aria-hidden": "true" }, ...this.shades), this.most);
  }

  draw(model) {
    this.model = model;
    if (!model?.status) return;
    const backends = model.status.backends;
    this.mostTelling(model, backends);
    this.buttons.forEach((button, at) => set(button, "aria-pressed", this.kinds[at] === this.kind));
    const shown = this.all || backends.length <= HEATS ? backends : this.slowest(model, backends);
    this.more.hidden = backends.length <= HEATS;
    say(this.more, this.all ? `Show the ${HEATS} slowest` : `Show all ${backends.length}`);
    const grids = new Map(shown.map((backend) => [keyOf(backend), this.grid(model, backend)]));
    this.frame = frameOf([...grids.values()], model.status.bounds_us);
    this.colours = this.shades.map((shade) => getComputedStyle(shade).backgroundColor);
    say(this.most, this.frame ? `${many(this.frame.most, "value")} in a cell of 2${NARROW}s` : "no value yet");
    const known = shown.length < backends.length && this.kept.known > 0;
    say(byId("heat-note"), this.note(backends.length, shown.length, known));
    keyed(this.host, shown, keyOf, (backend) => this.create(backend),
      (figure, backend) => this.update(figure, model, backend, grids.get(keyOf(backend))));
  }

  /** Servers that answer once have no response times after the first byte; then that is shown. */
  mostTelling(model, backends) {
    if (this.chosen) return;
    const total = (kind) => sum(backends, (one) => one[kind].count);
    this.kind = ["response", "first_byte", "connect"].find((kind) => total(kind) > 0) ?? "response";
  }

  note(all, shown, known) {
    const what = {
      first_byte: "From the connection to a backend until its first byte.",
      response: "From the last byte that was sent to a backend until the next that came from it.",
      connect: "From the connect to a backend until the connection.",
    }[this.kind];
    const some = known ? `The ${shown} slowest of ${all}, by p99 of the last minute.` : `${shown} of ${all}, until one of them has a value.`;
    const which = shown < all ? ` ${some}` : "";
    return `${what} Three minutes to the right, latency upwards; the same scales for all.${which}`;
  }

  /** Who is shown stays for a while, so that one can look at it; but not if there were fewer to choose from. */
  slowest(model, backends) {
    const now = model.status.time_ms;
    const p99 = new Map(backends.map((one) =>
      [keyOf(one), model.track(one).percentile(this.kind, 0.99, model.status.bounds_us) ?? -1]));
    const known = [...p99.values()].filter((value) => value >= 0).length;
    const { since = 0, kind = null, known: before = 0 } = this.kept ?? {};
    if (now - since > 10_000 || kind !== this.kind || known > before) {
      const first = backends.toSorted((a, b) => p99.get(keyOf(b)) - p99.get(keyOf(a))).slice(0, HEATS);
      this.kept = { since: now, kind: this.kind, known, keys: new Set(first.map(keyOf)) };
    }
    return backends.filter((one) => this.kept.keys.has(keyOf(one)));
  }

  /** Counts by slot of time, and in it by bucket. */
  grid(model, backend) {
    const grid = new Map();
    for (const slice of model.track(backend).slices) {
      const slot = Math.floor(slice.time / SLOT_MS);
      const counts = grid.get(slot) ?? new Map();
      for (const [at, more] of slice[this.kind]) counts.set(at, (counts.get(at) ?? 0) + more);
      grid.set(slot, counts);
    }
    return grid;
  }

  create(backend) {
    const canvas = h("canvas", { role: "img", width: SLOTS, height: 1 });
    return h("figure", { class: "heat" },
      h("figcaption", {}, nameOf(fullName(backend)), h("span", { class: "soft" })),
      h("div", { class: "frame" }, h("div", { class: "y", "aria-hidden": "true" }), canvas));
  }

  update(figure, model, backend, grid) {
    const at = (part) => latencyText(model.track(backend).percentile(this.kind, part, model.status.bounds_us));
    const [p50, p99] = [at(0.5), at(0.99)];
    say(figure.querySelector("figcaption .soft"), p50 === NONE ? "none in the last minute" : `p50 ${p50} · p99 ${p99}`);
    const canvas = figure.querySelector("canvas");
    const text = this.buttons[this.kinds.indexOf(this.kind)].textContent.toLowerCase();
    set(canvas, "aria-label", p50 === NONE
      ? `${text} of ${fullName(backend)}: no value in the last minute`
      : `${text} of ${fullName(backend)} over the last three minutes; in the last minute half below ${p50}, 99 of 100 below ${p99}`);
    this.scale(figure.querySelector(".y"));
    this.paint(canvas, grid, Math.floor(model.status.time_ms / SLOT_MS));
  }

  scale(axis) {
    const { first, last } = this.frame ?? { first: 2, last: 4 };
    const decades = Array.from({ length: last - first + 1 }, (_, at) => first + at);
    const shown = decades.length > 4 ? decades.filter((_, at) => at % 2 === 0) : decades;
    keyed(axis, shown, String, (decade) => h("span", {}, latencyText(10 ** decade)),
      (label, decade) => { label.style.bottom = `${(100 * (decade - first)) / (last - first)}%`; });
  }

  paint(canvas, grid, nowSlot) {
    const { first, last, most } = this.frame ?? { first: 2, last: 4, most: 1 };
    const rows = (last - first) * ROWS_A_DECADE;
    if (canvas.height !== rows) canvas.height = rows;
    const drawing = canvas.getContext("2d");
    drawing.clearRect(0, 0, SLOTS, rows);
    for (const [slot, counts] of grid) {
      const x = SLOTS - 1 - (nowSlot - slot);
      for (const [row, value] of byRow(counts, this.model.status.bounds_us, first, rows)) {
        drawing.fillStyle = this.colours[shadeOf(value, most)];
        drawing.fillRect(x, rows - 1 - row, 1, 1);
      }
    }
  }
}

/**
 * Decades of microseconds from the first that matters (of a thousand values one may lie below) to the slowest, and
 * the most that one cell has.
 */
function frameOf(grids, bounds) {
  const slots = grids.flatMap((grid) => [...grid.values()]);
  const totals = [];
  for (const counts of slots) for (const [at, value] of counts) totals[at] = (totals[at] ?? 0) + value;
  const total = sum(totals.filter(Boolean), (value) => value);
  if (total === 0) return null;
  let seen = 0;
  const lowest = totals.findIndex((value = 0) => (seen += value) > total / 1000);
  const first = Math.floor(middle(lowest, bounds));
  const last = Math.max(Math.ceil(middle(totals.length - 1, bounds)), first + 2);
  const rows = (last - first) * ROWS_A_DECADE;
  const most = Math.max(...slots.map((counts) => Math.max(1, ...byRow(counts, bounds, first, rows).values())));
  return { first, last, most };
}

/** Where a bucket lies, as a decimal logarithm of microseconds. */
function middle(at, bounds) {
  const [low, high] = edges(at, bounds);
  return Math.log10(Math.max(1, (low + high) / 2));
}

function byRow(counts, bounds, first, rows) {
  const found = new Map();
  for (const [at, value] of counts) {
    const row = Math.min(rows - 1, Math.max(0, Math.floor((middle(at, bounds) - first) * ROWS_A_DECADE)));
    found.set(row, (found.get(row) ?? 0) + value);
  }
  return found;
}

/** By the logarithm, so that one slow answer is seen beside thousands of fast ones. */
function shadeOf(value, most) {
  return most <= 1 ? SHADES - 1 : Math.round(((SHADES - 1) * Math.log(value)) / Math.log(most));
}
