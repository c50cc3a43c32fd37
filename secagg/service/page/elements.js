// Elements of a page, made by name and put in place of others; and numbers in words.
//
// Nothing here makes markup of text.

export function h(tag, attributes, ...children) {
  const drawn = tag === "svg" || tag === "path";
  const made = drawn
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((one) => one !== null && one !== false));
  return made;
}

function patch(old, fresh) {
  const other = old.nodeName !== fresh.nodeName || old.dataset?.key !== fresh.dataset?.key;
  if (other) return old.replaceWith(fresh);
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return undefined;
  }
  for (const { name } of [...old.attributes]) {
    // who opened a list keeps it open
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  return fill(old, [...fresh.childNodes]);
}

export function fill(place, fresh) {
  const old = [...place.childNodes];
  fresh.forEach((one, i) => (i < old.length ? patch(old[i], one) : place.append(one)));
  old.slice(fresh.length).forEach((one) => one.remove());
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
