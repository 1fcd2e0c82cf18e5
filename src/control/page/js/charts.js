// Charts over the last minutes, in SVG: the drawing is stretched to its frame, its lines keep their width,
// and what is read is text beside it.

const LINE = { lines: 4, gap: 3500 };

class Chart {
  /** `format` is of values as people read them. */
  constructor({ title, format, stacked = false }) {
    Object.assign(this, { title, format, stacked, series: [], now: 0 });
    this.drawing = s("svg", { viewBox: "0 0 1000 100", preserveAspectRatio: "none", "aria-hidden": "true" });
    this.scale = h("div", { class: "y", "aria-hidden": "true" });
    this.keys = h("figcaption", {});
    this.cursor = h("i", { class: "cursor", hidden: true });
    this.tip = h("div", { class: "tip", hidden: true });
    this.plot = h("div", {
      class: "plot", role: "img",
      onpointermove: (event) => this.point(event), onpointerleave: () => this.unpoint(),
    }, this.drawing, this.cursor, this.tip);
    const ago = ["3 min ago", "2 min", "1 min", "now"].map((text) => h("span", {}, text));
    this.element = h("figure", { class: "card chart" }, h("h3", {}, title), this.keys,
      h("div", { class: "frame" }, this.scale, this.plot, h("div", { class: "x", "aria-hidden": "true" }, ...ago)));
  }

  /** `series`: `{ name, color, values: [[time, value]] }`, the lowest band first where they are stacked. */
  draw(series, now) {
    this.series = this.stacked ? piled(series) : series;
    this.now = now;
    const most = Math.max(...this.series.flatMap(({ values }) => values.map(([, value]) => value)), 0);
    // Of whole things half the scale is at least one.
    this.top = niceAbove(Math.max(most, 2));
    this.drawScale();
    this.drawing.replaceChildren(...this.series.toReversed().flatMap((one) => this.shape(one)));
    this.drawKeys();
    set(this.plot, "aria-label", this.summary());
  }

  drawScale() {
    const lines = [0, 0.5, 1];
    this.scale.replaceChildren(...lines.map((part) => {
      const label = h("span", {}, this.format(this.top * part));
      label.style.bottom = `${part * 100}%`;
      return label;
    }));
  }

  x(time) {
    return 1000 * (1 - (this.now - time) / KEPT_MS);
  }

  y(value) {
    return 100 * (1 - value / this.top);
  }

  shape({ values, color, dashed = false, below = null }) {
    const shapes = [];
    for (const run of runs(values)) {
      const upper = run.map(([time, value]) => `${this.x(time).toFixed(1)} ${this.y(value).toFixed(2)}`);
      const lower = below === null
        ? [`${this.x(run.at(-1)[0]).toFixed(1)} 100`, `${this.x(run[0][0]).toFixed(1)} 100`]
        : run.map(([time]) => `${this.x(time).toFixed(1)} ${this.y(below.get(time) ?? 0).toFixed(2)}`).reverse();
      const area = s("path", { d: `M${upper.join("L")}L${lower.join("L")}Z`, class: "area" });
      const line = s("path", { d: `M${upper.join("L")}`, class: dashed ? "line dashed" : "line" });
      for (const path of [area, line]) path.style.color = `var(--${color})`;
      shapes.push(area, line);
    }
    return shapes;
  }

  /** In the order in which bands lie above one another, with what they are now. */
  drawKeys() {
    const shown = this.stacked ? this.series.toReversed() : this.series;
    keyed(this.keys, shown, ({ name }) => name,
      ({ name, color, dashed }) => {
        const mark = h("i", { class: dashed ? "dashed" : "", "aria-hidden": "true" });
        mark.style.color = `var(--${color})`;
        return h("span", { class: "key" }, mark, nameOf(name), h("b", {}));
      },
      (key, { color, own, values }) => {
        key.firstChild.style.color = `var(--${color})`;
        say(key.lastChild, this.format((own ?? values).at(-1)?.[1] ?? 0));
      });
  }

  summary() {
    const parts = this.series.map(({ name, own, values }) => {
      const numbers = (own ?? values).map(([, value]) => value);
      if (numbers.length === 0) return `${name}: nothing yet`;
      const [least, most] = [Math.min(...numbers), Math.max(...numbers)];
      return `${name}: now ${this.format(numbers.at(-1))}, between ${this.format(least)} and ${this.format(most)}`;
    });
    return `${this.title}, the last three minutes. ${parts.join(". ")}.`;
  }

