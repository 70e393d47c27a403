// Explain: what is done to a response, and why, each header before and after.

const explain = {
  title: "Explain",

  async open(root, url) {
    const site = siteChoice("explain-site");
    this.url = make("input", { id: "url", type: "url", required: true, autocomplete: "off", spellcheck: false, placeholder: "a page of the site, as visitors see it" });
    this.cdn = make("select", { id: "explain-cdn" });
    this.headers = make("textarea", { id: "headers", rows: 2, spellcheck: false });
    this.status = make("input", { id: "status", type: "number", min: 200, max: 999, value: 200 });
    this.response = make("textarea", { id: "response-headers", rows: 3, spellcheck: false });
    this.site = site;
    this.result = make("div", { id: "explained", "aria-live": "polite" });
    const list = () => {
      const types = [...new Set((sites.find(({ name }) => name === site.value)?.cdns ?? []).map(({ type }) => type))];
      options(this.cdn, [...types.map((type) => [type, type]), ["visitor", "a visitor, without a CDN"]]);
    };
    site.onchange = list;
    list();
    if (url) this.url.value = decodeURIComponent(url);
    const form = make("form", { id: "explain" },
      field("URL", this.url, null, "field wide"), field("Site", site), field("Asked by", this.cdn), field("Status of the response", this.status),
      field("Header fields of the request (optional)", this.headers, "One a line: name, colon, value.", "field wide"),
      field("Header fields of the origin's response", this.response, "One a line. Not needed if the page is fetched now.", "field wide"),
      make("div", { className: "field buttons" }, make("button", { className: "primary", id: "ask" }, "Explain"), button("Fetch now and explain", () => this.ask(true), { id: "fetch" })));
    form.onsubmit = (event) => { event.preventDefault(); attempt(() => this.ask(false), $("ask")); };
    root.append(make("h2", { id: "title", tabIndex: -1 }, "Explain"), make("p", {}, "Why does a page have this lifetime? The answer comes from the code that serves it."), form, this.result);
  },

  async ask(fetch) {
    const pairs = (text) => lines(text).map((line) => { const at = line.indexOf(":", 1); return at < 0 ? [line, ""] : [line.slice(0, at).trim(), line.slice(at + 1).trim()]; });
    const body = { url: this.url.value.trim(), headers: pairs(this.headers.value) };
    if (this.cdn.value === "visitor") body.visitor = true;
    else if (this.cdn.value) body.cdn = this.cdn.value;
    if (fetch) body.fetch = true;
    else Object.assign(body, { status: Number(this.status.value), response_headers: pairs(this.response.value) });
    const answer = await call("POST", sitePath(this.site.value, "/explain"), body);
    say("");
    this.result.replaceChildren(...this.show(answer));
  },

  show(answer) {
    const values = (pairs) => {
      const map = new Map();
      for (const [name, value] of pairs) map.set(name.toLowerCase(), [...(map.get(name.toLowerCase()) ?? []), value]);
      return map;
    };
    const [before, after] = [values(answer.before), values(answer.after)];
    const names = [...new Set([...before.keys(), ...after.keys()])].sort();
    const cell = (list) => make("td", {}, list ? list.map((value) => make("div", { className: "mono" }, long(value))) : make("span", { className: "soft" }, "–"));
    const rows = names.map((name) => {
      const [one, other] = [before.get(name), after.get(name)];
      const change = !one ? "added" : !other ? "removed" : one.join("\n") === other.join("\n") ? "same" : "changed";
      return make("tr", { className: change }, make("th", { scope: "row", className: "mono break" }, name), cell(one), cell(other), make("td", {}, change === "same" ? make("span", { className: "soft" }, "same") : badge(change)));
    });
    return [
      make("div", { className: "card" },
        make("p", {}, badge(answer.outcome), " ", make("strong", {}, answer.why)),
        make("dl", { className: "facts" },
          fact("Site", `${answer.site}, mode ${answer.mode}`), fact("Asked by", answer.cdn ?? "nobody whose long lifetimes are revocable"),
          fact("Opted in", answer.opted_in ? "yes" : "no: the response is not lengthened"), fact("Rule", answer.rule ? `number ${answer.rule.number}, ${answer.rule.path}` : "none matches"),
          fact("Status", String(answer.status)), fact("Reason, as metrics name it", make("code", {}, answer.reason))),
        answer.tags.length > 0 && make("details", {}, make("summary", {}, plural(answer.tags.length, "tag")), make("ul", { className: "items" }, answer.tags.map((tag) => make("li", { className: "mono break" }, tag))))),
      table("Header fields", ["Header field", "From the origin", "To the CDN", "Change"], rows),
    ];
  },
};
