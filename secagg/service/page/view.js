// What is shown of what is known: each function makes elements of it, and changes nothing.

import { h, hour, lasting, lazily, moment, plural, size } from "./elements.js";
import {
  CLIENTS, DEEDS, ENDS, FAULTS, ICONS, OUTCOMES, PHASES, PROMISED, SERVICE, STATES, STEPS
} from "./words.js";

// `at` is when the state came, by this device's clock, in milliseconds; `since`, when it was last
// heard of; `retry`, when it is tried next; `notices`, what came of a deed, by its task.
export const known = {
  state: null, id: null, at: 0, contact: "opening", since: 0, retry: 0, why: null,
  notices: new Map()
};
const NOTICED = 60_000; // milliseconds for which it is shown
const MANY = 5; // results before the others are folded
const may = (right) => known.state.may.includes(right);

/* Seconds since the state came; none pass while there is no contact. */
const passed = () => ((known.contact === "live" ? Date.now() : known.since) - known.at) / 1000;

// Pieces

function icon(name) {
  const drawn = h("path", { d: ICONS[name] ?? ICONS.empty });
  return h("svg", { viewBox: "0 0 16 16", "aria-hidden": "true", class: `icon ${name}` }, drawn);
}

function badge(name, { word, tone }) {
  return h("span", { class: "badge", "data-tone": tone }, icon(name), word);
}

/* What the service says, as a sentence. Commands are between backticks. */
function prose(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?:]$/.test(text) ? "" : ".");
  return whole.split("`").map((part, i) => (i % 2 ? h("code", {}, part) : part));
}

export function stranger(word) {
  const means = `The service says “${word}”, which this page does not know.`;
  return { word, tone: "warn", means, do: "It is newer than the page: load the page again." };
}

function fact(name, value, ...more) {
  const said = more.filter((one) => one !== null);
  return h("div", {}, h("dt", {}, name), h("dd", { class: "figure" }, value),
    said.map((one) => h("dd", {}, one)));
}

/* rows: [name, of, cells] of each; `of` is what its cells are made of, the first of which is what
   the row is of. On narrow screens a row is a block, in which each cell has its column's name; the
   roles keep it a table for those who hear it. */
