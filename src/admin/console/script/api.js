// The admin API: calls, the live stream of events, coming and going.

let token = sessionStorage.getItem(KEY);
let stream = null; // aborts the listener
let sites = []; // as the API lists them, all pages
let connected = false;

const NOT_VALID = "This token is not valid (any more). Enter another one.";

/** A call of the admin API: its answer, or an error in words. */
async function call(method, path, body) {
  const headers = { authorization: `Bearer ${token}` };
  if (body) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Error("The shim does not answer. What you see is the last known state.");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const errors = (answer.errors ?? []).slice(0, 20).map(({ item, message }) => `\n${item}: ${message}`);
  const error = new Error(`${answer.title ?? `HTTP ${response.status}`}. ${answer.detail ?? ""}${errors.join("")}`);
  error.status = response.status;
  throw error;
}

/** Runs something that a person asked for; what goes wrong is said. */
async function attempt(action, control = null) {
  if (control) control.setAttribute("aria-busy", "true");
  try {
    await action();
  } catch (error) {
    if (error.status === 401) leave(NOT_VALID);
    else say(error.message, true);
  } finally {
    control?.removeAttribute("aria-busy");
  }
}

/** Runs something that nobody asked for: only an invalid token is worth a message. */
async function quietly(action) {
  try {
    await action();
  } catch (error) {
    if (error.status === 401 && token) leave(NOT_VALID);
  }
}

const sitePath = (site, rest = "") => `/v1/sites/${encodeURIComponent(site)}${rest}`;

async function loadSites() {
  const found = [];
  let cursor = null;
  do {
    const answer = await call("GET", `/v1/sites${cursor ? `?cursor=${encodeURIComponent(cursor)}` : ""}`);
    found.push(...answer.sites);
    cursor = answer.next_cursor;
  } while (cursor && found.length < 1000);
  sites = found;
}

/** What events do not carry is looked up, not more often than every half second. */
const later = new Map();
function soon(name, action) {
  if (later.has(name)) return;
  later.set(name, setTimeout(() => {
    later.delete(name);
    if (token) quietly(action);
  }, 500));
}

/** Listens to events: with fetch, since EventSource cannot send a token. */
async function listen() {
  stream?.abort();
  const mine = (stream = new AbortController());
  while (token && !mine.signal.aborted) {
    try {
      const response = await fetch("/v1/events", { headers: { authorization: `Bearer ${token}` }, signal: mine.signal });
      if (response.status === 401) return leave(NOT_VALID);
      if (!response.ok) throw new Error();
      live(true);
      await refresh();
      await read(response.body);
    } catch {
      // Said below.
    }
    if (mine.signal.aborted) return;
    live(false);
    await new Promise((wake) => setTimeout(wake, 2000));
  }
}

function live(now) {
  connected = now;
  $("live").textContent = now ? "Live" : "Not connected; trying again";
  $("live").className = now ? "live" : "live off";
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
  if (name === "reload") {
    const count = data.reloaded?.changes.length ?? 0;
    say(data.accepted ? `The configuration was reloaded: ${plural(count, "change")}.` : `A reload was refused; the running configuration stays. ${data.detail}`, !data.accepted);
  }
  if (name !== "purge" && name !== "job") soon("sites", refresh);
  view?.told?.(name, data);
}

/** Reads the state of all sites again, and lets the view draw it. */
async function refresh() {
  await loadSites();
  await view?.refresh?.();
}
