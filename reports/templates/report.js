"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const panel = document.getElementById("details");
  const root = document.documentElement;
  const plots = [...document.querySelectorAll("[data-plot]")];

  // Texts come from files that anybody may have written: they enter the page as text, never as markup.
  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  // How much of its colour a marker is filled with; opaque, so that error bars do not show through.
  const FILL = { front: 1, unclear: 0.4, dominated: 0 };
  function blend(colour, ground, share) {
    const channel = (hex, i) => parseInt(hex.slice(i, i + 2), 16);
    const mixed = [1, 3, 5].map((i) => Math.round(share * channel(colour, i) + (1 - share) * channel(ground, i)));
    return `rgb(${mixed.join(",")})`;
  }

  // The texts of a chart may hold <b> and <br>.
  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

  // What the reader chose; it stands in the address, so that a link or a reload shows the same.
  const chosen = { y: null, x: null, show: new Set() };

  const STANDINGS = { f: "front", u: "unclear", d: "dominated" };
  const WORDS = { f: "on the front", u: "cannot tell whether on the front", d: "dominated" };

  // The plane to show in a scene: what was chosen where the scene has it, else the first.
  function axes(spec) {
    const name = (axis) => (chosen[axis] in spec[axis] ? chosen[axis] : Object.keys(spec[axis])[0]);
    const y = name("y"), x = name("x");
    return { y: spec.y[y], x: spec.x[x], yName: y, xName: x, plane: spec.planes[`${y}|${x}`], budgets: spec.budgets[x] };
  }

  function errorBars(entries, colour) {
    // An end that is not known runs off the chart, rather than look exact.
    const off = 10 * Math.max(...entries.map(([value]) => Math.abs(value))) + 1;
    return {
      type: "data", symmetric: false, color: colour, thickness: 1, width: 0,
      array: entries.map(([value, , high]) => (high === null ? off : high - value)),
      arrayminus: entries.map(([value, low]) => (low === null ? off : value - low)),
    };
  }

  function span(values) {
    const low = Math.min(...values), high = Math.max(...values);
    const margin = 0.06 * (high - low) || 0.05 * Math.abs(high) || 1;
    return [low - margin, high + margin];
  }

  function pareto(spec, faint) {
    const { y, x, plane, budgets } = axes(spec);
    const placed = spec.keys.map((_, i) => i).filter((i) => plane.standing[i] !== "-");
    const dominated = placed.filter((i) => plane.standing[i] === "d" && !spec.series[spec.of[i]].large);
    const visible = chosen.show.has("dominated") ? placed : placed.filter((i) => !dominated.includes(i));
    const ringed = new Set(plane.unordered);
    const lines = [], heads = [], marks = [];
    spec.series.forEach((series, s) => {
      const mine = visible.filter((i) => spec.of[i] === s);
      if (!mine.length) return;
      const shared = { type: "scatter", name: series.name, legendgroup: series.name };
      // A corner stands for the points of one budget: it goes where all of them are hidden.
      const reached = new Set(mine.map((i) => spec.budget[i]));
      for (const [, xs, ys, corners] of plane.lines.filter(([of]) => of === s)) {
        const there = (_, i) => reached.has(corners[i]);
        lines.push({ ...shared, mode: "lines", x: xs.filter(there), y: ys.filter(there), showlegend: false, hoverinfo: "skip",
          line: { shape: "hv", color: series.colour, width: 1.5, dash: series.dash } });
      }
      const marker = { symbol: series.symbol, color: series.colour, line: { width: 1.5, color: series.colour } };
      // The legend shows a trace's first marker: an empty trace keeps it filled and of one size.
      heads.push({ ...shared, mode: "markers", x: [null], y: [null], hoverinfo: "skip", marker: { ...marker, size: 10 } });
      marks.push({
        ...shared, mode: series.tag ? "markers+text" : "markers", showlegend: false,
        x: mine.map((i) => x.e[i][0]), y: mine.map((i) => y.e[i][0]),
        error_x: errorBars(mine.map((i) => x.e[i]), series.colour), error_y: errorBars(mine.map((i) => y.e[i]), series.colour),
        text: mine.map(() => series.tag), textposition: "top right", textfont: { size: 10, color: faint },
        marker: { ...marker, size: series.large ? 15 : 11 },
        meta: { colour: series.colour, standings: mine.map((i) => STANDINGS[plane.standing[i]]) },
        customdata: mine.map((i) => spec.keys[i]), hoverinfo: "text",
        hovertext: mine.map((i) => `<b>${escaped(data.points[spec.keys[i]].title)}</b><br>${y.t[i]} ${y.label}<br>${x.t[i]}<br>`
          + WORDS[plane.standing[i]] + (ringed.has(i) ? "<br>noise could turn round its order with another" : "")),
      });
    });
    const rings = visible.filter((i) => ringed.has(i));
    if (rings.length) {
      marks.push({ type: "scatter", mode: "markers", name: "noise cannot order", hoverinfo: "skip",
        x: rings.map((i) => x.e[i][0]), y: rings.map((i) => y.e[i][0]),
        marker: { symbol: "circle-open", size: 21, color: faint, line: { width: 1.3, color: faint } } });
    }
    const known = (axis) => visible.flatMap((i) => axis.e[i].filter((end) => end !== null));
    const layout = {
      xaxis: { title: { text: x.title }, range: span([...known(x), ...budgets.map(([, place]) => place)]) },
      yaxis: { title: { text: y.title }, range: span(known(y)) },
      shapes: budgets.map(([, place]) => ({ type: "line", x0: place, x1: place, y0: 0, y1: 1, yref: "paper", layer: "below", name: "budget" })),
      annotations: [
        ...budgets.map(([name, place]) => ({ x: place, y: 1, yref: "paper", yanchor: "bottom", text: name, showarrow: false })),
        { xref: "paper", yref: "paper", x: x.more ? 0.988 : 0.012, y: y.more ? 0.98 : 0.02, ax: x.more ? -52 : 52, ay: y.more ? 34 : -34,
          text: "better", showarrow: true, arrowhead: 2, arrowwidth: 1.2 },
      ],
    };
    return { data: [...lines, ...heads, ...marks], layout, counts: { shown: visible.length, placed: placed.length, dominated: dominated.length } };
  }

  // What stands around a Pareto figure follows what it shows.
  function describe(plot, spec, counts) {
    const figure = plot.closest("figure");
    const { y, x, yName, xName } = axes(spec);
    const title = `${y.title.replace(/ \(.*/, "")} against ${x.title.replace(/ \(.*/, "")}`;
    const heading = title[0].toUpperCase() + title.slice(1);
    figure.querySelector("[data-title]").textContent = heading;
    plot.setAttribute("aria-label", `${heading}; the table of all points holds the same numbers`);
    const hidden = counts.placed - counts.shown;
    figure.querySelector("[data-status]").textContent = `Shown: ${counts.shown} of ${counts.placed} points`
      + (hidden ? `; ${hidden} dominated ${hidden === 1 ? "is" : "are"} hidden.` : ".");
    figure.querySelector("[data-count]").textContent = counts.dominated;
    for (const input of figure.querySelectorAll("[data-axis]")) input.checked = input.value === (input.dataset.axis === "y" ? yName : xName);
    for (const input of figure.querySelectorAll("[data-show-also]")) input.checked = chosen.show.has(input.dataset.showAlso);
  }

  function draw(only = plots) {
    const style = getComputedStyle(root);
    const [faint, page] = ["--faint", "--page"].map((name) => style.getPropertyValue(name).trim());
    for (const plot of only) {
      const held = data.plots[plot.dataset.scene][plot.dataset.plot];
      const spec = plot.dataset.plot === "pareto" ? pareto(held, faint) : held;
      if (spec.counts) describe(plot, held, spec.counts);
      const traces = spec.data.map((trace) => trace.meta
        ? { ...trace, marker: { ...trace.marker, color: trace.meta.standings.map((standing) => blend(trace.meta.colour, page, FILL[standing])) } }
        : trace);
      Chart.draw(plot, traces, spec.layout, (key) => show(key, plot));
    }
    // The list of failed points has no figure to be hidden from where nothing finished.
    for (const list of document.querySelectorAll("[data-failed]")) {
      const figure = list.parentElement.querySelector("[data-show-also=failed]");
      list.hidden = figure !== null && !chosen.show.has("failed");
    }
  }

  // A table that is wider than the screen scrolls: then it can be reached and scrolled from the keyboard.
  const watch = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  for (const wide of document.querySelectorAll(".wide")) watch.observe(wide);

  const paretos = plots.filter((plot) => plot.dataset.plot === "pareto");

  function address(anchor) {
    const words = [anchor];
    if (chosen.y) words.push(`y=${chosen.y}`);
    if (chosen.x) words.push(`x=${chosen.x}`);
    if (chosen.show.size) words.push(`show=${[...chosen.show].sort().join(",")}`);
    return `#${words.filter(Boolean).join("&")}`;
  }

  const known = (axis, name) => paretos.some((plot) => name in data.plots[plot.dataset.scene].pareto[axis]);
  const ALSO = ["dominated", "failed"];
  let anchor = "";

  // Reads the address; what it asks for and no scene has is left out.
  function read() {
    const words = location.hash.slice(1).split("&");
    const asked = Object.fromEntries(words.filter((word) => word.includes("=")).map((word) => word.split("=", 2)));
    for (const name of ["y", "x"]) chosen[name] = asked[name] && known(name, asked[name]) ? asked[name] : null;
    chosen.show = new Set((asked.show || "").split(",").filter((word) => ALSO.includes(word)));
    anchor = words.find((word) => !word.includes("=")) || "";
    const target = anchor && document.getElementById(anchor);
    if (target && target.matches("[data-failed]")) chosen.show.add("failed");
    return target;
  }

  function arrive(target) {
    for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    document.querySelector(".reached")?.classList.remove("reached");
    target.tabIndex = -1;
    target.classList.add("reached");
    target.focus({ preventScroll: true });
    target.scrollIntoView({ block: "start" });
  }

  function follow() {
    const target = read();
    draw(paretos);
    if (target) arrive(target);
  }

  function record(rows, kind = "") {
    return element("dl", { className: `record ${kind}` },
      ...rows.map(([name, text]) => element("div", {}, element("dt", {}, name), element("dd", {}, text))));
  }

  function section(title, ...content) {
    return [element("h3", {}, title), ...content];
  }

  function networkBar(point) {
    const network = data.bars[point.bar];
    const total = network.reduce((sum, [, seconds]) => sum + seconds, 0) || 1;
    const row = (word, only, sum) => element("div", { className: "bar-row" },
      element("span", {}, word),
      element("div", { className: "bar" }, ...network.flatMap(([name, seconds, text], i) => {
        const kept = point.kept[i] === "1";
        if (only && !kept) return [];
        const segment = element("span", { className: kept ? "kept" : "removed", title: `${name}: ${text}${kept ? "" : ", removed"}` });
        segment.style.width = `${100 * seconds / total}%`;
        return [segment];
      })),
      element("span", { className: "n" }, sum));
    return [row("before", false, point.before), row("after", true, point.after)];
  }

  function removed(point) {
    if (point.removed.length || point.bar === null) return point.removed;
    const names = data.bars[point.bar].map(([name]) => name);
    const stay = new Set(names.filter((_, i) => point.kept[i] === "1"));
    // What stays in part got narrower.
    return names.filter((name, i) => point.kept[i] === "0" && !stay.has(name));
  }

  function rounds(point) {
    const head = ["Removed", "Predicted", "Measured", "Budget"];
    const wide = element("div", { className: "wide" }, element("table", {},
      element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, ...point.rounds.map(([count, names, ...rest]) => element("tr", {},
        element("td", { title: names }, count), ...rest.map((text) => element("td", {}, text)))))));
    watch.observe(wide);
    return wide;
  }

  function drawn(tag, attributes, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  const bytes = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

  const signed = (share) => `${share < 0 ? "−" : "+"}${(100 * Math.abs(share)).toFixed(Math.abs(share) < 0.1 ? 1 : 0)} %`;

  // The samples of one network in the order taken, relative to their median.
  function strip(trace, { name, median, from, to, above, taken, samples }) {
    const steps = bytes(samples);
    const [width, height, left, top] = [336, 72, 42, 6];
    const y = (share) => top + (trace.high - share) / (trace.high - trace.low) * height;
    const x = (i) => left + 4 + (i + 0.5) / steps.length * (width - left - 8);
    const marks = [...steps].map((step, i) => {
      const share = trace.low + step / 255 * (trace.high - trace.low);
      // Samples beyond the scale lie on its upper end: a triangle says so.
      return above && step === 255
        ? drawn("path", { class: "above", d: `M${x(i) - 3} ${top + 5}h6l-3 -5z` })
        : drawn("circle", { class: "sample", cx: x(i), cy: y(share), r: 1.6 });
    });
    const rule = (share, kind) => drawn("line", { class: kind, x1: left, x2: width, y1: y(share), y2: y(share) });
    const label = (share, text) => drawn("text", { x: left - 4, y: y(share) + 3.5, "text-anchor": "end" }, text);
    const bandFrom = from === null ? trace.low : from, bandTo = to === null ? trace.high : to;
    const kept = taken > steps.length ? `${steps.length} of ${taken} samples` : `${taken} samples`;
    const beyond = above ? `, ${above} slower than the scale` : "";
    const chart = drawn("svg", { class: "trace", viewBox: `0 0 ${width} ${height + 2 * top}`, role: "img",
      "aria-label": `Samples of ${name} in the order taken: median ${median}, ${kept}${beyond}` },
    rule(trace.low, "axis"), rule(trace.high, "axis"),
    drawn("rect", { class: "band", x: left, width: width - left, y: y(bandTo), height: Math.max(1, y(bandFrom) - y(bandTo)) }),
    ...marks, rule(0, "median"), label(trace.high, signed(trace.high)), label(trace.low, signed(trace.low)));
    if (y(trace.low) - y(0) > 14 && y(0) - y(trace.high) > 14) chart.append(label(0, "median"));
    return [element("div", { className: "strip" }, element("span", {}, element("b", {}, name), ` ${median}`),
      element("span", {}, kept + beyond)), chart];
  }

  function copyButton(text) {
    const button = element("button", { type: "button", className: "copy" }, "Copy");
    button.setAttribute("aria-live", "polite");
    button.addEventListener("click", () => {
      // Without a secure context, as some browsers see a page on disk, the old way remains.
      const said = (word) => {
        button.textContent = word;
        setTimeout(() => { button.textContent = "Copy"; }, 4000);
      };
      const old = () => {
        const field = element("textarea", { value: text });
        document.body.append(field);
        field.select();
        said(document.execCommand("copy") ? "Copied" : "Select and copy");
        field.remove();
        button.focus();
      };
      if (navigator.clipboard) navigator.clipboard.writeText(text).then(() => said("Copied"), old);
      else old();
    });
    return button;
  }

  function fill(key) {
    const point = data.points[key];
    const close = element("button", { type: "button", className: "close" }, "Close");
    close.addEventListener("click", hide);
    const parts = [close, element("h2", {}, point.title), element("p", { className: "aside" }, data.places[point.place])];
    if (point.verdict) parts.push(element("p", { className: "verdict" }, point.verdict));
    if (point.reason) parts.push(element("p", { className: "reason" }, element("strong", {}, "Failed. "), point.reason));
    if (point.disturbance) parts.push(element("p", { className: "notice" }, `The machine was busy during this measurement: ${point.disturbance}.`));
    for (const remark of point.remarks) parts.push(element("p", { className: "notice" }, `Told by the runtime of this network, not of the unpruned one: ${remark}`));
    if (point.facts.length) parts.push(record(point.facts, "numbers"));
    if (point.bar !== null) parts.push(...section("What went and what stayed", ...networkBar(point)));
    const gone = removed(point);
    if (gone.length) parts.push(element("p", { className: "removed-names" }, `Removed: ${gone.join(", ")}`));
    if (point.trace) parts.push(...section("Samples, timed in turns", ...point.trace.strips.flatMap((one) => strip(point.trace, one))));
    if (point.rounds.length) parts.push(...section("Hardware loop, round by round", rounds(point)));
    if (point.controls.length) parts.push(...section("Accuracy of controls", record(point.controls, "numbers")));
    if (point.stages.length) parts.push(...section("Time spent", record(point.stages)));
    if (point.artefacts.length) parts.push(...section(`Files in ${point.run}`, record(point.artefacts, "files")));
    parts.push(...section("Run this point again",
      element("div", { className: "command" }, element("code", {}, point.command), copyButton(point.command))));
    parts.push(element("p", { className: "aside" }, `Made ${point.created}`));
    panel.replaceChildren(...parts);
    panel.scrollTop = 0;
    for (const row of document.querySelectorAll("[data-row]")) row.classList.toggle("chosen", row.dataset.row === String(key));
  }

  let opener = null;
  function show(key, from) {
    opener = from;
    fill(key);
    panel.classList.add("open");
    panel.focus({ preventScroll: true });
  }
  function hide() {
    panel.classList.remove("open");
    if (opener) opener.focus();
    opener = null;
  }

  addEventListener("hashchange", follow);
  document.addEventListener("change", (event) => {
    const { axis, showAlso } = event.target.dataset;
    if (axis) chosen[axis] = event.target.value;
    else if (showAlso) chosen.show[event.target.checked ? "add" : "delete"](showAlso);
    else return;
    history.replaceState(null, "", address(anchor));
    draw(paretos);
  });
  for (const line of document.querySelectorAll(".command-line code")) line.after(copyButton(line.textContent));
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-show]");
    if (button) show(button.dataset.show, button);
    // A link within the page keeps what was chosen; where it leads to already, it still goes there.
    const link = event.target.closest("a[href^='#']");
    if (!link) return;
    event.preventDefault();
    const goal = address(link.getAttribute("href").slice(1));
    if (location.hash === goal) follow();
    else location.hash = goal;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && panel) hide();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
  // Paper is white, whatever the screen is.
  // And nobody can unfold it: what is folded or hidden on the screen stands open on it.
  let folded = [];
  addEventListener("beforeprint", () => {
    root.classList.add("paper");
    draw();
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const fold of folded) fold.open = true;
    for (const list of document.querySelectorAll("[data-failed]")) list.hidden = false;
  });
  addEventListener("afterprint", () => {
    root.classList.remove("paper");
    for (const fold of folded) fold.open = false;
    draw();
  });
  if (panel && panel.dataset.first) fill(panel.dataset.first);

  const target = read();
  draw();
  performance.mark("drawn");
  if (target) arrive(target);
  root.dataset.ready = "";
})();
