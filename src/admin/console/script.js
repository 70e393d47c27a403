"use strict";

const KEY = "origin-shim-token";
const ENDED = ["done", "failed", "cancelled"];
const $ = (id) => document.getElementById(id);

let token = sessionStorage.getItem(KEY);
let purges = []; // as shown, newest first
let cursor = null; // of the next page
let sitePages = 1; // that are shown
let stream = null; // aborts the listener
const open = new Map(); // purge id -> the purge with its attempts, while its details are shown

/** An element with properties and children; text is only ever text. */
function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function say(text, bad = false) {
  const message = $("message");
  message.textContent = text;
  message.className = bad ? "note bad" : "note";
  message.hidden = !text;
}

/** A call of the admin API: its answer, or an error in words. */
async function call(method, path, body) {
  const headers = { authorization: `Bearer ${token}` };
  if (body) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Error("The shim does not answer.");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const errors = (answer.errors ?? []).slice(0, 20).map(({ item, message }) => `\n${item}: ${message}`);
  const error = new Error(`${answer.title ?? `HTTP ${response.status}`}. ${answer.detail ?? ""}${errors.join("")}`);
  error.status = response.status;
  throw error;
}

/** Runs something that a person asked for; what goes wrong is said. */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    if (error.status === 401) leave("This token is not valid (any more).");
    else say(error.message, true);
  }
}

// ---- sites

async function showSites(more = false) {
  if (more) sitePages += 1;
  const sites = [];
  let next = null;
  for (let page = 0; page < sitePages && (page === 0 || next); page += 1) {
    const answer = await call("GET", `/v1/sites${next ? `?cursor=${encodeURIComponent(next)}` : ""}`);
    sites.push(...answer.sites);
    next = answer.next_cursor;
  }
  $("more-sites").hidden = !next;
  const chosen = $("site").value;
  $("site").replaceChildren(...sites.map(({ name }) => make("option", { value: name }, name)));
  if (sites.some(({ name }) => name === chosen)) $("site").value = chosen;
  keepFocus($("sites"), () => $("sites").replaceChildren(...sites.map(siteCard)));
}

function siteCard(site) {
  const hosts = site.default ? [...site.hosts, "every other host"] : site.hosts;
  const mode = site.mode === "on" ? null : make("span", { className: "badge" }, `mode ${site.mode}`);
  const card = make("article", { className: "card" },
    make("h3", {}, site.name, " ", mode),
    make("p", { className: "break" }, `${hosts.join(", ")} from ${site.origin.join(", ")}`));
  if (site.cdns.length === 0) return card.append(make("p", {}, "No CDN: a plain proxy.")), card;
  const head = ["CDN", "Purge health", "Pending", "Oldest", "Sending"];
  card.append(make("div", { className: "wide-table", tabIndex: 0, role: "region", ariaLabel: `CDNs of ${site.name}` }, make("table", {},
    make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, ...site.cdns.map((cdn) => cdnRow(site, cdn))))));
  return card;
}

function cdnRow(site, cdn) {
  const reasons = cdn.reasons.map((reason) => make("li", { className: "break" }, reason));
  const verb = cdn.paused ? "resume" : "pause";
  const button = make("button", { type: "button", id: `${verb}-${site.name}-${cdn.name}` }, cdn.paused ? "Resume" : "Pause");
  button.setAttribute("aria-label", `${button.textContent} ${cdn.name} of ${site.name}`);
  button.onclick = () => attempt(async () => {
    let body;
    if (verb === "pause") {
      const reason = prompt(`Stop sending purges to ${cdn.name}? Its pages get short lifetimes.\nReason (optional):`);
      if (reason === null) return;
      body = { reason };
    }
    await call("POST", `/v1/sites/${encodeURIComponent(site.name)}/cdns/${encodeURIComponent(cdn.name)}/${verb}`, body);
    await Promise.all([showSites(), showPurges()]);
  });
  return make("tr", {},
    make("th", { scope: "row" }, cdn.name, cdn.name === cdn.type ? "" : make("span", { className: "soft" }, ` ${cdn.type}`)),
    make("td", {},
      make("span", { className: `badge ${cdn.healthy ? "good" : "bad"}` }, cdn.healthy ? "healthy" : "unhealthy"),
      make("ul", { className: "reasons" }, ...reasons)),
    make("td", { className: "number" }, cdn.pending === null ? "unknown" : String(cdn.pending)),
    make("td", { className: "number" }, cdn.oldest_pending_seconds === null ? "–" : duration(cdn.oldest_pending_seconds)),
    make("td", { className: "nowrap" }, cdn.paused === null ? "unknown" : cdn.paused ? "paused " : "yes ", cdn.paused === null ? null : button));
}

// ---- purges

async function showPurges(more = false) {
  const query = new URLSearchParams({ limit: 20 });
  if ($("state").value) query.set("state", $("state").value);
  if (more && cursor) query.set("cursor", cursor);
  const found = [];
  // What is rare is not on every page.
  for (let pages = 0; pages < 20 && found.length < 20; pages++) {
    const page = await call("GET", `/v1/purges?${query}`);
    found.push(...page.purges);
    cursor = page.next_cursor;
    if (!cursor) break;
    query.set("cursor", cursor);
  }
  purges = more ? [...purges, ...found] : found;
  drawPurges();
}

