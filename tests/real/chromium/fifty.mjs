// The page at an agent with fifty destinations: it is drawn fast, looks right, and does not grow over an hour of updates.

import assert from "node:assert/strict";

import { ask, eventually, steps } from "./browser.mjs";
import { before, chance, iso, later } from "./invented.mjs";

const HOUR = 3600;
const GROWTH_BYTES_MAX = 20 * 2 ** 20;
/** Generous: a busy machine without a graphics card. It is some 5 ms on an idle one. */
const DRAW_MEDIAN_MAX = 50;

let status;

async function showsThem(browser) {
  await browser.enter();
  await eventually("all are there", async () => (await browser.all(".destination")).length === 50);
  await browser.says("#headline", "All 50 destinations are keeping up");
  status = await ask("/v1/status");
  assert.equal(status.destinations.length, 50);
  assert.deepEqual(Object.keys((await ask("/v1/history")).destinations).length, 50);
  await browser.sound("with fifty destinations");
}

async function looksGood(browser) {
  const now = later(status, 100);
  await browser.wait(`const page = await import("/dashboard/page.js"); page.remember(parameters[0]); page.update(parameters[1]);`, before(now), now);
  for (const [theme, width] of [["light", 1280], ["dark", 1280], ["light", 360], ["dark", 360]]) {
    await browser.look(theme, width, width === 360 ? 780 : 900);
    // One of each is enough here: axe-core takes seconds for fifty.
    if ((theme === "light") === (width > 600)) await browser.accessible(`fifty, ${theme}, ${width} wide`);
    await browser.wait(`const page = await import("/dashboard/page.js"); page.remember(parameters[0]); page.update(parameters[1]);`, before(now), now);
    await browser.picture(`fifty-${theme}-${width}`);
  }
  await browser.look("light");
}

/** What the page holds when everything that it let go of is gone. */
async function held(browser) {
  await browser.tools("HeapProfiler.collectGarbage");
  await browser.tools("HeapProfiler.collectGarbage");
  const { usedSize } = await browser.tools("Runtime.getHeapUsage");
  const nodes = await browser.run("return document.querySelectorAll('*').length");
  return { usedSize, nodes };
}

async function doesNotGrow(browser) {
  await browser.tools("HeapProfiler.enable");
  const feed = (from, to) => browser.wait(`
    const iso = ${iso};
    ${chance}
    ${later}
    const page = await import("/dashboard/page.js");
    const [status, from, to] = parameters;
    const times = [];
    for (let second = from; second < to; second += 1) {
      // As text, as it comes over the wire; a frame goes by now and then, as it does.
      const text = JSON.stringify(later(status, second));
      const start = performance.now();
      page.update(JSON.parse(text));
      times.push(performance.now() - start);
      if (second % 10 === 0) await new Promise(requestAnimationFrame);
    }
    return times;`, status, from, to);
  await feed(0, 120);
  const first = await held(browser);
  const times = [];
  for (let second = 120; second < 120 + HOUR; second += 600) times.push(...(await feed(second, second + 600)));
  const last = await held(browser);
  times.sort((a, b) => a - b);
  const at = (part) => times[Math.floor(part * (times.length - 1))].toFixed(1);
  const grown = last.usedSize - first.usedSize;
  console.log(`${times.length} updates of 50 destinations: median ${at(0.5)} ms, p95 ${at(0.95)} ms, longest ${at(1)} ms; ` +
    `heap ${(first.usedSize / 2 ** 20).toFixed(1)} MiB, grown by ${(grown / 2 ** 20).toFixed(2)} MiB; ${first.nodes} and ${last.nodes} elements`);
  assert.equal(times.length, HOUR);
  assert.ok(grown < GROWTH_BYTES_MAX, `grown by ${grown} bytes`);
  assert.ok(Number(at(0.5)) < DRAW_MEDIAN_MAX, `an update takes ${at(0.5)} ms`);
  assert.ok(Math.abs(last.nodes - first.nodes) < 500, `${first.nodes} and ${last.nodes} elements`);
  await browser.sound("after an hour");
}

await steps({ showsThem, looksGood, doesNotGrow });
