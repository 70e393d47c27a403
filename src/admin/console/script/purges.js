// The list of purges, newest first, a page at a time: however many there are, the browser holds 50 rows.

const PAGE = 50;

const purges = {
  title: "Purges",
  state: "",
  site: "",
  list: [],
  cursors: [null], // of the pages up to the one shown
  next: null,

  async open(root) {
    this.cursors = [null];
    const state = make("select", { id: "state" });
    options(state, [["", "any state"], ...["pending", "sending", "retrying", "paused", "done", "failed", "cancelled"].map((word) => [word, word])]);
    const site = make("select", { id: "purges-site" });
    options(site, [["", "all sites"], ...sites.map(({ name }) => [name, name])]);
    [state.value, site.value] = [this.state, this.site];
    state.onchange = site.onchange = () => {
      [this.state, this.site, this.cursors] = [state.value, site.value, [null]];
      attempt(() => this.load());
    };
    this.body = make("tbody", { id: "purges" });
    this.none = make("p", { hidden: true }, "No purges. When something is published, its purge appears here.");
    this.newer = button("Newer", () => { this.cursors.pop(); return this.load(); }, { id: "newer", disabled: true });
    this.older = button("Older", () => { this.cursors.push(this.next); return this.load(); }, { id: "older", disabled: true });
    this.page = make("span", { role: "status" });
    const head = ["Accepted", "Site", "What", "State", "CDNs", "Actions"].map((text) => make("th", { scope: "col" }, text));
    root.append(
      make("div", { className: "bar" }, make("h2", { id: "title", tabIndex: -1 }, "Purges"),
        make("div", { className: "filters" }, field("State", state), field("Site", site))),
      make("div", { className: "scroll card", role: "region", "aria-label": "Purges", tabIndex: 0 },
        make("table", { className: "purges" }, make("thead", {}, make("tr", {}, head)), this.body)),
      this.none, make("p", { className: "pager" }, this.newer, this.older, this.page));
    await this.load();
  },

  async load() {
    const query = new URLSearchParams({ limit: PAGE });
    if (this.state) query.set("state", this.state);
    if (this.site) query.set("site", this.site);
    const found = [];
    let cursor = this.cursors.at(-1);
    // What is rare is not on every page of the API.
    for (let pages = 0; pages < 20 && found.length < PAGE; pages += 1) {
      if (cursor) query.set("cursor", cursor);
      const page = await call("GET", `/v1/purges?${query}`);
      found.push(...page.purges);
      cursor = page.next_cursor;
      if (!cursor) break;
    }
    this.list = found.slice(0, PAGE);
    this.next = found.length > PAGE ? this.list.at(-1).id : cursor;
    this.redraw();
  },

  refresh() {
    return this.body?.isConnected && this.cursors.length === 1 ? this.load() : undefined;
  },

  redraw() {
    keepFocus(this.body, () => this.body.replaceChildren(...this.list.map((purge) => this.row(purge))));
    this.none.hidden = this.list.length > 0;
    this.older.disabled = !this.next;
    this.newer.disabled = this.cursors.length === 1;
    this.page.textContent = this.cursors.length === 1 ? "The newest purges; they appear by themselves." : `Page ${this.cursors.length}`;
  },

  told(name, data) {
    if (name === "purge") this.update(data);
    if (name === "job" && this.list.some(({ id }) => id === data.purge)) {
      soon(`purge ${data.purge}`, async () => this.update(await call("GET", `/v1/purges/${data.purge}`)));
    }
    if (name === "lagged") soon("purges", () => this.refresh());
  },

  /** Shows a purge as it stands, if it belongs on the page. */
  update(purge) {
    const index = this.list.findIndex(({ id }) => id === purge.id);
    if (index >= 0) this.list[index] = purge;
    else if (this.cursors.length === 1 && !this.state && (!this.site || this.site === purge.site) && (this.list.length === 0 || purge.id > this.list[0].id)) {
      this.list.unshift(purge);
      if (this.list.length > PAGE) this.next = this.list[PAGE - 1].id;
      this.list.length = Math.min(this.list.length, PAGE);
    } else return;
    soon("draw purges", async () => this.body.isConnected && this.redraw());
  },

  row(purge) {
    const cdns = purge.jobs.map((job) => {
      const last = job.attempts.at(-1);
      const why = last && job.state !== "done" ? `${last.outcome}: ${last.message}` : null;
      return make("li", {}, `${job.cdn} `, badge(job.state), " ", copies(job), why && make("p", { className: "soft clip", dir: "auto", title: why.slice(0, 400) }, why.slice(0, 200)),
        job.fallback.length > 0 && make("p", { className: "soft clip" }, "purged more widely: ", job.fallback[0]));
    });
    const link = make("a", { href: `#/purge/${purge.id}`, id: `purge-${purge.id}`, dir: "auto" }, summary(purge.items).slice(0, 200));
    return make("tr", {},
      make("td", { className: "nowrap" }, when(purge.created_at)),
      make("td", { className: "break" }, purge.site),
      make("td", { className: "break" }, link, purge.reason && make("p", { className: "soft clip", dir: "auto", title: purge.reason.slice(0, 400) }, purge.reason.slice(0, 200))),
      make("td", {}, badge(purge.state)),
      make("td", {}, make("ul", {}, cdns)),
      make("td", {}, actions(purge, (changed) => { this.update(changed); this.redraw(); })));
  },
};

/** What a look at the CDN's copies showed, where there was one. */
function copies(job) {
  return job.verification ? badge(`copies ${job.verification}`, job.verification) : null;
}

/** What can be done about a purge as it stands. */
function actions(purge, changed) {
  const act = (text, id, method, path) => button(text, async () => changed(await call(method, `/v1/purges/${purge.id}${path}`)),
    { id: `${id}-${purge.id}`, "aria-label": `${text} the purge of ${clock(purge.created_at)}` });
  return [
    purge.jobs.some((job) => job.state === "failed") && act("Retry", "retry", "POST", "/retry"),
    purge.jobs.some((job) => job.unacknowledged) && act("Acknowledge", "acknowledge", "POST", "/acknowledge"),
    !ENDED.includes(purge.state) && act("Cancel", "cancel", "DELETE", ""),
  ];
}
