// Numbers for people: three digits that matter, a unit, and a narrow space between them.

const NARROW = "\u202f";
const NONE = "–";

/** A whole number, its thousands apart. */
function count(value) {
  const digits = String(Math.round(value));
  return digits.length < 5 ? digits : digits.replace(/\B(?=(\d{3})+$)/g, NARROW);
}

/** A number in about three digits. */
function digits3(value) {
  if (value >= 99.95) return count(value);
  if (value >= 9.995) return trimmed(value.toFixed(1));
  return trimmed(value.toFixed(2));
}

function trimmed(text) {
  return text.includes(".") ? text.replace(/0+$/, "").replace(/\.$/, "") : text;
}

/** So many a second: [number, unit]. */
function rateParts(value) {
  return value === null ? [NONE, ""] : [digits3(value), "/s"];
}

/** Bytes, by thousands as in `evenkeel ctl` and `top`: [number, unit]. */
function bytesParts(value) {
  if (value === null) return [NONE, ""];
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let at = 0;
  while (value >= 999.5 && at < units.length - 1) {
    value /= 1000;
    at += 1;
  }
  return [at === 0 ? count(value) : digits3(value), units[at]];
}

function byteRateParts(value) {
  const [number, unit] = bytesParts(value);
  return [number, unit && `${unit}/s`];
}

/** A short time, from microseconds: [number, unit]. */
function latencyParts(us) {
  if (us === null) return [NONE, ""];
  if (us < 999.5) return [digits3(us), "µs"];
  if (us < 999_500) return [digits3(us / 1e3), "ms"];
  return [digits3(us / 1e6), "s"];
}

function joined([number, unit]) {
  if (!unit) return number;
  return unit.startsWith("/") ? number + unit : number + NARROW + unit;
}

const rateText = (value) => joined(rateParts(value));
const bytesText = (value) => joined(bytesParts(value));
const byteRateText = (value) => joined(byteRateParts(value));
const latencyText = (us) => joined(latencyParts(us));

function percentText(part) {
  return part === null ? NONE : `${digits3(part * 100)}${NARROW}%`;
}

/** A long time in its two largest units. */
function spanText(seconds) {
  const units = [["d", 86_400], ["h", 3600], ["min", 60], ["s", 1]];
  seconds = Math.max(0, Math.floor(seconds));
  const from = Math.min(units.findIndex(([, size]) => seconds >= size) >>> 0, 3);
  const words = [];
  for (const [unit, size] of units.slice(from, from + 2)) {
    const many = Math.floor(seconds / size);
    seconds -= many * size;
    if (many > 0 || words.length === 0) words.push(`${many}${NARROW}${unit}`);
  }
  return words.join(" ");
}

/** The time of day where the reader is. */
function clockText(ms) {
  const two = (value) => String(value).padStart(2, "0");
  const date = new Date(ms);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** `1 backend`, `2 backends`. */
function many(value, one, more = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : more}`;
}
