"use strict";
// Trials to look at: rasters and membranes of spiking networks, feature maps of the others.
document.querySelectorAll(".seen").forEach((root) => {
  const select = root.querySelector("select"), told = root.querySelector(".told");
  const LEFT = 66, MOST_NEURONS = 128, MOST_CHANNELS = 10;
  let trial = null;
  const read = (seen) => {
    const golden = page.numbers(seen.golden), faulty = page.numbers(seen.faulty);
    return { ...seen, golden, faulty };
  };
  const font = () => `12px ${getComputedStyle(document.body).fontFamily}`;

  // Neurons shown: all, or those that differ and then the most active, in their order.
  const neuronsOf = ({ shape: [steps, neurons], golden, faulty }) => {
    const all = Array.from({ length: neurons }, (_, n) => n);
    if (neurons <= MOST_NEURONS) return all;
    const weight = all.map((n) => {
      let changed = 0, spikes = 0;
      for (let t = 0; t < steps; t++) {
        const a = golden[t * neurons + n], b = faulty[t * neurons + n];
        changed += a !== b; spikes += a;
      }
      return changed * 1e6 + spikes;
    });
    return all.sort((a, b) => weight[b] - weight[a] || a - b).slice(0, MOST_NEURONS).sort((a, b) => a - b);
  };
  const stepWidth = (steps, width) => Math.min(30, (width - LEFT - 110) / steps);

  const drawRaster = (context, width) => {
    const { shape: [steps, neurons], golden, faulty, shown, neuron } = trial;
    const wide = stepWidth(steps, width), tall = trial.tall;
    const grey = page.colour("--faint"), lost = page.colour("--lost"), gained = page.colour("--gained");
    context.font = font();
    context.textBaseline = "middle";
    context.fillStyle = page.colour("--soft");
    context.textAlign = "left";
    context.fillText(shown.length < neurons ? `neuron (${shown.length} of ${neurons})` : "neuron", 0, 8);
    context.textAlign = "right";
    const every = Math.max(1, Math.ceil(16 / tall), Math.ceil(shown.length / 8));
    shown.forEach((n, row) => {
      const y = 22 + row * tall;
      if (n === neuron) {
        context.fillStyle = page.colour("--empty");
        context.fillRect(LEFT, y, wide * steps, tall);
        context.fillStyle = page.colour("--ink");
        context.textAlign = "left";
        context.fillText(`struck: ${n}`, LEFT + wide * steps + 8, y + tall / 2);
        context.textAlign = "right";
      }
      context.fillStyle = page.colour("--soft");
      if (row % every === 0) context.fillText(n, LEFT - 10, y + tall / 2);
      for (let t = 0; t < steps; t++) {
        const a = golden[t * neurons + n], b = faulty[t * neurons + n];
        if (!a && !b) continue;
        const size = Math.max(1.5, Math.min(tall, wide) - 1.2);
        const x = LEFT + t * wide + (wide - size) / 2, top = y + (tall - size) / 2;
        if (a && !b) {
          context.strokeStyle = lost; context.lineWidth = 1.5;
          context.strokeRect(x + 0.75, top + 0.75, size - 1.5, size - 1.5);
        } else {
          context.fillStyle = a ? grey : gained;
          context.fillRect(x, top, size, size);
        }
      }
    });
  };
  const axis = (context, steps, wide, y) => {
    context.fillStyle = page.colour("--soft");
    context.textAlign = "center";
    const every = [1, 2, 5, 10, 20, 50, 100].find((s) => s * wide > 34) ?? 200;
    for (let t = 0; t < steps; t += every) context.fillText(t, LEFT + (t + 0.5) * wide, y);
    context.textAlign = "left";
    context.fillText("step", LEFT + steps * wide + 8, y);
  };
  const drawMembrane = (context, width, height) => {
    const { shape: [steps], membranes, threshold, neuron } = trial;
    const wide = stepWidth(steps, width);
    context.font = font();
    context.textBaseline = "middle";
    if (!membranes[0].length) { axis(context, steps, wide, 10); return; }
    const all = [...membranes.flat(), threshold ?? 0, 0];
    const low = Math.min(...all), high = Math.max(...all, low + 1);
    const top = 26, bottom = height - 26;
    const x = (t) => LEFT + (t + 0.5) * wide, y = (v) => bottom - (v - low) / (high - low) * (bottom - top);
    context.fillStyle = page.colour("--soft");
    context.textAlign = "left";
    context.fillText(`membrane of neuron ${neuron}, codes`, 0, 8);
    context.textAlign = "right";
    context.lineWidth = 1;
    const line = (value, colour, dash) => {
      context.strokeStyle = colour;
      context.setLineDash(dash);
      context.beginPath();
      context.moveTo(LEFT, y(value)); context.lineTo(LEFT + steps * wide, y(value));
      context.stroke();
      context.setLineDash([]);
    };
    for (const value of new Set([low, 0, high])) {
      line(value, page.colour("--hair"), []);
      context.fillText(page.count(value), LEFT - 10, y(value));
    }
    const labels = [];
    if (threshold !== null) {
      line(threshold, page.colour("--soft"), [4, 3]);
      labels.push([y(threshold), "threshold", "--soft"]);
    }
    [["golden", "--faint"], ["faulty", "--gained"]].forEach(([name, colour], which) => {
      context.strokeStyle = page.colour(colour);
      context.lineWidth = which ? 1.5 : 2.5;
      context.beginPath();
      membranes[which].forEach((v, t) => (t ? context.lineTo(x(t), y(v)) : context.moveTo(x(t), y(v))));
      context.stroke();
      labels.push([y(membranes[which].at(-1)), name, colour]);
    });
    labels.sort((a, b) => a[0] - b[0]);
    let last = -Infinity;
    for (const [place, name] of labels) {
      last = Math.max(place, last + 14);
      context.fillStyle = page.colour("--ink");
      context.textAlign = "left";
      context.fillText(name, LEFT + steps * wide + 8, last);
    }
    axis(context, steps, wide, height - 8);
  };

  const changes = ({ shape: [channels, h, w], golden, faulty }) => {
    const sums = Array.from({ length: channels }, (_, c) => {
      let sum = 0;
      for (let i = c * h * w; i < (c + 1) * h * w; i++) sum += Math.abs(faulty[i] - golden[i]);
      return [c, sum];
    });
    return sums.sort((a, b) => b[1] - a[1] || a[0] - b[0]).map(([c]) => c);
  };
  const drawMaps = (context, width) => {
    const { shape: [channels, h, w], golden, faulty, order } = trial;
    const many = Math.max(2, Math.min(MOST_CHANNELS, channels, Math.floor((width - LEFT) / 76)));
    const room = Math.min(104, (width - LEFT) / many) - 10;
    const cell = room > w ? Math.floor(room / w) * w : room; // whole pixels show no seams
    const tall = cell * h / w;
    let low = 0, high = 1, most = 1e-9;
    for (let i = 0; i < golden.length; i++) {
      low = Math.min(low, golden[i], faulty[i]);
      high = Math.max(high, golden[i], faulty[i]);
      most = Math.max(most, Math.abs(faulty[i] - golden[i]));
    }
    const empty = page.colour("--empty");
    const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    const none = rgb(page.colour("--empty")), less = rgb(page.colour("--lost")), more = rgb(page.colour("--gained"));
    const blend = (colour, share) => `rgb(${none.map((v, k) => Math.round(v + (colour[k] - v) * share)).join(",")})`;
    const paints = [
      (i) => page.cividis((golden[i] - low) / (high - low)),
      (i) => page.cividis((faulty[i] - low) / (high - low)),
      (i) => { const d = faulty[i] - golden[i]; return d ? blend(d < 0 ? less : more, 0.25 + 0.75 * Math.abs(d) / most) : empty; },
    ];
    context.font = font();
    context.textBaseline = "middle";
    context.fillStyle = page.colour("--soft");
    context.textAlign = "center";
    order.slice(0, many).forEach((c, column) => {
      const x = LEFT + column * (cell + 10);
      context.fillStyle = page.colour("--soft");
      context.fillText(c, x + cell / 2, 10);
      paints.forEach((paint, row) => {
        const y = 22 + row * (tall + 10);
        const dx = cell / w, dy = tall / h;
        for (let v = 0; v < h; v++) {
          for (let u = 0; u < w; u++) {
            context.fillStyle = paint((c * h + v) * w + u);
            context.fillRect(x + u * dx, y + v * dy, dx + 0.4, dy + 0.4);
          }
        }
      });
    });
    context.textAlign = "left";
    ["channel", "before", "after", "difference"].forEach((name, row) => {
      context.fillText(name, 0, row ? 22 + (row - 1) * (tall + 10) + tall / 2 : 10);
    });
    const scale = `Codes from ${page.count(low)} (dark) to ${page.count(high)} (yellow); `
      + `largest difference ${most < 1 ? 0 : page.count(most)}; ${many} of ${channels} channels.`;
    root.querySelector(".scale").textContent = scale;
    const wanted = Math.ceil(22 + 3 * (tall + 10));
    if (Math.abs(context.canvas.clientHeight - wanted) > 1) context.canvas.style.height = `${wanted}px`;
  };

  const redraws = [];
  const show = () => {
    trial = read(page.data.seen[Number(select.value)]);
    told.textContent = trial.told;
    if (root.dataset.kind === "raster") {
      trial.shown = neuronsOf(trial);
      trial.tall = Math.max(3, Math.min(9, 420 / trial.shown.length));
      root.querySelector(".raster").style.height = `${Math.ceil(26 + trial.shown.length * trial.tall)}px`;
      root.querySelector(".membrane").style.height = trial.membranes[0].length ? "190px" : "24px";
    } else trial.order = changes(trial);
    redraws.forEach((redraw) => redraw());
  };
  const painters = { raster: drawRaster, membrane: drawMembrane, maps: drawMaps };
  show();
  root.querySelectorAll("canvas").forEach((canvas) => {
    redraws.push(page.canvas(canvas, painters[canvas.className]));
  });
  select.addEventListener("change", show);
  root.querySelectorAll("button[data-step]").forEach((button) => {
    button.addEventListener("click", () => {
      const many = select.options.length;
      select.selectedIndex = (select.selectedIndex + Number(button.dataset.step) + many) % many;
      show();
    });
  });
});
