"use strict";
// The chip: colours of its cells, and a panel that tells who is on one of them, from the assignments.
page.chips = [...document.querySelectorAll(".chip")].map((root) => {
  const chip = { root, ...page.data.chips[Number(root.dataset.chip)] };
  const numbers = page.numbers(chip.segments);
  const axes = chip.axes, width = 6 + 2 * axes + 9;
  chip.count = numbers.length / width;

  // One assignment, read from its row: ranges of instances, then m, k, n.
  chip.read = (i) => {
    const at = i * width;
    const [unit, layer, first, last, number, step] = numbers.subarray(at, at + 6);
    const range = (place) => [numbers[place], numbers[place + 1]];
    const ranges = chip.units[unit].shape.map((_, axis) => range(at + 6 + 2 * axis));
    const [m, k, n] = [0, 3, 6].map((part) => {
      const place = at + 6 + 2 * axes + part;
      return [numbers[place], numbers[place + 1], numbers[place + 2]];
    });
    return { unit, layer, first, last, number, step, ranges, m, k, n };
  };
  chip.unitOf = (i) => numbers[i * width];
  chip.layerOf = (i) => numbers[i * width + 1];
  chip.firstOf = (i) => numbers[i * width + 2];
  chip.lastOf = (i) => numbers[i * width + 3];
  chip.laneOf = (i) => numbers[i * width + 6];

  const few = chip.layers.length <= 7;
  chip.layerColour = (layer) => few
    ? page.colour(`--c${layer + 1}`) : page.cividis(layer / (chip.layers.length - 1));

  // Share of a cell's instances that an assignment uses; all of an axis that it does not tell.
  const overlap = (cell, ranges) => cell.reduce((share, [first, stop], axis) => {
    const [start, end] = ranges[axis] ?? [first, stop];
    const common = Math.min(stop, end) - Math.max(first, start);
    return common > 0 ? share * common / (stop - first) : 0;
  }, 1);

  const groups = [...root.querySelectorAll("g.unit")];
  const cells = groups.map((group) => [...group.querySelectorAll(".cell")].map((element) => ({
    element,
    ranges: element.dataset.r ? element.dataset.r.split(";").map((r) => r.split(",").map(Number)) : [],
  })));
  // A memory's cell with its words: a bank has some, a core all.
  const withWords = (u, ranges) => (ranges.length > chip.units[u].shape.length
    ? ranges : [...ranges, [0, chip.units[u].words]]);
  chip.held = page.holdings(chip);
  // Time of each layer on each set of instances: passes that differ in nothing else count together.
  const work = () => {
    const sums = new Map();
    for (let i = 0; i < chip.count; i++) {
      const { unit, layer, first, last, step, ranges } = chip.read(i);
      const key = `${unit} ${layer} ${ranges}`;
      const sum = sums.get(key) ?? { unit, layer, ranges, time: 0 };
      sum.time += (last - first) * (step < 0 ? chip.steps : 1);
      sums.set(key, sum);
    }
    return sums;
  };
  // Busy share of every cell, by layer.
  let known = null;
  const usage = () => {
    if (known) return known;
    known = cells.map((unit) => unit.map(() => new Float64Array(chip.layers.length)));
    for (const { unit, layer, ranges, time } of work().values()) {
      if (chip.units[unit].words) continue; // told by what its words hold
      cells[unit].forEach((cell, c) => {
        known[unit][c][layer] += overlap(cell.ranges, ranges) * time / chip.cycles;
      });
    }
    for (const one of chip.held) {
      cells[one.unit].forEach((cell, c) => {
        known[one.unit][c][one.layer] += overlap(withWords(one.unit, cell.ranges), one.ranges)
          * (one.last - one.first) / chip.cycles;
      });
    }
    return known;
  };
  const busy = (u, c) => {
    const sum = usage()[u][c].reduce((a, b) => a + b, 0);
    return chip.units[u].words ? Math.min(1, sum) : sum; // two tensors may share a word
  };
  const assigned = chip.units.map((unit) => unit.words > 0);
  for (let i = 0; i < chip.count; i++) assigned[chip.unitOf(i)] = true;

  const loss = (u, cell) => {
    const { losses, vulnerability } = chip.units[u];
    let sum = 0, trials = 0;
    for (const row of losses) {
      const inside = cell.ranges.every(([first, stop], axis) => row[axis] >= first && row[axis] < stop);
      if (inside) { trials += row.at(-1); sum += row.at(-2) * row.at(-1); }
    }
    if (losses.length) return trials ? sum / trials : null;
    return vulnerability ? vulnerability[0] : null;
  };

  const values = {
    occupancy: (u, c) => (assigned[u] ? busy(u, c) : chip.units[u].occupancy),
    exposure: (u, c) => (assigned[u] && chip.units[u].bits ? busy(u, c) * chip.units[u].bits : null),
    vulnerability: (u, c) => loss(u, cells[u][c]),
  };
  const shown = {
    occupancy: (v) => `${(100 * v).toFixed(1)} %`,
    exposure: (v) => `${v.toPrecision(3)} bits`,
    vulnerability: (v) => `${(100 * v).toFixed(2)} points`,
  };
  const meaning = {
    occupancy: "share of an inference in which an instance works, or a word holds something",
    exposure: "bits of an instance, or a word, times its occupancy: at risk at a mean moment",
    vulnerability: "accuracy lost by one fault there, by instance where known, else by unit",
  };

  // Layers that share a cell: bands as high as their shares of its time, in the order of layers.
  const svg = groups[0].ownerSVGElement;
  const defs = svg.insertBefore(document.createElementNS(svg.namespaceURI, "defs"), svg.firstChild);
  const number = root.dataset.chip;
  const bands = (shares) => {
    const sum = shares.reduce((a, b) => a + b, 0);
    const parts = [...shares].map((share, layer) => [layer, Math.round(100 * share / sum)]).filter(([, part]) => part);
    if (parts.length === 1) return chip.layerColour(parts[0][0]);
    const id = `bands-${number}-${parts.flat().join("-")}`;
    if (!document.getElementById(id)) {
      const made = document.createElementNS(svg.namespaceURI, "linearGradient");
      for (const [name, value] of [["id", id], ["x2", 0], ["y2", 1]]) made.setAttribute(name, value);
      let at = 0;
      for (const [layer, part] of parts) {
        for (const offset of [at, at += part]) {
          const stop = document.createElementNS(svg.namespaceURI, "stop");
          stop.setAttribute("offset", `${offset}%`);
          stop.setAttribute("stop-color", chip.layerColour(layer));
          made.append(stop);
        }
      }
      defs.append(made);
    }
    return `url(#${id})`;
  };

  let mode = "layer", only = -1;
  const colours = () => {
    defs.replaceChildren(); // the theme may have changed
    const empty = page.colour("--empty");
    if (mode === "layer") {
      return usage().map((unit, u) => unit.map((shares) => {
        if (only >= 0) return shares[only] > 0 ? chip.layerColour(only) : empty;
        if (shares.some((share) => share > 0)) return bands(shares);
        // A memory that several layers share has no colour of one of them.
        return chip.units[u].layers.length === 1
          ? chip.layerColour(chip.layers.indexOf(chip.units[u].layers[0])) : empty;
      }));
    }
    const all = cells.map((unit, u) => unit.map((_, c) => values[mode](u, c)));
    chip.highest = Math.max(1e-12, ...all.flat().filter((v) => v !== null));
    return all.map((unit) => unit.map((v) => (v === null ? empty : page.cividis(v / chip.highest))));
  };
  const legend = root.querySelector(".legend");
  const tellLegend = () => {
    if (mode === "layer") {
      legend.replaceChildren(...chip.layers.map((name, layer) => page.element("button", {
        type: "button", "aria-pressed": String(layer === only),
        onclick: () => { only = only === layer ? -1 : layer; paint(); },
      }, page.element("i", { style: `background:${chip.layerColour(layer)}` }), name)));
      return;
    }
    const bar = page.element("i", { class: "bar" });
    const stops = page.data.cividis.map((c) => `rgb(${c.join(",")})`).join(",");
    bar.style.background = `linear-gradient(to right, ${stops})`;
    const known = chip.highest > 1e-12;
    legend.replaceChildren(page.element("span", { text: "0" }), bar,
      page.element("span", { text: known ? shown[mode](chip.highest) : "nothing known" }),
      page.element("span", { class: "soft", text: meaning[mode] }));
  };
  const paint = () => {
    colours().forEach((unit, u) => unit.forEach((colour, c) => {
      cells[u][c].element.setAttribute("fill", colour);
    }));
    tellLegend();
    chip.gantt?.();
  };
  chip.only = () => (mode === "layer" ? only : -1);
  page.redraws.push(paint);
  root.querySelectorAll("input[type=radio]").forEach((radio) => {
    radio.addEventListener("change", () => { mode = radio.value; paint(); });
  });

  // The panel.
  const side = root.querySelector(".side");
  const span = ([first, stop]) => (stop === first + 1 ? `${first}` : `${first} to ${stop - 1}`);
  chip.place = (ranges, u = -1) => {
    if (!ranges.length) return "";
    if (u >= 0 && ranges.length > chip.units[u].shape.length) return ` words ${span(ranges.at(-1))}`;
    return ` [${ranges.map(span).join(", ")}]`;
  };
  const union = (one, other) => (one ? [Math.min(one[0], other[0]), Math.max(one[1], other[1])] : other);
  const table = (headings, rows) => {
    const head = page.element("tr", {}, ...headings.map((text) => page.element("th", { text, scope: "col" })));
    const body = rows.map((row) => page.element("tr", {}, ...row.map((text, i) => (
      i ? page.element("td", { text }) : page.element("th", { text, scope: "row" })))));
    const made = page.element("table", {}, page.element("thead", {}, head), page.element("tbody", {}, ...body));
    return page.element("div", { class: "scroll" }, made);
  };
  const fact = (text) => page.element("p", { text });

  chip.select = (u, c, marked = null) => {
    const unit = chip.units[u], cell = cells[u][c];
    root.querySelectorAll(".chosen, .part").forEach((element) => element.classList.remove("chosen", "part"));
    if (marked) {
      cells[u].forEach(({ element, ranges }) => {
        if (overlap(ranges, marked.ranges) > 0) element.classList.add("part");
      });
    } else cell.element.classList.add("chosen");
    const works = new Map();
    for (let i = 0; i < chip.count; i++) {
      if (chip.unitOf(i) !== u) continue;
      const one = chip.read(i);
      if (overlap(cell.ranges, one.ranges) <= 0) continue;
      const sum = works.get(one.layer)
        ?? { passes: new Set(), cycles: 0, first: Infinity, last: 0, m: null, k: null, n: null };
      sum.passes.add(one.number);
      sum.cycles += (one.last - one.first) * (one.step < 0 ? chip.steps : 1);
      sum.first = Math.min(sum.first, one.first);
      sum.last = Math.max(sum.last, one.last);
      for (const part of ["m", "k", "n"]) sum[part] = union(sum[part], one[part]);
      works.set(one.layer, sum);
    }
    const told = [page.element("h4", { text: `${unit.name}${chip.place(marked ? marked.ranges : cell.ranges, u)}` })];
    if (marked) {
      told.push(fact(`${chip.layers[marked.layer]}, pass ${marked.number}${marked.step < 0 ? "" : `, step ${marked.step}`}: `
        + `${chip.time ?? "cycles"} ${page.count(marked.first)} to ${page.count(marked.last - 1)}, channels ${span(marked.n)}, `
        + `terms ${span(marked.k)}, positions ${span(marked.m)}`));
    }
    const rows = [...works].map(([layer, w]) => [chip.layers[layer], page.count(w.passes.size),
      page.count(w.cycles), span(w.n), span(w.k), span(w.m), `${page.count(w.first)} to ${page.count(w.last - 1)}`]);
    if (unit.words) {
      told.push(...chip.words(u, withWords(u, cell.ranges), { table, span, fact, overlap }));
    } else if (rows.length) {
      told.push(table(["layer", "passes", chip.time ?? "cycles", "channels", "terms", "positions", "when"], rows));
    } else {
      told.push(fact(unit.layers.length ? `Holds for: ${unit.layers.join(", ")}.` : "No layer is mapped here."));
    }
    told.push(table(["component", "bits", "words", "role"],
      unit.components.map(([name, bits, words, role]) => [name, page.count(bits), page.count(words), role])));
    const facts = Object.keys(values).map((name) => [name, values[name](u, c)]).filter(([, v]) => v !== null);
    if (facts.length) told.push(fact(facts.map(([name, v]) => `${name} ${shown[name](v)}`).join(" · ")));
    side.replaceChildren(...told);
  };
  chip.cellAt = (u, ranges) => Math.max(0, cells[u].findIndex((cell) => overlap(cell.ranges, ranges) > 0));
  groups.forEach((group, u) => {
    let at = 0;
    const choose = (c) => { at = Math.min(Math.max(c, 0), cells[u].length - 1); chip.select(u, at); };
    group.addEventListener("click", (event) => {
      const c = cells[u].findIndex(({ element }) => element === event.target);
      choose(c < 0 ? 0 : c);
    });
    group.addEventListener("pointermove", (event) => {
      const c = cells[u].findIndex(({ element }) => element === event.target);
      if (c < 0) return;
      const value = mode === "layer" ? null : values[mode](u, c);
      const layers = usage()[u][c];
      const names = chip.layers.filter((_, layer) => layers[layer] > 0).join(", ");
      const more = value === null ? names || "no layer" : `${mode} ${shown[mode](value)}`;
      page.tip.show(`${chip.units[u].name}${chip.place(cells[u][c].ranges, u)}: ${more}`, event.clientX, event.clientY);
    });
    group.addEventListener("pointerleave", page.tip.hide);
    group.addEventListener("keydown", (event) => {
      const tops = cells[u].map(({ element }) => Number(element.getAttribute("y")));
      const inRow = tops.filter((top) => top === tops[0]).length;
      const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: inRow, ArrowUp: -inRow };
      if (event.key === "Enter" || event.key === " ") choose(at);
      else if (event.key in moves) choose(at + moves[event.key]);
      else return;
      event.preventDefault();
    });
  });
  side.replaceChildren(page.element("p", { class: "soft", text: "Nothing chosen yet: click a cell or a pass." }));
  paint();
  return chip;
});
