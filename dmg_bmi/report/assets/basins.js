// The report of a training: basins on a map, their flow, stores, parameters and water.
"use strict";
(async () => {
  const R = Report, C = R.content, n = C.ids.length, root = document.getElementById("report");
  await R.load();
  const splits = Object.keys(C.scores), metrics = Object.keys(C.metrics);
  let basin = 0, split = C.judged, colouring = `metric ${metrics[0]}`;
  const known = (part, k = basin) => (C.basin[part] ? R.numbers(C.basin[part], k, n) : null);
  const score = (metric, k, of = split) => C.scores[of][metric][k];
  const [from, to] = C.period, unit = C.units;

  // -- what colours the map ---------------------------------------------------------------
  const values = (what) => {
    const at = what.indexOf(" "), kind = what.slice(0, at), name = what.slice(at + 1);
    if (kind === "metric") return { numbers: C.scores[split][name], units: C.metrics[name][0], limits: C.metrics[name].slice(1), name, kind };
    if (kind === "parameter") {
      const p = C.parameters[name];
      return { numbers: R.numbers(p.mean), units: p.units, limits: null, name: `${name}, ${p.meaning}`, kind };
    }
    const [units, part] = C.attributes[name];
    return { numbers: R.numbers(part), units, limits: null, name, kind };
  };
  let shown = values(colouring), scale = "rising", limits = [0, 1];
  const recolour = () => {
    shown = values(colouring);
    limits = shown.limits || R.extent(shown.numbers);
    scale = shown.limits && limits[0] === -limits[1] ? "both" : "rising";
    const end = (v, sign) => (shown.limits && (sign < 0 ? R.extent(shown.numbers)[0] < v : R.extent(shown.numbers)[1] > v)
      ? `${sign < 0 ? "≤" : "≥"} ${R.text(v)}` : R.text(v));
    bar.show(scale, end(limits[0], -1), `${end(limits[1], 1)}${R.unit(shown.units)}`);
  };
  const colour = (k) => {
    const v = shown.numbers[k];
    return Number.isFinite(v) ? R.colour(scale, (v - limits[0]) / (limits[1] - limits[0] || 1)) : null;
  };
  const ranked = () => {
    const order = [...C.ids.keys()].filter((k) => Number.isFinite(shown.numbers[k]));
    return (order.length ? order : [...C.ids.keys()]).sort((a, b) => shown.numbers[b] - shown.numbers[a]);
  };

  // -- head ---------------------------------------------------------------
  root.append(R.h("h1", {}, C.title), R.h("p", { class: "quiet" }, C.summary),
    R.h("details", {}, R.h("summary", {}, "About this run"), R.facts(C.facts)));
  const chooser = R.chooser("Basin", C.ids, ranked, (k) => choose(k));
  const colours = R.select("colours", "Colours", {
    Scores: metrics.map((m) => [`metric ${m}`, m]), Parameters: Object.keys(C.parameters).map((p) => [`parameter ${p}`, p]),
    Attributes: Object.keys(C.attributes).map((a) => [`attribute ${a}`, a]) },
  (value) => { colouring = value; recolour(); map.draw(); drawCdf(); map.show(basin); });
  const years = R.select("split", "Scores of", { "": splits.map((s) => [s, s]) },
    (value) => { split = value; recolour(); map.draw(); tiles(); table(); drawCdf(); map.show(basin); });
  years.select.value = split;
  root.append(R.h("nav", { class: "bar", "aria-label": "what is shown" }, ...chooser.nodes, colours.node, years.node));
  const grid = R.h("div", { class: "grid" });
  root.append(grid);
  const add = (card) => { grid.append(card); return card; };

  // -- map and scores ---------------------------------------------------------------
  const bar = R.scaleBar();
  const mapCard = add(R.card("Basins", "half", null));
  const squeeze = C.place ? Math.cos((R.median(C.place[1]) * Math.PI) / 180) : 1;
  const columns = Math.ceil(Math.sqrt(n * 1.6));
  const spots = C.ids.map((_, k) => (C.place ? [C.place[0][k] * squeeze, C.place[1][k]] : [k % columns, -Math.floor(k / columns)]));
  const map = R.map(mapCard, {
    name: "Map of the basins",
    shapes: spots.map((spot, item) => ({ kind: "point", parts: [spot], item })).filter(({ parts: [[x, y]] }) => Number.isFinite(x) && Number.isFinite(y)),
    style: ({ item }, chosen) => ({ fill: colour(item), stroke: chosen ? R.css("ink") : R.css("card"),
      width: chosen ? 2.5 : 1, radius: chosen ? 9 : n > 300 ? 4.5 : 6.5 }),
    label: (k) => `${C.ids[k]}: ${shown.name} ${R.text(shown.numbers[k])}${R.unit(shown.units)}`,
    choose: (k) => choose(k),
    graticule: C.place ? { fromX: (x) => x / squeeze, toX: (v) => v * squeeze } : null,
  });
  mapCard.append(bar.node, R.h("p", { class: "note" }, C.place ? "At the gauges. " : "The data name no places; the basins stand in their order. ",
    "Parameters are means of the years that are judged."));
  const cdfCard = add(R.card("Share of basins below a score", "half", null));
  const cdfRoot = R.h("div", {});
  const cdfMetric = () => (colouring.startsWith("metric ") ? colouring.slice(7) : metrics[0]);
  const SHADES = { train: "quiet", validation: "fifth", test: "simulated", ungauged: "evaporation" };
  const sets = splits.map((s) => ({ name: s, scores: C.scores[s], colour: SHADES[s] || "fourth" }));
  if (C.reference) for (const s of Object.keys(C.reference.scores)) if (s === C.judged || !C.scores[s])
    sets.push({ name: `${C.reference.name}, ${s}`, scores: C.reference.scores[s], colour: "other", dash: [6, 4] });
  const cdfTable = R.h("p", { class: "note" });
  const drawCdfLines = R.lines(cdfRoot, {
    label: "", x: () => `${cdfMetric()}${R.unit(C.metrics[cdfMetric()][0])}`, y: "share of basins", height: 270, range: [0, 1.02],
    xrange: () => { const [, low, high] = C.metrics[cdfMetric()]; return low === 0 && high === 1 ? [-0.5, 1] : [low, high]; },
    lines: sets.map((s) => ({ label: s.name, colour: s.colour, dash: s.dash, width: s.dash ? 1.6 : 2, stepped: true })),
    spec: () => {
      const metric = cdfMetric(), [, a, b] = C.metrics[metric], low = a === 0 && b === 1 ? -0.5 : a;
      const at = Array.from({ length: 401 }, (_, k) => low + ((b - low) * k) / 400);
      return { at, values: sets.map(({ scores }) => {
        const row = R.finite(scores[metric] || []).sort((u, v) => u - v);
        let k = 0;
        return at.map((x) => { while (k < row.length && row[k] <= x) k++; return row.length ? k / row.length : NaN; });
      }) };
    },
  });
  const drawCdf = () => {
    const metric = cdfMetric();
    cdfTable.textContent = `Medians of ${metric}${R.unit(C.metrics[metric][0])}: ` +
      sets.map(({ name, scores }) => `${name} ${R.text(R.median(scores[metric] || []))} (${R.finite(scores[metric] || []).length} basins)`).join("; ") + ".";
    drawCdfLines();
  };
  cdfCard.append(cdfTable, cdfRoot);

  // -- the basin's flow ---------------------------------------------------------------
  const flowCard = add(R.card("Hydrograph", "", null));
  const title = flowCard.querySelector("h2"), strip = R.h("div", { class: "tiles", id: "scores" });
  let log = false;
  const linear = R.h("div", {}), logarithmic = R.h("div", { hidden: true });
  const logButton = R.h("button", { id: "log", "aria-pressed": "false", onclick: () => {
    log = !log; logButton.setAttribute("aria-pressed", log); logButton.textContent = log ? "linear" : "log";
    linear.hidden = log; logarithmic.hidden = !log; draws.forEach((draw) => draw());
  } }, "log");
  const tools = R.viewTools();
  tools.append(logButton);
  flowCard.append(R.h("div", { class: "head" }, strip, tools));
  const common = { places: n, place: () => basin };
  const flowLines = [{ name: "observed", label: "observed", colour: "observed", width: 1.1 }, { name: "simulated", label: "simulated", colour: "simulated", width: 1.5 }];
  R.startView(C.flow);
  const draws = [];
  if (C.flow.series.P) draws.push(R.series(flowCard, { ...common, group: C.flow, y: R.units(unit), height: 84, down: true, bars: true, dates: false,
    lines: [{ name: "P", label: `precipitation${R.unit(unit)}`, colour: "rain" }] }));
  flowCard.append(linear, logarithmic);
  draws.push(R.series(linear, { ...common, group: C.flow, y: `flow${R.unit(unit)}`, height: 270, lines: flowLines }),
    R.series(logarithmic, { ...common, group: C.flow, y: `flow${R.unit(unit)}`, height: 270, lines: flowLines, log: true }));
  flowCard.append(R.h("p", { class: "note" }, R.resolution(C.flow, "of precipitation"),
    " Drag to zoom, double-click for all; Ctrl and wheel zoom, Shift and wheel move; arrow keys, + and − on a chosen chart."));
  const tiles = () => {
    title.textContent = `Basin ${C.ids[basin]}`;
    strip.replaceChildren(...metrics.map((m) => R.h("span", {}, `${m} `, R.h("b", {}, R.text(score(m, basin))),
      C.metrics[m][0] ? ` ${R.units(C.metrics[m][0])}` : "")), R.h("span", { class: "quiet" }, `(${split})`));
  };

  // -- curves, seasons, pairs ---------------------------------------------------------------
  const judged = `${C.judged}, ${from} to ${to}`;
  const pair = (part) => ["observed", "simulated"].map((name) => known(`${part} ${name}`) || []);
  const curveCard = add(R.card("Flow duration", "third", judged));
  draws.push(R.lines(curveCard, { label: "exceeded %", x: "% of the time exceeded", y: `flow${R.unit(unit)}`, log: true, lines: flowLines,
    spec: () => ({ at: C.exceedance, values: pair("curve") }) }));
  const monthCard = add(R.card("Seasons", "third", `mean of each month; ${judged}`));
  const monthLines = [...flowLines, { name: "P", label: "precipitation", colour: "rain", dash: [4, 3] }, { name: "ET", label: "evapotranspiration", colour: "evaporation", dash: [4, 3] }]
    .filter((line) => C.basin[`month ${line.name}`]);
  draws.push(R.lines(monthCard, { label: "month", y: "mm d⁻¹", lines: monthLines,
    xticks: { splits: () => [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], values: (_, ticks) => ticks.map((month) => "JFMAMJJASOND"[month - 1]) },
    spec: () => ({ at: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], values: monthLines.map((line) => known(`month ${line.name}`)) }) }));
  const pairCard = add(R.card("Observed and simulated", "third", null));
  const pairRoot = R.h("div", {});
  pairCard.append(pairRoot);
  const drawPairs = () => {
    const [observed, simulated] = pair("pairs"), floor = 1e-3;
    const both = observed.map((v, k) => [v, simulated[k]]).filter(([a, b]) => Number.isFinite(a) && Number.isFinite(b));
    if (!both.length) { pairRoot.replaceChildren(R.h("p", { class: "note" }, "Nothing was observed in these years.")); return; }
    const [, high] = R.extent(both.flat()), top = 10 ** Math.ceil(Math.log10(Math.max(high, 0.1)));
    const low = Math.max(10 ** Math.floor(Math.log10(Math.max(R.extent(both.flat())[0], floor))), floor);
    const axis = { log: true, low, high: top, ticks: Array.from({ length: Math.round(Math.log10(top / low)) + 1 }, (_, k) => low * 10 ** k) };
    pairRoot.replaceChildren(R.plot({ width: 400, height: 300, label: "simulated against observed flow",
      x: { ...axis, label: `observed${R.unit(unit)}` }, y: { ...axis, label: `simulated${R.unit(unit)}` },
      draw: (svg, px, py) => {
        svg.append(R.svg("line", { x1: px(low), y1: py(low), x2: px(top), y2: py(top), stroke: "var(--quiet)", "stroke-dasharray": "4 3" }));
        for (const [a, b] of both) svg.append(R.svg("circle", { cx: px(Math.max(a, low)), cy: py(Math.max(b, low)), r: 2.4, fill: "var(--simulated)", "fill-opacity": 0.45 }));
      } }), R.h("p", { class: "note" }, `${both.length} steps, evenly spread over ${judged}; flow below ${R.text(low)} is drawn there.`));
  };

  // -- water ---------------------------------------------------------------
  const yearCard = add(R.card("Water years", "half", "mm a year, October to September; an observed year has at least 90 % of its days"));
  const yearRoot = R.h("div", {});
  yearCard.append(yearRoot);
  const SERIES = [["P", "precipitation", "rain"], ["observed", "observed flow", "observed"], ["simulated", "simulated flow", "simulated"], ["ET", "evapotranspiration", "evaporation"]];
  const drawYears = () => {
    const rows = SERIES.map(([name, label, colour]) => ({ label, colour, values: known(`year ${name}`) })).filter((row) => row.values);
    if (!C.years.length) { yearRoot.replaceChildren(R.h("p", { class: "note" }, "The data hold no whole water year.")); return; }
    const high = R.extent(rows.flatMap((row) => row.values))[1] * 1.05, every = Math.ceil(C.years.length / 10);
    yearRoot.replaceChildren(R.h("div", { class: "key" }, ...rows.map(({ label, colour }) => {
      const swatch = R.h("i", {}); swatch.style.background = `var(--${colour})`; return R.h("span", {}, swatch, label); })),
    R.plot({ width: 620, height: 250, label: "water by year", y: { low: 0, high, ticks: R.ticks(0, high, 4) },
      x: { low: -0.5, high: C.years.length - 0.5, ticks: C.years.map((_, k) => k).filter((k) => k % every === 0), text: (k) => C.years[k] },
      draw: (svg, px, py) => rows.forEach(({ label, colour, values: row }, r) => row.forEach((v, k) => {
        if (!Number.isFinite(v)) return;
        const width = (px(1) - px(0)) * 0.8 / rows.length;
        svg.append(R.svg("rect", { x: px(k - 0.4) + r * width, y: py(v), width: width * 0.9, height: Math.max(py(0) - py(v), 0), fill: `var(--${colour})` },
          R.svg("title", {}, `${C.years[k]}: ${label} ${R.text(v)} mm`)));
      })) }));
  };
  const waterCard = add(R.card("Water balance", "half", null));
  const waterRoot = R.h("div", {});
  waterCard.append(waterRoot);
  const NAMES = { P: "precipitation", ET: "evapotranspiration", Q: "flow" };
  const drawWater = () => {
    const years_ = C.seconds / 31557600, one = (part) => known(part)[0] / years_;
    const label = (name) => NAMES[name] || NAMES[name.split(".").pop()] || name;
    const terms = [];
    for (const part of Object.keys(C.basin)) {
      const [kind, name] = part.split(" ");
      if (kind === "in") terms.push([`+ ${label(name)}`, one(part), "rain"]);
      if (kind === "exchange") terms.push([`+ exchange ${label(name)}`, one(part), "fourth"]);
      if (kind === "out") terms.push([`− ${label(name)}`, -one(part), name.includes("ET") ? "evaporation" : "simulated"]);
    }
    if (!terms.length) { waterRoot.replaceChildren(R.h("p", { class: "note" }, "The model declares no water balance.")); return; }
    terms.push(["− change of storage", -one("change"), "fifth"]);
    const rest = known("residual")[0], reach = Math.max(...terms.map(([, v]) => Math.abs(v)), 1);
    const height = 26 * terms.length + 8;
    const svg = R.svg("svg", { viewBox: `0 0 560 ${height}`, role: "img", "aria-label": "terms of the water balance" });
    const zero = 330, px = (v) => zero + (v / reach) * 150;
    terms.forEach(([name, v, colour], k) => {
      const y = 26 * k + 4;
      svg.append(R.svg("text", { class: "name", x: 0, y: y + 14 }, name),
        R.svg("rect", { x: Math.min(zero, px(v)), y, width: Math.max(Math.abs(px(v) - zero), 0.5), height: 18, rx: 2, fill: `var(--${colour})` }),
        R.svg("text", { x: v < 0 ? px(v) - 5 : px(v) + 5, y: y + 13, "text-anchor": v < 0 ? "end" : "start" }, R.text(v)));
    });
    svg.append(R.svg("line", { x1: zero, x2: zero, y1: 0, y2: height, stroke: "var(--line)" }));
    waterRoot.replaceChildren(svg, R.h("p", { class: "note" },
      `mm a year over the whole record (${R.text(years_)} years). What is left over is ${R.text(rest)} mm in all of them, the rounding of single precision.`));
  };

  // -- parameters ---------------------------------------------------------------
  const names = Object.keys(C.parameters);
  const parameterCard = add(R.card("Parameters", "", names.length
    ? `Between the bounds of each: a line from the lowest to the highest of its ${C.spread}, a dot at their mean, pale dots for the other basins. Those marked ~ change from day to day; their mean in time is drawn.`
    : "None: the networks stand alone."));
  const parameterRoot = R.h("div", {});
  parameterCard.append(parameterRoot);
  const all = Object.fromEntries(names.map((name) => [name, ["mean", "low", "high"].map((k) => R.numbers(C.parameters[name][k]))]));
  const drawParameters = () => {
    const width = parameterRoot.clientWidth < 640 ? 460 : 1180, half = width > 600 ? 2 : 1, row = 30, per = Math.ceil(names.length / half);
    const svg = R.svg("svg", { viewBox: `0 0 ${width} ${row * per + 4}`, role: "img", "aria-label": "parameters of the basin" });
    names.forEach((name, k) => {
      const p = C.parameters[name], [mean, low, high] = all[name], column = Math.floor(k / per), y = row * (k % per) + 17;
      const x0 = (column * width) / half + 180, x1 = ((column + 1) * width) / half - 62;
      const px = (v) => x0 + ((v - p.lower) / (p.upper - p.lower || 1)) * (x1 - x0);
      const cut = (v) => Math.min(Math.max(px(v), x0), x1);
      svg.append(R.svg("text", { class: "name", x: x0 - 48, y: y + 4, "text-anchor": "end" }, `${name}${p.dynamic ? " ~" : ""}${R.unit(p.units)}`, R.svg("title", {}, p.meaning)),
        R.svg("text", { x: x0 - 6, y: y + 4, "text-anchor": "end" }, R.tick(p.lower)), R.svg("text", { x: x1 + 6, y: y + 4 }, R.tick(p.upper)),
        R.svg("line", { x1: x0, x2: x1, y1: y, y2: y, stroke: "var(--line)" }));
      const every = Math.ceil(n / 150);
      for (let b = 0; b < n; b += every) svg.append(R.svg("circle", { cx: cut(mean[b]), cy: y, r: 2.2, fill: "var(--quiet)", "fill-opacity": 0.25 }));
      svg.append(R.svg("line", { x1: cut(low[basin]), x2: cut(high[basin]), y1: y, y2: y, stroke: "var(--simulated)", "stroke-width": 5, "stroke-linecap": "round", "stroke-opacity": 0.55 }),
        R.svg("circle", { cx: cut(mean[basin]), cy: y, r: 5, fill: "var(--simulated)", stroke: "var(--card)" },
          R.svg("title", {}, `${name}: ${R.text(mean[basin])}, ${R.text(low[basin])} to ${R.text(high[basin])}${R.unit(p.units)}`)));
    });
    parameterRoot.replaceChildren(svg);
  };

  // -- stores and daily parameters ---------------------------------------------------------------
  const COLOURS = ["simulated", "evaporation", "other", "fourth", "fifth", "rain"];
  const stack = (group, heading, note, label, unitOf, zero) => {
    const some = Object.keys(group.series);
    if (!some.length) return;
    const card = add(R.card(heading, "", note + R.resolution(group, "or")));
    card.append(R.viewTools());
    some.forEach((name, k) => draws.push(R.series(card, { ...common, group, y: R.units(unitOf(name)), height: k === some.length - 1 ? 130 : 104, zero,
      dates: k === some.length - 1, lines: [{ name, label: label(name), colour: COLOURS[k % COLOURS.length] }] })));
  };
  stack(C.levels, "Storages", "At the end of each step. ", (name) => `${name.replaceAll("_", " ")}${R.unit(C.about[name][0])}`, (name) => C.about[name][0], true);
  stack(C.daily, "Parameters that change in time", "Mean of members and parallel components. ", (name) => `${name}${R.unit(C.parameters[name].units)}`, (name) => C.parameters[name].units, false);

  // -- table, training, configuration ---------------------------------------------------------------
  const tableCard = add(R.card("All basins", "", null));
  const body = R.h("tbody", {}), heads = ["basin", ...metrics];
  let sorted = { by: metrics[0], down: true };
  const headRow = R.h("tr", {}, ...heads.map((name) => R.h("th", { scope: "col" }, R.h("button", {
    onclick: () => { sorted = { by: name, down: sorted.by === name ? !sorted.down : name !== "basin" }; table(); } },
  name === "basin" ? name : `${name}${R.unit(C.metrics[name][0])}`))));
  tableCard.append(R.h("div", { class: "wide", tabindex: 0 }, R.h("table", { id: "basins" }, R.h("thead", {}, headRow), body)));
  const rows = new Map();
  const table = () => {
    const order = [...C.ids.keys()], by = sorted.by;
    const value = (k) => (by === "basin" ? C.ids[k] : Number.isFinite(score(by, k)) ? score(by, k) : -Infinity);
    order.sort((a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * (sorted.down ? -1 : 1));
    rows.clear();
    body.replaceChildren(...order.map((k) => {
      const row = R.h("tr", { "aria-selected": k === basin, onclick: () => choose(k) }, R.h("td", {}, C.ids[k]),
        ...metrics.map((m) => R.h("td", {}, R.text(score(m, k)))));
      rows.set(k, row);
      return row;
    }));
    headRow.childNodes.forEach((th, k) => th.setAttribute("aria-sort", heads[k] === by ? (sorted.down ? "descending" : "ascending") : "none"));
  };
  const trainingCard = add(R.card("Training", "", `Loss of the steps (${C.training.name})${C.training.scores.length ? ", and median NSE of the validation" : ""}`));
  if (C.training.loss[0].length) {
    const [at, mean, low, high] = C.training.loss, last = Math.ceil(C.training.steps / 40);
    const smooth = mean.map((_, k) => { const half = Math.max(1, Math.round(mean.length / 40)); const some = R.finite(mean.slice(Math.max(0, k - half), k + half + 1)); return some.reduce((a, b) => a + b, 0) / some.length; });
    const blocks = at.length < C.training.steps;
    const draw = R.lines(trainingCard, { label: "step", x: "step", y: "loss", height: 190,
      lines: [...(blocks ? [{ label: "lowest", colour: "line" }, { label: "highest", colour: "line" }] : [{ label: "each step", colour: "quiet", width: 0.8 }]),
        { label: "smoothed", colour: "simulated", width: 2 }], spec: () => ({ at, values: [...(blocks ? [low, high] : [mean]), smooth] }) });
    draw();
    if (C.training.scores.length > 1) R.lines(trainingCard, { label: "step", x: "step", y: "NSE", height: 150,
      lines: [{ label: "validation NSE", colour: "other", points: true }],
      spec: () => ({ at: C.training.scores.map(([s]) => s), values: [C.training.scores.map(([, v]) => v ?? NaN)] }) })();
  }
  add(R.card("Configuration", "", null, R.h("details", {}, R.h("summary", {}, "as it was run"), R.h("pre", {}, C.config))));

  // -- choosing ---------------------------------------------------------------
  const choose = (k) => {
    const before = rows.get(basin);
    if (before) before.setAttribute("aria-selected", false);
    basin = k;
    if (rows.get(k)) rows.get(k).setAttribute("aria-selected", true);
    chooser.show(k); map.show(k); tiles(); drawPairs(); drawYears(); drawWater(); drawParameters();
    draws.forEach((draw) => draw());
    history.replaceState(null, "", `#${encodeURIComponent(C.ids[k])}`);
  };
  R.redraws.push(drawParameters);
  new ResizeObserver(drawParameters).observe(parameterRoot);
  recolour(); table(); drawCdf();
  const asked = C.ids.indexOf(decodeURIComponent(location.hash.slice(1)));
  const order = ranked();
  choose(asked >= 0 ? asked : order[Math.floor(order.length / 2)]);
  Object.assign(R, { chosen: () => C.ids[basin], map });
  root.setAttribute("aria-busy", "false");
})().catch((problem) => {
  const root = document.getElementById("report");
  root.prepend(Report.h("p", { role: "alert" }, `This report could not be drawn: ${problem.message}`));
  throw problem;
});
