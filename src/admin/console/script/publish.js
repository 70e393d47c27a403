// Publish: a purge or an event is tried first, and sent when its plan is what was meant.

const EVENTS = ["publish", "unpublish", "cache", "code", "branch-deleted", "config", "metadata", "redirects", "sitemap"];

const publish = {
  title: "Publish",

  async open(root) {
    const site = siteChoice("publish-site");
    const kind = make("select", { id: "kind" });
    options(kind, [["purge", "Purge pages, tags or everything"], ["event", "Report an event, as the CMS does"]]);
    this.items = make("textarea", { id: "items", rows: 5, spellcheck: false, placeholder: "/blog/first" });
    this.event = make("input", { id: "event", value: "publish", autocomplete: "off" });
    this.event.setAttribute("list", "events");
    this.everything = make("input", { id: "everything", type: "checkbox" });
    this.name = make("input", { id: "site-name", autocomplete: "off", spellcheck: false });
    this.mode = make("select", { id: "mode" });
    options(this.mode, [["", "as configured"], ["soft", "soft: mark as stale"], ["hard", "hard: delete"]]);
    this.cdns = make("fieldset", { className: "choice" }, make("legend", {}, "CDNs"));
    this.verify = make("input", { id: "verify", type: "checkbox" });
    this.reason = make("input", { id: "reason", maxLength: 1000, autocomplete: "off" });
    [this.site, this.kind] = [site, kind];
    const eventField = field("Event", this.event, "What happened, such as publish or unpublish. The rules of the site decide what is purged.");
    const everythingField = make("div", { className: "field check" }, make("label", { htmlFor: "everything" }, this.everything, " Everything of the site"));
    const verifyField = make("div", { className: "field check" }, make("label", { htmlFor: "verify" }, this.verify, " Then check that copies at the CDN are fresh"));
    this.nameField = field("Type the site's name to purge everything", this.name, "Every page is fetched from the origin again. It must be able to carry that load.");
    this.plan = make("div", { id: "plan", role: "region", "aria-label": "Plan", "aria-live": "polite" });
    this.send = make("button", { id: "send", type: "button", disabled: true }, "Purge now");
    this.send.onclick = () => attempt(() => this.commit(), this.send);
    const form = make("form", { id: "publish" },
      field("Site", site), field("What to do", kind), eventField,
      field("Items, one a line", this.items, "A URL, a path that starts with /, or a tag. A path that ends with *: everything below it.", "field wide"),
      everythingField, this.nameField, this.cdns, field("How", this.mode), field("Reason (optional)", this.reason, null, "field grow"), verifyField,
      make("div", { className: "field buttons" }, make("button", { className: "primary", id: "try" }, "Show what would be sent"), this.send));
    form.onsubmit = (event) => { event.preventDefault(); attempt(() => this.tryIt(), $("try")); };
    const changed = () => {
      const isEvent = kind.value === "event";
      eventField.hidden = !isEvent;
      everythingField.hidden = verifyField.hidden = isEvent;
      this.nameField.hidden = isEvent || !this.everything.checked;
      this.items.disabled = !isEvent && this.everything.checked;
      this.dirty();
    };
    form.oninput = form.onchange = changed;
    site.onchange = () => { this.listCdns(); changed(); };
    root.append(make("h2", { id: "title", tabIndex: -1 }, "Publish"),
      make("p", {}, "Look first at what would be sent to each CDN. Nothing is purged until you say so."),
      form, make("datalist", { id: "events" }, EVENTS.map((value) => make("option", { value }))), this.plan);
    this.listCdns();
    changed();
  },

  listCdns() {
    const site = sites.find(({ name }) => name === this.site.value);
    const boxes = (site?.cdns ?? []).map(({ name }) => make("label", { htmlFor: `cdn-${name}` }, make("input", { id: `cdn-${name}`, type: "checkbox", value: name, checked: true }), ` ${name}`));
    this.cdns.replaceChildren(make("legend", {}, "CDNs"), ...boxes);
    this.cdns.hidden = boxes.length < 2;
  },

  /** A changed form is not what was tried. */
  dirty() {
    this.tried = null;
    this.send.disabled = true;
    this.plan.replaceChildren();
  },

  body() {
    const body = {};
    const all = lines(this.items.value);
    const boxes = [...this.cdns.querySelectorAll("input")];
    if (boxes.some(({ checked }) => !checked)) body.cdns = boxes.filter(({ checked }) => checked).map(({ value }) => value);
    if (this.mode.value) body.mode = this.mode.value;
    if (this.reason.value.trim()) body.reason = this.reason.value.trim();
    if (this.kind.value === "event") return { ...body, event: this.event.value.trim(), paths: all };
    if (this.verify.checked) body.verify = true;
    if (this.everything.checked) return { ...body, everything: true };
    Object.assign(body, { urls: [], paths: [], tags: [], prefixes: [] });
    for (const line of all) {
      if (/^https?:\/\//i.test(line)) body.urls.push(line);
      else if (line.startsWith("/") && line.endsWith("*")) body.prefixes.push(line.slice(0, -1));
      else if (line.startsWith("/")) body.paths.push(line);
      else body.tags.push(line);
    }
    return body;
  },

  path() {
    return sitePath(this.site.value, this.kind.value === "event" ? "/events" : "/purges");
  },

  async tryIt() {
    const [body, path] = [this.body(), this.path()];
    const plan = await call("POST", path, { ...body, dry_run: true });
    say("");
    this.tried = { body, path, site: this.site.value, everything: plan.items.everything === true };
    this.plan.replaceChildren(...this.show(plan));
    this.nameField.hidden = !this.tried.everything;
    this.send.disabled = false;
  },

  async commit() {
    if (!this.tried) return;
    if (this.tried.everything && this.name.value.trim() !== this.tried.site) {
      say(`To purge everything, type the site's name: ${this.tried.site}.`, true);
      this.nameField.hidden = false;
      this.name.focus();
      return;
    }
    const purge = await call("POST", this.tried.path, this.tried.body);
    say(`Accepted: ${summary(purge.items)} will be purged from ${purge.jobs.map(({ cdn }) => cdn).join(", ")}.`);
    location.hash = `#/purge/${purge.id}`;
  },

  show(plan) {
    const jobs = plan.jobs.map((job) => make("article", { className: "card" },
      make("h4", {}, job.cdn, job.cdn === job.type ? "" : make("span", { className: "soft" }, ` ${job.type}`)),
      make("p", {}, make("strong", {}, `${plural(job.items, "item")} in ${plural(job.calls, "call")}`),
        job.repeat_after_seconds === null ? "." : `, and all of it again ${duration(job.repeat_after_seconds)} later for the CDN's inner tiers.`),
      job.everything && make("p", {}, badge("everything", "failed"), " Everything of the site is purged here."),
      job.fallback.length > 0 && make("div", { className: "wider" }, make("p", {}, "Purged more widely than requested:"), make("ul", {}, job.fallback.map((text) => make("li", {}, long(text))))),
      job.cost && make("p", {}, make("strong", {}, `At most ${job.cost.at_most_dollars.toLocaleString("en-US", { style: "currency", currency: "USD", maximumFractionDigits: 3 })}: `),
        `the CDN charges for each item after the first ${job.cost.free_per_month.toLocaleString()} of a month.`),
      make("details", {}, make("summary", {}, "Items, as this CDN names them"),
        make("ul", { className: "items" }, job.first_items.map(({ kind, value, mode }) => make("li", { className: "break" }, make("span", { className: "soft" }, `${kind}, ${mode}: `), make("span", { className: "mono" }, value))),
          job.items > job.first_items.length && make("li", { className: "soft" }, `and ${(job.items - job.first_items.length).toLocaleString()} more`)))));
    return [make("h3", {}, `Would be purged: ${summary(plan.items)}`), make("div", { className: "cards" }, jobs)];
  },
};