function drawPurges() {
  keepFocus($("purges"), () => $("purges").replaceChildren(...purges.flatMap(purgeRows)));
  $("none").hidden = purges.length > 0;
  $("older").hidden = !cursor;
}

function purgeRows(purge) {
  const cdns = purge.jobs.map((job) => {
    const last = job.attempts.at(-1);
    const told = last && job.state !== "done" ? `${last.outcome}: ${last.message}` : null;
    return make("li", {}, `${job.cdn} `, badge(job.state), " ", copies(job), told && make("p", { className: "soft break" }, told),
      ...job.fallback.map((text) => make("p", { className: "soft break" }, text)),
      job.state === "failed" && job.fallback.length > 0 && make("p", { className: "soft break" }, "That failed, too: it was not purged."),
      job.state === "paused" && make("p", { className: "soft break" }, "Paused: nothing is sent to it until somebody resumes it."));
  });
  const row = make("tr", {},
    make("td", { className: "nowrap" }, make("time", { dateTime: purge.created_at, title: purge.created_at }, clock(purge.created_at))),
    make("td", {}, purge.site),
    make("td", { className: "break" }, make("span", { className: "mono" }, summary(purge.items)),
      purge.reason && make("p", { className: "soft" }, purge.reason)),
    make("td", {}, badge(purge.state)),
    make("td", {}, make("ul", {}, ...cdns)),
    make("td", {}, ...actions(purge)));
  return open.has(purge.id) ? [row, detailsRow(open.get(purge.id))] : [row];
}

function actions(purge) {
  const button = (text, id, action) => {
    const element = make("button", { type: "button", id: `${id}-${purge.id}` }, text);
    element.setAttribute("aria-label", `${text} the purge of ${clock(purge.created_at)}`);
    element.onclick = () => attempt(action);
    return element;
  };
  const act = (method, path) => async () => update(await call(method, `/v1/purges/${purge.id}${path}`));
  const failed = purge.jobs.some((job) => job.state === "failed");
  const loud = purge.jobs.some((job) => job.unacknowledged);
  const details = button(open.has(purge.id) ? "Hide" : "Details", "details", async () => {
    if (!open.delete(purge.id)) open.set(purge.id, await call("GET", `/v1/purges/${purge.id}`));
    drawPurges();
  });
  details.setAttribute("aria-expanded", String(open.has(purge.id)));
  return [
    details,
    failed ? button("Retry", "retry", act("POST", "/retry")) : null,
    loud ? button("Acknowledge", "acknowledge", act("POST", "/acknowledge")) : null,
    ENDED.includes(purge.state) ? null : button("Cancel", "cancel", act("DELETE", "")),
  ];
}

function detailsRow(purge) {
  const head = ["At", "Status", "Outcome", "Items", "Took", "Request id", "Message"];
  const jobs = purge.jobs.flatMap((job) => [
    make("h3", {}, `${job.cdn}: ${job.items} items`, job.verified_at && `, seen to be fresh ${clock(job.verified_at)}`),
    job.attempts.length === 0 ? make("p", { className: "soft" }, "Nothing was sent yet.") : make("table", {},
      make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col" }, text)))),
      make("tbody", {}, ...job.attempts.map((attempt) => make("tr", {},
        make("td", { className: "nowrap" }, clock(attempt.at)), make("td", {}, String(attempt.status ?? "–")),
        make("td", {}, attempt.outcome), make("td", { className: "number" }, String(attempt.items)),
        make("td", { className: "number" }, `${attempt.duration_ms} ms`),
        make("td", { className: "mono break" }, attempt.request_id ?? "–"), make("td", { className: "break" }, attempt.message))))),
  ]);
  const id = make("p", { className: "soft" }, "Purge ", make("span", { className: "mono" }, purge.id));
  return make("tr", { className: "details" }, make("td", { colSpan: 6 }, id, ...jobs));
}

/** Shows a purge as it stands, if it belongs on the page. */
function update(purge) {
  const index = purges.findIndex(({ id }) => id === purge.id);
  if (index >= 0) purges[index] = purge;
  else if (!$("state").value && (purges.length === 0 || purge.id > purges[0].id)) purges.unshift(purge);
  drawPurges();
}

/** What the API does not echo again is looked up, not more often than every half second. */
const later = new Map();
function soon(name, action) {
  if (later.has(name)) return;
  later.set(name, setTimeout(() => {
    later.delete(name);
    if (token) action().catch(() => {});
  }, 500));
}

async function lookUp(id) {
  const purge = await call("GET", `/v1/purges/${id}`);
  if (open.has(id)) open.set(id, purge);
  update(purge);
}

// ---- the purge form

