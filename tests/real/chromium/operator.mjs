// What an operator does with the page, at a real agent with four destinations: `archive` and `search` take everything,
// `catalog` refuses some records, `mirror` is down. Everything that comes from outside tries to become markup.

import assert from "node:assert/strict";

import { By, Key, ask, destination, eventually, please, steps, token } from "./browser.mjs";
import { before } from "./invented.mjs";

/** What becomes a running script wherever it becomes markup. */
const MARKUP = "<img src=x onerror=window.__xss=1>";
const SCRIPT = "<script>window.__xss=1</script>";

const row = (name) => `#destination-${name}`;

async function asksForTheToken(browser) {
  await browser.driver.get(process.env.DASHBOARD_URL);
  await eventually("the token is asked for", async () => (await browser.find("#token")).isDisplayed());
  assert.equal(await (await browser.driver.switchTo().activeElement()).getAttribute("id"), "token");
  assert.equal(await (await browser.find("#board")).isDisplayed(), false);
  await browser.sound("at the door");
  await browser.accessible("at the door");
  await (await browser.find("#token")).sendKeys("0".repeat(64), Key.ENTER);
  await browser.says("#door-error", "The agent does not know this token.");
  // The browser says by itself that there was a 401.
  await browser.sound("after a wrong token", ["401 (Unauthorized)"]);
  await (await browser.find("#token")).sendKeys("two words", Key.ENTER);
  await browser.says("#door-error", "That is no token");
  await browser.enter();
  await eventually("the page is live", async () => (await browser.text("#link")).includes("live"));

  // Once is enough, for this tab.
  await browser.driver.navigate().refresh();
  await eventually("the page is live again", async () => (await browser.text("#link")).includes("live"));
  assert.equal(await (await browser.find("#door")).isDisplayed(), false);
  assert.equal(await browser.run("return sessionStorage.getItem('sync-agent-token')"), token);
  assert.equal(await browser.run("return localStorage.length + document.cookie.length"), 0);
}

async function saysWhatIsWrong(browser) {
  await browser.says(`${row("mirror")} .state`, "breaker open");
  await browser.says("#headline", "mirror: breaker open");
  await browser.says("#problems", "503");
  await browser.says("#problems", "3 dead letters");
  const names = await Promise.all((await browser.all(".destination .name")).map((node) => node.getText()));
  assert.deepEqual(names, ["mirror", "archive", "catalog", "search"]);
  assert.match(await browser.driver.getTitle(), /^\(1\) sync-agent$/);
  await browser.says("#config", "agent.toml".slice(-4));
  await browser.says("#transforms-empty", "None");
  await browser.sound("with everything on the page");
}

async function pausesAndResumes(browser) {
  await browser.click(`${row("archive")} .act`);
  await browser.says("dialog[open] h2", "Pause archive?");
  await browser.accessible("in the dialog of a pause");
  await browser.type(MARKUP);
  await browser.press("Pause archive", "dialog[open]");
  await eventually("archive is paused", async () => (await destination("archive")).state === "paused");
  assert.equal((await destination("archive")).why, MARKUP);
  await browser.says("#said", "archive is paused");
  await browser.says(`${row("archive")} .trouble`, MARKUP);
  await browser.says("#headline", "2 of 4 destinations need attention");
  await browser.says("#config", "differs from the config: destination archive is paused");
  assert.equal((await browser.all("dialog")).length, 0);
  await browser.sound("while it is paused");

  await eventually("it can be resumed", async () => (await browser.text(`${row("archive")} .act`)) === "Resume");
  await browser.click(`${row("archive")} .act`);
  await eventually("archive goes on", async () => (await destination("archive")).state === "running");
  await browser.says("#said", "archive goes on");
  await browser.says(`${row("archive")} .state`, "running");
}

