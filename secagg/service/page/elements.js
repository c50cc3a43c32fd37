// Elements of a page, made by name and put in place of others; and numbers in words.
//
// Nothing here makes markup of text.

export function h(tag, attributes, ...children) {
  const drawn = tag === "svg" || tag === "path";
  const made = drawn
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    const lacks = value === null || value === undefined || value === false;
    if (!lacks) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((one) => one !== null && one !== false));
  return made;
}

/* An element whose inside is made where it is new, or is of something else than before: of a table
   of a thousand rows few change at once. of: a text. inside: gives its children. */
export function lazily(made, of, inside) {
  return Object.assign(made, { of, inside });
}

function whole(node) {
  if (node.inside) node.append(...node.inside());
  node.childNodes.forEach(whole);
  return node;
}

const keyOf = (node) => node?.dataset?.key;
const alike = (a, b) => a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

function patch(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (fresh.inside) {
    if (old.of !== fresh.of) fill(old, fresh.inside());
    old.of = fresh.of;
    return;
  }
  for (const { name } of [...old.attributes]) {
    // who opened a list keeps it open
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  fill(old, [...fresh.childNodes]);
}

/* Makes what is in a place like the nodes that are given. An element with a key stays itself, where
   others come or go before it: what is moved or made anew loses the focus. */
export function fill(place, fresh) {
  const keys = new Set(fresh.map(keyOf).filter(Boolean));
  [...place.childNodes].forEach((one) => keyOf(one) && !keys.has(keyOf(one)) && one.remove());
  const kept = new Map([...place.childNodes].map((one) => [keyOf(one), one]));
  let at = place.firstChild;
  for (const one of fresh) {
    const same = at && alike(at, one) ? at : keyOf(one) && kept.get(keyOf(one));
    if (!same) {
      place.insertBefore(whole(one), at);
      continue;
    }
    if (same === at) at = at.nextSibling;
    else place.insertBefore(same, at);
    patch(same, one);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

// Words of numbers

export function lasting(seconds) {
  const s = Math.max(0, Math.ceil(seconds));
  if (s < 60) return `${s}\u00a0s`;
  if (s < 3600) return `${Math.floor(s / 60)}\u00a0min ${s % 60}\u00a0s`;
  if (s < 86400) return `${Math.floor(s / 3600)}\u00a0h ${Math.floor((s % 3600) / 60)}\u00a0min`;
  return `${Math.floor(s / 86400)}\u00a0d ${Math.floor((s % 86400) / 3600)}\u00a0h`;
}

export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let step = 0;
  for (; bytes >= 1000 && step < units.length - 1; step += 1) bytes /= 1000;
  return `${step && bytes < 10 ? bytes.toFixed(1) : Math.round(bytes)}\u00a0${units[step]}`;
}

export function moment(unix) {
  const when = new Date(unix * 1000);
  const text = when.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
  return h("time", { datetime: when.toISOString() }, text);
}

export const hour = (milliseconds) => new Date(milliseconds).toLocaleTimeString("en-GB");
export const plural = (n, one, many) => `${n.toLocaleString("en-GB")} ${n === 1 ? one : many}`;
