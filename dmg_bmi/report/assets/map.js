// A map on a canvas: points, areas and lines to look at, to choose from, to zoom and to move.
"use strict";
// `shapes`: [{kind: "point" | "area" | "line", parts: [[x, y, x, y, ...]], item}], drawn in their order, y upwards.
// `style(shape)` gives {fill, stroke, width, radius}; `label(item)` what a pointer is told; `choose(item)` a click.
Report.map = (root, { shapes, name, style, label, choose, graticule = null, tall = 0.62 }) => {
  const R = Report;
  const canvas = R.h("canvas", { class: "map", tabindex: 0, role: "img",
    "aria-label": `${name}: click to choose; arrow keys go to the nearest in that direction, + and − zoom, 0 shows all` });
  const tip = R.h("p", { class: "note", "aria-live": "polite" }, " ");
  const tools = R.h("div", { class: "tools" }, ...[["+", "closer", () => zoom(1.5)], ["−", "further", () => zoom(1 / 1.5)],
    ["All", "the whole map", () => { view = { k: 1, x: 0, y: 0 }; draw(); }]].map(([text, title, onclick]) =>
    R.h("button", { title, "aria-label": `map: ${title}`, onclick }, text)));
  root.append(R.h("div", { class: "head" }, tip, tools), canvas);
  const xs = [], ys = [];
  for (const shape of shapes) for (const part of shape.parts) for (let k = 0; k < part.length; k += 2) { xs.push(part[k]); ys.push(part[k + 1]); }
  let [left, right] = R.extent(xs), [bottom, top] = R.extent(ys);
  const room = Math.max(right - left, top - bottom) * 0.06 || 0.5;
  left -= room; right += room; bottom -= room; top += room;
  const centres = new Map();
  for (const shape of shapes) {
    const part = shape.parts[0], middle = 2 * Math.floor(part.length / 4);
    if (shape.kind === "area") {
      const [a, b] = R.extent(part.filter((_, k) => k % 2 === 0)), [c, d] = R.extent(part.filter((_, k) => k % 2));
      centres.set(shape.item, [(a + b) / 2, (c + d) / 2]);
    } else if (!centres.has(shape.item)) centres.set(shape.item, [part[middle], part[middle + 1]]);
  }
  let view = { k: 1, x: 0, y: 0 }, size = { w: 0, h: 0 }, chosen = null, paths = null;
  const fit = () => {
    const w = canvas.clientWidth, ratio = (top - bottom) / (right - left);
    size = { w, h: Math.round(Math.min(Math.max(w * Math.min(ratio, tall), 200), 520)) };
    size.scale = Math.min(w / (right - left), size.h / (top - bottom));
    size.dx = (w - size.scale * (right - left)) / 2; size.dy = (size.h - size.scale * (top - bottom)) / 2;
    canvas.style.height = `${size.h}px`;
    canvas.width = w * devicePixelRatio; canvas.height = size.h * devicePixelRatio;
    paths = null;
  };
  const px = (x) => size.dx + (x - left) * size.scale, py = (y) => size.dy + (top - y) * size.scale;
  const screen = ([x, y]) => [px(x) * view.k + view.x, py(y) * view.k + view.y];
  const outline = (shape) => {
    const path = new Path2D();
    for (const part of shape.parts) {
      path.moveTo(px(part[0]), py(part[1]));
      for (let k = 2; k < part.length; k += 2) path.lineTo(px(part[k]), py(part[k + 1]));
      if (shape.kind === "area") path.closePath();
    }
    return path;
  };
  const point = (pen, shape, { fill, stroke, radius, width = 1 }) => {
    const [x, y] = screen(shape.parts[0]);
    pen.beginPath(); pen.arc(x, y, radius, 0, 2 * Math.PI);
    if (fill) { pen.fillStyle = fill; pen.fill(); }
    pen.lineWidth = width; pen.strokeStyle = stroke; pen.stroke();
  };
  const draw = () => {
    if (!canvas.clientWidth) return;
    if (canvas.clientWidth !== size.w) fit();
    paths = paths || shapes.map((shape) => (shape.kind === "point" ? null : outline(shape)));
    const pen = canvas.getContext("2d");
    pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    pen.clearRect(0, 0, size.w, size.h);
    if (graticule) lines(pen);
    pen.save(); pen.translate(view.x, view.y); pen.scale(view.k, view.k); pen.lineJoin = pen.lineCap = "round";
    shapes.forEach((shape, k) => {
      if (shape.kind === "point") return;
      const { fill, stroke, width = 1 } = style(shape, shape.item === chosen);
      if (fill) { pen.fillStyle = fill; pen.fill(paths[k]); }
      if (stroke) { pen.strokeStyle = stroke; pen.lineWidth = width / view.k; pen.stroke(paths[k]); }
    });
    shapes.forEach((shape, k) => {
      if (shape.item !== chosen || shape.kind === "point") return;
      pen.strokeStyle = R.css("other"); pen.lineWidth = 2.5 / view.k; pen.stroke(paths[k]);
    });
    pen.restore();
    for (const last of [false, true]) for (const shape of shapes)
      if (shape.kind === "point" && (shape.item === chosen) === last) point(pen, shape, style(shape, last));
  };
  const lines = (pen) => {
    pen.strokeStyle = R.css("grid"); pen.fillStyle = R.css("quiet"); pen.font = "10px system-ui, sans-serif"; pen.lineWidth = 1;
    const at = (x, y) => [left + ((x - view.x) / view.k - size.dx) / size.scale, top - ((y - view.y) / view.k - size.dy) / size.scale];
    const [x0, y0] = at(0, size.h), [x1, y1] = at(size.w, 0);
    for (const value of R.ticks(graticule.fromX(x0), graticule.fromX(x1), 6)) {
      const [x] = screen([graticule.toX(value), 0]);
      pen.beginPath(); pen.moveTo(x, 0); pen.lineTo(x, size.h); pen.stroke();
      pen.fillText(`${R.tick(Math.abs(value))}°${value < 0 ? "W" : "E"}`, x + 3, size.h - 4);
    }
    for (const value of R.ticks(y0, y1, 4)) {
      const [, y] = screen([0, value]);
      pen.beginPath(); pen.moveTo(0, y); pen.lineTo(size.w, y); pen.stroke();
      pen.fillText(`${R.tick(Math.abs(value))}°${value < 0 ? "S" : "N"}`, 3, y - 3);
    }
  };
  const nearest = (x, y, within) => {
    let best = null, least = within;
    for (const [item, centre] of centres) {
      const [a, b] = screen(centre), far = Math.hypot(a - x, b - y);
      if (far < least) { least = far; best = item; }
    }
    return best;
  };
  const hit = (x, y) => {
    const pen = canvas.getContext("2d"), u = (x - view.x) / view.k, v = (y - view.y) / view.k;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    for (let k = shapes.length - 1; k >= 0; k--) {
      if (shapes[k].kind === "line") { pen.lineWidth = 8 / view.k; if (pen.isPointInStroke(paths[k], u, v)) return shapes[k].item; }
      if (shapes[k].kind === "area" && pen.isPointInPath(paths[k], u, v)) return shapes[k].item;
    }
    return shapes.some((shape) => shape.kind === "point") ? nearest(x, y, 18) : null;
  };
  const zoom = (factor, x = size.w / 2, y = size.h / 2) => {
    const k = Math.min(Math.max(view.k * factor, 1), 60), by = k / view.k;
    view = k === 1 ? { k, x: 0, y: 0 } : { k, x: x - (x - view.x) * by, y: y - (y - view.y) * by };
    draw();
  };
  let held = null;
  canvas.addEventListener("pointerdown", (e) => { held = { x: e.offsetX, y: e.offsetY, from: { ...view }, moved: false }; });
  canvas.addEventListener("pointermove", (e) => {
    if (held && e.buttons) {
      const [dx, dy] = [e.offsetX - held.x, e.offsetY - held.y];
      held.moved = held.moved || Math.hypot(dx, dy) > 4;
      if (held.moved && view.k > 1) { view = { k: view.k, x: held.from.x + dx, y: held.from.y + dy }; draw(); }
      return;
    }
    const item = hit(e.offsetX, e.offsetY);
    tip.textContent = item === null ? " " : label(item);
  });
  canvas.addEventListener("pointerup", (e) => {
    const item = held && !held.moved ? hit(e.offsetX, e.offsetY) : null;
    held = null;
    if (item !== null) choose(item);
  });
  canvas.addEventListener("pointerleave", () => { held = null; tip.textContent = chosen === null ? " " : label(chosen); });
  canvas.addEventListener("wheel", (e) => {
    if (!e.ctrlKey && !e.metaKey) return;
    e.preventDefault(); zoom(e.deltaY > 0 ? 0.8 : 1.25, e.offsetX, e.offsetY);
  }, { passive: false });
  canvas.addEventListener("keydown", (e) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
    if (way && chosen !== null) {
      const [x, y] = screen(centres.get(chosen));
      let best = null, least = Infinity;
      for (const [item, centre] of centres) {
        const [a, b] = screen(centre), along = (a - x) * way[0] + (b - y) * way[1];
        const beside = Math.abs((a - x) * way[1]) + Math.abs((b - y) * way[0]);
        if (item !== chosen && along > 0 && along + 2 * beside < least) { least = along + 2 * beside; best = item; }
      }
      if (best !== null) choose(best);
    } else if (e.key === "+" || e.key === "=") zoom(1.5);
    else if (e.key === "-") zoom(1 / 1.5);
    else if (e.key === "0") { view = { k: 1, x: 0, y: 0 }; draw(); }
    else return;
    e.preventDefault();
  });
  new ResizeObserver(() => { if (canvas.clientWidth !== size.w) draw(); }).observe(canvas);
  R.redraws.push(draw);
  return {
    draw,
    // Draw and tell again of what has changed.
    refresh: () => { if (chosen !== null) tip.textContent = label(chosen); draw(); },
    show: (item) => { chosen = item; tip.textContent = label(item); draw(); },
    // Where an item is on the page's canvas, for tests that click it as a person does.
    at: (item) => screen(centres.get(item)),
  };
};
