// One trial: groups of samples, stage after stage. Included once for each instruction set, inside
// of its namespace.

// Whether a fault picks neuron j by the numbers of its own layer.
INLINE bool picks_neuron(const Fault& f, int64_t j) {
    return picks(f.row->m, j / f.role->by_m % f.role->positions) &&
           picks(f.row->n, j / f.role->by_n % f.role->channels);
}

// Neuron j for the faults of a stage, found once for each.
static void find_neuron(Scratch& z, int s, int64_t i, int64_t j, int32_t stamp) {
    const Stage& stage = z.model->stage[s];
    if (z.stamp[j] == stamp) return;
    z.stamp[j] = stamp;
    Neuron neuron = {};
    neuron.neuron = j;
    const int64_t n = j / stage.positions;
    z.mine.count = 0;
    for (; i < z.acting.count; i++) {
        Fault& f = *z.acting.at[i];
        if (f.stage != s || f.place == AT_LINES) continue;
        if (at_synapse(f)) neuron.synapses += picks(f.row->n, n);
        else if (picks_neuron(f, j)) z.mine.push(&f);
    }
    prepare(stage, z.mine.at, (int)z.mine.count, (int)z.model->steps, z.made, neuron);
    z.neurons.push(neuron);
}

// The faulty neurons of every stage, with their phases.
static void find_neurons(Scratch& z) {
    const Model& m = *z.model;
    z.neurons.count = z.made.phases.count = z.made.fixes.count = 0;
    for (int s = 0; s < m.stages; s++) {
        const Stage& stage = m.stage[s];
        z.from[s] = (int32_t)z.neurons.count;
        const int32_t stamp = ++z.stamped;
        for (int64_t i = 0; i < z.acting.count; i++) {
            const Fault& f = *z.acting.at[i];
            if (f.stage != s || f.place == AT_LINES) continue;
            const LayerRole& role = *f.role;
            const int64_t rows = stop_of(f.row->m, role.positions);
            const int64_t columns = stop_of(f.row->n, role.channels);
            for (int64_t b = f.row->n[0]; b < columns; b += f.row->n[2])
                for (int64_t a = f.row->m[0]; a < rows; a += f.row->m[2]) {
                    if (!at_synapse(f)) {
                        find_neuron(z, s, i, a * role.by_m + b * role.by_n, stamp);
                        continue;
                    }
                    for (int32_t o = stage.owner_start[a]; o < stage.owner_start[a + 1]; o++)
                        find_neuron(z, s, i, b * stage.positions + stage.owner[o], stamp);
                }
        }
    }
    z.from[m.stages] = (int32_t)z.neurons.count;
}

// Spikes of a neuron that differ.
static void tell_neuron(const LayerRun& layer, const NeuronRun& run, uint32_t lanes) {
    const Stage& s = *run.stage;
    const uint32_t* spikes = s.spikes + (run.neuron * run.groups + run.group) * run.steps;
    const bool events = !layer.flips && layer.out;
    for (int lane = 0; events && lane < GROUP; lane++)
        layer.out->of[lane].reserve(run.end - run.begin);
    for (int t = run.begin; t < run.end; t++) {
        const uint32_t word = run.changed[t] & lanes;
        if (!word) continue;
        if (layer.flips) {
            list_flips(*layer.flips, run.neuron);
            layer.flips->words[run.neuron * run.steps + t] |= word;
            continue;
        }
        for (uint32_t bits = word; bits; bits &= bits - 1) {
            const int lane = __builtin_ctz(bits);
            const int sign = spikes[t] >> lane & 1 ? -1 : 1;
            if (!events) {
                tell(layer, lane, t, run.neuron, sign);
                continue;
            }
            Grown<Event>& list = layer.out->of[lane];
            list.at[list.count++] = {t, (int32_t)run.neuron, sign};
        }
    }
}

// A neuron that is faulty itself.
static void run_faulty(Scratch& z, const LayerRun& layer, int s, const Neuron& neuron,
                       uint32_t lanes) {
    const Model& m = *z.model;
    NeuronRun run = {};
    run.stage = layer.stage;
    run.neuron = neuron.neuron;
    run.group = layer.group;
    run.groups = m.groups;
    run.steps = m.steps;
    run.phases = z.made.phases.at + neuron.phase;
    run.phase_count = neuron.phases;
    run.fixes = z.made.fixes.at;
    run.changed = z.changed;
    run.first = neuron.first;
    run.last = neuron.last;
    run.scale = 1;
    const bool driven = neuron.synapses || layer.in || (s == 0 && z.lines.changed.count);
    double extra = 0;
    if (driven) {
        const Fault& f = *z.acting.at[0];
        const bool one = z.acting.count == 1 && f.place == AT_WEIGHT && layer.stage->binary &&
                         f.row->k[1] == f.row->k[0] + 1;
        const Drive d =
            !one ? drive_of(z, s, neuron, layer.group, layer.in, layer.beyond)
            : layer.stage->narrow ? drive_one_weight<int16_t>(z, s, neuron, f, layer.group)
                                  : drive_one_weight<int32_t>(z, s, neuron, f, layer.group);
        if (d.first < d.last) {
            run.drive = d.at;
            run.first = d.first < run.first ? d.first : run.first;
            run.last = d.last > run.last ? d.last : run.last;
            extra = d.extra;
        }
    }
    if (run.first >= run.last) return;
    if (!run.drive && neuron.only_silences && silent(run)) return;
    if (!run.drive && !neuron.alters) {
        z.ran |= run_line(run);
    } else {
        z.ran = true;
        Neuron wrong = neuron;
        wrong.fit = run.fit = neuron.alters || extra > (double)layer.stage->free_slack;
        run.wide = too_wide(*layer.stage, wrong, extra);
        run_any(run);
    }
    tell_neuron(layer, run, lanes);
}

