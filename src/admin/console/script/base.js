"use strict";
// Small things that every view uses. All files of this folder become one script, in the order of `mod.rs`.

const KEY = "origin-shim-token";
const ENDED = ["done", "failed", "cancelled"];
const $ = (id) => document.getElementById(id);

/** Text in which nothing can turn the direction of what stands beside it (trojansource.codes). */
function visible(text) {
  return text.replace(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (control) => `\\u{${control.codePointAt(0).toString(16)}}`);
}

/** An element with properties and children; text is only ever text. */
function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role" || key === "for") element.setAttribute(key, value);
    else element[key] = value;
  }
  const shown = children.flat().filter((child) => child !== null && child !== undefined && child !== false);
  element.append(...shown.map((child) => (typeof child === "string" ? visible(child) : child)));
  return element;
}

/** An SVG element; the page's own logo tells the name space. */
function draw(name, attributes = {}, ...children) {
  const element = document.createElementNS($("logo").namespaceURI, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Tells the result of what a person did. */
function say(text, bad = false) {
  const message = $("message");
  message.textContent = visible(text);
  message.className = bad ? "note bad" : "note";
  message.hidden = !text;
}

/** Redraws without taking the keyboard's place away. */
function keepFocus(container, redraw) {
  const active = document.activeElement;
  const focused = container.contains(active) ? active.id : "";
  redraw();
  if (focused) $(focused)?.focus({ preventScroll: true });
}

const GOOD = { done: true, fresh: true, healthy: true, lengthened: true, yes: true, ok: true };
const BAD = { failed: true, stale: true, unhealthy: true, no: true, error: true };
const STILL = { cancelled: true, unknown: true, untouched: true, note: true, observe: true, off: true };

/** A word with a colour; the word alone says it all. */
function badge(word, kind = word) {
  const name = GOOD[kind] ? "good" : BAD[kind] ? "bad" : STILL[kind] ? "still" : "busy";
  return make("span", { className: `badge ${name}` }, word);
}

/** A time that a person reads, with the exact one for machines. */
function when(time) {
  return make("time", { dateTime: time, title: time }, clock(time));
}

function clock(time) {
  const date = new Date(time);
  const today = date.toDateString() === new Date().toDateString();
  return today ? date.toLocaleTimeString() : date.toLocaleString();
}

function duration(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}

/** Milliseconds in the unit that a person would use. */
function took(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms === 0) return "0";
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 1000 ? `${Math.round(ms)} ms` : ms < 120_000 ? `${(ms / 1000).toFixed(1)} s` : duration(ms / 1000);
}

function rate(perSecond) {
  if (perSecond === 0) return "0";
  return perSecond < 10 ? perSecond.toFixed(1) : Math.round(perSecond).toLocaleString();
}

function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString()} ${count === 1 ? one : many}`;
}

/** The first items of a purge, in words. */
function summary(items) {
  const kinds = [["", items.urls], ["", items.paths], ["tag ", items.tags], ["below ", items.prefixes]];
  const all = kinds.flatMap(([kind, list]) => (list ?? []).map((item) => kind + item));
  if (items.everything) all.unshift("everything");
  const more = items.total - 3;
  return all.length === 0 ? plural(items.total, "item") : all.slice(0, 3).join(", ") + (more > 0 ? ` and ${more.toLocaleString()} more` : "");
}

/** Text that may be long: its beginning, and the rest on request. */
function long(text, className = "break") {
  const most = 400;
  if (text.length <= most) return make("span", { className, dir: "auto" }, text);
  return make("span", { className, dir: "auto" }, text.slice(0, most), "… ",
    make("details", { className: "rest" }, make("summary", {}, "Show all"), make("span", { className, dir: "auto" }, text)));
}

function table(label, head, rows) {
  return make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": label }, make("table", {},
    make("thead", {}, make("tr", {}, head.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, rows)));
}

function button(text, action, properties = {}) {
  const element = make("button", { type: "button", ...properties }, text);
  element.onclick = () => attempt(action, element);
  return element;
}

/** A control with its label above it, and a hint below it if there is one. */
function field(label, control, hint, className = "field") {
  const parts = [make("label", { htmlFor: control.id }, label), control];
  if (hint) {
    control.setAttribute("aria-describedby", `${control.id}-hint`);
    parts.push(make("p", { className: "hint", id: `${control.id}-hint` }, hint));
  }
  return make("div", { className }, parts);
}

function check(id, label, properties = {}) {
  const box = make("input", { id, type: "checkbox", ...properties });
  return make("div", { className: "field check" }, make("label", { htmlFor: id }, box, ` ${label}`));
}

function options(select, entries) {
  const chosen = select.value;
  select.replaceChildren(...entries.map(([value, text]) => make("option", { value }, text)));
  if (entries.some(([value]) => value === chosen)) select.value = chosen;
}

/** A choice of one of the sites. */
function siteChoice(id) {
  const select = make("select", { id });
  options(select, sites.map(({ name }) => [name, name]));
  return select;
}

/** The lines of a text that are not empty. */
const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
