// Configuration: what runs, where it differs from the file, reloading, and the log filter.

const configuration = {
  title: "Configuration",

  async open(root) {
    this.difference = make("div", { id: "difference", "aria-live": "polite" });
    this.reload = make("button", { id: "reload", type: "button", disabled: true }, "Reload now");
    this.reload.onclick = () => attempt(async () => {
      this.show(await call("POST", "/v1/reload"), true);
      this.reload.disabled = true;
      await refresh();
    }, this.reload);
    this.filter = make("input", { id: "filter", autocomplete: "off", spellcheck: false, maxLength: 1000 });
    const form = make("form", { id: "log-filter" }, field("Log filter", this.filter, "A level, or levels by part, such as info,origin_shim::delivery=debug. It holds until the program ends or the file's filter changes.", "field grow"),
      make("div", { className: "field buttons" }, make("button", { id: "set-filter" }, "Set")));
    form.onsubmit = (event) => {
      event.preventDefault();
      attempt(async () => {
        this.filter.value = (await call("PUT", "/v1/log-filter", { filter: this.filter.value })).filter;
        say("The log filter is in effect.");
      }, $("set-filter"));
    };
    this.sites = make("div");
    root.append(make("h2", { id: "title", tabIndex: -1 }, "Configuration"),
      make("section", { className: "card" }, make("h3", {}, "The file"),
        make("p", {}, "What runs is what was read at the start or at the last reload. The file may have changed since."),
        make("p", { className: "buttons" }, button("Compare with the file", async () => {
          this.show(await call("POST", "/v1/reload", { dry_run: true }), false);
          this.reload.disabled = false;
        }, { id: "compare", className: "primary" }), this.reload), this.difference),
      make("section", { className: "card" }, make("h3", {}, "The log"), form),
      make("h3", {}, "What runs"), this.sites);
    this.refresh();
    try {
      this.filter.value = (await call("GET", "/v1/log-filter")).filter;
    } catch (error) {
      if (error.status === 401) throw error;
      form.replaceChildren(make("p", { className: "soft" }, `The log filter is not shown: ${error.message}`));
    }
  },

  show({ changes, restart_needed, warnings }, done) {
    const list = (title, all) => all.length > 0 && make("div", {}, make("h4", {}, title), make("ul", { className: "items" }, all.slice(0, 200).map((text) => make("li", {}, long(text)))));
    this.difference.replaceChildren(...[
      make("p", {}, make("strong", {}, changes.length === 0 ? (done ? "Reloaded; nothing had changed." : "What runs is what the file says.") : done ? `Reloaded: ${plural(changes.length, "key")} took effect.` : `The file differs in ${plural(changes.length, "key")}. Values are not shown, because they may be secrets.`)),
      list("Keys", changes.map(({ key, change }) => `${key}: ${change}`)), list("Take effect only after a restart", restart_needed), list("Warnings", warnings),
    ].filter(Boolean));
  },

  refresh() {
    if (!this.sites?.isConnected) return;
    const open = new Set([...this.sites.querySelectorAll("details[open]")].map(({ id }) => id));
    this.sites.replaceChildren(...sites.map((site) => make("details", { className: "card", id: `site-${site.name}`, open: open.has(`site-${site.name}`) || sites.length === 1 },
      make("summary", {}, make("strong", {}, site.name), ` ${site.hosts.join(", ")}`), make("dl", { className: "keys" }, flat(site)))));
  },
};

/** The keys of a site and their values, as the file writes them. The state of CDNs is on the overview. */
function flat(value, prefix = "") {
  const state = ["origins", "healthy", "reasons", "pending", "oldest_pending_seconds", "paused", "copies_without_tags_until"];
  return Object.entries(value).filter(([key]) => !state.includes(key)).flatMap(([key, inner]) => {
    const name = prefix + key;
    if (key === "cdns") return inner.flatMap((cdn) => flat(cdn, `cdns.${cdn.name}.`));
    if (inner !== null && typeof inner === "object" && !Array.isArray(inner)) return flat(inner, `${name}.`);
    return [make("div", {}, make("dt", { className: "mono break" }, name), make("dd", { className: "mono break", dir: "auto" }, Array.isArray(inner) ? inner.join(", ") || "none" : String(inner ?? "none")))];
  });
}
