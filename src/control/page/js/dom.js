// Elements. What comes from outside becomes text and nothing else: no string is ever read as HTML here,
// and the page's policy (require-trusted-types-for) makes the browser refuse where one is.

const SVG = "http://www.w3.org/2000/svg";
/** Attributes that people read, or have read to them. */
const READ = new Set(["aria-label", "title"]);
const byId = (id) => document.getElementById(id);

/** An element with attributes, listeners (`onclick: …`) and children (nodes, or texts). */
function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same of SVG. */
function s(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else set(element, name, value);
  }
  const there = children.filter((child) => child !== null);
  element.append(...there.map((child) => (typeof child === "string" ? visible(child) : child)));
  return element;
}

/** Sets an attribute where it differs; `null` takes it away, and so does `false` but for ARIA's, which say it. */
function set(element, name, value) {
  const plain = typeof value === "boolean" && !name.startsWith("aria-");
  const wanted = value === null || (plain && !value) ? null : plain ? "" : READ.has(name) ? visible(value) : String(value);
  if (element.getAttribute(name) === wanted) return;
  if (wanted === null) element.removeAttribute(name);
  else element.setAttribute(name, wanted);
}

/** Sets the text where it differs, so that nothing is drawn or announced twice. */
function say(element, text) {
  const shown = visible(text);
  if (element.textContent !== shown) element.textContent = shown;
}

/** Characters that are not seen, or turn others around, are written out: no name can pass for another. */
function visible(text) {
  return String(text).replace(/(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (hidden) => `<U+${hidden.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}>`);
}

/** A name from outside: its writing direction stays its own, and what is cut off its title has. */
function nameOf(text) {
  return h("bdi", { class: "name", title: text }, ...breakable(text));
}

/** In pieces: a line may end after `/` and `:`, so that it does not in the middle of a port. */
function breakable(text) {
  return String(text).split(/(?<=[/:])/).flatMap((part, at) => (at === 0 ? [part] : [h("wbr"), part]));
}

/** Sets a text that is in such pieces where it differs. */
function sayInPieces(element, text) {
  if (element.textContent === visible(text)) return;
  element.replaceChildren();
  filled(element, {}, breakable(text));
}

function icon(name) {
  return s("svg", { class: "icon", "aria-hidden": "true" }, s("use", { href: `#i-${name}` }));
}

function changeIcon(svg, name) {
  set(svg.firstChild, "href", `#i-${name}`);
}

/**
 * Makes the children of `parent` those of `items`, in their order. A child stays the same element as long as
 * its item is there, so that focus, selection and what is being typed stay, too.
 */
function keyed(parent, items, keyOf, create, update) {
  const there = parent.known ?? new Map();
  const now = new Map();
  for (const item of items) {
    const key = keyOf(item);
    now.set(key, there.get(key) ?? create(item));
  }
  for (const [key, element] of there) if (!now.has(key)) element.remove();
  place(parent, [...now.values()]);
  parent.known = now;
  for (const item of items) update(now.get(keyOf(item)), item);
}

/** In order; but while the focus is inside, nothing that is there is moved, because that would lose it. */
function place(parent, elements) {
  const held = parent.contains(document.activeElement);
  let after = null;
  for (const element of elements) {
    const next = after === null ? parent.firstElementChild : after.nextElementSibling;
    if (element !== next && !(held && element.parentNode === parent)) parent.insertBefore(element, next);
    after = element;
  }
}

/** A table whose rows stay tables to a screen reader however they are laid out. */
function table(caption, heads, className = "") {
  const cells = heads.map(({ text, className: kind = "", hidden = false }) =>
    h("th", { scope: "col", role: "columnheader", class: kind },
      hidden ? h("span", { class: "unseen" }, text) : text));
  const body = h("tbody", { role: "rowgroup" });
  const element = h("table", { role: "table", class: className },
    h("caption", { class: "unseen" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...cells)), body);
  return { element, body };
}

function cell(className = "", label = null, ...children) {
  return h("td", { role: "cell", class: className, "data-label": label }, ...children);
}

function rowHead(...children) {
  return h("th", { role: "rowheader", scope: "row" }, ...children);
}

/** What may be wider than its place can be scrolled by keys, too; where it is not, it is no stop for them. */
function scroller(host, label) {
  const watch = () => {
    const wide = host.scrollWidth > host.clientWidth || host.scrollHeight > host.clientHeight;
    set(host, "tabindex", wide ? 0 : null);
    set(host, "role", wide ? "region" : null);
    set(host, "aria-label", wide ? label : null);
  };
  new ResizeObserver(watch).observe(host);
  if (host.firstElementChild) new ResizeObserver(watch).observe(host.firstElementChild);
  return host;
}