  point(event) {
    const box = this.plot.getBoundingClientRect();
    const time = this.now - KEPT_MS * (1 - (event.clientX - box.left) / box.width);
    const times = this.series[0]?.values.map(([at]) => at) ?? [];
    if (times.length === 0) return;
    const at = times.reduce((best, one, index) =>
      (Math.abs(one - time) < Math.abs(times[best] - time) ? index : best), 0);
    const lines = this.series.toReversed().map(({ name, own, values }) =>
      `${name}  ${this.format((own ?? values)[at]?.[1] ?? 0)}`);
    say(this.tip, [clockText(times[at]), ...lines].join("\n"));
    const part = this.x(times[at]) / 1000;
    this.cursor.style.left = `${part * 100}%`;
    this.tip.style.left = part < 0.5 ? `calc(${part * 100}% + 8px)` : "";
    this.tip.style.right = part < 0.5 ? "" : `calc(${(1 - part) * 100}% + 8px)`;
    this.cursor.hidden = this.tip.hidden = false;
  }

  unpoint() {
    this.cursor.hidden = this.tip.hidden = true;
  }
}

/** Each on top of those before it. */
function piled(series) {
  let below = new Map();
  return series.map((one) => {
    const values = one.values.map(([time, value]) => [time, value + (below.get(time) ?? 0)]);
    const lower = below;
    below = new Map(values);
    return { ...one, own: one.values, values, below: lower };
  });
}

/** Where nothing was known for a while, a line is broken off and not drawn across. */
function runs(values) {
  const found = [];
  for (const value of values) {
    const run = found.at(-1);
    if (run && value[0] - run.at(-1)[0] < LINE.gap) run.push(value);
    else found.push([value]);
  }
  return found;
}

/** The next of 1, 2, 4, 6, 8, 10 … that is not below, so that its half is round, too. */
function niceAbove(value) {
  const ten = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return ten * [1, 2, 4, 6, 8, 10].find((step) => step * ten >= value);
}

const BANDS = 6;

class Charts {
  constructor(host) {
    this.sessions = new Chart({ title: "New sessions", format: rateText });
    this.bytes = new Chart({ title: "Bytes", format: byteRateText });
    this.connections = new Chart({ title: "Connections by backend", format: count, stacked: true });
    host.append(this.sessions.element, this.bytes.element, this.connections.element);
  }

  draw({ samples, status }) {
    const line = (name, color, of, dashed = false) =>
      ({ name, color, dashed, values: samples.map((sample) => [sample.time, of(sample)]) });
    const now = status.time_ms;
    this.sessions.draw([
      line("accepted", "c1", (sample) => sample.accepted),
      line("failed connects", "c3", (sample) => sample.failed, true),
    ], now);
    this.bytes.draw([
      line("to clients", "c1", (sample) => sample.toClients),
      line("to backends", "c2", (sample) => sample.toBackend, true),
    ], now);
    this.connections.draw(this.bands(samples, status.backends), now);
  }

  /** The backends with the most connections, and all others as one. */
  bands(samples, backends) {
    const own = backends.length <= BANDS + 1 ? backends : this.greatest(backends);
    const names = backends.some(({ pool }) => pool !== backends[0].pool) ? fullName : ({ name }) => name;
    const keys = own.map(keyOf);
    const series = own.map((backend, at) => ({
      name: names(backend), color: `c${at + 1}`,
      values: samples.map(({ time, connections }) => [time, connections.get(keys[at]) ?? 0]),
    }));
    if (own.length < backends.length) {
      const rest = ({ connections }) => sum([...connections], ([key, value]) => (keys.includes(key) ? 0 : value));
      series.unshift({
        name: `${backends.length - own.length} others`, color: "c0",
        values: samples.map((sample) => [sample.time, rest(sample)]),
      });
    }
    return series;
  }

  /** They stay the same until another has noticeably more, so that bands do not change places each second. */
  greatest(backends) {
    const size = (one) => one.connections * (this.before?.has(keyOf(one)) ? 1.25 : 1);
    const chosen = new Set(backends.toSorted((a, b) => size(b) - size(a)).slice(0, BANDS).map(keyOf));
    this.before = chosen;
    return backends.filter((one) => chosen.has(keyOf(one)));
  }
}
