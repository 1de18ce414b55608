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

  function draw() {
    const style = getComputedStyle(root);
    const colour = (name) => style.getPropertyValue(name).trim();
    const [ink, faint, line, grid, page] = ["--ink", "--faint", "--line", "--grid", "--page"].map(colour);
    const axis = { gridcolor: grid, linecolor: line, zerolinecolor: line, tickcolor: line, automargin: true };
    for (const plot of plots) {
      const spec = data.plots[plot.dataset.scene][plot.dataset.plot];
      const layout = {
        font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: ink },
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        margin: { l: 56, r: 12, t: 28, b: 48 },
        hoverlabel: { bgcolor: page, bordercolor: faint, font: { color: ink }, align: "left" },
        hovermode: "closest", dragmode: "pan",
        modebar: { bgcolor: "rgba(0,0,0,0)", color: faint, activecolor: ink },
        // On a narrow screen a legend at the side would leave no room for the chart.
        legend: plot.clientWidth < 620
          ? { orientation: "h", y: -0.2, yanchor: "top", traceorder: "normal" }
          : { x: 1.01, y: 1, traceorder: "normal" },
        ...spec.layout,
        xaxis: { ...axis, ...spec.layout.xaxis, title: { ...spec.layout.xaxis.title, font: { size: 13 } } },
        yaxis: { ...axis, ...spec.layout.yaxis, title: { ...spec.layout.yaxis.title, font: { size: 13 } } },
        shapes: (spec.layout.shapes || []).map((shape) => ({ ...shape, line: { color: faint, width: 1, dash: "dash" }, opacity: 0.55 })),
        annotations: (spec.layout.annotations || []).map((note) => ({ ...note, bgcolor: page, font: { color: faint, size: 11.5 }, arrowcolor: faint })),
      };
      const traces = spec.data.map((trace) => trace.meta
        ? { ...trace, marker: { ...trace.marker, color: trace.meta.standings.map((standing) => blend(trace.meta.colour, page, FILL[standing])) } }
        : trace);
      // No button may send the data anywhere.
      const config = {
        responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
        modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
      };
      Plotly.react(plot, traces, layout, config);
    }
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

  function rounds(point) {
    const head = ["Removed", "Predicted", "Measured", "Budget"];
    return element("div", { className: "wide" }, element("table", {},
      element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, ...point.rounds.map(([count, names, ...rest]) => element("tr", {},
        element("td", { title: names }, count), ...rest.map((text) => element("td", {}, text)))))));
  }

  function copyButton(text) {
    const button = element("button", { type: "button" }, "Copy");
    button.addEventListener("click", () => {
      // Without a secure context, as some browsers see a page on disk, the old way remains.
      const said = (word) => { button.textContent = word; };
      const old = () => {
        const field = element("textarea", { value: text });
        document.body.append(field);
        field.select();
        said(document.execCommand("copy") ? "Copied" : "Select and copy");
        field.remove();
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
    if (point.facts.length) parts.push(record(point.facts, "numbers"));
    if (point.bar !== null) parts.push(...section("What went and what stayed", ...networkBar(point)));
    if (point.removed.length) parts.push(element("p", { className: "removed-names" }, `Removed: ${point.removed.join(", ")}`));
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

  draw();
  for (const plot of plots) {
    plot.on("plotly_click", (event) => {
      const key = event.points[0].customdata;
      if (key !== undefined && key !== null) show(key, null);
    });
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-show]");
    if (button) show(button.dataset.show, button);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && panel) hide();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  // Paper is white, whatever the screen is.
  addEventListener("beforeprint", () => { root.classList.add("paper"); draw(); });
  addEventListener("afterprint", () => { root.classList.remove("paper"); draw(); });
  if (panel && panel.dataset.first) fill(panel.dataset.first);
})();
