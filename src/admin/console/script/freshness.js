// Freshness: is the copy at the edge older than the last purge of the page?

const freshness = {
  title: "Freshness",

  async open(root) {
    this.site = siteChoice("fresh-site");
    this.url = make("input", { id: "fresh-url", type: "url", required: true, autocomplete: "off", spellcheck: false, placeholder: "a page of the site, as visitors see it" });
    this.result = make("div", { id: "freshness-result", "aria-live": "polite" });
    const form = make("form", { id: "freshness" }, field("URL", this.url, null, "field wide"), field("Site", this.site),
      make("div", { className: "field buttons" }, make("button", { className: "primary", id: "look" }, "Look at the copy")));
    form.onsubmit = (event) => { event.preventDefault(); attempt(() => this.look(), $("look")); };
    this.recent = make("div");
    root.append(make("h2", { id: "title", tabIndex: -1 }, "Freshness"),
      make("p", {}, "The shim asks the CDN for the page, as a visitor does, and compares its copy with the last purge that names it."),
      form, this.result, make("h3", {}, "Latest checks of purged copies"), this.recent);
    await this.refresh();
  },

  async refresh() {
    if (!this.recent?.isConnected) return;
    const { purges: latest } = await call("GET", "/v1/purges?limit=100");
    const checked = latest.flatMap((purge) => purge.jobs.filter(({ verification }) => verification).map((job) => [purge, job])).slice(0, 20);
    this.recent.replaceChildren(checked.length === 0
      ? make("p", { className: "soft" }, "None of the latest 100 purges was verified. Tick the box on Publish, or set verify = true for a CDN.")
      : table("Latest checks", ["Purge", "CDN", "Copies", "Seen after"], checked.map(([purge, job]) => make("tr", {},
        make("td", { className: "break" }, make("a", { href: `#/purge/${purge.id}`, dir: "auto" }, summary(purge.items).slice(0, 200))), make("th", { scope: "row" }, `${purge.site} ${job.cdn}`),
        make("td", {}, badge(job.verification)), make("td", {}, job.verified_at ? took(Date.parse(job.verified_at) - Date.parse(purge.created_at)) : "–")))));
  },

  told(name) {
    if (name === "job") soon("freshness", () => this.refresh());
  },

  async look() {
    const url = this.url.value.trim();
    const { copies: seen } = await call("POST", sitePath(this.site.value, "/freshness"), { url });
    say("");
    const last = await this.lastPurge(url);
    this.result.replaceChildren(
      make("p", {}, last ? ["Last purge that names the page: ", make("a", { href: `#/purge/${last.id}` }, when(last.created_at)), "."] : "None of the latest 100 purges of the site names this page. A tag may have covered it all the same."),
      table("Copies", ["CDN", "Verdict", "Status", "Fetched from the origin", "Age"], seen.map((copy) => make("tr", {},
        make("th", { scope: "row" }, copy.cdn), make("td", {}, this.verdict(copy, last)), make("td", {}, copy.status === null ? long(copy.error ?? "no answer") : String(copy.status)),
        make("td", {}, copy.fetched_at ? when(copy.fetched_at) : "unknown"), make("td", {}, copy.age_seconds === null ? "unknown" : duration(copy.age_seconds))))));
  },

  verdict(copy, last) {
    if (copy.status === null || !copy.fetched_at) return badge("unknown");
    if (!last) return badge("no purge to compare with", "unknown");
    return Date.parse(copy.fetched_at) > Date.parse(last.created_at) ? badge("newer than the purge", "fresh") : badge("older than the purge", "stale");
  },

  async lastPurge(text) {
    const url = new URL(text);
    const target = url.pathname + url.search;
    const { purges: latest } = await call("GET", `/v1/purges?limit=100&site=${encodeURIComponent(this.site.value)}`);
    const names = ({ items }) => items.everything || (items.urls ?? []).some((one) => one === text || one === url.href)
      || (items.paths ?? []).some((one) => one === url.pathname || one === target) || (items.prefixes ?? []).some((one) => url.pathname.startsWith(one));
    return latest.find(names);
  },
};