// A neuron of the first stage, not faulty itself, that reads corrupted lines.
static void run_reader(Scratch& z, const LayerRun& layer, int64_t n, int64_t position,
                       uint32_t lanes) {
    const Model& m = *z.model;
    const Stage& stage = *layer.stage;
    const Phase phase = {0, (int32_t)m.steps, 1, 0, 0, 0, 0, 0, 0, {}, {}, stage.threshold[n], 0,
                         ~0u};
    Neuron neuron = {};
    neuron.neuron = n * stage.positions + position;
    NeuronRun run = {};
    run.stage = &stage;
    run.neuron = neuron.neuron;
    run.group = layer.group;
    run.groups = m.groups;
    run.steps = m.steps;
    run.phases = &phase;
    run.phase_count = 1;
    run.changed = z.changed;
    run.first = z.lines.first;
    run.last = z.lines.last;
    run.scale = 1;
    if (z.lines.changed.count == 1 && !stage.pool) {
        const int64_t part = n / (stage.channels / stage.parts);
        const int32_t row = row_of(stage, z.lines.changed.at[0], position, part);
        run.drive = z.lines.delta;
        run.scale = row < 0 ? 0 : stage.weight[row * stage.padded + n];
        if (!run.scale) return;
    } else {
        const Drive d = z.lines.changed.count > 1
                            ? drive_of(z, 0, neuron, layer.group, nullptr, false)
                        : stage.narrow ? drive_one_line<int16_t>(z, n, position, layer.group)
                                       : drive_one_line<int32_t>(z, n, position, layer.group);
        if (d.first >= d.last) return;
        run.drive = d.at;
        run.first = d.first;
        run.last = d.last;
    }
    neuron.fit = run.fit = stage.free_slack < 0 || layer.beyond;
    neuron.threshold_reach = larger(-(double)phase.threshold, (double)phase.threshold);
    run.wide = too_wide(stage, neuron, run.fit ? 1e9 : 0);
    run_any(run);
    tell_neuron(layer, run, lanes);
}

// Every neuron of the first stage that reads corrupted lines, but the faulty ones.
static void run_lines(Scratch& z, const LayerRun& layer, uint32_t lanes) {
    const Stage& stage = *layer.stage;
    z.ran = true;
    for (int64_t l = 0; l < z.lines.changed.count; l++) {
        const int32_t line = z.lines.changed.at[l];
        for (int32_t r = stage.reach_start[line]; r < stage.reach_start[line + 1]; r++) {
            const Reach& x = stage.reach[r];
            for (int32_t o = stage.owner_start[x.sum]; o < stage.owner_start[x.sum + 1]; o++)
                cover(z.positions, stage.owner[o], span_at(0, x.block0, x.block1));
        }
    }
    for (int64_t i = 0; i < z.positions.which.count; i++) {
        const int64_t position = z.positions.which.at[i];
        const Span span = z.positions.at[position];
        const uint8_t* mine = layer.mine + position * (stage.padded / PACK);
        const int64_t stop =
            span.block1 * PACK < stage.channels ? span.block1 * PACK : stage.channels;
        for (int64_t n = span.block0 * PACK; n < stop; n++)
            if (!(mine[n / PACK] >> (n % PACK) & 1)) run_reader(z, layer, n, position, lanes);
    }
    clear(layer, false);
}

INLINE void mark(Scratch& z, const Stage& s, const Neuron& neuron, bool on) {
    const int64_t n = neuron.neuron / s.positions, position = neuron.neuron % s.positions;
    uint8_t& byte = z.ignored[position * (s.padded / PACK) + n / PACK];
    if (on) byte |= 1 << n % PACK;
    else byte = 0;
}

// What corrupted lines of a stage carry, as values in the first one, as events behind it.
static bool corrupt_lines(Scratch& z, int s, int64_t g, uint32_t lanes, Events& events) {
    const Model& m = *z.model;
    const Stage& stage = m.stage[s];
    z.lines.changed.count = 0;
    if (!z.which[s].count) return false;
    change_lines(stage, m, z.acting.at, (int)z.acting.count, s, z.which[s], g,
                 s ? &events : nullptr, z.lines);
    if (s) {
        replace_events(m, z.lines, lanes, events);
        z.lines.changed.count = 0;
    }
    return z.lines.low < stage.input_low || z.lines.high > stage.input_high;
}