function table(caption, columns, rows) {
  const cell = (one, i) => i
    ? h("td", { role: "cell", "data-column": columns[i] }, one)
    : h("th", { role: "rowheader", scope: "row" }, one);
  const head = columns.map((one) => h("th", { role: "columnheader", scope: "col" }, one));
  const body = rows.map(([name, of, cells]) =>
    lazily(h("tr", { role: "row", "data-key": name }), of, () => cells().map(cell)));
  return h("table", { role: "table" }, h("caption", {}, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
    h("tbody", { role: "rowgroup" }, body));
}

/* A button, and what it does. */
function deed(name, task = null, round = null) {
  const id = `says-${name}-${task ?? ""}`;
  // one place for both: who has paused can resume with the next stroke
  const key = name === "resume" ? "pause" : name;
  const pressed = { type: "button", "data-do": name, "data-task": task, "data-round": round,
    "aria-describedby": id, disabled: known.contact !== "live" };
  return h("div", { class: "deed", "data-key": key }, h("button", pressed, DEEDS[name].label),
    h("p", { id }, DEEDS[name].says));
}

/* What came of the last deed, of a task or of the service (null). */
function notice(task) {
  const found = known.notices.get(task);
  if (!found || Date.now() - found.at > NOTICED) return null;
  const given = { class: "notice", "data-key": "notice", "data-tone": found.tone };
  return h("p", given, prose(found.text));
}

// A task

/* Of a task's card, named after both: of each task there is one that is called so. */
function part(name, task, heading, ...children) {
  const id = `${name}-${task.name}`;
  const given = { class: name, "data-key": name, "aria-labelledby": `task-${task.name} ${id}` };
  return h("section", given, h("h3", { id }, heading), children);
}

function facts(task) {
  const { candidates, min, target, enrolled } = task;
  const enough = candidates >= min;
  const full = min ? Math.min(candidates / min, 1) : 1;
  const meter = h("svg", { class: "meter", viewBox: "0 0 100 8", preserveAspectRatio: "none",
    role: "meter", "data-tone": enough ? "good" : "busy", "aria-valuemin": 0, "aria-valuemax": min,
    "aria-valuenow": Math.min(candidates, min), "aria-label": "Sites here, of those that are needed"
  }, h("path", { d: `M0 4H${100 * full}` }));
  const words = enough
    ? `Enough: a round needs ${min} and takes ${target}.`
    : `${min - candidates} more to come: a round needs ${min} and takes ${target}.`;
  return h("dl", { class: "facts" },
    fact("Sites here", enough ? String(candidates) : `${candidates} of ${min}`, meter, words),
    fact("Enrolled", String(enrolled), "Sites that may come."),
    fact("Next round", ...coming(task, enough)));
}

/* When the next round comes, in a figure and in words. */
function coming(task, enough) {
  const left = (task.next ?? 0) - passed();
  if (task.state === "paused") return ["on hold", "When the task is resumed."];
  if (task.state === "draining") return ["none", "While the service drains."];
  const few = enough || task.round ? null : `If ${task.min} are here then.`;
  if (left > 0) return [lasting(left), few];
  if (task.round) return ["after this one", "As soon as enough are here."];
  if (enough) return ["now", "The sites are being asked."];
  return ["not yet", `As soon as ${task.min} are here.`];
}

function round(task) {
  const { round: name, phases, left, asked, sent, owe, dropped, clients } = task.round;
  const steps = phases.map(({ name: phase, state }) => {
    const { word, tone } = STEPS[state] ?? stranger(state);
    return h("li", { "data-tone": tone, "aria-current": state === "running" ? "step" : null },
      icon(state === "waiting" ? "empty" : state),
      h("span", {}, PHASES[phase] ?? phase, " ", h("code", {}, phase)),
      h("span", { class: "word" }, word));
  });
  const spent = left === null ? null : left - passed();
  return part("round", task, ["Round ", h("code", {}, name)],
    h("ol", { class: "steps" }, steps),
    h("dl", { class: "facts" },
      fact("Deadline", spent === null ? "none" : lasting(spent),
        spent === null ? "The service itself is at work." : "Of this phase."),
      fact("Sent", `${sent} of ${asked}`, `${owe} owe, ${dropped} dropped.`),
      fact("Bytes in", size(task.round.bytes_in), `${size(task.round.bytes_out)} out.`)),
    clients ? who(task, clients) : null);
}

/* Who is in the round. Whoever is waited for comes first, then who is missing. */
function who(task, clients) {
  const order = Object.keys(CLIENTS);
  const rank = (one) => order.indexOf(one.state);
  const named = (a, b) => a.name.localeCompare(b.name, "en", { numeric: true });
  const before = (a, b) => rank(a) - rank(b) || named(a, b);
  const rows = [...clients].sort(before).map(({ name, state, why }) => [name,
    `${state} ${why}`,
    () => [name, badge(state, CLIENTS[state] ?? stranger(state)), reason(state, why)]]);
  const caption = `Who takes part in this round of ${task.name}`;
  return h("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": caption },
    table(caption, ["Site", "State", "Why"], rows));
}

function reason(state, why) {
  if (why !== null) return FAULTS[why] ?? prose(why);
  return state === "dropped" ? "Not known: it was before a new start of the service." : "";
}

function last(task) {
  const { round: name, at, outcome, contributors, why, do: advice } = task.last;
  const words = OUTCOMES[outcome] ?? stranger(outcome);
  const row = task.failures > 1 ? ` ${task.failures} rounds in a row have failed.` : "";
  const took = outcome === "done" ? `${plural(contributors, "site is", "sites are")} in it.` : row;
  const made = part("last", task, "Last round",
    h("p", {}, badge(outcome, words), " ", moment(at), " ", h("code", {}, name)),
    h("p", {}, prose(why ?? words.means), " ", took),
    h("p", { class: "advice" }, prose(advice ?? words.do)));
  made.dataset.tone = words.tone;
  return made;
}

