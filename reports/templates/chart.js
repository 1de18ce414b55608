"use strict";
/* Charts in SVG from specifications in the manner of plotly's: the few kinds of traces that a report has, drawn at once
   and styled by the page's own variables. A whole series is one path, so that ten thousand points are a few nodes. */
const Chart = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const DASHES = { dash: "7 4", dot: "1.5 3", dashdot: "7 3 1.5 3", longdash: "12 5", longdashdot: "12 4 1.5 4" };
  // How far from a marker the pointer may be, in pixels.
  const REACH = 18;
  let count = 0;

  function node(tag, attributes = {}, ...children) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }
  function html(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }
  // Texts come escaped, with <b> and <br> as their only markup: they enter the page as text.
  const unescaped = (text) => text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
  const lines = (text) => text.split("<br>").map((line) => unescaped(line.replace(/<\/?b>/g, "")));

  const polygon = (sides, turn, size) => Array.from({ length: sides }, (_, i) => {
    const angle = turn + (2 * Math.PI * i) / sides;
    return [size * Math.sin(angle), -size * Math.cos(angle)];
  });
  const star = () => Array.from({ length: 10 }, (_, i) => {
    const angle = (Math.PI * i) / 5, size = i % 2 ? 0.45 : 1.15;
    return [size * Math.sin(angle), -size * Math.cos(angle)];
  });
  const cross = [[-0.36, -1], [0.36, -1], [0.36, -0.36], [1, -0.36], [1, 0.36], [0.36, 0.36], [0.36, 1], [-0.36, 1], [-0.36, 0.36], [-1, 0.36], [-1, -0.36], [-0.36, -0.36]];
  const turned = (points) => points.map(([x, y]) => [(x - y) * Math.SQRT1_2, (x + y) * Math.SQRT1_2]);
  const SHAPES = {
    "square": [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
    "diamond": polygon(4, 0, 1.2), "triangle-up": polygon(3, 0, 1.2), "triangle-down": polygon(3, Math.PI, 1.2),
    "pentagon": polygon(5, 0, 1.1), "hexagon": polygon(6, Math.PI / 6, 1.1), "star": star(), "cross": cross, "x": turned(cross),
  };
  const round = (number) => Math.round(number * 10) / 10;
  function outline(symbol, x, y, size) {
    const shape = SHAPES[symbol.replace("-open", "")], r = size / 2;
    if (!shape) return `M${round(x - r)} ${round(y)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`;
    return `M${shape.map(([a, b]) => `${round(x + a * r)} ${round(y + b * r)}`).join("L")}z`;
  }

  function ticks(low, high, room) {
    const rough = (high - low) / Math.max(2, room), power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
    const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i += 1) found.push([i * step, (i * step).toFixed(places)]);
    return found;
  }

  let widths = null;
  function breadth(text, size) {
    widths ??= document.createElement("canvas").getContext("2d");
    widths.font = `${size}px ${getComputedStyle(document.body).fontFamily}`;
    return widths.measureText(text).width;
  }

  /* Draws into the element, or anew; `choose` is called with the custom data of a marker that was clicked or entered. */
  function draw(element, traces, layout, choose) {
    const state = (element.chart ??= { hidden: new Set(), zoom: null });
    Object.assign(state, { traces, layout, choose });
    Object.assign(element, { data: traces, layout });
    if (!state.watched) {
      state.watched = true;
      new ResizeObserver(() => { if (element.clientWidth !== state.width) paint(element, state); }).observe(element);
    }
    paint(element, state);
  }

  function paint(element, state) {
    const { traces, layout } = state;
    state.width = element.clientWidth;
    const bars = traces.some((trace) => trace.type === "bar");
    const shown = traces.filter((trace) => !state.hidden.has(group(trace)));
    const width = Math.max(240, state.width), height = layout.height ?? Math.min(470, Math.max(300, 0.62 * width));
    // Rows with a name each: of bars, or of markers at 0, 1, 2 and so on.
    const names = bars ? [...new Set(traces.flatMap((trace) => trace.y))] : layout.yaxis.names ?? null;
    const [x0, x1] = state.zoom?.x ?? layout.xaxis.range ?? [0, 1.03 * widest(traces)];
    const [y0, y1] = names ? [names.length - 0.5, -0.5] : state.zoom?.y ?? layout.yaxis.range;
    const yTicks = names ? names.map((name, i) => [i, cut(unescaped(name), 0.35 * width)]) : ticks(y0, y1, height / 60);
    const yTitle = layout.yaxis.title?.text;
    const left = 12 + Math.max(...yTicks.map(([, text]) => breadth(text, 12)), 0) + (yTitle ? 22 : 0);
    const notes = layout.annotations ?? [], limits = notes.filter((note) => !note.showarrow);
    const box = { left, right: width - 18, top: limits.length ? 24 : 8, bottom: height - 46 };
    const px = (x) => box.left + ((x - x0) / (x1 - x0)) * (box.right - box.left);
    const py = (y) => box.bottom - ((y - y0) / (y1 - y0)) * (box.bottom - box.top);
    state.at = (x, y) => [px(x), py(y)];
    const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" });
    const clip = `clip-${(state.number ??= count++)}`;
    svg.append(node("defs", {}, node("clipPath", { id: clip },
      node("rect", { x: box.left, y: box.top - 1, width: box.right - box.left, height: box.bottom - box.top + 2 }))));
    const grid = node("g", { class: "grid" }), words = node("g"), over = node("g");
    for (const [value, text] of ticks(x0, x1, width / 90)) {
      grid.append(node("path", { d: `M${round(px(value))} ${box.top}V${box.bottom}` }));
      words.append(node("text", { class: "xtick", x: round(px(value)), y: box.bottom + 17, "text-anchor": "middle" }, text));
    }
    for (const [value, text] of yTicks) {
      if (!names) grid.append(node("path", { d: `M${box.left} ${round(py(value))}H${box.right}` }));
      words.append(node("text", { class: "ytick", x: box.left - 7, y: round(py(value)) + 4, "text-anchor": "end" }, text));
    }
    const middle = (box.top + box.bottom) / 2;
    words.append(node("text", { class: "axis", x: (box.left + box.right) / 2, y: height - 8, "text-anchor": "middle" }, unescaped(layout.xaxis.title?.text ?? "")));
    if (yTitle) words.append(node("text", { class: "axis", transform: `translate(13 ${middle}) rotate(-90)`, "text-anchor": "middle" }, cut(unescaped(yTitle), box.bottom - box.top, 13)));
    const inside = node("g", { "clip-path": `url(#${clip})` });
    for (const shape of layout.shapes ?? []) inside.append(node("path", { class: "limit", d: `M${round(px(shape.x0))} ${box.top}V${box.bottom}` }));
    let end = -Infinity;
    for (const note of [...limits].sort((a, b) => a.x - b.x)) {
      const text = cut(unescaped(note.text), 100), half = breadth(text, 11.5) / 2, x = px(note.x);
      if (x < box.left || x > box.right || x - half < end + 4) continue;
      end = x + half;
      words.append(node("text", { class: "faint", x: round(x), y: box.top - 8, "text-anchor": "middle" }, text));
    }
    for (const note of notes.filter((one) => one.showarrow)) {
      const [right, up] = [note.x > 0.5, note.y > 0.5], arrow = { true: { true: "↗", false: "↘" }, false: { true: "↖", false: "↙" } }[right][up];
      over.append(node("text", { class: "faint halo", x: right ? box.right - 6 : box.left + 6, y: up ? box.top + 14 : box.bottom - 7, "text-anchor": right ? "end" : "start" },
        right ? `${unescaped(note.text)} ${arrow}` : `${arrow} ${unescaped(note.text)}`));
    }
    const marks = [];
    let previous = null;
    if (bars) stack(inside, shown, names, px, py, marks);
    for (const trace of bars ? [] : shown) {
      if (trace.mode === "lines") previous = line(inside, trace, px, py, previous);
      else scatter(inside, over, trace, px, py, marks);
    }
    state.marks = marks.filter(({ x, y }) => x >= box.left - 1 && x <= box.right + 1 && y >= box.top - 1 && y <= box.bottom + 1);
    const frame = node("path", { class: "frame", d: `M${box.left} ${box.top}V${box.bottom}H${box.right}` });
    const ring = node("path", { class: "ring" });
    svg.append(grid, inside, frame, words, over, ring);
    const tip = (state.tip ??= html("div", { className: "tip", hidden: true }));
    tip.setAttribute("role", "status");
    element.replaceChildren(svg, tip, legend(element, state));
    listen(element, state, { svg, box, ring, x: [x0, x1], y: [y0, y1] });
  }

  const group = (trace) => trace.legendgroup ?? trace.name;

  function cut(text, room, size = 12) {
    if (breadth(text, size) <= room) return text;
    let most = text.length;
    while (most > 1 && breadth(`${text.slice(0, most)}…`, size) > room) most -= 1;
    return `${text.slice(0, most)}…`;
  }

  const widest = (traces) => Math.max(1e-9, ...[...Array(Math.max(...traces.map((t) => t.x.length))).keys()].map((i) => traces.reduce((sum, t) => sum + (t.x[i] ?? 0), 0)));

  function line(inside, trace, px, py, previous) {
    const corners = trace.x.map((x, i) => [px(x), py(trace.y[i])]);
    let d = "";
    corners.forEach(([x, y], i) => { d += i === 0 ? `M${round(x)} ${round(y)}` : trace.line.shape === "hv" ? `H${round(x)}V${round(y)}` : trace.line.shape === "vh" ? `V${round(y)}H${round(x)}` : `L${round(x)} ${round(y)}`; });
    if (trace.fill && previous) inside.append(node("path", { d: `${d}L${[...previous].reverse().map(([x, y]) => `${round(x)} ${round(y)}`).join("L")}z`, fill: trace.fillcolor }));
    if (trace.line.width) inside.append(node("path", { d, fill: "none", stroke: trace.line.color, "stroke-width": trace.line.width, "stroke-dasharray": DASHES[trace.line.dash], opacity: trace.opacity }));
    return corners;
  }

  function scatter(inside, over, trace, px, py, marks) {
    const { symbol, color, size, line: edge } = trace.marker, fills = new Map();
    let rods = "";
    trace.x.forEach((value, i) => {
      if (value === null || trace.y[i] === null) return;
      const x = px(value), y = py(trace.y[i]), of = (bars, key) => bars?.[key]?.[i];
      const [east, west, north, south] = [of(trace.error_x, "array"), of(trace.error_x, "arrayminus"), of(trace.error_y, "array"), of(trace.error_y, "arrayminus")];
      if (east !== undefined) rods += `M${round(px(value - west))} ${round(y)}H${round(px(value + east))}`;
      if (north !== undefined) rods += `M${round(x)} ${round(py(trace.y[i] - south))}V${round(py(trace.y[i] + north))}`;
      if (trace.text?.[i]) tag(over, unescaped(trace.text[i]), x + size / 2 + 1, y - size / 2);
      const fill = symbol.endsWith("-open") ? (trace.hovertext ? "var(--page)" : "none") : Array.isArray(color) ? color[i] : color;
      fills.set(fill, (fills.get(fill) ?? "") + outline(symbol, x, y, size));
      if (trace.hovertext) marks.push({ x, y, symbol, size, text: trace.hovertext[i], key: trace.customdata?.[i] });
    });
    const stroke = edge?.color ?? (Array.isArray(color) ? "currentColor" : color);
    if (rods) inside.append(node("path", { d: rods, stroke: trace.error_x?.color ?? stroke, fill: "none" }));
    for (const [fill, d] of fills) inside.append(node("path", { class: "marks", d, fill, stroke, "stroke-width": edge?.width ?? 1.5 }));
  }

  /* A letter beside a marker, unless another stands there: a heap of letters would tell nothing. */
  function tag(over, text, x, y) {
    const taken = [...over.querySelectorAll(".tag")].some((other) => Math.abs(other.getAttribute("x") - x) < 9 && Math.abs(other.getAttribute("y") - y) < 10);
    if (!taken) over.append(node("text", { class: "tag halo", x: round(x), y: round(y) }, text));
  }

  function stack(inside, traces, names, px, py, marks) {
    const reached = names.map(() => 0), half = Math.abs(py(0.31) - py(0));
    for (const trace of traces) {
      trace.x.forEach((seconds, i) => {
        const row = names.indexOf(trace.y[i]), from = px(reached[row]), to = px((reached[row] += seconds)), y = py(row);
        if (to <= from) return;
        inside.append(node("rect", { x: round(from), y: round(y - half), width: round(to - from), height: round(2 * half), fill: trace.marker.color, stroke: "var(--page)" }));
        const pattern = hatch(trace.marker.pattern?.shape, from, to, y - half, y + half);
        if (pattern) inside.append(node("path", { d: pattern, stroke: "#fff", "stroke-width": 1.1, opacity: 0.75, fill: "none" }));
        marks.push({ x: (from + to) / 2, y, reachX: (to - from) / 2, reachY: half, text: `<b>${trace.y[i]}</b><br>${trace.hovertext[i]}` });
      });
    }
  }

  /* Strokes over a bar, so that stages are told apart without colour. */
  function hatch(kind, left, right, top, bottom) {
    let d = "";
    const high = bottom - top, add = (x, y, toX, toY) => { d += `M${round(x)} ${round(y)}L${round(toX)} ${round(toY)}`; };
    const slanted = (sign) => {
      for (let x = left - high; x < right; x += 8) {
        const from = Math.max(x, left), to = Math.min(x + high, right);
        if (to > from) add(from, sign > 0 ? bottom - (from - x) : top + (from - x), to, sign > 0 ? bottom - (to - x) : top + (to - x));
      }
    };
    if (kind === "/" || kind === "x") slanted(1);
    if (kind === "\\" || kind === "x") slanted(-1);
    if (kind === "-" || kind === "+") for (let y = top + 5; y < bottom; y += 6) add(left, y, right, y);
    if (kind === "|" || kind === "+") for (let x = left + 5; x < right; x += 7) add(x, top, x, bottom);
    if (kind === ".") for (let y = top + 4; y < bottom; y += 6) for (let x = left + 4; x < right - 1.5; x += 7) add(x, y, x + 1.5, y);
    return d;
  }

  function legend(element, state) {
    const list = html("div", { className: "legend" });
    const colours = (marker) => marker.line?.color ?? (Array.isArray(marker.color) ? marker.color[0] : marker.color);
    for (const trace of state.traces.filter((one) => one.name && one.showlegend !== false)) {
      const name = group(trace), on = !state.hidden.has(name);
      const line = state.traces.find((one) => one.mode === "lines" && one.legendgroup === name && one.line.width)?.line;
      const icon = node("svg", { width: 30, height: 14, "aria-hidden": "true" });
      if (line) icon.append(node("path", { d: "M1 7H29", stroke: line.color, "stroke-width": 1.5, "stroke-dasharray": DASHES[line.dash] }));
      if (trace.fill) icon.append(node("rect", { x: 3, y: 1, width: 24, height: 12, fill: trace.fillcolor }));
      else if (trace.type === "bar") {
        icon.append(node("rect", { x: 3, y: 1, width: 24, height: 12, fill: trace.marker.color }));
        const strokes = hatch(trace.marker.pattern?.shape, 3, 27, 1, 13);
        if (strokes) icon.append(node("path", { d: strokes, stroke: "#fff", opacity: 0.8 }));
      } else if (trace.marker) {
        const colour = colours(trace.marker);
        icon.append(node("path", { d: outline(trace.marker.symbol, 15, 7, 10), fill: trace.marker.symbol.endsWith("-open") ? "var(--page)" : colour, stroke: colour, "stroke-width": 1.5 }));
      }
      const button = html("button", { type: "button" }, icon, html("span", { className: "legendtext" }, unescaped(trace.name)));
      button.setAttribute("aria-pressed", String(on));
      button.addEventListener("click", () => {
        if (on) state.hidden.add(name); else state.hidden.delete(name);
        const place = [...list.children].indexOf(button);
        paint(element, state);
        element.querySelector(".legend").children[place].focus();
      });
      list.append(button);
    }
    if (state.zoom) {
      const reset = html("button", { type: "button", className: "reset" }, "Show all");
      reset.addEventListener("click", () => { state.zoom = null; paint(element, state); });
      list.append(reset);
    }
    return list;
  }

  function listen(element, state, { svg, box, ring, x, y }) {
    const { marks, tip } = state;
    const chosen = (mark) => mark && mark.key !== undefined && mark.key !== null;
    const place = (event) => { const at = svg.getBoundingClientRect(); return [event.clientX - at.x, event.clientY - at.y]; };
    function nearest([a, b]) {
      let best = null, least = REACH;
      for (const mark of marks) {
        const far = mark.reachX === undefined ? Math.hypot(mark.x - a, mark.y - b)
          : Math.abs(mark.x - a) <= mark.reachX && Math.abs(mark.y - b) <= mark.reachY ? 0 : Infinity;
        if (far < least) [best, least] = [mark, far];
      }
      return best;
    }
    function tell(mark) {
      state.told = mark;
      tip.hidden = !mark;
      ring.setAttribute("d", mark?.symbol ? outline("circle", mark.x, mark.y, mark.size + 9) : "");
      svg.style.cursor = chosen(mark) ? "pointer" : "";
      if (!mark) return;
      const [head, ...rest] = lines(mark.text);
      tip.replaceChildren(html("strong", {}, head), ...rest.map((text) => html("span", {}, text)));
      const room = svg.clientWidth - tip.offsetWidth - 4;
      tip.style.left = `${Math.max(2, Math.min(room, mark.x + 14))}px`;
      tip.style.top = `${mark.y - tip.offsetHeight - 14 > 0 ? mark.y - tip.offsetHeight - 14 : mark.y + 16}px`;
    }
    const pick = (mark) => { if (chosen(mark)) state.choose(mark.key); };
    let start = null, band = null;
    svg.addEventListener("pointerdown", (event) => { if (event.pointerType === "mouse" && event.button === 0 && state.layout.yaxis.range) start = place(event); });
    svg.addEventListener("pointermove", (event) => {
      const at = place(event);
      if (!start || Math.hypot(at[0] - start[0], at[1] - start[1]) < 8) { tell(nearest(at)); return; }
      tell(null);
      if (!band) svg.append(band = node("rect", { class: "band" }));
      const [a, b] = [Math.min(at[0], start[0]), Math.min(at[1], start[1])];
      for (const [name, value] of Object.entries({ x: a, y: b, width: Math.abs(at[0] - start[0]), height: Math.abs(at[1] - start[1]) })) band.setAttribute(name, value);
    });
    svg.addEventListener("pointerup", (event) => {
      const from = start, at = place(event);
      start = null;
      state.dragged = band !== null;
      if (!band) return;
      band.remove(); band = null;
      if (Math.abs(at[0] - from[0]) < 12 || Math.abs(at[1] - from[1]) < 12) return;
      const back = (pixel, low, high, [a, b]) => a + ((Math.min(Math.max(pixel, Math.min(low, high)), Math.max(low, high)) - low) / (high - low)) * (b - a);
      state.zoom = {
        x: [from[0], at[0]].map((p) => back(p, box.left, box.right, x)).sort((p, q) => p - q),
        y: [from[1], at[1]].map((p) => back(p, box.bottom, box.top, y)).sort((p, q) => p - q),
      };
      paint(element, state);
    });
    svg.addEventListener("pointerleave", () => { start = null; band?.remove(); band = null; tell(null); });
    svg.addEventListener("click", (event) => { if (!state.dragged) pick(nearest(place(event))); });
    svg.addEventListener("dblclick", () => { if (state.zoom) { state.zoom = null; paint(element, state); } });
    // From the keyboard: the arrows go from marker to marker by rising latency, Enter chooses.
    const order = [...marks].sort((a, b) => a.x - b.x || a.y - b.y);
    element.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.target !== element) return;
      if (event.key === "Enter") pick(state.told);
      if (event.key === "Escape") tell(null);
      if (!step || !order.length) return;
      event.preventDefault();
      const now = order.indexOf(state.told);
      const next = order[now < 0 ? (step > 0 ? 0 : order.length - 1) : (now + step + order.length) % order.length];
      tell(next);
    };
    element.onblur = () => tell(null);
  }

  return { draw };
})();