// Stage after stage for one group of samples.
static void run_group(Scratch& z, int64_t g, uint32_t lanes) {
    const Model& m = *z.model;
    for (int lane = 0; lane < GROUP; lane++) z.events[0].of[lane].count = 0;
    for (int s = 0; s < m.stages; s++) {
        const Stage& stage = m.stage[s];
        const int64_t first = z.from[s], last = z.from[s + 1];
        Events *in = &z.events[s & 1], *out = &z.events[(s + 1) & 1];
        for (int lane = 0; lane < GROUP; lane++) out->of[lane].count = 0;
        if (z.flips.which.count)
            pool_flips(stage, m.stage[s - 1], m, g, z.flips, z.pooled, z.stamp, ++z.stamped, *in);
        const bool beyond = corrupt_lines(z, s, g, lanes, *in);
        const bool incoming = s && in->count() > 0;
        if (!incoming && first == last && !z.lines.changed.count) continue;
        for (int64_t i = first; i < last; i++) mark(z, stage, z.neurons.at[i], true);
        const bool pools = s + 1 < m.stages && m.stage[s + 1].in_pool;
        LayerRun layer = {&m, &stage, g, incoming ? in : nullptr, s + 1 < m.stages ? out : nullptr,
                          pools ? &z.flips : nullptr, z.outputs, z.touched, z.blocks, &z.sums,
                          &z.positions, z.ignored, beyond, false};
        if (beyond) {
            Neuron neuron = {};
            neuron.fit = 1;
            for (int64_t n = 0; n < stage.channels; n++) {
                const double threshold = (double)stage.threshold[n];
                neuron.threshold_reach =
                    larger(neuron.threshold_reach, larger(threshold, -threshold));
            }
            layer.wide = too_wide(stage, neuron, 1e9);
        }
        if (incoming) {
            z.ran = true;
            run_layer(layer);
        }
        if (z.lines.changed.count) run_lines(z, layer, lanes);
        for (int64_t i = first; i < last; i++) run_faulty(z, layer, s, z.neurons.at[i], lanes);
        for (int64_t i = first; i < last; i++) mark(z, stage, z.neurons.at[i], false);
    }
}

// The corrupted lines of every stage.
static void find_lines(Scratch& z) {
    const Model& m = *z.model;
    int64_t most = 0;
    for (int s = 0; s < m.stages; s++) {
        const int32_t stamp = ++z.stamped;
        for (int64_t i = 0; i < z.acting.count; i++) {
            const Fault& f = *z.acting.at[i];
            if (f.place != AT_LINES || f.stage != s) continue;
            const int64_t rows = stop_of(f.row->m, f.role->positions);
            const int64_t columns = stop_of(f.row->n, f.role->channels);
            for (int64_t a = f.row->m[0]; a < rows; a += f.row->m[2])
                for (int64_t b = f.row->n[0]; b < columns; b += f.row->n[2]) {
                    const int64_t line = a * f.role->by_m + b * f.role->by_n;
                    if (z.stamp[line] == stamp) continue;
                    z.stamp[line] = stamp;
                    z.which[s].push((int32_t)line);
                }
        }
        most = z.which[s].count > most ? z.which[s].count : most;
    }
    if (most <= z.lines.room) return;
    z.lines.room = most;
    free(z.lines.delta);
    z.lines.delta = (int32_t*)malloc(most * m.steps * GROUP * sizeof(int32_t));
    if (!z.lines.delta) abort();
}

// Samples in which the same faults act.
static void run_range(Scratch& z, int first, int last) {
    const Model& m = *z.model;
    z.acting.count = 0;
    for (int s = 0; s < m.stages; s++) z.which[s].count = 0;
    for (int64_t i = 0; i < z.faults.count; i++) {
        Fault& f = z.faults.at[i];
        if (f.sample0 <= first && last <= f.sample1) z.acting.push(&f);
    }
    if (!z.acting.count) return;
    find_lines(z);
    find_neurons(z);
    for (int64_t g = first / GROUP; g * GROUP < last; g++) {
        uint32_t lanes = ~0u;
        if (first > g * GROUP) lanes &= ~0u << (first - g * GROUP);
        if (last < (g + 1) * GROUP) lanes &= ~0u >> ((g + 1) * GROUP - last);
        run_group(z, g, lanes);
    }
}

// Adds to `outputs`, golden before, what the rows of a trial change; true if anything had to run.
static bool run_trial(Scratch& z, const Row* rows, int64_t count, int64_t* outputs) {
    z.outputs = outputs;
    z.ran = false;
    z.faults.count = z.cuts.count = 0;
    for (int64_t i = 0; i < count; i++) {
        Fault fault;
        if (!resolve(*z.model, rows[i], fault)) continue;
        z.faults.push(fault);
        z.cuts.push(fault.sample0);
        z.cuts.push(fault.sample1);
    }
    if (z.faults.count > 1) qsort(z.faults.at, z.faults.count, sizeof *z.faults.at, by_order);
    const int cuts = sorted_unique(z.cuts.at, (int)z.cuts.count);
    for (int i = 0; i + 1 < cuts; i++) run_range(z, z.cuts.at[i], z.cuts.at[i + 1]);
    return z.ran;
}
