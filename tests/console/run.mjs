// The console in a real browser. Usage: node run.mjs PAGE TOKEN TOOLS [FOLDER]
//
// PAGE is the console of the real program, TOKEN one of its tokens, TOOLS the folder with the two packages of npm.
// With FOLDER, a picture of each view is written there.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { FakeApi, TOKEN, purge, uuid } from "./fake_api.mjs";

const [real, realToken, tools, pictures] = process.argv.slice(2);
const require = createRequire(`${tools}/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
const api = await FakeApi.before(real);
const VIEWS = ["overview", "purges", `purge/${uuid(100_000)}`, "publish", "explain", "freshness", "credentials", "configuration"];

const tests = [];
const test = (name, body) => tests.push([name, body]);

/** A tab in which an error of the page, or a breach of its policy, fails the test. */
async function tab(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error" && !/Failed to load resource/.test(message.text())) page.faults.push(message.text());
  });
  return page;
}

async function open(page, view = "overview", url = api.url, token = TOKEN) {
  await page.goto(`${url}#/${view}`);
  await page.fill("#token", token);
  await page.click("#login button");
  await page.waitForSelector("#title");
}

async function go(page, view) {
  await page.evaluate((hash) => { location.hash = hash; }, `#/${view}`);
  await page.waitForFunction((hash) => location.hash === hash && document.querySelector("#title"), `#/${view}`);
}

/** Fills a view with everything that it can show. */
async function fill(page, view) {
  if (view === "overview") await page.waitForSelector(".chart path");
  if (view === "purges") await page.waitForSelector("#purges tr");
  if (view.startsWith("purge/")) await page.waitForSelector(".timeline li");
  if (view === "publish") {
    await page.fill("#items", "/blog/first\nproduct-42");
    await page.click("#try");
    await page.waitForSelector("#plan article");
  }
  if (view === "explain") {
    await page.fill("#url", "https://www.example.com/blog/first");
    await page.click("#fetch");
    await page.waitForSelector("#explained tbody tr");
  }
  if (view === "freshness") {
    await page.fill("#fresh-url", "https://www.example.com/blog/1");
    await page.click("#look");
    await page.waitForSelector("#freshness-result tbody tr");
  }
  if (view === "credentials") {
    await page.click("#check");
    await page.waitForSelector("#checked article");
  }
  if (view === "configuration") {
    await page.click("#compare");
    await page.waitForSelector("#difference li");
  }
}

async function look(page, what) {
  // The page's policy forbids scripts from elsewhere; the debugger is not bound by it.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] }));
  const bad = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
  const found = bad.flatMap(({ id, nodes }) => nodes.slice(0, 3).map((node) => `${id}: ${node.html.slice(0, 200)}\n    ${node.failureSummary}`));
  assert.deepEqual(found, [], `${what}: axe-core`);
}

for (const colorScheme of ["light", "dark"]) {
  test(`every view is accessible and harmless: ${colorScheme}`, async () => {
    const page = await tab({ colorScheme });
    await open(page);
    for (const view of VIEWS) {
      await go(page, view);
      await fill(page, view);
      await look(page, view);
      assert.equal(await page.locator("main img, main script, main iframe").count(), 0, `${view}: markup from content`);
      assert.doesNotMatch(await page.title(), /broken in/);
      assert.doesNotMatch(await page.locator("main").innerText(), /[\u202a-\u202e\u2066-\u2069]/, `${view}: turned text`);
      if (pictures) await page.screenshot({ path: `${pictures}/${view.split("/")[0]}-${colorScheme}.png`, fullPage: view !== "overview" });
    }
    assert.deepEqual(page.faults, []);
    await page.context().close();
  });
}

test("no view is wider than a phone or narrower than a wall", async () => {
  const page = await tab({ viewport: { width: 360, height: 740 } });
  await open(page);
  for (const view of VIEWS) {
    await page.setViewportSize({ width: 360, height: 740 });
    await go(page, view);
    await fill(page, view);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 360, `${view} is ${width} wide`);
    if (pictures) await page.screenshot({ path: `${pictures}/${view.split("/")[0]}-phone.png` });
    await page.setViewportSize({ width: 3840, height: 2160 });
    assert.ok(await page.evaluate(() => document.querySelector("main").clientWidth) >= 1900, view);
  }
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a link with a token opens the console and leaves no token behind", async () => {
  const page = await tab();
  await page.goto(`${api.url}#token=${TOKEN}`);
  await page.waitForSelector(".chart path");
  assert.equal(new URL(page.url()).hash, "#/overview");
  await page.goto(`${api.url}#token=wrong`);
  await page.reload();
  await page.waitForSelector("#login:not([hidden])");
  assert.doesNotMatch(page.url(), /wrong/);
  await page.context().close();
});

