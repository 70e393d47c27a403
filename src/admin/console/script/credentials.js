// Credentials: whether each CDN can be purged, with whose credentials, and what to do if it cannot.

const USABLE = { yes: ["yes", "Purges get through; this is proved."], no: ["no", "Purges do not get through."], unproved: ["unproved", "No problem was found. Only a purge proves that purges get through."] };

const credentials = {
  title: "Credentials",

  async open(root) {
    this.site = siteChoice("credentials-site");
    this.probe = make("input", { id: "probe", type: "checkbox" });
    this.result = make("div", { id: "checked", className: "cards", "aria-live": "polite" });
    const form = make("form", { id: "credentials" }, field("Site", this.site),
      make("div", { className: "field check" }, make("label", { htmlFor: "probe" }, this.probe, " Also purge a tag that no page carries, which proves the permission")),
      make("div", { className: "field buttons" }, make("button", { className: "primary", id: "check" }, "Check now")));
    form.onsubmit = (event) => { event.preventDefault(); attempt(() => this.check(), $("check")); };
    root.append(make("h2", { id: "title", tabIndex: -1 }, "Credentials"), make("p", {}, "Asks each CDN whether the credentials in the configuration can purge. No page is purged."), form, this.result);
  },

  async check() {
    const { cdns } = await call("POST", sitePath(this.site.value, "/credentials/check"), { probe: this.probe.checked });
    say("");
    this.result.replaceChildren(...cdns.map((cdn) => {
      const [word, means] = USABLE[cdn.usable] ?? [cdn.usable, ""];
      return make("article", { className: "card" }, make("h3", {}, cdn.name, " ", badge(word, word)), make("p", {}, means),
        make("p", {}, "Credentials of: ", cdn.identity ? long(cdn.identity) : make("span", { className: "soft" }, "the CDN does not tell")),
        make("ul", { className: "findings" }, cdn.findings.map(({ level, text, advice }) => make("li", {}, badge(level, level === "warning" ? "busy" : level), " ", long(text), advice && make("p", { className: "advice" }, make("strong", {}, "What to do: "), long(advice))))));
    }));
    if (cdns.length === 0) this.result.replaceChildren(make("p", {}, "This site has no CDN, so there are no credentials."));
  },
};
