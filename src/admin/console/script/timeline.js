// One purge: its way from the call to fresh copies, step by step, live.

const timeline = {
  title: "A purge",

  async open(root, id) {
    this.id = id;
    this.all = false;
    this.root = make("div");
    root.append(make("p", {}, make("a", { href: "#/purges" }, "All purges")), make("h2", { id: "title", tabIndex: -1 }, "A purge"), this.root);
    await this.load();
  },

  async load() {
    const purge = await call("GET", `/v1/purges/${encodeURIComponent(this.id)}`);
    if (!this.root.isConnected || purge.id !== this.id) return;
    this.purge = purge;
    keepFocus(this.root, () => this.root.replaceChildren(...this.show(purge)));
    // Completion and verification come without an event of their own.
    const waits = purge.jobs.some((job) => !job.verification || job.verification === "stale");
    if (waits && Date.now() - Date.parse(purge.created_at) < 900_000) setTimeout(() => this.root.isConnected && this.purge?.id === this.id && quietly(() => this.load()), 3000);
  },

  refresh() {
    return this.root?.isConnected ? this.load() : undefined;
  },

  told(name, data) {
    if ((name === "job" && data.purge === this.id) || (name === "purge" && data.id === this.id)) soon("timeline", () => this.refresh());
  },

  show(purge) {
    const site = sites.find(({ name }) => name === purge.site);
    const most = 200;
    const events = happened(purge, site);
    const shown = this.all ? events : events.slice(0, most);
    const items = Object.entries({ URL: purge.items.urls, Path: purge.items.paths, Tag: purge.items.tags, "Everything below": purge.items.prefixes })
      .flatMap(([kind, list]) => (list ?? []).slice(0, 500).map((item) => make("li", { className: "break" }, make("span", { className: "soft" }, `${kind} `), make("span", { className: "mono", dir: "auto" }, item))));
    if (purge.items.everything) items.unshift(make("li", {}, "Everything of the site"));
    return [
      make("div", { className: "card" },
        make("dl", { className: "facts" },
          fact("State", badge(purge.state)), fact("Site", purge.site), fact("Accepted", when(purge.created_at)),
          fact("Finished", purge.finished_at ? when(purge.finished_at) : "not yet"),
          fact("How", purge.mode ?? "as configured for each CDN"), fact("Id", make("span", { className: "mono break" }, purge.id)),
          make("div", { className: "wide" }, make("dt", {}, "Reason"), make("dd", {}, purge.reason ? long(purge.reason) : "none was given"))),
        make("details", {}, make("summary", {}, plural(purge.items.total, "item")), make("ul", { className: "items" }, items)),
        make("p", { className: "buttons" }, actions(purge, () => quietly(() => this.load())))),
      make("h3", {}, "What happened"),
      make("ol", { className: "timeline", "aria-label": "What happened" }, shown.map(({ at, cdn, kind, text, more }) => make("li", { className: kind },
        make("div", { className: "soft nowrap" }, at ? when(at) : "now"),
        make("div", {}, cdn && make("strong", {}, `${cdn}: `), text, more && make("div", { className: "soft" }, long(more)))))),
      events.length > shown.length && make("p", {}, button(`Show all ${events.length} steps`, () => { this.all = true; return this.load(); }, { id: "all-steps" })),
      make("h3", {}, "Calls"),
      ...purge.jobs.map((job) => job.attempts.length === 0
        ? make("p", { className: "soft" }, `${job.cdn}: nothing was sent yet.`)
        : table(`Calls to ${job.cdn}`, ["CDN", "At", "Status", "Outcome", "Items", "Took", "Request id", "Message"], job.attempts.slice(-most).map((attempt) => make("tr", {},
          make("th", { scope: "row" }, job.cdn), make("td", { className: "nowrap" }, when(attempt.at)), make("td", {}, String(attempt.status ?? "no answer")),
          make("td", {}, attempt.outcome), make("td", { className: "number" }, attempt.items.toLocaleString()), make("td", { className: "number" }, took(attempt.duration_ms)),
          make("td", { className: "mono" }, long(attempt.request_id ?? "–")), make("td", {}, long(attempt.message)))))),
    ].filter(Boolean);
  },
};

