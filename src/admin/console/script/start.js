// The views by the address after `#`, and coming and going.

const VIEWS = { overview, purges, publish, explain, freshness, credentials, configuration, purge: timeline };
let view = null;

/** Shows the view that the address names. */
async function show() {
  if (!token) return;
  const [, name, argument] = /^#\/([a-z]+)(?:\/(.*))?$/.exec(location.hash) ?? [];
  const next = Object.hasOwn(VIEWS, name ?? "") ? VIEWS[name] : overview;
  const moved = view !== null;
  view = next;
  document.title = `${next.title} – Origin Shim`;
  for (const link of document.querySelectorAll("nav a")) {
    const here = VIEWS[link.hash.slice(2)] === next || (next === timeline && link.hash === "#/purges");
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const root = make("div");
  $("view").replaceChildren(root);
  await attempt(async () => {
    if (sites.length === 0) await loadSites();
    if (view === next && root.isConnected) await next.open(root, argument);
  });
  // The keyboard and screen readers go on where the page has changed.
  if (moved && root.isConnected && !root.contains(document.activeElement)) $("title")?.focus();
}

function enter() {
  $("login").hidden = Boolean(token);
  $("view").hidden = $("leave").hidden = $("views").hidden = !token;
  if (!token) {
    $("token").focus();
    return;
  }
  show();
  listen();
}

function leave(why = "") {
  stream?.abort();
  token = null;
  view = null;
  sites = [];
  overview.histories.clear();
  sessionStorage.removeItem(KEY);
  $("live").textContent = "";
  $("view").replaceChildren();
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
    $("views").querySelector("a").focus();
  }).then(() => { if (!sessionStorage.getItem(KEY)) token = null; });
};
$("leave").onclick = () => leave();
addEventListener("hashchange", () => show());
// Ages, queues and charts move without an event.
// The demo prints a link with its token. What stands after `#` is sent to no server, and leaves the address at once.
const [, offered] = /^#token=([\w~.-]+)$/.exec(location.hash) ?? [];
if (offered) {
  token = offered;
  sessionStorage.setItem(KEY, token);
  history.replaceState(null, "", "#/overview");
}
setInterval(() => { if (token && connected && !document.hidden && view === overview) quietly(refresh); }, 5000);
enter();
