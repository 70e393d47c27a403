// An admin API with made-up content, behind the page (and its headers) of the real program.

import http from "node:http";

export const TOKEN = "the-token";
const AWKWARD = {
  html: `<img src=x onerror="document.title='broken in'"><script>document.title='broken in'</script>&amp;`,
  rtl: "نشر الصفحة الرئيسية \u202e gnihsilbup",
  long: "the newsroom published everything again ".repeat(125),
  word: "x".repeat(2000),
};
const SECOND = 1000;
export const uuid = (index) => `01938f00-0000-7000-8000-${String(index).padStart(12, "0")}`;

function cdn(name, type, more = {}) {
  return {
    name, type, healthy: true, reasons: [], pending: 0, oldest_pending_seconds: null, paused: false, hosts: ["www.example.com"], mode: "hard",
    everything: "site-tag", repeat_after: "2s", verify: false, ttl_header: "surrogate-control", tag_header: "surrogate-key", ...more,
  };
}

export function site(name, cdns) {
  return {
    name, hosts: [`${name}.example.com`], default: name === "www", mode: "on", profile: "generic", origin: ["https://origin.example.com"],
    origins: [], origin_host: "origin", origin_settle: "0s", opt_in: { trust: "secret" }, rules: 3, tags: { path: true, site: true, sections: 2 },
    cache: { edge_ttl: "2d", browser_ttl: "origin", fallback_ttl: "60s", not_found_ttl: "10s", guard_ttl: "10s", follow_up_margin: "5s", stale_while_revalidate: "1m", stale_if_error: "1d", conditional: "pass", vary: ["accept-encoding"], max_purge_lag: "5m" },
    cdns,
  };
}

export function sites() {
  return [
    site("www", [
      cdn("fastly", "fastly"),
      cdn("cloudfront", "cloudfront", { healthy: false, paused: true, pending: 1234, oldest_pending_seconds: 4000, reasons: [`paused: ${AWKWARD.html}`, AWKWARD.rtl, AWKWARD.long] }),
    ]),
    site("shop-with-a-very-long-name-that-has-no-place-to-break", [cdn("varnish", "varnish")]),
    site("plain", []),
  ];
}

export function purge(index, more = {}) {
  const at = (seconds) => new Date(Date.now() - (600 - seconds) * SECOND - index * 60 * SECOND).toISOString();
  const attempt = (seconds, outcome, status, message) => ({ at: at(seconds), status, request_id: `r-${index}`, duration_ms: 120, items: 2, outcome, message });
  return {
    id: uuid(100_000 - index), site: "www", state: "done", reason: "publish", mode: null, created_at: at(0), finished_at: at(3),
    items: { total: 2, paths: [`/blog/${index}`], tags: ["product-42"] },
    jobs: [
      { cdn: "fastly", type: "fastly", state: "done", items: 2, fallback: [], accepted_at: at(1), completed_at: null, verification: "fresh", verified_at: at(2), next_attempt_at: null, waits_for: null, unacknowledged: false,
        attempts: [attempt(.5, "later", 429, "too many requests"), attempt(1, "done", 200, "ok"), attempt(2.5, "done", 200, "ok")] },
      { cdn: "cloudfront", type: "cloudfront", state: "done", items: 4, fallback: ["paths: without path tags purged by URL, which leaves copies with a query"], accepted_at: at(1.5), completed_at: at(2.8), verification: null, verified_at: null, next_attempt_at: null, waits_for: null, unacknowledged: false,
        attempts: [attempt(1.2, "done", 201, "accepted")] },
    ],
    ...more,
  };
}

export function awkward() {
  const one = purge(0, { state: "failed", reason: AWKWARD.long, items: { total: 4, tags: [AWKWARD.html, AWKWARD.rtl, AWKWARD.word], paths: ["/ظ/✓"] } });
  Object.assign(one.jobs[0], { state: "failed", unacknowledged: true, verification: "stale", accepted_at: null, fallback: [AWKWARD.html, AWKWARD.long] });
  one.jobs[0].attempts = [{ ...one.jobs[0].attempts[0], outcome: "refused", status: null, message: AWKWARD.html + AWKWARD.long }];
  one.jobs[1].attempts[0].request_id = AWKWARD.word;
  return one;
}

