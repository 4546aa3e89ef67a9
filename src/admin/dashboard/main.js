// Where the page begins: it asks for the token once, then listens to the agent, and says so when it does not hear it.

import { Refused, ask, events, token } from "./api.js";
import { element, say, set, show, tell } from "./dom.js";
import * as page from "./page.js";
import { duration } from "./words.js";

/** A status comes every second; without one for so long the connection is given up. */
const SILENCE = 8000;
/** How long to wait before it is tried again, at first and at most, in milliseconds. */
const PAUSE = { first: 1000, most: 15_000 };

let heard = 0;
let connected = false;
let listening = null;

/** Asks for the token, and says what is wrong with the one before. */
function askToken(wrong) {
  token.forget();
  listening?.abort();
  listening = null;
  show(element("board"), false);
  show(element("door"), true);
  show(element("forget"), false);
  say(element("door-error"), wrong);
  say(element("link"), "");
  say(element("about"), "");
  element("token").value = "";
  element("token").focus();
}

async function enter(event) {
  event.preventDefault();
  const given = element("token").value.trim();
  // A header takes nothing else, and no token has anything else.
  if (!/^[\x21-\x7e]+$/.test(given)) {
    askToken("That is no token: it is one line of printable characters.");
    return;
  }
  token.set(given);
  say(element("door-error"), "");
  listen();
}

/** Listens for as long as the token is good, over any number of connections. */
async function listen() {
  const mine = new AbortController();
  listening = mine;
  let pause = PAUSE.first;
  while (!mine.signal.aborted) {
    try {
      for await (const status of statuses(mine.signal)) {
        if (mine.signal.aborted) return;
        heard = Date.now();
        connected = true;
        pause = PAUSE.first;
        show(element("door"), false);
        show(element("board"), true);
        show(element("forget"), true);
        page.update(status);
        tellLink();
      }
      throw new Error("the agent ended the connection");
    } catch (error) {
      if (mine.signal.aborted) return;
      if (error instanceof Refused && error.kind === "unauthorized") {
        askToken("The agent does not know this token.");
        return;
      }
      connected = false;
      if (heard === 0) tell(`the agent does not answer: ${error.message}`, "bad");
      else say(element("live"), "connection lost");
      tellLink();
    }
    // Spread out, so that not every open page comes at once after a restart.
    await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random() / 2)));
    pause = Math.min(pause * 2, PAUSE.most);
  }
}

/** What the agent remembers first, then every status; ends with an error when it falls silent. */
async function* statuses(outer) {
  const silence = new AbortController();
  const end = () => silence.abort(new Error("nothing was heard for too long"));
  outer.addEventListener("abort", end);
  let timer = setTimeout(end, SILENCE);
  try {
    page.remember(await ask("/v1/history", undefined, silence.signal));
    for await (const { name, data } of events("/v1/events", undefined, silence.signal)) {
      clearTimeout(timer);
      timer = setTimeout(end, SILENCE);
      if (name === "status") yield data;
    }
  } finally {
    clearTimeout(timer);
    outer.removeEventListener("abort", end);
  }
}

/** Whether what is shown is what is. */
function tellLink() {
  if (heard === 0) return;
  const link = element("link");
  set(link, "data-level", connected ? "good" : "bad");
  set(document.body, "data-stale", String(!connected));
  say(link, connected ? "live" : `connection lost: this is as it was ${duration((Date.now() - heard) / 1000)} ago`);
}

element("door-form").addEventListener("submit", enter);
element("forget").addEventListener("click", () => askToken(""));
element("said-close").addEventListener("click", () => {
  element("said").hidden = true;
});
setInterval(() => {
  if (!connected) tellLink();
}, 1000);

if (token.get()) listen();
else askToken("");
