// What all reports share: the numbers of the page, elements, colours, time series and plain charts.
"use strict";
window.Report = (() => {
  const R = { content: JSON.parse(document.getElementById("content").textContent), redraws: [] };
  const UTC = (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC");

  // Ticks in time: step, its text, and what a new year, month or day adds below.
  const TICKS = [[31536000, "{YYYY}"], [2419200, "{MMM}", "\n{YYYY}"], [86400, "{D} {MMM}", "\n{YYYY}"],
    [3600, "{HH}:00", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}"], [60, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}"]]
    .map((row) => [...row, ...Array(8 - row.length).fill(null), 1]);

  // -- numbers ---------------------------------------------------------------
  let block = null;
  const halves = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    halves[bits] = exponent === 31 ? (fraction ? NaN : sign * Infinity)
      : sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
  }
  R.load = async () => {
    const text = document.getElementById("numbers").textContent.trim();
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    block = await new Response(stream).arrayBuffer();
  };
  // The numbers of one of `rows` equal parts of an array, or all.
  R.numbers = (part, row = 0, rows = 1) => {
    const count = part.count / rows, from = row * count;
    if (part.kind !== "f2") {
      const Kind = part.kind === "f4" ? Float32Array : Int32Array;
      return Array.from(new Kind(block, part.at + 4 * from, count));
    }
    const bits = new Uint16Array(block, part.at + 2 * from, count);
    return Array.from(bits, (b) => halves[b] * part.scale);
  };
  R.finite = (values) => values.filter(Number.isFinite);
  R.extent = (values) => {
    let low = Infinity, high = -Infinity;
    for (const v of values) if (Number.isFinite(v)) { if (v < low) low = v; if (v > high) high = v; }
    return low > high ? [0, 1] : [low, high];
  };
  R.median = (values) => {
    const sorted = R.finite(values).sort((a, b) => a - b), half = sorted.length >> 1;
    if (!sorted.length) return NaN;
    return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  };
  R.text = (value, digits = 3) => {
    if (value === null || value === undefined || !Number.isFinite(value)) return "–";
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1e5 || size < 1e-3) return value.toExponential(1).replace("-", "−").replace("e+", "e");
    const places = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
    return value.toFixed(Math.min(places, 4)).replace("-", "−");
  };
  // Of a tick: no more digits than it has.
  R.tick = (v) => (v === null ? "" : Math.abs(v) >= 1e5 || (v && Math.abs(v) < 1e-3) ? v.toExponential(0).replace("e+", "e") : `${Number(v.toPrecision(6))}`).replaceAll("-", "−");
  // Units as they are printed: mm d⁻¹, °C.
  R.units = (units) => (!units || units === "1" ? "" : units.replace(/\bdeg(?=[CF]\b)/, "°")
    .replace(/([A-Za-z])(-?\d+)(?= |$)/g, (_, letter, power) => letter + [...power].map((c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]).join("")));
  R.unit = (units) => (R.units(units) ? ` (${R.units(units)})` : "");
  R.date = (seconds, step) => new Date(seconds * 1e3).toISOString().slice(0, step < 86400 ? 16 : 10).replace("T", " ");

  // -- elements ---------------------------------------------------------------
  R.h = (tag, properties = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== false && value !== null) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  };
  R.svg = (tag, properties = {}, ...children) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(properties)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  R.card = (title, size, note, ...children) => R.h("section", { class: `card ${size}`, "aria-label": title },
    R.h("h2", {}, title), note ? R.h("p", { class: "note" }, note) : null, ...children);
  R.facts = (facts) => R.h("table", { class: "facts" }, R.h("tbody", {},
    ...facts.map(([key, value]) => R.h("tr", {}, R.h("td", {}, key), R.h("td", {}, value)))));
  // A field to search among names, with buttons to go through them in `order()`.
  R.chooser = (label, names, order, choose) => {
    const place = new Map(names.map((name, k) => [name, k]));
    const input = R.h("input", { id: "place", list: "places", autocomplete: "off", spellcheck: "false", size: 14,
      onchange: () => (place.has(input.value) ? choose(place.get(input.value)) : input.select()),
      onfocus: () => input.select() });
    const step = (by) => () => {
      const row = order(), at = row.indexOf(place.get(input.value));
      choose(row[(at + by + row.length) % row.length]);
    };
    const list = R.h("datalist", { id: "places" }, ...names.map((value) => R.h("option", { value })));
    const node = R.h("label", {}, label, input, list);
    const buttons = R.h("span", { class: "tools" },
      R.h("button", { id: "previous", title: `the one before (ranked as coloured)`, onclick: step(-1) }, "‹"),
      R.h("button", { id: "next", title: `the next one (ranked as coloured)`, onclick: step(1) }, "›"));
    return { nodes: [node, buttons], show: (k) => { input.value = names[k]; } };
  };
  R.select = (id, label, groups, change) => {
    const option = ([value, text]) => R.h("option", { value }, text);
    const node = R.h("select", { id, onchange: () => change(node.value) }, ...Object.entries(groups)
      .filter(([, options]) => options.length)
      .map(([name, options]) => (name ? R.h("optgroup", { label: name }, ...options.map(option)) : options.map(option)))
      .flat());
    return { node: R.h("label", {}, label, node), select: node };
  };

  // -- colours ---------------------------------------------------------------
  const SCALES = { // of viridis, and of purple to orange: both told apart by colour-blind people
    rising: ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"],
    both: ["#2d004b", "#542788", "#8073ac", "#b2abd2", "#e8e4ee", "#fdd9a9", "#fdb863", "#e08214", "#b35806"],
    water: ["#e6f1f5", "#c3e1e6", "#8fcbd3", "#5ab2c4", "#2f92b8", "#2071a6", "#1f4f8f", "#1b2f6b"],
  };
  const channel = (hex, k) => parseInt(hex.slice(1 + 2 * k, 3 + 2 * k), 16);
  R.colour = (scale, share) => {
    const stops = SCALES[scale], at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
    const k = Math.min(Math.floor(at), stops.length - 2), part = at - k;
    const mix = [0, 1, 2].map((c) => Math.round(channel(stops[k], c) * (1 - part) + channel(stops[k + 1], c) * part));
    return `rgb(${mix.join(",")})`;
  };
  R.scaleBar = () => {
    const low = R.h("span", {}), high = R.h("span", {}), ramp = R.h("div", { role: "presentation" });
    const show = (scale, from, to) => {
      ramp.style.background = `linear-gradient(to right, ${SCALES[scale].join(",")})`;
      low.textContent = from; high.textContent = to;
    };
    return { node: R.h("div", { class: "scale" }, low, ramp, high), show };
  };
  R.css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const redraw = () => R.redraws.forEach((draw) => draw());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("beforeprint", () => { document.documentElement.classList.add("print"); redraw(); });
  addEventListener("afterprint", () => { document.documentElement.classList.remove("print"); redraw(); });

  // -- charts with uPlot ---------------------------------------------------------------
  const axis = (extra) => ({ stroke: R.css("quiet"), font: "11px system-ui, sans-serif",
    grid: { stroke: R.css("grid"), width: 1 }, ticks: { stroke: R.css("line"), size: 4 }, ...extra });
  const decades = (u, k, low, high) => {
    const ticks = [], first = Math.ceil(Math.log10(low) - 1e-9), last = Math.floor(Math.log10(high) + 1e-9);
    for (let p = first; p <= last; p += Math.ceil((last - first) / 6) || 1) ticks.push(10 ** p);
    return ticks;
  };
  const logRange = (u, low, high) => (low === null || !(high > 0) ? [0.01, 1]
    : [10 ** Math.floor(Math.log10(Math.max(low, high / 1e5))), 10 ** Math.ceil(Math.log10(high * 1.01))]);
  // A chart that is made anew when colours or its width change.
  const framed = (root, height, make) => {
    let chart = null, width = 0;
    const draw = () => {
      width = root.clientWidth;
      if (!width) return;
      if (chart) chart.destroy();
      chart = make(width, height);
    };
    new ResizeObserver(() => { if (root.clientWidth !== width) draw(); }).observe(root);
    R.redraws.push(draw);
    return { draw, get chart() { return chart; } };
  };
  const key = (lines) => lines.map((line) => {
    const value = R.h("b", {});
    const swatch = R.h("i", {});
    swatch.style.background = `var(--${line.colour})`;
    return { node: R.h("span", {}, swatch, line.label, " ", value), value };
  });

  // Lines over a common x that is no time: `spec()` gives x and values of what is shown.
  R.lines = (root, { label, x, y, height = 230, log = false, xlog = false, lines, spec, range, xrange, xticks }) => {
    const where = R.h("b", {}), keys = key(lines);
    const chartRoot = R.h("div", { class: "chart" });
    root.append(R.h("div", { class: "key" }, ...keys.map((k) => k.node), where), chartRoot);
    const data = () => {
      const { at, values } = spec();
      return [at, ...values.map((row) => row.map((v) => (Number.isFinite(v) && (!log || v > 0) ? v : null)))];
    };
    const frame = framed(chartRoot, height, (width) => new uPlot({
      width, height, legend: { show: false },
      cursor: { y: false, drag: { x: true, y: false, uni: 20 } },
      scales: { x: { time: false, distr: xlog ? 3 : 1, range: xrange }, y: { distr: log ? 3 : 1, range: log ? logRange : range } },
      axes: [axis({ label: x, labelSize: 22, labelFont: "11px system-ui, sans-serif", size: 30,
        values: (_, ticks) => ticks.map(R.tick), ...xticks }), axis({ label: y, labelSize: 20, labelFont: "11px system-ui, sans-serif", size: 46,
          values: (_, ticks) => ticks.map(R.tick), ...(log ? { splits: decades } : {}) })],
      series: [{}, ...lines.map((line) => ({ label: line.label, stroke: R.css(line.colour),
        width: line.width || 1.6, dash: line.dash, points: { show: Boolean(line.points), size: 6 }, spanGaps: true,
        paths: line.stepped ? uPlot.paths.stepped({ align: 1 }) : undefined }))],
      hooks: { setCursor: [(u) => {
        const k = u.cursor.idx;
        where.textContent = k === null || k === undefined ? "" : `${label} ${R.text(u.data[0][k])}`;
        keys.forEach((one, i) => { one.value.textContent = k === null || k === undefined ? "" : R.text(u.data[i + 1][k]); });
      }] },
    }, data(), chartRoot));
    return () => { if (frame.chart) frame.chart.setData(data()); else frame.draw(); };
  };

  // -- series in time, all with one view ---------------------------------------------------------------
  R.view = { from: 0, to: 1, whole: [0, 1], charts: [] };
  R.setView = (from, to) => {
    const [first, last] = R.view.whole, least = R.view.step * 4;
    let length = Math.min(Math.max(to - from, least), last - first);
    from = Math.min(Math.max(from, first), last - length);
    Object.assign(R.view, { from, to: from + length });
    R.view.charts.forEach((draw) => draw());
  };
  R.move = (by) => R.setView(R.view.from + by * (R.view.to - R.view.from), R.view.to + by * (R.view.to - R.view.from));
  R.zoom = (factor, at = 0.5) => {
    const length = R.view.to - R.view.from, centre = R.view.from + at * length;
    R.setView(centre - at * length * factor, centre + (1 - at) * length * factor);
  };
  R.startView = (group) => {
    R.view.step = group.step;
    R.view.whole = [group.start, group.start + group.length * group.step];
    const [first, last] = group.window, year = 366 * 86400 / group.step;
    R.setView(group.start + Math.max(first, last - 3 * year) * group.step, group.start + last * group.step);
  };
  R.viewTools = () => R.h("div", { class: "tools", role: "group", "aria-label": "period shown" },
    ...[["◀", "earlier", () => R.move(-0.5)], ["▶", "later", () => R.move(0.5)], ["+", "closer", () => R.zoom(0.5)],
      ["−", "further", () => R.zoom(2)],
      ["1 year", "one year", () => { const mid = (R.view.from + R.view.to) / 2; R.setView(mid - 15768000, mid + 15768000); }],
      ["All", "the whole record", () => R.setView(...R.view.whole)]]
      .map(([text, title, onclick]) => R.h("button", { title, "aria-label": title, onclick, "data-view": title }, text)));

  // `lines` of a packed group ({name, label, colour}); `place()` and `places` say whose.
  R.series = (root, { group, lines, places, place, y, height = 240, log = false, down = false, bars = false, zero = true, dates = true }) => {
    lines = lines.filter((line) => group.series[line.name]);
    const where = R.h("b", {}), keys = key(lines), chartRoot = R.h("div", { class: "chart", tabindex: 0, role: "img",
      "aria-label": `${y}: arrow keys move, + and − zoom, Home shows all` });
    root.append(R.h("div", { class: "key" }, ...keys.map((k) => k.node), where), chartRoot);
    const [first, last] = group.window, whole = group.block === 1;
    let cached = {};
    const inWindow = () => whole || (R.view.from >= group.start + first * group.step - 1 && R.view.to <= group.start + last * group.step + 1);
    const clean = (values) => values.map((v) => (Number.isFinite(v) && (!log || v > 0) ? v : null));
    const read = (detailed) => {
      const id = `${place()} ${detailed}`;
      if (cached.id === id) return cached.data;
      const at = (name, kind) => clean(R.numbers(group.series[name][kind], place(), places));
      const width = detailed ? 1 : group.block, from = detailed ? first : 0;
      const count = detailed ? last - first : Math.ceil(group.length / group.block);
      const x = Array.from({ length: count }, (_, k) => group.start + (from + (k + 0.5) * width) * group.step);
      const data = [x];
      for (const { name } of lines) {
        if (detailed) { const values = at(name, "steps"); data.push(values, values); }
        else if (group.series[name].mean) { const values = at(name, "mean"); data.push(values, values); }
        else data.push(at(name, "low"), at(name, "high"));
      }
      cached = { id, data };
      return data;
    };
    const level = (u, low, high) => {
      if (low === null || !Number.isFinite(low)) [low, high] = [log ? 0.01 : 0, 1];
      if (log) return logRange(u, low, high);
      if (zero) low = Math.min(low, 0);
      const room = (high - low || Math.abs(high) || 1) * 0.06;
      return [zero && low === 0 ? 0 : low - room, high + room];
    };
    const frame = framed(chartRoot, height, (width) => {
      const stroke = (line) => R.css(line.colour);
      const chart = new uPlot({
        width, height, legend: { show: false }, tzDate: UTC,
        cursor: { sync: { key: "time" }, y: false, drag: { x: true, y: false, setScale: false },
          bind: { dblclick: () => () => { R.setView(...R.view.whole); return null; } } },
        scales: { x: { time: true, auto: false, range: () => [R.view.from, R.view.to] },
          y: { distr: log ? 3 : 1, dir: down ? -1 : 1, range: level } },
        axes: [axis({ size: dates ? 34 : 6, values: dates ? TICKS : () => [] }), axis({ label: y, labelSize: 20, size: 52,
          labelFont: "11px system-ui, sans-serif", values: (_, ticks) => ticks.map(R.tick), ...(log ? { splits: decades } : {}) })],
        series: [{}, ...lines.flatMap((line) => [0, 1].map(() => ({ label: line.label, stroke: stroke(line),
          fill: bars ? stroke(line) : undefined, width: bars ? 0 : line.width || 1.3, dash: line.dash, points: { show: false },
          paths: bars ? uPlot.paths.bars({ size: [0.9, 40], align: 0 }) : undefined })))],
        bands: bars ? [] : lines.map((line, k) => ({ series: [2 * k + 2, 2 * k + 1], fill: `color-mix(in srgb, ${stroke(line)} 38%, transparent)` })),
        hooks: {
          setSelect: [(u) => {
            if (u.select.width < 5) return;
            const [a, b] = [u.select.left, u.select.left + u.select.width].map((x) => u.posToVal(x, "x"));
            u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            R.setView(a, b);
          }],
          setCursor: [(u) => {
            const k = u.cursor.idx, known = k !== null && k !== undefined;
            const blocks = inWindow() ? 1 : group.block;
            const start = known ? u.data[0][k] - 0.5 * blocks * group.step : 0;
            where.textContent = known ? R.date(start, group.step) : "";
            keys.forEach((one, i) => {
              const low = known ? u.data[2 * i + 1][k] : null, high = known ? u.data[2 * i + 2][k] : null;
              one.value.textContent = !known ? "" : low === high ? R.text(low) : `${R.text(low)} to ${R.text(high)}`;
            });
          }],
        },
      }, read(inWindow()), chartRoot);
      chart.over.addEventListener("wheel", (event) => {
        if (event.ctrlKey || event.metaKey) R.zoom(event.deltaY > 0 ? 1.25 : 0.8, event.offsetX / chart.over.clientWidth);
        else if (event.shiftKey) R.move(Math.sign(event.deltaY || event.deltaX) * 0.1);
        else return;
        event.preventDefault();
      }, { passive: false });
      return chart;
    });
    chartRoot.addEventListener("keydown", (event) => {
      const act = { ArrowLeft: () => R.move(-0.2), ArrowRight: () => R.move(0.2), "+": () => R.zoom(0.7), "=": () => R.zoom(0.7),
        "-": () => R.zoom(1.4), Home: () => R.setView(...R.view.whole) }[event.key];
      if (act) { act(); event.preventDefault(); }
    });
    const draw = () => { if (frame.chart) frame.chart.setData(read(inWindow())); else frame.draw(); };
    R.view.charts.push(draw);
    return draw;
  };
  // What a reader must know of a group's overview.
  R.resolution = (group, what) => {
    if (group.block === 1) return "";
    const day = 86400 / group.step, days = (steps) => (steps % day ? `${steps} steps` : `${steps / day} days`);
    return `The whole record shows the lowest and highest value of each ${days(group.block)} (${what} their mean); ` +
      `every step is kept from ${R.date(group.start + group.window[0] * group.step, 86400)} to ` +
      `${R.date(group.start + (group.window[1] - 1) * group.step, 86400)}.`;
  };

  // -- plain charts in SVG ---------------------------------------------------------------
  R.ticks = (low, high, count = 5) => {
    const raw = (high - low) / count || 1, unit = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((k) => k * unit).find((s) => s >= raw);
    const ticks = [];
    for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + 1e-9 * step; v += step) ticks.push(Math.abs(v) < 1e-12 ? 0 : v);
    return ticks;
  };
  // Make an SVG with axes; `draw(svg, x, y)` fills it. Ticks are shown by their values.
  R.plot = ({ width = 420, height = 300, x, y, left = 46, bottom = 36, label, draw }) => {
    const svg = R.svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
    const place = (scale, from, to) => (v) => {
      const f = scale.log ? Math.log10 : (u) => u;
      return from + ((f(v) - f(scale.low)) / (f(scale.high) - f(scale.low))) * (to - from);
    };
    const px = place(x, left, width - 8), py = place(y, height - bottom, 8);
    for (const v of y.ticks) svg.append(
      R.svg("line", { x1: left, x2: width - 8, y1: py(v), y2: py(v), stroke: "var(--grid)" }),
      R.svg("text", { x: left - 6, y: py(v) + 4, "text-anchor": "end" }, y.text ? y.text(v) : R.tick(v)));
    for (const v of x.ticks) svg.append(
      R.svg("text", { x: px(v), y: height - bottom + 16, "text-anchor": "middle" }, x.text ? x.text(v) : R.tick(v)));
    if (x.label) svg.append(R.svg("text", { x: (left + width) / 2, y: height - 4, "text-anchor": "middle" }, x.label));
    if (y.label) svg.append(R.svg("text", { x: -(height - bottom) / 2, y: 11, transform: "rotate(-90)", "text-anchor": "middle" }, y.label));
    draw(svg, px, py);
    return svg;
  };
  return R;
})();