export function history(window) {
  const step = window === "24h" ? 60 : 10;
  const count = window === "24h" ? 1440 : 360;
  const until = Math.floor(Date.now() / SECOND) * SECOND;
  const wave = (index, period) => 1 + Math.sin(index / period);
  const points = [];
  for (let index = 0; index < count; index += 1) {
    if (index % 97 === 96) continue;
    const load = wave(index, count / 18);
    const published = index % 40 === 20;
    points.push({
      at: new Date(until - (count - 1 - index) * step * SECOND).toISOString(), seconds: step,
      requests: { lengthened: Math.round(load * 9 * step), untouched: Math.round(step * 2), fallback: index > count * .6 && index < count * .7 ? step * 4 : step, guarded: published ? step * 3 : 0 },
      origin: { responses: Math.round(load * 10 * step) + 1, p50_ms: 20 + 10 * wave(index, 25), p99_ms: 90 + 60 * wave(index, 12) },
      purges: published ? 2 : 0, purges_failed: 0,
      lag_to_accepted: published ? { count: 2, mean_ms: 300 + index % 200, max_ms: 420 + index % 300 } : { count: 0, mean_ms: null, max_ms: null },
      lag_to_verified: published ? { count: 2, mean_ms: 1800, max_ms: 2100 + index % 900 } : { count: 0, mean_ms: null, max_ms: null },
    });
  }
  return { site: "www", window_seconds: count * step, step_seconds: step, since: new Date(until - count * step * SECOND).toISOString(), until: new Date(until).toISOString(), points };
}

const PLAN = {
  dry_run: true, site: "www", mode: null, items: { total: 2, paths: ["/blog/first"], tags: [AWKWARD.html] },
  jobs: [
    { cdn: "fastly", type: "fastly", everything: false, items: 2, kinds: { urls: 0, tags: 2, prefixes: 0, everything: 0 }, first_items: [{ kind: "tag", value: AWKWARD.html, mode: "soft" }, { kind: "tag", value: AWKWARD.word, mode: "soft" }], calls: 1, repeat_after_seconds: 2, fallback: [], cost: null },
    { cdn: "cloudfront", type: "cloudfront", everything: true, items: 4000, kinds: { urls: 4000, tags: 0, prefixes: 0, everything: 0 }, first_items: [{ kind: "url", value: "/blog/first", mode: "hard" }], calls: 2, repeat_after_seconds: null, fallback: ["tags: this CDN takes none here, so everything is purged", AWKWARD.rtl], cost: { items: 4000, free_per_month: 1000, at_most_dollars: 20 } },
  ],
};

const EXPLANATION = {
  method: "GET", url: "https://www.example.com/blog/first", site: "www", mode: "on", opted_in: true, cdn: "fastly", rule: { number: 2, path: "/blog/**" }, outcome: "lengthened", reason: "ttl-table",
  why: "The lifetime of the TTL table was set.", tags: ["w/blog/first", AWKWARD.html], status: 200,
  before: [["cache-control", "max-age=60"], ["etag", "\"1\""], ["x-note", AWKWARD.html], ["set-cookie", AWKWARD.word]],
  after: [["cache-control", "max-age=60"], ["surrogate-control", "max-age=172800, stale-while-revalidate=60"], ["surrogate-key", "w/blog/first w"], ["etag", "\"2\""], ["x-note", AWKWARD.html]],
};

const CREDENTIALS = {
  site: "www", cdns: [
    { name: "fastly", type: "fastly", usable: "yes", identity: `token of ${AWKWARD.html}`, findings: [{ level: "ok", text: "may purge the service" }, { level: "warning", text: "expires in 9 days", advice: "Make a new token, and reload." }] },
    { name: "cloudfront", type: "cloudfront", usable: "no", identity: null, findings: [{ level: "error", text: AWKWARD.rtl, advice: AWKWARD.long }] },
  ],
};

export class FakeApi {
  constructor(page) {
    Object.assign(this, { page, valid: true, sites: sites(), purges: [awkward(), ...Array.from({ length: 60 }, (_, index) => purge(index + 1))], listeners: new Set(), sent: [], port: 0 });
  }

