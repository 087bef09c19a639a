"use strict";
// What stands in a memory's words: of a bank, and of one word that the reader names.
page.TENSORS = ["weight", "activation", "sum", "neuron"];
page.ORDERS = ["", "n", "mk", "mn", "km", "kn", "nm", "nk"];
page.holdings = (chip) => {
  const numbers = page.numbers(chip.holdings), width = 18, found = [];
  for (let at = 0; at < numbers.length; at += width) {
    const row = numbers.subarray(at, at + width);
    const range = (place) => [row[place], row[place + 1]];
    const axes = chip.units[row[0]].shape.length;
    found.push({
      unit: row[0], layer: row[1], first: row[2], last: row[3], tensor: page.TENSORS[row[4]],
      order: page.ORDERS[row[5]], perWord: row[6], offset: row[7],
      ranges: axes ? [range(8), range(10)] : [range(10)], words: range(10),
      box: { m: range(12), k: range(14), n: range(16) },
    });
  }
  // Words of one instance, in the order in which they are read.
  chip.words = (u, cell, { table, span, fact, overlap }) => {
    const unit = chip.units[u];
    const mine = chip.held.filter((one) => one.unit === u && overlap(cell, one.ranges) > 0);
    const [low, high] = cell.at(-1);
    const when = (one) => `${page.count(one.first)} to ${page.count(one.last - 1)}`;
    const told = (one, box) => [chip.layers[one.layer], one.tensor, span(box.n),
      one.tensor === "weight" ? span(box.k) : "", one.tensor === "weight" ? "" : span(box.m)];
    if (!mine.length) return [fact("Nothing stands here.")];
    const groups = new Map();
    for (const one of mine) {
      const key = `${one.layer} ${one.tensor} ${one.first} ${one.last}`;
      const sum = groups.get(key) ?? { ...one, low: Infinity, high: 0, box: null };
      const from = Math.max(low, one.words[0]), to = Math.min(high, one.words[1]);
      sum.low = Math.min(sum.low, from);
      sum.high = Math.max(sum.high, to);
      sum.box = page.both(sum.box, page.within(one, from, to));
      groups.set(key, sum);
    }
    const rows = [...groups.values()].map((one) => (
      [...told(one, one.box), span([one.low, one.high]), when(one)]));
    const output = page.element("div", { class: "word", "aria-live": "polite" });
    const show = (word) => {
      const inside = mine.filter((one) => word >= one.words[0] && word < one.words[1])
        .map((one) => [one, page.within(one, word, word + 1)]).filter(([, box]) => box);
      output.replaceChildren(inside.length
        ? table(["in this word", "tensor", "channels", "terms", "positions", "when"],
          inside.map(([one, box]) => [...told(one, box), when(one)]))
        : fact(`Nothing stands in word ${page.count(word)}.`));
    };
    const start = Math.min(...mine.map((one) => Math.max(low, one.words[0])));
    const input = page.element("input", {
      type: "number", min: String(low), max: String(high - 1), value: String(start),
      oninput: () => {
        const word = Number(input.value);
        if (Number.isInteger(word) && word >= low && word < high) show(word);
        else output.replaceChildren(fact(`Words ${span([low, high])} are here.`));
      },
    });
    show(start);
    return [
      table(["layer", "tensor", "channels", "terms", "positions", "words", "when"], rows),
      page.element("label", { class: "ask" }, "word ", input), output,
    ];
  };
  return found;
};

// The smallest box around both.
page.both = (one, other) => {
  if (!one || !other) return one ?? other;
  const made = {};
  for (const axis of ["m", "k", "n"]) {
    made[axis] = [Math.min(one[axis][0], other[axis][0]), Math.max(one[axis][1], other[axis][1])];
  }
  return made;
};

// The box of the elements that stand in some words of a holding; null if none does.
page.within = (one, from, to) => {
  if (!one.order) return one.box;
  const size = (axis) => one.box[axis][1] - one.box[axis][0];
  const all = ["m", "k", "n"].reduce((product, axis) => product * size(axis), 1);
  const low = Math.max(0, (from - one.words[0]) * one.perWord - one.offset);
  const high = Math.min(all, (to - one.words[0]) * one.perWord - one.offset) - 1;
  if (high < low) return null;
  // From the slowest axis on: where both ends agree the next one is cut too, else it is whole.
  const made = { m: one.box.m, k: one.box.k, n: one.box.n };
  let rest = all, a = low, b = high;
  for (const axis of one.order) {
    rest /= size(axis);
    const first = Math.floor(a / rest), last = Math.floor(b / rest);
    made[axis] = [one.box[axis][0] + first, one.box[axis][0] + last + 1];
    if (first !== last) break;
    a -= first * rest;
    b -= first * rest;
  }
  return made;
};
