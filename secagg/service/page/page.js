// The console's page. It follows the service's stream of states and shows the last one.
//
// Theory of operation.
//
// Each message is the whole state. The view makes the whole page of it anew, and `fill` changes
// what differs: so there is one way to each screen, and what has the focus keeps it. The clock is
// shown alike, once a second: seconds in a state are as of its arrival.
//
// The stream is read with fetch and not with EventSource, which hides what this page has to say: a
// session that is over (401), a service that is full (503), and a link that has died in silence, as
// it keeps the comments to itself that come when nothing changes.

import { fill } from "./elements.js";
import { banners, everything, foot, known, outside, stranger, title, top } from "./view.js";
import { DEEDS, ENDS, OUTCOMES, PHASES, SERVICE, STATES } from "./words.js";

const SILENCE = 30_000; // milliseconds, twice what the service lets pass without a word
const LONGEST = 30_000; // between two tries
const LARGEST = 16_000_000; // characters of one message: a service that sends more is none
let wake = () => {};
let ending = "over"; // why the session ends, when it does
const $ = (id) => document.getElementById(id);

function render() {
  const { contact, state } = known;
  const before = document.activeElement;
  const place = before?.closest("article")?.querySelector("h2") ?? $("main");
  const out = contact === "out";
  document.title = title();
  $("main").dataset.contact = contact;
  fill($("head"), out ? [] : [top()].flat());
  fill($("main"), out ? [outside()] : [banners(), state ? everything() : null].flat(Infinity)
    .filter((one) => one !== null));
  fill($("foot"), out ? [] : [foot()].flat());
  // a button that is gone takes the focus with it, and a keyboard would begin at the top
  if (before && before !== document.body && !before.isConnected) {
    (place.isConnected ? place : $("main")).focus();
  }
  const { task, round: asked } = $("ask").dataset;
  const still = state?.tasks.some((one) => one.name === task && one.round?.round === asked);
  // else it would cancel a round that nobody has asked about
  if ($("ask").open && (contact !== "live" || (asked && !still))) $("ask").close();
}

// What is said to those who do not look: changes of state, and not each second

function say(text) {
  if (text) $("said").textContent = text;
}

function told(state) {
  const found = new Map();
  if (!state) return found;
  found.set("service", [state.ready ? "The service is ready." : SERVICE.degraded.word,
    ...state.reasons, state.draining ? SERVICE.draining.means : ""].join(" "));
  for (const { name, state: word, round: running, last: ended } of state.tasks) {
    const phase = running ? PHASES[running.phase] ?? running.phase : "";
    found.set(`task ${name}`, `${name}: ${(STATES[word] ?? stranger(word)).word}. ${phase}`);
    const outcome = ended ? (OUTCOMES[ended.outcome] ?? stranger(ended.outcome)).word : "";
    const said = ended && `${name}: round ${ended.round}: ${outcome}. ${ended.why ?? ""}`;
    if (ended) found.set(`last ${name}`, said);
  }
  return found;
}

function learn(state) {
  const before = told(known.state);
  const changes = [...told(state)].filter(([key, text]) => before.get(key) !== text);
  if (known.state) say(changes.map(([, text]) => text).join(" "));
  known.state = state;
  known.at = Date.now();
}

function turn(contact, why = null) {
  if (contact !== known.contact) {
    // a time without contact is one, whatever its tries find
    if (["live", "opening"].includes(known.contact)) known.since = Date.now();
    const without = `${SERVICE[contact].word}. ${why ?? ""}`;
    say(contact === "live" ? "In contact with the service." : without);
  }
  Object.assign(known, { contact, why });
  render();
}

function leave(why) {
  Object.assign(known, { state: null, id: null });
  known.notices.clear();
  known.contact = "out";
  known.why = why;
  say(`${SERVICE.out.word}. ${ENDS[why]}`);
  render();
}

// The stream

class Refused extends Error {
  constructor(contact, why, after = null) {
    super(why ?? "");
    Object.assign(this, { contact, after });
  }
}

/* Of one event, its lines. Comments only say that the link lives. */
function take(block) {
  const found = { event: "message", data: [] };
  for (const line of block.split("\n")) {
    const [, name, value] = /^([^:]*)(?:: ?)?(.*)$/.exec(line);
    if (name === "data") found.data.push(value);
    else if (name) found[name] = value;
  }
  if (!found.data.length) return;
  const data = JSON.parse(found.data.join("\n"));
  if (found.event === "end" && data.why === "signed-out") leave(ending);
  if (found.event === "end") throw new Refused("lost", "The service has said that it stops.");
  if (found.event !== "state") return;
  learn(data);
  known.id = found.id ?? null;
  turn("live");
}

