// The report of a coupled run: divides and rivers on a map that runs in time, and the series of one of them.
"use strict";
(async () => {
  const R = Report, C = R.content, root = document.getElementById("report");
  await R.load();
  const kinds = { divide: C.divides, reach: C.reaches }, titles = { divide: "Divides", reach: "Rivers" };
  const of = (kind) => C.variables.map((v, k) => ({ ...v, k })).filter((v) => v.of === kind);
  const size = R.numbers(C.upstream), area = R.numbers(C.area), reachOf = R.numbers(C.reach);
  const outlet = size.indexOf(R.extent(size)[1]);
  const pick = (kind, names) => { const some = of(kind); return some.find((v) => names.includes(v.name)) || some[some.length - 1] || null; };
  const shown = { divide: pick("divide", ["Q", "runoff"]), reach: pick("reach", ["discharge", "flow"]) };
  let chosen = of("reach").length ? `reach ${outlet}` : "divide 0", now = 0, timer = null;
  const kindOf = (item) => item.split(" ")[0], placeOf = (item) => Number(item.split(" ")[1]);
  const name = (item) => kinds[kindOf(item)].ids[placeOf(item)];

  // -- head ---------------------------------------------------------------
  root.append(R.h("h1", {}, C.title), R.h("details", { open: true }, R.h("summary", {}, "About this run"), R.facts(C.facts)));
  const items = [...C.reaches.ids.map((_, k) => `reach ${k}`), ...C.divides.ids.map((_, k) => `divide ${k}`)];
  const chooser = R.chooser("Divide or reach", items.map(name), () => [...items.keys()], (k) => choose(items[k]));
  const selects = Object.keys(kinds).filter((kind) => of(kind).length).map((kind) => {
    const one = R.select(`colours-${kind}`, titles[kind], { "": of(kind).map((v) => [v.k, `${v.name}${R.unit(v.units)}, ${v.meaning}`]) },
      (k) => { shown[kind] = { ...C.variables[k], k: Number(k) }; frames = {}; legend(); map.draw(); });
    one.select.value = shown[kind].k;
    return one.node;
  });
  root.append(R.h("nav", { class: "bar", "aria-label": "what is shown" }, ...chooser.nodes, ...selects));
  const grid = R.h("div", { class: "grid" });
  root.append(grid);

  // -- the map, and its time ---------------------------------------------------------------
  const shapes = [];
  for (const kind of ["divide", "reach"]) {
    const points = R.numbers(kinds[kind].points);
    let at = 0;
    kinds[kind].counts.forEach((counts, k) => {
      const parts = counts.map((count) => points.slice(at, (at += 2 * count)));
      if (parts.length) shapes.push({ kind: kind === "divide" ? "area" : "line", item: `${kind} ${k}`, parts });
    });
  }
  let frames = {};
  const groups = C.variables.map((v) => v.group);
  const start = Math.min(...groups.map((g) => g.start)), end = Math.max(...groups.map((g) => g.start + g.length * g.step));
  const step = Math.max(...Object.values(shown).filter(Boolean).map((v) => v.frame * v.group.step));
  const count = Math.max(1, Math.ceil((end - start) / step - 1e-9));
  // The values of all items of a kind at the time that is shown.
  const frame = (kind) => {
    const v = shown[kind];
    if (!v) return null;
    const total = Math.ceil(v.group.length / v.frame);
    const k = Math.floor((start + (now + 0.5) * step - v.group.start) / (v.frame * v.group.step));
    if (k < 0 || k >= total) return null;
    const id = `${v.k} ${k}`;
    if (!frames[kind] || frames[kind].id !== id) frames[kind] = { id, values: R.numbers(v.frames, k, total) };
    return frames[kind].values;
  };
  const value = (item) => { const values = frame(kindOf(item)); return values ? values[placeOf(item)] : NaN; };
  const share = (item) => {
    const v = shown[kindOf(item)], [low, high] = v.limits, one = value(item);
    return Number.isFinite(one) ? Math.min(Math.max((one - low) / (high - low || 1), 0), 1) : NaN;
  };
  const mapCard = R.card("Basin", "", null);
  grid.append(mapCard);
  const map = R.map(mapCard, {
    name: "Map of the basin", shapes, tall: 0.55,
    style: ({ item, kind }) => {
      if (kind === "area") {
        const part = shown.divide ? share(item) : NaN;
        return { fill: Number.isFinite(part) ? R.colour("water", part) : R.css("land"), stroke: R.css("card"), width: 0.7 };
      }
      const part = shown.reach ? share(item) : NaN;
      return { stroke: R.css("water"), width: Number.isFinite(part) ? 0.5 + 6 * Math.sqrt(part) : 0.6 };
    },
    label: (item) => `${name(item)}: ${shown[kindOf(item)] ? `${shown[kindOf(item)].name} ${R.text(value(item))}${R.unit(shown[kindOf(item)].units)}, ` : ""}` +
      (kindOf(item) === "divide" ? `${R.text(area[placeOf(item)])} km²` : `drains ${R.text(size[placeOf(item)])} km²`),
    choose: (item) => choose(item),
  });
  const clock = R.h("b", { id: "clock" });
  const slider = R.h("input", { type: "range", id: "time", min: 0, max: count - 1, step: 1, "aria-label": "time of the map", oninput: () => at(Number(slider.value)) });
  const play = R.h("button", { id: "play", onclick: () => {
    if (timer) { clearInterval(timer); timer = null; } else timer = setInterval(() => at((now + 1) % count), 80);
    play.textContent = timer ? "Stop" : "Play";
  } }, "Play");
  const bars = { divide: R.scaleBar() };
  const rivers = R.h("span", { class: "note" });
  mapCard.append(R.h("div", { class: "scale" }, play, slider, clock), R.h("div", { class: "head" }, bars.divide.node, rivers));
  const legend = () => {
    const d = shown.divide, r = shown.reach;
    bars.divide.node.hidden = !d;
    if (d) bars.divide.show("water", `${d.name} ${R.text(d.limits[0])}`, `${R.text(d.limits[1])}${R.unit(d.units)}`);
    rivers.textContent = r ? `Rivers are as wide as the root of their ${r.name}, up to ${R.text(r.limits[1])}${R.unit(r.units)}.` : "";
  };
  const at = (k) => {
    now = k; slider.value = k;
    clock.textContent = R.date(start + k * step, Math.min(step, 3600));
    map.refresh();
  };

  // -- series ---------------------------------------------------------------
  const card = R.card("Series", "", null), title = card.querySelector("h2");
  grid.append(card);
  card.append(R.viewTools());
  R.startView({ step: Math.min(...groups.map((g) => g.step)), start, length: (end - start) / Math.min(...groups.map((g) => g.step)), window: [0, (end - start) / Math.min(...groups.map((g) => g.step))] });
  R.setView(...R.view.whole);
  const COLOURS = ["simulated", "evaporation", "other", "fourth", "fifth", "rain"], panels = { divide: [], reach: [] };
  const roots = {};
  for (const kind of Object.keys(kinds)) {
    roots[kind] = R.h("div", {});
    card.append(roots[kind]);
    // The one that colours the map first, the others below it.
    const order = [...of(kind)].sort((a, b) => (b.k === shown[kind].k) - (a.k === shown[kind].k));
    order.forEach((v, k) => panels[kind].push(R.series(roots[kind], { group: v.group, places: kinds[kind].ids.length,
      place: () => (kindOf(chosen) === kind ? placeOf(chosen) : 0), y: R.units(v.units) || v.name, height: k ? 110 : 230,
      lines: [{ name: "value", label: `${v.name}${R.unit(v.units)}, ${v.meaning}`, colour: COLOURS[k % COLOURS.length], width: 1.5 }] })));
  }
  card.append(R.h("p", { class: "note" }, ...new Set(C.variables.map((v) => R.resolution(v.group, "or")).filter(Boolean)),
    " Drag to zoom, double-click for all; Ctrl and wheel zoom, Shift and wheel move; arrow keys, + and − on a chosen chart."));
  const choose = (item) => {
    chosen = item;
    const kind = kindOf(item), k = placeOf(item);
    title.textContent = kind === "divide"
      ? `Divide ${name(item)}, ${R.text(area[k])} km²${reachOf[k] >= 0 ? `, drains to ${C.reaches.ids[reachOf[k]]}` : ""}`
      : `Reach ${name(item)}, drains ${R.text(size[k])} km²`;
    for (const one of Object.keys(kinds)) roots[one].hidden = one !== kind;
    chooser.show(items.indexOf(item)); map.show(item);
    panels[kind].forEach((draw) => draw());
    history.replaceState(null, "", `#${encodeURIComponent(name(item))}`);
  };
  legend();
  const asked = items.find((item) => name(item) === decodeURIComponent(location.hash.slice(1)));
  choose(asked || chosen);
  // The map begins when most water flows out.
  let peak = 0, most = -Infinity;
  if (shown.reach) for (let k = 0; k < count; k++) { now = k; const v = value(`reach ${outlet}`); if (v > most) { most = v; peak = k; } }
  at(peak);
  Object.assign(R, { chosen: () => name(chosen), map, now: () => now });
  root.setAttribute("aria-busy", "false");
})().catch((problem) => {
  const root = document.getElementById("report");
  root.prepend(Report.h("p", { role: "alert" }, `This report could not be drawn: ${problem.message}`));
  throw problem;
});
