"use strict";
// Passes of each unit in time. A redraw touches pixels, not segments: what is narrower than a
// pixel is drawn once.
page.chips.forEach((chip) => {
  const root = chip.root.querySelector(".gantt");
  const canvas = root.querySelector("canvas");
  if (!chip.count) { root.remove(); return; }
  const MOST_LANES = 16, TOP = 4, AXIS = 26, NAMES = 96;

  // Layers that are at work at one time, each where none is hidden by another: a pass goes on in
  // the lane of its layer, or in the first that is free.
  const apart = (mine) => {
    const found = [];
    for (const i of [...mine].sort((a, b) => chip.firstOf(a) - chip.firstOf(b))) {
      const layer = chip.layerOf(i);
      let lane = found.find((one) => one.layer === layer) ?? found.find((one) => one.end <= chip.firstOf(i));
      if (!lane && found.length === MOST_LANES) lane = found.at(-1);
      if (!lane) found.push(lane = { passes: [], end: 0 });
      lane.passes.push(i);
      lane.layer = layer;
      lane.end = Math.max(lane.end, chip.lastOf(i));
    }
    return found.map((one) => one.passes);
  };

  // A lane for each core of a unit, at most 16; rows of a unit's lanes stand together.
  const rows = [];
  chip.units.forEach((unit, u) => {
    const mine = [];
    for (let i = 0; i < chip.count; i++) if (chip.unitOf(i) === u) mine.push(i);
    if (!mine.length) return;
    const cores = unit.shape.length > 2 || chip.units.some((other) => other.shape.length > 2 && other.shape[0] === unit.shape[0])
      ? unit.shape[0] : 1;
    let lanes = Array.from({ length: Math.min(cores, MOST_LANES) }, () => []);
    if (cores > 1) for (const i of mine) lanes[Math.floor(chip.laneOf(i) * lanes.length / cores)].push(i);
    else lanes = apart(mine);
    const height = lanes.length > 1 ? Math.max(9, 40 / lanes.length) : 26;
    rows.push({ u, lanes, height, named: cores === 1 && height >= 18 });
  });
  let y = TOP;
  for (const row of rows) { row.top = y; y += row.lanes.length * row.height + 10; }
  canvas.style.height = `${y + AXIS}px`;

  const view = { first: 0, last: chip.cycles };
  let chosen = -1;
  // Asked for once a redraw: asking the canvas for its width lays out the page.
  const size = { width: 1, left: NAMES };
  const scale = () => (size.width - size.left - 8) / (view.last - view.first);
  const toX = (cycle) => size.left + (cycle - view.first) * scale();
  const toCycle = (x) => view.first + (x - size.left) / scale();
  // First segment of a lane that can reach into view: ends grow with beginnings, nearly always.
  const start = (lane) => {
    let low = 0, high = lane.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (chip.lastOf(lane[middle]) < view.first) low = middle + 1; else high = middle;
    }
    return low;
  };

  const ticks = () => {
    const span = view.last - view.first, wanted = Math.max(2, size.width / 130);
    const power = 10 ** Math.floor(Math.log10(span / wanted));
    const step = Math.max(1, [1, 2, 5, 10].map((s) => s * power).find((s) => span / s <= wanted));
    const found = [];
    for (let t = Math.ceil(view.first / step) * step; t <= view.last; t += step) found.push(t);
    return found;
  };

  const draw = (context, width, height) => {
    size.width = width;
    size.left = width < 500 ? 64 : NAMES;
    const ink = page.colour("--ink"), soft = page.colour("--soft"), hair = page.colour("--hair");
    const paper = page.colour("--paper"), empty = page.colour("--empty"), only = chip.only();
    const palette = chip.layers.map((_, layer) => chip.layerColour(layer));
    const bottom = height - AXIS;
    context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    context.textBaseline = "middle";
    context.strokeStyle = hair;
    context.fillStyle = soft;
    context.textAlign = "center";
    for (const tick of ticks()) {
      const x = Math.round(toX(tick)) + 0.5;
      context.beginPath(); context.moveTo(x, TOP); context.lineTo(x, bottom + 4); context.stroke();
      const told = page.count(tick), half = context.measureText(told).width / 2;
      context.fillText(told, Math.min(x, width - half), bottom + 14);
    }
    for (const row of rows) {
      context.textAlign = "right";
      context.fillStyle = ink;
      const name = chip.units[row.u].name, room = size.left - 14;
      let told = name;
      while (told.length > 1 && context.measureText(told).width > room) told = `${told.slice(0, -2)}…`;
      context.fillText(told, size.left - 10, row.top + row.lanes.length * row.height / 2);
      context.save();
      context.beginPath(); context.rect(size.left, 0, width - size.left, height); context.clip();
      row.lanes.forEach((lane, l) => {
        const top = row.top + l * row.height, tall = row.height - (row.lanes.length > 1 ? 1.5 : 0);
        let drawn = -1;
        for (let j = start(lane); j < lane.length; j++) {
          const i = lane[j];
          if (chip.firstOf(i) > view.last) break;
          const x = toX(chip.firstOf(i)), end = toX(chip.lastOf(i));
          if (end < drawn + 0.7) continue;
          drawn = end;
          const layer = chip.layerOf(i), wide = Math.max(0.8, end - x - (end - x > 3 ? 0.75 : 0));
          context.fillStyle = only < 0 || only === layer ? palette[layer] : empty;
          context.fillRect(x, top, wide, tall);
          if (i === chosen) {
            context.strokeStyle = ink; context.lineWidth = 2;
            context.strokeRect(x, top, wide, tall); context.lineWidth = 1; context.strokeStyle = hair;
          }
        }
        if (row.named) label(context, lane, top + tall / 2, paper);
      });
      context.restore();
    }
    context.strokeStyle = page.colour("--faint");
    context.beginPath(); context.moveTo(size.left, bottom + 0.5); context.lineTo(width - 8, bottom + 0.5); context.stroke();
  };
  // A layer's name over the run of its passes, where it fits.
  const label = (context, lane, middle) => {
    let from = null;
    const write = (layer, first, last) => {
      const x1 = Math.max(size.left, toX(first)), x2 = Math.min(size.width - 8, toX(last));
      const name = chip.layers[layer], wide = context.measureText(name).width + 8;
      if (x2 - x1 < wide + 4) return;
      context.fillStyle = "#ffffffd9";
      context.fillRect((x1 + x2 - wide) / 2, middle - 8, wide, 16);
      context.fillStyle = "#16191d";
      context.textAlign = "center";
      context.fillText(name, (x1 + x2) / 2, middle + 0.5);
    };
    for (let j = start(lane); j < lane.length; j++) {
      const i = lane[j];
      if (chip.firstOf(i) > view.last) break;
      const layer = chip.layerOf(i);
      if (from && from.layer === layer) { from.last = chip.lastOf(i); continue; }
      if (from) write(from.layer, from.first, from.last);
      from = { layer, first: chip.firstOf(i), last: chip.lastOf(i) };
    }
    if (from) write(from.layer, from.first, from.last);
  };
  chip.gantt = page.canvas(canvas, draw);

  const move = (first, span) => {
    const wide = Math.min(chip.cycles, Math.max(4, span));
    view.first = Math.min(Math.max(0, first), chip.cycles - wide);
    view.last = view.first + wide;
    chip.gantt();
  };
  const zoom = (factor, around = (view.first + view.last) / 2) => {
    const span = (view.last - view.first) * factor;
    move(around - (around - view.first) * factor, span);
  };
  const hit = (event) => {
    const box = canvas.getBoundingClientRect();
    const x = event.clientX - box.left, height = event.clientY - box.top;
    if (x < size.left) return -1;
    const cycle = toCycle(x), slack = 1 / scale();
    for (const row of rows) {
      const lane = row.lanes[Math.floor((height - row.top) / row.height)];
      if (!lane || height < row.top) continue;
      let best = -1;
      for (let j = start(lane); j < lane.length && chip.firstOf(lane[j]) <= cycle + slack; j++) {
        if (chip.lastOf(lane[j]) >= cycle - slack) best = lane[j];
      }
      return best;
    }
    return -1;
  };
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    drag = { x: event.clientX, first: view.first, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (drag && Math.abs(event.clientX - drag.x) > 3) {
      drag.moved = true;
      move(drag.first - (event.clientX - drag.x) / scale(), view.last - view.first);
      page.tip.hide();
      return;
    }
    const i = hit(event);
    if (i < 0) { page.tip.hide(); return; }
    const one = chip.read(i);
    page.tip.show(`${chip.layers[one.layer]} on ${chip.units[one.unit].name}${chip.place(one.ranges)}: pass ${one.number}`
      + `${one.step < 0 ? "" : `, step ${one.step}`}, ${chip.time ?? "cycles"} ${page.count(one.first)} to ${page.count(one.last - 1)}`, event.clientX, event.clientY);
  });
  canvas.addEventListener("pointerup", (event) => {
    const clicked = drag && !drag.moved;
    drag = null;
    const i = clicked ? hit(event) : -1;
    if (i < 0) return;
    chosen = i;
    const one = chip.read(i);
    chip.select(one.unit, chip.cellAt(one.unit, one.ranges), one);
    chip.gantt();
  });
  canvas.addEventListener("pointerleave", page.tip.hide);
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.shiftKey) return; // the page scrolls
    event.preventDefault();
    zoom(event.deltaY + event.deltaX > 0 ? 1.25 : 0.8, toCycle(event.clientX - canvas.getBoundingClientRect().left));
  }, { passive: false });
  const span = () => view.last - view.first;
  const act = {
    in: () => zoom(0.5), out: () => zoom(2), all: () => move(0, chip.cycles),
    left: () => move(view.first - span() / 4, span()), right: () => move(view.first + span() / 4, span()),
  };
  canvas.addEventListener("dblclick", (event) => zoom(0.5, toCycle(event.clientX - canvas.getBoundingClientRect().left)));
  canvas.addEventListener("keydown", (event) => {
    const name = { "+": "in", "=": "in", "-": "out", 0: "all", ArrowLeft: "left", ArrowRight: "right" }[event.key];
    if (!name) return;
    act[name]();
    event.preventDefault();
  });
  root.querySelectorAll("button[data-zoom]").forEach((button) => {
    button.addEventListener("click", act[button.dataset.zoom]);
  });
});