function fact(name, ...value) {
  return make("div", {}, make("dt", {}, name), make("dd", {}, ...value));
}

const OUTCOMES = {
  done: "the CDN accepted them", partial: "the CDN accepted some of them", later: "the CDN is busy; they are sent again",
  unproven: "it is not known whether the CDN accepted them; they are sent again", split: "the CDN refused the call; its items are sent in smaller calls",
  refused: "the CDN refused them", "bad-credentials": "the CDN does not accept the credentials; sending is paused until they are right",
  unreachable: "the CDN did not answer; they are sent again",
};

/** The steps of a purge in the order in which they happened; what is still to come is last. */
function happened(purge, site) {
  const steps = [];
  const step = (at, cdn, kind, text, more) => steps.push({ at, cdn, kind, text, more });
  step(purge.created_at, null, "good", "Accepted, and written to disk: it will reach every CDN, whatever happens.", null);
  if (site) step(purge.created_at, null, "", `Guard: answers that the origin may have made before this moment are kept by the CDN for at most ${site.cache.guard_ttl}. They cannot bring the old page back for long.`, null);
  for (const job of purge.jobs) {
    for (const text of job.fallback) step(purge.created_at, job.cdn, "busy", "Purged more widely than requested.", text);
    let before = null;
    for (const attempt of job.attempts) {
      const again = job.accepted_at && Date.parse(attempt.at) > Date.parse(job.accepted_at);
      const what = again ? "Sent again, for pages that were on their way or in the CDN's inner tiers" : before && before.outcome !== "done" ? "Retry" : "Call";
      const good = attempt.outcome === "done";
      step(attempt.at, job.cdn, good ? "good" : ["refused", "bad-credentials"].includes(attempt.outcome) ? "bad" : "busy",
        `${what}: ${plural(attempt.items, "item")}, ${attempt.status ? `status ${attempt.status}` : "no answer"}, ${took(attempt.duration_ms)}; ${OUTCOMES[attempt.outcome] ?? attempt.outcome}.`,
        good ? null : attempt.message);
      before = attempt;
    }
    if (job.accepted_at) step(job.accepted_at, job.cdn, "good", `The CDN has accepted every item, ${took(Date.parse(job.accepted_at) - Date.parse(purge.created_at))} after the call.`, null);
    if (job.completed_at) step(job.completed_at, job.cdn, "good", "The CDN reports that the purge took effect everywhere.", null);
    if (job.verified_at) step(job.verified_at, job.cdn, "good", `Verified: the copies at the CDN are newer than the purge, ${took(Date.parse(job.verified_at) - Date.parse(purge.created_at))} after the call.`, null);
  }
  steps.sort((one, other) => Date.parse(one.at) - Date.parse(other.at));
  for (const job of purge.jobs) {
    if (job.verification === "stale") step(null, job.cdn, "bad", "The CDN still serves a copy that is older than the purge. It is purged again.", null);
    if (job.verification === "unknown") step(null, job.cdn, "", "The copies were checked, but do not tell when they were fetched.", null);
    if (job.waits_for === "responses") step(null, job.cdn, "busy", "Waits for answers that were on their way when the purge was accepted; then what they may have brought back is purged again.", null);
    if (job.state === "paused") step(null, job.cdn, "bad", "Paused: nothing is sent until somebody resumes this CDN, on the overview.", null);
    else if (job.state === "failed") step(null, job.cdn, "bad", job.fallback.length > 0 ? "Failed, the wider purge too: it was not purged here. Retry it, or acknowledge it." : "Failed: it was not purged here. Retry it, or acknowledge it.", null);
    else if (job.state === "cancelled") step(null, job.cdn, "", "Cancelled: what was not sent stays unsent.", null);
    else if (!ENDED.includes(job.state)) step(null, job.cdn, "busy", job.state === "sending" ? "A call is under way." : `Waiting${job.next_attempt_at ? `; the next call is due at ${clock(job.next_attempt_at)}` : ""}.`, null);
  }
  return steps;
}