function results(name, found) {
  const take = may("results");
  const rows = found.map((one) => {
    const href = `/v1/results/${encodeURIComponent(one.nonce)}`;
    const called = `Download the result of round ${one.round}`;
    const link = h("a", { href, download: `${one.task}-${one.round}.npz`, "aria-label": called },
      "Download");
    const state = one.waiting ? "not taken yet" : "taken";
    const cells = () => [moment(one.at), one.contributors.toLocaleString("en-GB"), bound(one.error),
      state, ...(take ? [link] : [])];
    return [one.nonce, `${state} ${take}`, cells];
  });
  const columns = ["When", "Sites", "Error", "State", ...(take ? ["Copy"] : [])];
  const all = rows.length > MANY ? h("details", {},
    h("summary", {}, `${rows.length - MANY} older results`),
    table(`Older results of ${name}`, columns, rows.splice(MANY))) : null;
  const newest = table(`Results of ${name}`, columns, rows);
  return h("section", { class: "results", "data-key": "results" }, newest, all);
}

/* The most by which a mean is off, in the units of its field. */
function bound(error) {
  if (error === null) return "unknown";
  return error === 0 ? "none" : `± ${Number(error.toPrecision(2))}`;
}

function deeds(task) {
  const offered = [];
  const soon = ["waiting", "ready"].includes(task.state) && task.next > 0;
  if (may("pause")) offered.push(deed(task.held === null ? "pause" : "resume", task.name));
  if (soon && may("open")) offered.push(deed("open", task.name));
  if (task.round && may("cancel")) offered.push(deed("cancel", task.name, task.round.round));
  return offered.length ? h("div", { class: "deeds", "data-key": "deeds" }, offered) : null;
}

/* A line begins with what it is about. How far it is indented says what it belongs to. */
function promise(task) {
  const lines = task.guarantee.map((line) => {
    const [, space, text] = /^( *)(?:- )?(.*)$/.exec(line);
    const [, about, rest] = /^([^:.]{1,60}): (.*)$/.exec(text) ?? [null, null, text];
    const said = about ? [h("strong", {}, about), ". ", prose(rest)] : prose(text);
    return { about, shown: h("li", { class: space.length > 2 ? "inner" : null }, said) };
  });
  const main = lines.filter(({ about }) => PROMISED.includes(about));
  const first = main.length ? main : lines.slice(0, 3);
  const others = lines.filter((one) => !first.includes(one));
  const list = (some) => h("ul", {}, some.map(({ shown }) => shown));
  const more = others.length ? h("details", {},
    h("summary", {}, `${plural(others.length, "line", "lines")} more`), list(others)) : null;
  return part("promise", task, "What is promised", list(first), more);
}

function card(task) {
  const words = STATES[task.state] ?? stranger(task.state);
  const id = `task-${task.name}`;
  const found = known.state.results.filter((one) => one.task === task.name);
  found.sort((a, b) => b.at - a.at);
  return h("article", { class: "card", "data-key": id, "aria-labelledby": id },
    h("header", {}, h("h2", { id, tabindex: -1 }, task.name), badge(task.state, words)),
    h("p", { class: "lead" }, words.means, " ", prose(task.held ?? words.do)),
    notice(task.name),
    h("div", { class: "columns" },
      h("div", {}, facts(task), task.round ? round(task) : null, task.last ? last(task) : null,
        found.length ? results(task.name, found) : null),
      h("div", {}, promise(task), deeds(task))));
}

// The page

/* of: a state of the service. more: after its name. */
function banner(of, more, ...inside) {
  const { word, tone, do: advice } = SERVICE[of];
  const id = `banner-${of}`;
  return h("section", { class: "banner", "data-key": of, "data-tone": tone, "aria-labelledby": id },
    h("h2", { id }, icon(of), h("span", {}, word, more)), inside,
    h("p", { class: "advice" }, prose(advice)));
}