test("the overview tells what happens now, and its charts speak", async () => {
  const page = await tab();
  await open(page);
  await page.waitForSelector(".chart path");
  const facts = await page.locator(".now").first().innerText();
  for (const text of ["a second", "%", "99 of 100", "Publish to CDN"]) assert.ok(facts.includes(text), facts);
  assert.match(await page.locator("article").first().innerText(), /Pages get short lifetimes until purges get through again/);
  const chart = page.locator("#requests-www");
  await chart.focus();
  await page.keyboard.press("Home");
  const first = await chart.getAttribute("aria-valuetext");
  await page.keyboard.press("ArrowRight");
  const second = await chart.getAttribute("aria-valuetext");
  assert.match(first, /long lifetime/);
  assert.notEqual(first, second);
  await page.locator("#requests-www").hover();
  assert.match(await page.locator("#requests-www + .readout").innerText(), /:.*long lifetime/);
  await page.check("#span-24h");
  await page.waitForFunction(() => document.querySelector("#requests-www").getAttribute("aria-valuemax") === "1439");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("nothing moves while the overview lives", async () => {
  const page = await tab();
  await page.addInitScript(() => {
    globalThis.moved = 0;
    new PerformanceObserver((list) => list.getEntries().forEach((entry) => { if (!entry.hadRecentInput) globalThis.moved += entry.value; })).observe({ type: "layout-shift", buffered: true });
  });
  await open(page);
  await page.waitForSelector(".chart path");
  await page.evaluate(() => { globalThis.moved = 0; });
  for (let times = 0; times < 3; times += 1) {
    const drawn = await page.evaluate(() => { document.querySelector(".chart").dataset.old = "1"; });
    api.tell("health", { site: "www", cdn: "fastly", healthy: true, reasons: [], at: new Date().toISOString() });
    await page.waitForFunction(() => !document.querySelector(".chart").dataset.old, drawn);
  }
  assert.ok(await page.evaluate(() => globalThis.moved) < 0.01);
  await page.context().close();
});

test("everything can be done with the keyboard", async () => {
  const page = await tab();
  await page.goto(api.url);
  await page.keyboard.type(TOKEN);
  await page.keyboard.press("Enter");
  await page.waitForSelector("#views a:focus");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#publish");
  assert.equal(await page.evaluate(() => document.activeElement.id), "title");
  await page.focus("#items");
  await page.keyboard.type("/blog/first");
  await page.focus("#try");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#plan article");
  await page.focus("#send");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".timeline li");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a purge is tried before it is sent, and everything needs the site's name", async () => {
  const page = await tab();
  await open(page, "publish");
  assert.ok(await page.isDisabled("#send"));
  await page.fill("#items", "https://www.example.com/a?b=1\n/blog/*\n/a\nproduct-42");
  await page.click("#try");
  await page.waitForSelector("#plan article");
  const [, path, body] = api.sent.at(-1);
  assert.equal(path, "/v1/sites/www/purges");
  assert.deepEqual(body, { urls: ["https://www.example.com/a?b=1"], paths: ["/a"], tags: ["product-42"], prefixes: ["/blog/"], dry_run: true });
  const plan = await page.innerText("#plan");
  for (const text of ["4,000 items in 2 calls", "$20.00", "the first 1,000 of a month", "Purged more widely"]) assert.ok(plan.includes(text), plan);
  await page.fill("#reason", "changed");
  assert.ok(await page.isDisabled("#send"), "a changed form was not tried");
  await page.check("#everything");
  await page.click("#try");
  await page.waitForSelector("#plan article");
  const before = api.sent.length;
  await page.click("#send");
  await page.waitForSelector(".note.bad");
  assert.equal(api.sent.length, before, "nothing is sent without the name");
  await page.fill("#site-name", "www");
  await page.click("#try");
  await page.waitForSelector("#plan article");
  await page.click("#send");
  await page.waitForSelector(".timeline li");
  assert.deepEqual(api.sent.at(-1)[2], { reason: "changed", everything: true });
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a purge is followed live", async () => {
  const page = await tab();
  const one = purge(-2, { state: "sending", finished_at: null });
  Object.assign(one.jobs[0], { state: "sending", accepted_at: null, verification: null, verified_at: null, attempts: [] });
  api.purges.unshift(one);
  await open(page, `purge/${one.id}`);
  await page.waitForSelector("text=A call is under way.");
  Object.assign(one, purge(-2));
  api.tell("job", { purge: one.id, site: "www", cdn: "fastly", state: "done", verification: "fresh", purge_ended: "done", at: new Date().toISOString() });
  await page.waitForSelector("text=Verified: the copies at the CDN are newer than the purge");
  const steps = await page.innerText(".timeline");
  for (const text of ["Guard:", "Retry: 2 items, status 200", "Sent again", "the CDN is busy", "Purged more widely", "took effect everywhere"]) assert.ok(steps.includes(text), steps);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("10,000 purges do not stall the list", async () => {
  const kept = api.purges;
  api.purges = Array.from({ length: 10_000 }, (_, index) => purge(index + 1));
  const page = await tab();
  await open(page, "purges");
  await page.waitForSelector("#purges tr");
  await page.evaluate(() => {
    globalThis.drawn = 0;
    new MutationObserver(() => { globalThis.drawn += 1; }).observe(document.querySelector("#purges"), { childList: true });
  });
  for (let number = 2; number <= 8; number += 1) {
    await page.click("#older");
    await page.waitForSelector(`text=Page ${number}`);
  }
  for (let number = 7; number >= 1; number -= 1) {
    await page.click("#newer");
    await page.waitForSelector(number === 1 ? "text=The newest purges" : `text=Page ${number}`);
  }
  // A storm of ten thousand purges within a moment.
  for (let index = 0; index < 10_000; index += 1) api.tell("purge", purge(-10 - index));
  await page.waitForFunction((last) => document.querySelector("#purges a")?.id === `purge-${last}`, uuid(110_009));
  assert.ok(await page.locator("#purges tr").count() <= 50);
  // The list is drawn for many purges at a time, and never holds more than a page.
  assert.ok(await page.evaluate(() => globalThis.drawn) < 1000);
  assert.deepEqual(page.faults, []);
  api.purges = kept;
  await page.context().close();
});

test("a shim that goes away and comes back is noticed", async () => {
  const page = await tab();
  await open(page, "purges");
  await page.waitForSelector("#live:text('Live')");
  await api.stop();
  await page.waitForSelector("#live:text('Not connected')");
  await page.click("nav a:text('Credentials')");
  await page.click("#check");
  await page.waitForSelector("text=The shim does not answer");
  await api.start();
  await page.waitForSelector("#live:text('Live')");
  await page.click("#check");
  await page.waitForSelector("#checked article");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a token that expires leads back to the door, and nothing stays on the page", async () => {
  const page = await tab();
  await open(page, "purges");
  await page.waitForSelector("#purges tr");
  api.valid = false;
  await page.selectOption("#state", "failed");
  await page.waitForSelector("text=not valid (any more)");
  assert.ok(await page.isVisible("#login"));
  assert.equal(await page.locator("#purges").count(), 0);
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  api.valid = true;
  await page.fill("#token", "wrong");
  await page.click("#login button");
  await page.waitForSelector("text=not valid (any more)");
  await page.fill("#token", TOKEN);
  await page.click("#login button");
  await page.waitForSelector("#purges tr");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("the real program: from a token to a purge that is done", async () => {
  const page = await tab();
  await open(page, "publish", real, realToken);
  await page.fill("#items", "product-42");
  await page.click("#try");
  await page.waitForSelector("#plan article");
  await page.click("#send");
  await page.waitForSelector("text=The CDN has accepted every item");
  await go(page, "overview");
  await page.waitForSelector(".plot .chart");
  await go(page, "explain");
  await page.fill("#url", "https://www.example.test/a");
  await page.click("#fetch");
  await page.waitForSelector("#explained tbody tr");
  await go(page, "configuration");
  await page.click("#compare");
  await page.waitForSelector("text=What runs is what the file says.");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

let failed = 0;
const only = process.env.ONLY;
for (const [name, body] of tests.filter(([name]) => !only || name.includes(only))) {
  const started = Date.now();
  try {
    await body();
    console.log(`ok ${name} (${Date.now() - started} ms)`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}\n${error.stack}`);
  }
}
await browser.close();
await api.stop();
process.exit(failed === 0 ? 0 : 1);
