// Overview: what happens now at each site, the last hour and day in charts, and the CDNs.

const DECISIONS = [
  ["lengthened", "long lifetime"], ["untouched", "the origin's own"],
  ["fallback", "short lifetime"], ["guarded", "a moment, after a purge"],
];

const overview = {
  title: "Overview",
  span: "1h",
  histories: new Map(), // site and window -> history
  nodes: new Map(), // site -> its card's changing parts

  async open(root) {
    this.root = root;
    this.nodes.clear();
    const choice = make("fieldset", { className: "choice" }, make("legend", {}, "Charts show"),
      ["1h", "24h"].map((span) => {
        const radio = make("input", { type: "radio", name: "span", id: `span-${span}`, value: span, checked: span === this.span });
        radio.onchange = () => { this.span = span; attempt(() => this.refresh()); };
        return make("label", { htmlFor: radio.id }, radio, span === "1h" ? " the last hour" : " the last day");
      }));
    this.list = make("div", { id: "sites" });
    root.append(make("div", { className: "bar" }, make("h2", { id: "title", tabIndex: -1 }, "Overview"), choice), this.list);
    this.drawAll();
    await this.refresh();
  },

  async refresh() {
    if (!this.list?.isConnected) return;
    // Sites beyond the first 20 are shown without charts: nobody looks at more at a time.
    const charted = sites.slice(0, 20);
    const wanted = this.span === "1h" ? ["1h"] : ["1h", "24h"];
    await Promise.all(charted.flatMap(({ name }) => wanted.map(async (span) => {
      this.histories.set(`${name} ${span}`, await call("GET", sitePath(name, `/history?window=${span}`)));
    })));
    this.drawAll();
  },

  told() {
    soon("overview", () => this.refresh());
  },

  drawAll() {
    const names = sites.map(({ name }) => name).join("\n");
    if (names !== this.names || !this.list.hasChildNodes()) {
      this.names = names;
      this.nodes.clear();
      this.list.replaceChildren(...sites.map((site) => this.card(site)));
      if (sites.length === 0) this.list.append(make("p", {}, "This token may see no site."));
    }
    for (const site of sites) this.fill(site);
  },

  card(site) {
    const parts = { head: make("div"), now: make("dl", { className: "now" }), plots: make("div", { className: "plots" }), cdns: make("div") };
    this.nodes.set(site.name, parts);
    return make("article", { className: "card", "aria-label": `Site ${site.name}` }, parts.head, parts.now, parts.plots, parts.cdns);
  },

  fill(site) {
    const { head, now, plots, cdns } = this.nodes.get(site.name);
    const hosts = site.default ? [...site.hosts, "every other host"] : site.hosts;
    head.replaceChildren(
      make("h3", { dir: "auto" }, site.name, " ", site.mode === "on" ? null : badge(`mode ${site.mode}`, site.mode)),
      make("p", { className: "soft break" }, `${hosts.join(", ")} from ${site.origin.join(", ")}`));
    const hour = this.histories.get(`${site.name} 1h`);
    const shown = this.histories.get(`${site.name} ${this.span}`);
    now.replaceChildren(...this.now(hour));
    keepFocus(plots, () => plots.replaceChildren(...(shown ? this.plots(site.name, shown) : [0, 1, 2].map(() => make("div", { className: "plot waiting" })))));
    keepFocus(cdns, () => cdns.replaceChildren(this.cdns(site)));
  },

  now(history) {
    const fact = (name, value, more) => make("div", {}, make("dt", {}, name), make("dd", {}, value, more && make("small", {}, ` ${more}`)));
    if (!history) return ["Requests", "Long lifetime", "Origin", "Purges", "Lag"].map((name) => fact(name, "–", "waiting"));
    const until = Date.parse(history.until ?? history.since ?? new Date());
    const recent = history.points.filter(({ at }) => until - Date.parse(at) < 60_000);
    const known = Math.max(1, Math.min(60, (until - Date.parse(history.since ?? until)) / 1000));
    const sums = DECISIONS.map(([key]) => recent.reduce((sum, point) => sum + point.requests[key], 0));
    const all = sums.reduce((one, other) => one + other, 0);
    const busiest = recent.filter(({ origin }) => origin.responses > 0);
    const answers = busiest.reduce((sum, { origin }) => sum + origin.responses, 0);
    const mean = (key) => answers === 0 ? null : busiest.reduce((sum, { origin }) => sum + origin[key] * origin.responses, 0) / answers;
    const slowest = answers === 0 ? null : Math.max(...busiest.map(({ origin }) => origin.p99_ms));
    const purges = history.points.reduce((sum, point) => sum + point.purges, 0);
    const failed = history.points.reduce((sum, point) => sum + point.purges_failed, 0);
    const lag = (key) => {
      const seen = history.points.map((point) => point[key]).filter(({ count }) => count > 0);
      const count = seen.reduce((sum, one) => sum + one.count, 0);
      return count === 0 ? null : seen.reduce((sum, one) => sum + one.mean_ms * one.count, 0) / count;
    };
    const split = DECISIONS.map(([key, text], index) => [rate(sums[index] / known), text, key]).filter(([, , key]) => recent.some((point) => point.requests[key] > 0));
    return [
      fact("Requests, last minute", `${rate(all / known)} a second`, split.map(([count, text]) => `${count} ${text}`).join(", ")),
      fact("Given a long lifetime", all === 0 ? "–" : `${Math.round((sums[0] / all) * 100)} %`, "of these requests"),
      fact("Origin answers in", took(mean("p50_ms")), `half of them; 99 of 100 within ${took(slowest)}`),
      fact("Purges, last hour", purges.toLocaleString(), failed > 0 ? `${failed} failed` : "none failed"),
      fact("Publish to CDN", took(lag("lag_to_accepted")), `seen to be fresh after ${took(lag("lag_to_verified"))}`),
    ];
  },

  plots(site, history) {
    const until = Date.parse(history.until ?? new Date());
    const step = history.step_seconds * 1000;
    const count = Math.round((history.window_seconds * 1000) / step);
    const slots = Array(count).fill(null);
    for (const point of history.points) {
      const slot = count - 1 - Math.floor((until - Date.parse(point.at)) / step);
      if (slot >= 0 && slot < count) slots[slot] = slots[slot] ? join(slots[slot], point) : point;
    }
    const times = slots.map((_, index) => new Date(until - (count - 1 - index) * step));
    const perSecond = (key) => slots.map((point) => point ? point.requests[key] / point.seconds : 0);
    const requests = DECISIONS.map(([key, name]) => ({ name, kind: key, values: perSecond(key) }));
    const line = (name, kind, of) => ({ name, kind, values: slots.map((point) => (point ? of(point) : null) ?? null) });
    return [
      chart(`requests-${site}`, "Requests a second", {
        series: requests, times, stacked: true, axis: (value) => rate(value), empty: "Point at the chart, or use the arrow keys.",
        describe: (index) => slots[index] ? requests.filter(({ values }) => values[index] > 0).map(({ name, values }) => `${rate(values[index])} ${name}`).join(", ") || "no requests" : "no requests",
      }),
      chart(`origin-${site}`, "Time until the origin answers", {
        series: [line("half of the responses", "p50", ({ origin }) => origin.p50_ms), line("99 of 100", "p99", ({ origin }) => origin.p99_ms)],
        times, axis: took, empty: "Point at the chart, or use the arrow keys.",
        describe: (index) => slots[index]?.origin.responses ? `half within ${took(slots[index].origin.p50_ms)}, 99 of 100 within ${took(slots[index].origin.p99_ms)}` : "the origin was not asked",
      }),
      chart(`lag-${site}`, "From a purge to the CDN", {
        series: [line("accepted by the CDN", "p50", (point) => point.lag_to_accepted.max_ms), line("seen to be fresh", "p99", (point) => point.lag_to_verified.max_ms)],
        times, axis: took, empty: "Point at the chart, or use the arrow keys.",
        describe: (index) => slots[index] && (slots[index].purges || slots[index].lag_to_accepted.count) ? `${plural(slots[index].purges, "purge")}, accepted after at most ${took(slots[index].lag_to_accepted.max_ms)}, seen to be fresh after ${took(slots[index].lag_to_verified.max_ms)}` : "no purge",
      }),
    ];
  },

  cdns(site) {
    if (site.cdns.length === 0) return make("p", {}, "No CDN is configured: this site is a plain proxy.");
    const rows = site.cdns.map((cdn) => {
      const why = cdn.reasons.map((reason) => make("li", {}, long(reason)));
      return make("tr", {},
        make("th", { scope: "row" }, cdn.name, cdn.name === cdn.type ? "" : make("span", { className: "soft" }, ` ${cdn.type}`)),
        make("td", {}, badge(cdn.healthy ? "healthy" : "unhealthy"),
          make("ul", { className: "reasons" }, cdn.healthy ? make("li", {}, "Purges get through, so pages get long lifetimes.") : [make("li", {}, "Pages get short lifetimes until purges get through again."), ...why])),
        make("td", { className: "number" }, cdn.pending === null ? "unknown" : cdn.pending.toLocaleString()),
        make("td", { className: "number" }, cdn.oldest_pending_seconds === null ? "–" : duration(cdn.oldest_pending_seconds)),
        make("td", {}, cdn.paused === null ? "unknown" : this.sending(site, cdn)));
    });
    return table(`CDNs of ${site.name}`, ["CDN", "Do purges get through?", "Items waiting", "Oldest", "Sending"], rows);
  },

  sending(site, cdn) {
    const verb = cdn.paused ? "resume" : "pause";
    const id = `${verb}-${site.name}-${cdn.name}`;
    const go = (body) => async () => {
      await call("POST", sitePath(site.name, `/cdns/${encodeURIComponent(cdn.name)}/${verb}`), body);
      await refresh();
    };
    if (cdn.paused) return [badge("paused"), " ", button("Resume", go(), { id, "aria-label": `Resume ${cdn.name} of ${site.name}` })];
    return ["yes ", button("Pause…", async () => {
      const reason = prompt(`Stop sending purges to ${cdn.name}? Its pages get short lifetimes until it is resumed.\nReason (optional):`);
      if (reason !== null) await go({ reason })();
    }, { id, "aria-label": `Pause ${cdn.name} of ${site.name}` })];
  },
};

/** Two points that fall into one place of a chart. */
function join(one, other) {
  const requests = Object.fromEntries(DECISIONS.map(([key]) => [key, one.requests[key] + other.requests[key]]));
  const max = (key) => ({ ...(other[key].count ? other[key] : one[key]), max_ms: Math.max(one[key].max_ms ?? 0, other[key].max_ms ?? 0) || null });
  return { ...other, seconds: one.seconds + other.seconds, requests, purges: one.purges + other.purges, lag_to_accepted: max("lag_to_accepted"), lag_to_verified: max("lag_to_verified") };
}
