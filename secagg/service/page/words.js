// What each state of a service is called, means, and asks of whoever reads it.
//
// These tables are JSON, so that tests can hold them against what the service says.

export const STATES = {
  "empty": {
    "word": "Empty", "tone": "calm",
    "means": "Nobody is enrolled for this task yet.",
    "do": "An administrator invites sites with `secagg service invite`, and approves them."
  },
  "waiting": {
    "word": "Waiting", "tone": "calm",
    "means": "Fewer sites are here than a round needs.",
    "do": "Where one is missed, see that it runs `secagg join`."
  },
  "ready": {
    "word": "Ready", "tone": "good",
    "means": "Enough sites are here. The next round begins when it is due.",
    "do": "There is nothing to do."
  },
  "running": {
    "word": "Running", "tone": "busy",
    "means": "A round is on its way. Whoever does not send in time is dropped from it.",
    "do": "There is nothing to do while enough are left."
  },
  "unmasking": {
    "word": "Unmasking", "tone": "busy",
    "means": "The inputs are in. The masks are taken off their sum.",
    "do": "There is nothing to do: sites have only to stay until the end."
  },
  "paused": {
    "word": "Paused", "tone": "warn",
    "means": "No further round begins.",
    "do": "An operator resumes it."
  },
  "draining": {
    "word": "Draining", "tone": "warn",
    "means": "No further round begins. One that runs may end.",
    "do": "An operator resumes it, or the service is started again."
  }
};
export const OUTCOMES = {
  "done": {
    "word": "Done", "tone": "good",
    "means": "The sum is kept.",
    "do": "A collector of this task can take it."
  },
  "failed": {
    "word": "Failed", "tone": "bad",
    "means": "There is no sum of this round.",
    "do": "The next round is tried by itself. The service's log says more."
  }
};
export const STEPS = {
  "done": {"word": "done", "tone": "good"},
  "running": {"word": "now", "tone": "busy"},
  "waiting": {"word": "to come", "tone": "calm"}
};
export const CLIENTS = {
  "owes": {"word": "Owes", "tone": "busy"},
  "dropped": {"word": "Dropped", "tone": "bad"},
  "sent": {"word": "Sent", "tone": "good"}
};
export const FAULTS = {
  "lost": "Its link was lost.",
  "late": "Its message did not come in time.",
  "quit": "It has left by itself.",
  "bad-input": "Its input does not fit the plan.",
  "malformed": "It sent what is no message of this round.",
  "wrong-phase": "It sent a message before its time.",
  "equivocation": "It sent two different messages for one phase.",
  "invalid-key": "It sent a key that is not valid.",
  "invalid-share": "It sent a share that is not valid.",
  "too-few-holders": "Too few of those who hold its shares are left.",
  "rejected": "Its report was rejected.",
  "invalid-signature": "It sent a signature that is not valid.",
  "disagreement": "It sums other reports than the others."
};
export const PHASES = {
  "advertise-keys": "Keys are exchanged",
  "share-keys": "Shares of keys are dealt",
  "masked-input": "Masked inputs arrive",
  "consistency": "Whose inputs count is agreed",
  "unmask": "Shares of masks are opened",
  "recover": "Masks are taken off the sum",
  "upload": "Reports arrive"
};
export const SERVICE = {
  "live": {"word": "Live", "tone": "good"},
  "opening": {
    "word": "Connecting", "tone": "calm",
    "means": "This page waits for the first word of the service.",
    "do": "It takes a moment."
  },
  "degraded": {
    "word": "Not ready", "tone": "warn",
    "means": "The service runs, and says that something is wrong with it:",
    "do": "It looks again by itself once that is mended."
  },
  "draining": {
    "word": "Draining", "tone": "warn",
    "means": "No further round of any task begins, and what runs may end.",
    "do": "Rounds of a task begin again when it is resumed, or when the service is started again."
  },
  "lost": {
    "word": "No contact", "tone": "bad",
    "means": "What is shown below is how it was then, and may have changed.",
    "do": "If it stays so, see whether the service runs, and whether this device reaches it."
  },
  "full": {
    "word": "Too many viewers", "tone": "warn",
    "means": "The service shows itself to as many as its limit of viewers allows.",
    "do": "This page gets its turn when another one is closed."
  },
  "out": {
    "word": "Signed out", "tone": "calm",
    "means": "This page is for those whom the service has given a link to it.",
    "do": "A new link is made on the service's machine, by"
  }
};
export const ENDS = {
  "left": "You have signed out. Nothing of the service is kept in this browser.",
  "over": "Your session is over: it ends after eight hours, and with the process of the service.",
  "used": "This link is not good any more: it works once, and for ten minutes after it was made.",
  "bare": "This address has no token in it: open the link as a whole, as it was printed."
};
export const DEEDS = {
  "open": {
    "label": "Open a round now", "done": "The next round is due at once.",
    "says": "Makes the next round due at once, before its time."
  },
  "pause": {
    "label": "Pause", "done": "Paused: no further round begins.",
    "says": "No further round begins until it is resumed. One that runs goes on."
  },
  "resume": {
    "label": "Resume", "done": "Resumed: the next round is due at once.",
    "says": "Rounds begin again. The next one is due at once."
  },
  "cancel": {
    "label": "Cancel this round", "done": "The round was cancelled.",
    "says": "Ends the round without a sum.",
    "title": "Cancel this round?", "no": "Let it run", "yes": "Cancel the round",
    "ask": [
      "It ends without a sum, and does not count as a failed one.",
      "The next round comes when it would have come."
    ]
  },
  "drain": {
    "label": "Drain the service", "done": "The service drains: no further round begins.",
    "says": "No further round of any task begins, as before the service is stopped.",
    "title": "Drain the service?", "no": "Go on as before", "yes": "Drain the service",
    "ask": [
      "No further round of any task begins. Rounds that run may end.",
      "Tasks can be resumed one by one; a new start of the service resumes all."
    ]
  }
};
/* Of what is promised, the lines that are shown at once; the others are folded. */
export const PROMISED = [
  "What the server learns", "Who must take part", "Who may drop", "Who may collude"
];
export const ICONS = {
  "empty": "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0-11",
  "waiting": "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0-11M8 5v3l2 1.5",
  "ready": "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0-11M5.5 8l2 2 3-3.5",
  "running": "M5 3l8 5-8 5z",
  "unmasking": "M8 2l6 6-6 6-6-6z",
  "paused": "M5.5 3.5v9M10.5 3.5v9",
  "draining": "M8 2v8M4.5 7L8 10.5 11.5 7M3 13.5h10",
  "done": "M2.5 8.5L6 12l7.5-8",
  "failed": "M3.5 3.5l9 9M12.5 3.5l-9 9",
  "dropped": "M3.5 3.5l9 9M12.5 3.5l-9 9",
  "sent": "M2.5 8.5L6 12l7.5-8",
  "owes": "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0-11M8 5v3l2 1.5",
  "live": "M8 5a3 3 0 1 0 0 6a3 3 0 1 0 0-6",
  "opening": "M3 8h.01M8 8h.01M13 8h.01",
  "degraded": "M8 2l6.5 11.5h-13zM8 6.5v3M8 11.5v.01",
  "lost": "M1.5 8H5M5 5v6M11 5v6M11 8h3.5",
  "full": "M8 2l6.5 11.5h-13zM8 6.5v3M8 11.5v.01",
  "out": "M9 3H3v10h6M7 8h7M11.5 5.5L14 8l-2.5 2.5"
};
