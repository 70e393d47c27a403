// Charts in SVG: columns that are stacked, and lines. A chart is a slider for the keyboard and for screen readers: its
// value is the moment under the marker, and its text what happened then.

const CHART = { width: 460, height: 130, left: 46, bottom: 18, top: 6 };

/**
 * A chart of `series` (name, kind, values, text) over `points` of equal length. `describe` says in words what happened
 * at a point.
 */
function chart(id, title, { series, times, stacked, axis, describe, empty }) {
  const count = times.length;
  const { width, height, left, bottom, top } = CHART;
  const step = (width - left) / Math.max(count, 1);
  const total = (index) => stacked ? series.reduce((sum, one) => sum + (one.values[index] ?? 0), 0) : Math.max(...series.map((one) => one.values[index] ?? 0));
  const most = ceiling(Math.max(0, ...times.map((_, index) => total(index))));
  const y = (value) => top + (height - top - bottom) * (1 - value / most);
  const x = (index) => left + index * step;

  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", focusable: "false" });
  for (const value of [0, most / 2, most]) {
    svg.append(draw("line", { class: "grid", x1: left, x2: width, y1: y(value), y2: y(value) }));
    const text = draw("text", { class: "tick", x: left - 6, y: y(value) + 4, "text-anchor": "end" });
    text.textContent = axis(value);
    svg.append(text);
  }
  for (let part = 0; part <= 4 && count > 0; part += 1) {
    const index = Math.min(count - 1, Math.round(((count - 1) * part) / 4));
    const anchor = part === 0 ? "start" : part === 4 ? "end" : "middle";
    const text = draw("text", { class: "tick", x: part === 4 ? width : x(index), y: height - 4, "text-anchor": anchor });
    text.textContent = times[index].toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    svg.append(text);
  }
  const base = times.map(() => 0);
  for (const one of series) {
    let path = "";
    let pen = false;
    one.values.forEach((value, index) => {
      if (stacked) {
        if (!value) return;
        const from = y(base[index]);
        base[index] += value;
        path += `M${x(index).toFixed(1)} ${from.toFixed(1)}V${y(base[index]).toFixed(1)}h${Math.max(step, .6).toFixed(2)}V${from.toFixed(1)}z`;
      } else if (value === null) {
        pen = false;
      } else {
        const isolated = one.values[index - 1] == null && one.values[index + 1] == null;
        if (isolated) svg.append(draw("circle", { class: `dot ${one.kind}`, cx: x(index) + step / 2, cy: y(value), r: 3 }));
        else path += `${pen ? "L" : "M"}${(x(index) + step / 2).toFixed(1)} ${y(value).toFixed(1)}`;
        pen = true;
      }
    });
    if (path) svg.append(draw("path", { class: `${stacked ? "area" : "line"} ${one.kind}`, d: path }));
  }
  const marker = draw("line", { class: "marker", y1: top, y2: height - bottom, visibility: "hidden" });
  svg.append(marker);

  const value = make("p", { className: "readout", "aria-hidden": "true" });
  const slider = make("div", { className: "chart", tabIndex: 0, role: "slider", id, "aria-label": title, "aria-valuemin": 0, "aria-valuemax": Math.max(count - 1, 0) }, svg);
  const point = (index, shown = true) => {
    const at = Math.max(0, Math.min(count - 1, index));
    slider.setAttribute("aria-valuenow", at);
    const text = count === 0 ? empty : `${times[at].toLocaleTimeString()}: ${describe(at)}`;
    slider.setAttribute("aria-valuetext", text);
    value.textContent = shown ? text : empty ?? "";
    for (const end of ["x1", "x2"]) marker.setAttribute(end, x(at) + step / 2);
    marker.setAttribute("visibility", shown ? "visible" : "hidden");
    chart.marked.set(id, shown ? count - 1 - at : null);
  };
  slider.onpointermove = (event) => {
    const box = svg.getBoundingClientRect();
    point(Math.floor((((event.clientX - box.left) / box.width) * width - left) / step));
  };
  slider.onpointerleave = () => point(count - 1, false);
  slider.onkeydown = (event) => {
    const now = Number(slider.getAttribute("aria-valuenow"));
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, ArrowDown: now - 1, ArrowUp: now + 1, PageDown: now - 10, PageUp: now + 10, Home: 0, End: count - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    point(to);
  };
  const fromEnd = chart.marked.get(id);
  point(fromEnd == null ? count - 1 : count - 1 - fromEnd, fromEnd != null);
  const legend = make("ul", { className: "legend" }, series.map((one) => make("li", {}, make("span", { className: `key ${one.kind}` }), one.name)));
  return make("figure", { className: "plot" }, make("figcaption", {}, title), legend, slider, value);
}
/** Where the marker of each chart is, counted from the end, so that it stays when the chart is drawn again. */
chart.marked = new Map();

/** A round number that is at least `value`. */
function ceiling(value) {
  if (value <= 0) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].map((factor) => factor * unit).find((round) => round >= value) ?? value;
}