async function worksByKeyboard(browser) {
  const focused = () => browser.run("const node = document.activeElement; return node.getAttribute('aria-label') ?? node.textContent");
  await browser.run("document.querySelector('.skip').focus()");
  const seen = [];
  for (let tab = 0; tab < 12; tab += 1) {
    seen.push(await focused());
    const outline = await browser.run("const style = getComputedStyle(document.activeElement); return style.outlineStyle + ' ' + style.outlineWidth");
    if (tab > 0) assert.equal(outline, "solid 3px", `the focus is to be seen on ${seen.at(-1)}`);
    await browser.type(Key.TAB);
  }
  const order = ["Lock: forget the token", "mirror", "Pause mirror", "archive", "Pause archive"].map((name) => seen.findIndex((words) => words.trim().startsWith(name)));
  assert.ok(order.every((place, at) => place >= 0 && (at === 0 || place > order[at - 1])), `in the order of the page: ${seen}`);

  // A dialog opens, is left by Escape, and the focus is where it was.
  await browser.run(`document.querySelector("${row("search")} .act").focus()`);
  await browser.type(Key.ENTER);
  await browser.says("dialog[open] h2", "Pause search?");
  await browser.type(Key.ESCAPE);
  await eventually("the dialog is gone", async () => (await browser.all("dialog")).length === 0);
  assert.equal(await focused(), "Pause search");
  assert.equal((await destination("search")).state, "running");

  // A row opens in its place, and the focus stays.
  await browser.run(`document.querySelector("${row("mirror")} .name").focus()`);
  await browser.type(Key.ENTER);
  await browser.says(`${row("mirror")} .more`, "what became of every record");
  await eventually("its charts have words", async () => (await (await browser.find(`${row("mirror")} .more svg`)).getAttribute("aria-label")).includes("the last hour"));
  assert.equal(await (await browser.find(`${row("mirror")} .name`)).getAttribute("aria-expanded"), "true");
  await browser.press("Probe", row("mirror"));
  await browser.says("#said", "mirror");
  await browser.accessible("with a row open");
  await browser.type(Key.ENTER);
}

async function looksAtDeadLetters(browser) {
  const before = await destination("catalog");
  assert.deepEqual(before.dead_letters.by_reason, { not_admitted: 1, rejected: 2 });
  await browser.says("#letters", "rejected");
  await browser.press("Show letters", "#letters");
  await eventually("all are listed", async () => (await browser.all("dialog .letter")).length === 3);
  const listed = await browser.text("dialog .letters");
  for (const words of [`${SCRIPT} in products`, `1 in ${MARKUP}`, `${MARKUP} \\u{202e}cannot be`, "rejected (400)", "not_admitted"]) {
    assert.ok(listed.includes(words), `${words} in ${listed}`);
  }
  await browser.accessible("with the letters listed");
  await browser.picture("letters-light", false);
  await browser.look("dark");
  await browser.accessible("with the letters listed, dark");
  await browser.look("dark", 360, 780);
  await browser.accessible("with the letters listed, on a phone");
  await browser.picture("letters-phone-dark", false);
  await browser.look("light");

  await (await browser.find("#letters-object")).sendKeys("nobody", Key.ENTER);
  await browser.says("dialog [role=status]", "no such letters");
  await (await browser.find("#letters-object")).clear();
  await (await browser.find("#letters-object")).sendKeys(SCRIPT, Key.ENTER);
  await eventually("one is listed", async () => (await browser.all("dialog .letter")).length === 1);

  await browser.click("dialog .letter");
  await eventually("its data is shown", async () => (await browser.all("dialog pre")).length === 1);
  const data = await browser.text("dialog pre");
  assert.ok(data.includes(`"html": "</pre>${SCRIPT}${MARKUP}"`), data);
  assert.ok(data.includes("\\u202e"), `what turns the direction of writing is escaped: ${data}`);
  await browser.accessible("with a letter shown");
  await browser.picture("letter-light", false);
  await browser.sound("with a letter shown");
  await browser.type(Key.ESCAPE);
  await eventually("the list is on top again", async () => (await browser.all("dialog")).length === 1);
  assert.equal(await browser.run("return document.activeElement.className"), "letter");
  await browser.type(Key.ESCAPE);
}

async function replaysDeadLetters(browser) {
  const chosen = async () => {
    await browser.press("rejected 2", "#letters");
    await eventually("two are listed", async () => (await browser.all("dialog .letter")).length === 2);
    await browser.press("Replay these …", "dialog");
    await browser.says("dialog:has(#replay-force) [role=status]", "Dry run, nothing was sent. 2 letters: 2 would be sent");
  };
  await chosen();
  assert.equal((await destination("catalog")).dead_letters.letters, 3);
  await browser.accessible("after a dry run");
  await browser.picture("replay-light", false);
  // It refuses them still.
  await browser.press("Replay 2 letters", "dialog");
  await browser.says("dialog:has(#replay-force) [role=status]", "2 letters: 0 delivered, 2 refused again");
  await browser.says("dialog .left", MARKUP);
  await browser.sound("after a replay in vain");
  await browser.type(Key.ESCAPE);
  await browser.type(Key.ESCAPE);
  await eventually("the dialogs are gone", async () => (await browser.all("dialog")).length === 0);

  await please("cure");
  await chosen();
  await browser.press("Replay 2 letters", "dialog");
  await browser.says("dialog:has(#replay-force) [role=status]", "2 letters: 2 delivered");
  assert.equal(await (await browser.find("dialog .primary")).isEnabled(), false);
  await browser.type(Key.ESCAPE);
  await browser.says("dialog [role=status]", "no such letters");
  await browser.type(Key.ESCAPE);
  await eventually("they are gone", async () => (await destination("catalog")).dead_letters.letters === 1);
  await browser.says("#problems", "1 dead letter waits");
}