/* Follows the stream until it ends. live: called when it has begun. */
async function listen(live) {
  const cut = new AbortController();
  let silence;
  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(() => cut.abort(), SILENCE);
  };
  try {
    heard();
    const headers = { accept: "text/event-stream" };
    if (known.id !== null) headers["last-event-id"] = known.id;
    const answer = await fetch("/v1/events", { headers, cache: "no-store", signal: cut.signal });
    if (answer.status === 401) return leave(ending);
    if (answer.status === 503) {
      throw new Refused("full", null, Number(answer.headers.get("retry-after")) * 1000);
    }
    if (!answer.ok) throw new Refused("lost", `It answers with ${answer.status}.`);
    live();
    if (known.state) turn("live"); // nothing is sent again where nothing has changed
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ;) {
      const { done, value } = await reader.read();
      if (done) return undefined;
      heard();
      const blocks = (text + value.replaceAll("\r", "")).split("\n\n");
      text = blocks.pop();
      if (text.length > LARGEST) throw new Refused("lost", "It sends more than this page reads.");
      blocks.forEach(take);
    }
  } finally {
    clearTimeout(silence);
    cut.abort();
  }
}

const pause = (milliseconds) => new Promise((done) => {
  const timer = setTimeout(done, milliseconds);
  wake = () => {
    clearTimeout(timer);
    done();
  };
});

async function follow() {
  for (let failures = 0; known.contact !== "out"; failures += 1) {
    let refused = new Refused("lost", null);
    try {
      await listen(() => { failures = 0; });
    } catch (error) {
      if (error instanceof Refused) refused = error;
      if (error instanceof SyntaxError) refused.message = "It says what this page does not read.";
    }
    if (known.contact === "out") return;
    // jitter: those that lost a service at once do not all come back at once
    const most = Math.max(refused.after ?? 0, Math.min(LONGEST, 1000 * 2 ** failures));
    const wait = most * (0.5 + Math.random() / 2) + (refused.after ?? 0) / 2;
    known.retry = Date.now() + wait;
    turn(refused.contact, refused.message || null);
    await pause(wait);
  }
}

// What a reader does

async function post(path, body) {
  const answer = await fetch(path, { method: "POST", body: JSON.stringify(body), cache: "no-store",
    headers: { "content-type": "application/json" }, signal: AbortSignal.timeout(SILENCE) });
  const said = answer.status === 204 ? {} : await answer.json().catch(() => ({}));
  const { ok, status } = answer;
  return { ok, status, error: said.error ?? `it answers with ${status}` };
}

function note(task, tone, text) {
  known.notices.set(task, { tone, text, at: Date.now() });
  say(text);
  render();
}

async function carry(name, task) {
  let [tone, text] = ["good", DEEDS[name].done];
  try {
    const answer = await post("/v1/register", task ? { do: name, name: task } : { do: name });
    if (answer.status === 401) return leave("over");
    const refusal = `“${DEEDS[name].label}” was refused: ${answer.error}`;
    if (!answer.ok) [tone, text] = ["bad", refusal];
  } catch {
    [tone, text] = ["bad", `“${DEEDS[name].label}” had no answer: see whether it was done.`];
  }
  return note(task, tone, text);
}

function ask(name, task, round) {
  const { title: asked, ask: text, no, yes } = DEEDS[name];
  Object.assign($("ask").dataset, { do: name, task: task ?? "", round: round ?? "" });
  $("ask-title").textContent = task ? `${task}: ${asked}` : asked;
  $("ask-text").textContent = text.join(" ");
  $("ask-no").textContent = no;
  $("ask-yes").textContent = yes;
  $("ask").showModal();
  $("ask-no").focus(); // Enter by itself changes nothing
}

async function signOut() {
  ending = "left";
  try {
    const { status } = await post("/v1/logout", {});
    if (status < 400 || status === 401) return leave(ending);
  } catch { /* as where it refuses */ }
  ending = "over";
  return note(null, "bad", "The service has not heard that you sign out: try again.");
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  const { do: name, task = null, round: running } = button?.dataset ?? {};
  if (button?.id === "ask-no") $("ask").close();
  else if (button?.id === "ask-yes") {
    $("ask").close();
    carry($("ask").dataset.do, $("ask").dataset.task || null);
  } else if (name === "retry") wake();
  else if (name === "leave") signOut();
  else if (name && DEEDS[name].ask) ask(name, task, running);
  else if (name) carry(name, task);
});
window.addEventListener("online", () => wake());
document.addEventListener("visibilitychange", () => { if (!document.hidden) wake(); });

// The begin

/* By the token of a link. It is taken out of the address first: an address is kept and shown. */
async function login() {
  const token = location.hash.slice(1);
  history.replaceState(null, "", "/");
  if (!token) return leave("bare");
  for (let failures = 0; ; failures += 1) {
    try {
      const { ok, status, error } = await post("/v1/login", { token });
      if (ok) return turn("opening");
      if (status === 403) return leave("used");
      turn("lost", `It refuses to sign you in: ${error}.`);
    } catch {
      turn("lost");
    }
    const wait = Math.min(LONGEST, 1000 * 2 ** failures) * (0.5 + Math.random() / 2);
    known.retry = Date.now() + wait;
    await pause(wait);
  }
}

async function begin() {
  render();
  setInterval(() => { if (known.contact !== "out") render(); }, 1000);
  if (location.pathname === "/login") await login();
  await follow();
}

begin();