/* What is to be said of the service as a whole, above its tasks. */
export function banners() {
  const { contact, since, retry, why, state } = known;
  const found = [];
  const means = (of) => h("p", {}, SERVICE[of].means);
  if (contact === "lost" || contact === "full") {
    // nothing is shown below where nothing was heard yet
    const below = contact === "full" || state ? means(contact) : null;
    const again = h("p", {}, "Next try in ", lasting((retry - Date.now()) / 1000), ". ",
      h("button", { type: "button", "data-do": "retry" }, "Try now"));
    const said = why ? h("p", {}, why) : null;
    found.push(banner(contact, ` since ${hour(since)}`, said, below, again));
  }
  if (contact === "opening") found.push(banner("opening", "", means("opening")));
  if (state?.draining) found.push(banner("draining", "", means("draining")));
  // that it drains is said above
  const reasons = state?.reasons.filter((one) => !(state.draining && one.startsWith("draining")));
  if (state && !state.ready && (reasons.length || !state.draining)) {
    const list = h("ul", {}, reasons.map((one) => h("li", {}, prose(one))));
    found.push(banner("degraded", "", means("degraded"), list));
  }
  return [found, notice(null)];
}

export function everything() {
  const { tasks, results: kept, draining } = known.state;
  const names = new Set(tasks.map((one) => one.name));
  const others = [...new Set(kept.map((one) => one.task))].filter((one) => !names.has(one));
  const none = h("section", { class: "card" }, h("h2", {}, "No tasks"),
    h("p", { class: "lead" }, "This service has no tasks yet. Write a table ",
      h("code", {}, "[tasks.NAME]"), " into its configuration, and start it again."));
  return [
    tasks.length ? tasks.map(card) : none,
    others.map((name) => h("section", { class: "card", "data-key": `gone ${name}` },
      h("h2", {}, name), h("p", { class: "lead" }, "No task any more: its results are kept."),
      results(name, kept.filter((one) => one.task === name)))),
    !draining && may("drain")
      ? h("section", { class: "whole", "data-key": "whole", "aria-labelledby": "whole" },
        h("h2", { id: "whole" }, "The whole service"), deed("drain"))
      : null
  ];
}

/* Without a session nothing of the service is shown, also not what was. */
export function outside() {
  return h("section", { class: "card outside" }, h("h1", {}, SERVICE.out.word),
    h("p", { class: "lead" }, ENDS[known.why]), h("p", {}, SERVICE.out.means),
    h("p", {}, SERVICE.out.do, ":"), h("pre", {}, "secagg service login --role viewer"),
    h("p", {}, "Or, from elsewhere, by somebody who is enrolled:"),
    h("pre", {}, "secagg login --service FILE"),
    h("p", { class: "advice" },
      "Open the link that it prints within ten minutes, in this browser."));
}

export function top() {
  const { state, contact } = known;
  return [
    h("div", {}, h("h1", {}, state ? state.service : "secagg"),
      h("p", { class: "as" }, state ? `Signed in as ${state.role}.` : "Signing in.")),
    h("div", { class: "session" }, badge(contact, SERVICE[contact]),
      h("button", { type: "button", "data-do": "leave" }, "Sign out"))
  ];
}

export function foot() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const { state, at } = known;
  if (!state) return [];
  return h("p", {}, `secagg ${state.version}. Times are of ${zone}, figures as of ${hour(at)}.`);
}

export function title() {
  const { state, contact } = known;
  if (contact === "out" || !state) return `${SERVICE[contact].word} · secagg`;
  const busy = state.tasks.filter((one) => one.round).length;
  let word = busy ? `${busy} running` : "No round runs";
  if (contact !== "live") word = SERVICE[contact].word;
  else if (state.draining) word = SERVICE.draining.word;
  else if (!state.ready) word = SERVICE.degraded.word;
  return `${word} · ${state.service}`;
}
