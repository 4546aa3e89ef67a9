// A browser for one script: Chromium with the dashboard in it, what went wrong there, and what the agent itself says.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

const require = createRequire(join(process.env.CHROMIUM_PACKAGES, "package.json"));
const { Builder, By, Key, logging, until } = require("selenium-webdriver");
const chrome = require("selenium-webdriver/chrome");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

export { By, Key };

const { DASHBOARD_URL: url, DASHBOARD_TOKEN: token, DASHBOARD_PICTURES: pictures } = process.env;
/** How long a condition may take to come true: many times what it takes on a busy machine. */
const DEADLINE = 60_000;
/** What takes longer is told. */
const SLOW = 5_000;

export { token, url };

/** Waits until something is so, and returns it. */
export async function eventually(what, condition) {
  const start = Date.now();
  for (;;) {
    let last;
    try {
      const is = await condition();
      if (is) {
        const took = Date.now() - start;
        if (took > SLOW) console.log(`slow, ${took} ms: ${what}`);
        return is;
      }
    } catch (error) {
      // Nodes come and go while the page draws.
      last = error;
    }
    assert.ok(Date.now() - start < DEADLINE, `in vain: ${what}${last ? `; ${last.message}` : ""}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Asks the agent's API, as another client than the page. */
export async function ask(path, body) {
  const response = await fetch(url + path, {
    method: body === undefined ? "GET" : "POST",
    headers: { Authorization: `Bearer ${token}` },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  assert.ok(response.ok, `${path}: ${response.status}`);
  return response.json();
}

/** A destination, as the agent's status tells it. */
export async function destination(name) {
  return (await ask("/v1/status")).destinations.find((one) => one.name === name);
}

const answers = createInterface({ input: process.stdin });
const answered = answers[Symbol.asyncIterator]();

/** Has the test that started this script do something to what the agent delivers to. */
export async function please(what) {
  console.log(`please ${what}`);
  const { value } = await answered.next();
  assert.equal(value, `done ${what}`);
}

export class Browser {
  static async start() {
    const options = new chrome.Options();
    options.setChromeBinaryPath(process.env.CHROMIUM);
    options.addArguments("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1280,900",
      "--force-prefers-reduced-motion", "--enable-precise-memory-info");
    const preferences = new logging.Preferences();
    preferences.setLevel(logging.Type.BROWSER, logging.Level.ALL);
    options.setLoggingPrefs(preferences);
    const driver = await new Builder().forBrowser("chrome").setChromeOptions(options)
      .setChromeService(new chrome.ServiceBuilder(process.env.CHROMEDRIVER)).build();
    await driver.manage().setTimeouts({ script: 300_000 });
    const browser = new Browser();
    browser.driver = driver;
    await browser.tools("Page.addScriptToEvaluateOnNewDocument", {
      source: `window.violations = [];
        document.addEventListener("securitypolicyviolation", ({ violatedDirective: of, blockedURI, sample }) =>
          window.violations.push([of, blockedURI, sample].join(" ")));`,
    });
    return browser;
  }

  /** A command of the Chrome DevTools protocol. */
  tools(command, parameters = {}) {
    return this.driver.sendAndGetDevToolsCommand(command, parameters);
  }

  run(script, ...parameters) {
    return this.driver.executeScript(script, ...parameters);
  }

  /** Runs the body of an async function. */
  async wait(script, ...parameters) {
    const body = `const done = arguments[arguments.length - 1];
      (async (...parameters) => { ${script} })(...[...arguments].slice(0, -1))
        .then((value) => done({ value }), (error) => done({ error: String(error?.stack ?? error) }));`;
    const { value, error } = await this.driver.executeAsyncScript(body, ...parameters);
    assert.equal(error, undefined);
    return value;
  }

  find(selector) {
    return this.driver.findElement(By.css(selector));
  }

  all(selector) {
    return this.driver.findElements(By.css(selector));
  }

  async text(selector) {
    return (await this.find(selector)).getText();
  }

  async click(selector) {
    await eventually(`${selector} can be clicked`, async () => {
      const node = await this.find(selector);
      if (!(await node.isDisplayed()) || !(await node.isEnabled())) return false;
      await node.click();
      return true;
    });
  }

  /** Clicks what says this. */
  async press(words, within = "") {
    await eventually(`"${words}" can be pressed in ${within || "the page"}`, async () => {
      for (const button of await this.all(`${within} button`)) {
        if ((await button.getText()) === words && (await button.isEnabled())) {
          await button.click();
          return true;
        }
      }
      return false;
    });
  }

  async type(...keys) {
    await this.driver.actions().sendKeys(...keys).perform();
  }

  /** The dialog on top. */
  async dialog() {
    const open = await this.all("dialog[open]");
    return open.at(-1);
  }

  async says(selector, words) {
    await eventually(`${selector} says "${words}"`, async () => (await this.text(selector)).includes(words));
  }

  /** Opens the page and gives it the token. */
  async enter() {
    await this.driver.get(url);
    await eventually("the token is asked for", async () => (await this.find("#token")).isDisplayed());
    await (await this.find("#token")).sendKeys(token, Key.ENTER);
    await this.driver.wait(until.elementIsVisible(await this.find("#board")), DEADLINE);
  }

  /** How it looks: light or dark, on a screen or a phone. */
  async look(theme, width = 1280, height = 900) {
    await this.tools("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value: theme }, { name: "prefers-reduced-motion", value: "reduce" }],
    });
    const mobile = width < 600;
    // A picture is as wide as the page then.
    await this.tools("Emulation.setScrollbarsHidden", { hidden: true });
    await this.tools("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: mobile ? 2 : 1, mobile });
  }

  /** The whole page as a picture, or what is to be seen of it. */
  async picture(name, whole = true) {
    if (whole) await this.run("scrollTo(0, 0)");
    const metrics = await this.tools("Page.getLayoutMetrics");
    const { width, height } = metrics.cssContentSize;
    const clip = whole ? { clip: { x: 0, y: 0, width, height: Math.min(height, 6000), scale: 1 }, captureBeyondViewport: true } : {};
    const { data } = await this.tools("Page.captureScreenshot", { format: "png", ...clip });
    mkdirSync(pictures, { recursive: true });
    writeFileSync(join(pictures, `${name}.png`), Buffer.from(data, "base64"));
  }

  /** Nothing that axe-core finds, and nothing beyond the width. */
  async accessible(where) {
    if (!(await this.run("return Boolean(window.axe)"))) await this.run(axe);
    const found = await this.wait(`
      const { violations } = await axe.run(document, { resultTypes: ["violations"] });
      return violations.map(({ id, help, nodes }) => \`\${id}: \${help}: \${nodes.slice(0, 3).map(({ html, failureSummary }) => html + " " + failureSummary).join(" | ")}\`);`);
    assert.deepEqual(found, [], where);
    const [inner, needed] = await this.run("return [innerWidth, document.documentElement.scrollWidth]");
    assert.ok(needed <= inner, `${where}: the page is ${needed} wide, the screen ${inner}`);
  }

  /** Nothing went wrong in the browser since it was asked last, and no data became markup. */
  async sound(where, allowed = []) {
    const entries = await this.driver.manage().logs().get("browser");
    const said = entries.map(({ level, message }) => `${level.name} ${message}`);
    assert.deepEqual(said.filter((line) => !allowed.some((part) => line.includes(part))), [], where);
    assert.deepEqual(await this.run("return window.violations"), [], where);
    const [flag, foreign] = await this.run(`
      const known = "script[src='/dashboard/main.js']";
      const foreign = document.querySelectorAll("img, iframe, object, embed, style, form[action], [onerror], [onload], script:not(" + known + ")");
      return [typeof window.__xss, [...foreign].map((node) => node.outerHTML)];`);
    assert.equal(flag, "undefined", where);
    assert.deepEqual(foreign, [], where);
  }

  async stop() {
    await this.driver.quit();
    answers.close();
  }
}

/** Runs a script's steps, each with its name, and leaves a picture of where it ended. */
export async function steps(all) {
  const browser = await Browser.start();
  try {
    for (const [name, step] of Object.entries(all)) {
      const start = Date.now();
      await step(browser);
      console.log(`ok ${name} (${Date.now() - start} ms)`);
    }
  } catch (error) {
    await browser.picture("failed").catch(() => {});
    throw error;
  } finally {
    await browser.stop();
  }
}