$("purge").onsubmit = (event) => {
  event.preventDefault();
  attempt(async () => {
    const site = $("site").value;
    const everything = $("everything").checked;
    const body = { everything, urls: [], paths: [], tags: [], prefixes: [] };
    for (const line of $("items").value.split("\n").map((line) => line.trim()).filter(Boolean)) {
      if (/^https?:\/\//i.test(line)) body.urls.push(line);
      else if (line.startsWith("/") && line.endsWith("*")) body.prefixes.push(line.slice(0, -1));
      else if (line.startsWith("/")) body.paths.push(line);
      else body.tags.push(line);
    }
    if ($("mode").value) body.mode = $("mode").value;
    if ($("reason").value.trim()) body.reason = $("reason").value.trim();
    if (everything && !confirm(`Purge everything of ${site}?`)) return;
    const purge = await call("POST", `/v1/sites/${encodeURIComponent(site)}/purges`, body);
    const cdns = purge.jobs.map(({ cdn }) => cdn).join(", ");
    say(`Accepted: ${summary(purge.items)} will be purged from ${cdns}.`);
    $("items").value = "";
    $("everything").checked = false;
    update(purge);
  });
};

// ---- events: fetch, since EventSource cannot send a token

async function listen() {
  stream?.abort();
  const mine = (stream = new AbortController());
  while (token && !mine.signal.aborted) {
    try {
      const response = await fetch("/v1/events", { headers: { authorization: `Bearer ${token}` }, signal: mine.signal });
      if (response.status === 401) return leave("This token is not valid (any more).");
      if (!response.ok) throw new Error();
      $("live").textContent = "live";
      await Promise.all([showSites(), showPurges()]);
      await read(response.body);
    } catch {
      // Said below.
    }
    if (mine.signal.aborted) return;
    $("live").textContent = "not connected; trying again";
    await new Promise((wake) => setTimeout(wake, 2000));
  }
}

async function read(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const frames = text.split("\n\n");
    text = frames.pop();
    for (const frame of frames) {
      const [, name, data] = /^event: (.*)\ndata: (.*)$/.exec(frame) ?? [];
      if (name) told(name, JSON.parse(data));
    }
  }
}

function told(name, data) {
  if (name === "purge") update(data);
  if (name === "job" && purges.some(({ id }) => id === data.purge)) soon(`purge ${data.purge}`, () => lookUp(data.purge));
  if (name === "reload") {
    const count = data.reloaded?.changes.length;
    say(data.accepted ? `The configuration was reloaded: ${count} changes.` : `A reload was refused. ${data.detail}`, !data.accepted);
  }
  if (name === "lagged") soon("purges", () => showPurges());
  soon("sites", () => showSites());
}

// ---- small things

/** Redraws without taking the keyboard's place away. */
function keepFocus(container, draw) {
  const focused = container.contains(document.activeElement) ? document.activeElement.id : "";
  draw();
  if (focused) $(focused)?.focus();
}

function badge(state) {
  const kind = state === "done" ? "good" : state === "failed" ? "bad" : state === "cancelled" ? "still" : "";
  return make("span", { className: `badge ${kind}` }, state);
}

/** What a look at the CDN's copies showed, where there was one. */
function copies(job) {
  if (!job.verification) return null;
  const kind = { fresh: "good", stale: "bad" }[job.verification] ?? "still";
  return make("span", { className: `badge ${kind}` }, `copies ${job.verification}`);
}

function summary(items) {
  const kinds = [["", items.urls], ["", items.paths], ["tag ", items.tags], ["below ", items.prefixes]];
  const all = kinds.flatMap(([kind, list]) => (list ?? []).map((item) => kind + item));
  if (items.everything) all.unshift("everything");
  const more = items.total - 3;
  return all.length === 0 ? `${items.total} items` : all.slice(0, 3).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

function clock(time) {
  const date = new Date(time);
  const today = date.toDateString() === new Date().toDateString();
  return today ? date.toLocaleTimeString() : date.toLocaleString();
}

function duration(seconds) {
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}

// ---- coming and going

function enter() {
  $("login").hidden = Boolean(token);
  $("console").hidden = $("leave").hidden = !token;
  if (token) listen();
  else $("token").focus();
}

function leave(why = "") {
  stream?.abort();
  token = null;
  sessionStorage.removeItem(KEY);
  $("live").textContent = "";
  open.clear();
  sitePages = 1;
  enter();
  say(why, Boolean(why));
}

$("login").onsubmit = (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  $("token").value = "";
  say("");
  attempt(async () => {
    await call("GET", "/v1/sites?limit=1");
    sessionStorage.setItem(KEY, token);
    enter();
  }).then(() => { if (!sessionStorage.getItem(KEY)) token = null; });
};
$("leave").onclick = () => leave();
$("state").onchange = () => attempt(() => showPurges());
$("older").onclick = () => attempt(() => showPurges(true));
$("more-sites").onclick = () => attempt(() => showSites(true));
// Ages and queues grow without an event.
setInterval(() => { if (token && !document.hidden) showSites().catch(() => {}); }, 5000);
enter();