  /** Takes the page from the real program, then answers at a free port, or at the one of before. */
  static async before(real) {
    const response = await fetch(real);
    const headers = Object.fromEntries([...response.headers].filter(([name]) => /policy|content-type/.test(name)));
    const api = new FakeApi({ headers, body: await response.text() });
    await api.start();
    return api;
  }

  async start() {
    this.server = http.createServer((request, response) => this.answer(request, response));
    await new Promise((done) => this.server.listen(this.port, "127.0.0.1", done));
    this.port = this.server.address().port;
    this.url = `http://127.0.0.1:${this.port}/`;
  }

  async stop() {
    this.listeners.clear();
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }

  tell(name, data) {
    for (const listener of this.listeners) listener.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  async answer(request, response) {
    const { pathname, searchParams } = new URL(request.url, this.url);
    if (pathname === "/") return response.writeHead(200, this.page.headers).end(this.page.body);
    if (!pathname.startsWith("/v1/")) return response.writeHead(404).end();
    let text = "";
    for await (const chunk of request) text += chunk;
    const body = text ? JSON.parse(text) : null;
    const json = (value, status = 200) => response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" }).end(JSON.stringify(value));
    if (!this.valid || request.headers.authorization !== `Bearer ${TOKEN}`) return json({ title: "Unauthorized", status: 401 }, 401);
    if (request.method !== "GET") this.sent.push([request.method, pathname, body]);
    if (pathname === "/v1/events") {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(": hello\n\n");
      this.listeners.add(response);
      return response.on("close", () => this.listeners.delete(response));
    }
    if (pathname === "/v1/sites") return json({ sites: this.sites, next_cursor: null });
    if (pathname.endsWith("/history")) return json(history(searchParams.get("window")));
    if (pathname === "/v1/purges") return this.list(searchParams, json);
    if (/\/(purges|events)$/.test(pathname) && request.method === "POST") {
      if (body.dry_run) return json(body.everything ? { ...PLAN, items: { total: 1, everything: true } } : PLAN);
      const accepted = purge(-1, { state: "pending", finished_at: null });
      this.purges.unshift(accepted);
      return json(accepted, 202);
    }
    if (pathname.startsWith("/v1/purges/")) {
      const found = this.purges.find(({ id }) => id === pathname.split("/")[3]);
      return found ? json(found) : json({ title: "Not Found", detail: "There is no such purge.", status: 404 }, 404);
    }
    if (pathname.endsWith("/explain")) return json(EXPLANATION);
    if (pathname.endsWith("/credentials/check")) return json(CREDENTIALS);
    if (pathname.endsWith("/freshness")) {
      const fetched = (seconds) => new Date(Date.now() - seconds * SECOND).toISOString();
      return json({ url: body.url, copies: [{ cdn: "fastly", type: "fastly", status: 200, fetched_at: fetched(30), age_seconds: 30, error: null }, { cdn: "cloudfront", type: "cloudfront", status: 200, fetched_at: fetched(9000), age_seconds: 9000, error: null }, { cdn: "third", type: "varnish", status: null, fetched_at: null, age_seconds: null, error: AWKWARD.html }] });
    }
    if (pathname === "/v1/reload") return json({ changes: [{ key: "sites.www.cache.edge_ttl", change: "changed" }, { key: AWKWARD.html, change: "added" }], restart_needed: ["server.workers"], warnings: [AWKWARD.long] });
    if (pathname === "/v1/log-filter") return json(body ?? { filter: "info" });
    if (/\/(pause|resume)$/.test(pathname)) return json({});
    return json({ title: "Not Found", status: 404 }, 404);
  }

  list(query, json) {
    const wanted = this.purges.filter((one) => (!query.get("state") || one.state === query.get("state")) && (!query.get("site") || one.site === query.get("site")));
    const from = query.get("cursor") ? wanted.findIndex(({ id }) => id === query.get("cursor")) + 1 : 0;
    const limit = Number(query.get("limit") ?? 20);
    const page = wanted.slice(from, from + limit);
    json({ purges: page, next_cursor: from + limit < wanted.length ? page.at(-1).id : null });
  }
}