/** Every string that an agent could ever send, as markup, wherever the page shows it. */
async function showsTextAsText(browser) {
  let count = 0;
  const hostile = (value) => {
    if (typeof value === "string") return `${MARKUP}${SCRIPT}${(count += 1)}`;
    if (Array.isArray(value)) return value.map(hostile);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, of]) => [key, hostile(of)]));
  };
  const status = await ask("/v1/status");
  const transform = { name: "", module: "", generation: 1, since: "", records: 1, failures: 1, cpu_seconds: 1, suspended: ["", ""], refused: { module: "", since: "", why: "" } };
  const refused = { at: "", config: { file: "", errors: [{ line: 1, key: "", message: "", accepted: "" }], text: "" } };
  const one = { ...status.destinations[0], why: "", last_error: "", until: "" };
  one.dead_letters = { letters: 3, bytes: 3, bytes_max: 4, by_reason: { [MARKUP]: 3 } };
  const said = hostile({ ...status, destinations: [one, one, one], transforms: [transform], config: { ...status.config, refused, drift: ["", ""] } });
  said.destinations[1].state = "paused";
  said.destinations[2].state = "open";
  await browser.wait(`const page = await import("/dashboard/page.js");
    page.update(parameters[0]);
    for (const name of document.querySelectorAll(".name")) name.click();
    page.update(parameters[0]);
    document.querySelector("#letters .actions button").click();`, said);
  // It asks for letters of what does not exist, which the browser says, too.
  await browser.sound("with markup everywhere", ["404 (Not Found)"]);
  assert.ok((await browser.run("return document.body.textContent")).split(MARKUP).length > 20);
  await browser.says("dialog [role=status]", "there is no destination");
  await browser.sound("with markup in an error", ["404 (Not Found)"]);
  await browser.type(Key.ESCAPE);
  await eventually("what is so is shown again", async () => (await browser.all(".destination")).length === 4);
}

async function showsARefusedConfig(browser) {
  await please("break");
  await browser.says("#headline", "the config");
  await browser.says("#problems", "the file is refused since");
  await browser.says("#config .refused", "unknown key");
  await browser.says("#config .refused ol", MARKUP);
  await browser.says("#config pre", MARKUP);
  await browser.accessible("with a refused config");
  await browser.sound("with a refused config");
}

async function looksGood(browser) {
  const status = await ask("/v1/status");
  await browser.wait(`const page = await import("/dashboard/page.js"); page.remember(parameters[0]);`, before(status));
  await browser.run(`if (document.querySelector("${row("mirror")} .more") === null) document.querySelector("${row("mirror")} .name").click()`);
  for (const [theme, width] of [["light", 1280], ["dark", 1280], ["light", 360], ["dark", 360], ["light", 768]]) {
    await browser.look(theme, width, width === 360 ? 780 : 900);
    await browser.accessible(`${theme}, ${width} wide`);
    await browser.picture(`four-${theme}-${width}`);
  }
  await browser.look("light");
}

async function saysWhenItHearsNothing(browser) {
  await please("stop");
  await browser.says("#link", "connection lost");
  await browser.accessible("while it hears nothing");
  await please("go on");
  await eventually("it is live again", async () => (await browser.text("#link")).includes("live"));
  // A connection that is cut is said by the browser, too.
  await browser.sound("after a silence", ["net::ERR_", "Failed to load resource"]);
}

async function forgetsTheToken(browser) {
  await browser.press("Lock");
  await eventually("it is asked for again", async () => (await browser.find("#token")).isDisplayed());
  assert.equal(await browser.run("return sessionStorage.length"), 0);
  assert.equal(await browser.driver.findElement(By.css("#board")).isDisplayed(), false);
  await browser.sound("at the end", ["net::ERR_"]);
}

await steps({
  asksForTheToken,
  saysWhatIsWrong,
  pausesAndResumes,
  worksByKeyboard,
  looksAtDeadLetters,
  replaysDeadLetters,
  showsTextAsText,
  showsARefusedConfig,
  looksGood,
  saysWhenItHearsNothing,
  forgetsTheToken,
});
