// One trial: groups of samples, stage after stage. Included once for each instruction set, inside
// of its namespace.

constexpr int MAX_STAGES = 64;

// What a thread needs, made once for many trials.
struct Scratch {
    const Model* model;
    Grown<Fault> faults;
    Grown<Fault*> acting, mine;
    Grown<int32_t> cuts;
    Grown<Neuron> neurons;
    int32_t from[MAX_STAGES + 1];  // faulty neurons of each stage
    Prepared made;
    Lines lines;
    Events events[2];
    int32_t *drive, *blocks, *nothing, *stamp;
    uint32_t* changed;
    uint8_t* ignored;
    int32_t stamped;
    int64_t* outputs;   // [samples][outputs] of the trial
    uint32_t* touched;  // [G] samples whose outputs were written
    bool ran;
};

INLINE bool at_neuron(const Fault& f) { return f.place != AT_LINES; }
INLINE bool at_synapse(const Fault& f) { return f.place <= AT_BIAS; }

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
            if (f.stage != s || !at_neuron(f)) continue;
            const int64_t stop = stop_of(f.row->n, stage.neurons);
            for (int64_t n = f.row->n[0]; n < stop; n += f.row->n[2]) {
                if (z.stamp[n] == stamp) continue;
                z.stamp[n] = stamp;
                Neuron neuron = {};
                neuron.neuron = n;
                z.mine.count = 0;
                for (int64_t j = i; j < z.acting.count; j++) {
                    Fault& other = *z.acting.at[j];
                    if (other.stage != s || !at_neuron(other) || !picks(other.row->n, n)) continue;
                    if (at_synapse(other)) neuron.synapses++;
                    else z.mine.push(&other);
                }
                prepare(stage, z.mine.at, (int)z.mine.count, (int)m.steps, z.made, neuron);
                z.neurons.push(neuron);
            }
        }
    }
    z.from[m.stages] = (int32_t)z.neurons.count;
}

// The faults in the synapses of a neuron.
static void synapses_of(Scratch& z, int s, int64_t n) {
    z.mine.count = 0;
    for (int64_t i = 0; i < z.acting.count; i++) {
        Fault& f = *z.acting.at[i];
        if (f.stage == s && at_synapse(f) && picks(f.row->n, n)) z.mine.push(&f);
    }
}

static const int32_t* delta_of(Scratch& z, int64_t k) {
    for (int64_t l = 0; l < z.lines.changed.count; l++)
        if (z.lines.changed.at[l] == k) return z.lines.delta + l * z.model->steps * GROUP;
    return nullptr;
}

// Incoming spikes that differ, of one line, as values.
static const int32_t* delta_of(const Events& in, int64_t k, int64_t steps, int32_t* to) {
    memset(to, 0, steps * GROUP * sizeof *to);
    bool any = false;
    for (int lane = 0; lane < GROUP; lane++)
        for (int i = 0; i < in.count[lane]; i++) {
            if (in.list[lane][i].neuron != k) continue;
            to[in.list[lane][i].step * GROUP + lane] += in.list[lane][i].sign;
            any = true;
        }
    return any ? to : nullptr;
}

// All that changes the current of a faulty neuron in a group.
static Drive drive_of(Scratch& z, int s, const Neuron& neuron, int64_t g, const Events* in) {
    const Model& m = *z.model;
    const Stage& stage = m.stage[s];
    const int64_t n = neuron.neuron;
    Drive d = {z.drive, (int32_t)m.steps, 0, 0};
    memset(d.at, 0, m.steps * GROUP * sizeof *d.at);
    const int32_t stamp = ++z.stamped;  // inputs that this neuron's own rows pick
    if (neuron.synapses) {
        synapses_of(z, s, n);
        const bool simple = z.mine.count == 1 && z.mine.at[0]->place == AT_WEIGHT;
        const double most = larger(-(double)stage.input_low, (double)stage.input_high);
        for (int64_t i = 0; i < z.mine.count; i++) {
            const Fault& f = *z.mine.at[i];
            if (f.place == AT_BIAS) continue;
            const int64_t stop = stop_of(f.row->k, stage.inputs);
            for (int64_t k = f.row->k[0]; k < stop; k += f.row->k[2]) {
                if (z.stamp[k] == stamp) continue;
                z.stamp[k] = stamp;
                const int32_t* delta = in ? delta_of(*in, k, m.steps, z.lines.delta)
                                          : s == 0 ? delta_of(z, k) : nullptr;
                if (simple && !delta) {
                    const int64_t golden = stage.weight[k * stage.padded + n];
                    const int64_t difference = corrupt(golden, *f.row) - golden;
                    if (!difference) continue;
                    d.extra += most * (double)(difference < 0 ? -difference : difference);
                    drive_weight(stage, m, k, g, (int32_t)difference, f.step0, f.step1, d);
                } else {
                    drive_product(stage, m, z.mine.at, (int)z.mine.count, n, k, g, delta, d);
                }
            }
        }
        drive_bias(stage, z.mine.at, (int)z.mine.count, n, (int)m.steps, d);
    }
    if (s == 0) {
        for (int64_t l = 0; l < z.lines.changed.count; l++) {
            const int64_t k = z.lines.changed.at[l];
            const int32_t weight = stage.weight[k * stage.padded + n];
            if (z.stamp[k] == stamp || !weight) continue;
            const int32_t* delta = z.lines.delta + l * m.steps * GROUP;
            for (int64_t i = 0; i < m.steps * GROUP; i += PACK)
                store(d.at + i, load(d.at + i) + load(delta + i) * weight);
            cover(d, z.lines.first);
            cover(d, z.lines.last - 1);
            if (z.lines.low < stage.input_low || z.lines.high > stage.input_high) {
                const double most = larger(-(double)z.lines.low, (double)z.lines.high);
                d.extra += 2 * most * (weight < 0 ? -(double)weight : (double)weight);
            }
        }
    }
    for (int lane = 0; in && lane < GROUP; lane++)
        for (int i = 0; i < in->count[lane]; i++) {
            const Event e = in->list[lane][i];
            if (z.stamp[e.neuron] == stamp) continue;
            cover(d, e.step);
            d.at[e.step * GROUP + lane] += e.sign * stage.weight[e.neuron * stage.padded + n];
        }
    return d;
}

static void tell_neuron(const LayerRun& layer, const NeuronRun& run, uint32_t lanes) {
    const Stage& s = *run.stage;
    const uint32_t* spikes = s.spikes + (run.neuron * run.groups + run.group) * run.steps;
    for (int t = run.begin; t < run.end; t++) {
        for (uint32_t bits = run.changed[t] & lanes; bits; bits &= bits - 1) {
            const int lane = __builtin_ctz(bits);
            tell(layer, lane, t, run.neuron, spikes[t] >> lane & 1 ? -1 : 1);
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
        const Drive d = drive_of(z, s, neuron, layer.group, layer.in);
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

// Every neuron of the first stage but the faulty ones, where inputs differ.
static void run_lines(Scratch& z, const LayerRun& layer, uint32_t lanes) {
    const Model& m = *z.model;
    const Stage& stage = *layer.stage;
    const Phase golden = {0, (int32_t)m.steps, 1, 0, 0, 0, 0, 0, 0, {}, {}, 0, 0, ~0u};
    const bool one = z.lines.changed.count == 1;
    const bool fit = stage.free_slack < 0 || z.lines.low < stage.input_low ||
                     z.lines.high > stage.input_high;
    z.ran = true;
    for (int64_t n = 0; n < stage.neurons; n++) {
        if (layer.mine[n / PACK] >> (n % PACK) & 1) continue;
        Phase phase = golden;
        phase.threshold = stage.threshold[n];
        Neuron neuron = {};
        neuron.neuron = n;
        NeuronRun run = {};
        run.stage = &stage;
        run.neuron = n;
        run.group = layer.group;
        run.groups = m.groups;
        run.steps = m.steps;
        run.phases = &phase;
        run.phase_count = 1;
        run.changed = z.changed;
        run.first = z.lines.first;
        run.last = z.lines.last;
        run.scale = 1;
        if (one) {
            run.drive = z.lines.delta;
            run.scale = stage.weight[z.lines.changed.at[0] * stage.padded + n];
            if (!run.scale) continue;
        } else {
            run.drive = drive_of(z, 0, neuron, layer.group, nullptr).at;
        }
        neuron.fit = run.fit = fit;
        neuron.threshold_reach = phase.threshold < 0 ? -(double)phase.threshold
                                                     : (double)phase.threshold;
        run.wide = too_wide(stage, neuron, fit ? 1e9 : 0);
        run_any(run);
        tell_neuron(layer, run, lanes);
    }
}

// Stage after stage for one group of samples.
static void run_group(Scratch& z, int64_t g, uint32_t lanes) {
    const Model& m = *z.model;
    bool incoming = false;
    for (int s = 0; s < m.stages; s++) {
        const int64_t first = z.from[s], last = z.from[s + 1];
        const bool lines = s == 0 && z.lines.which.count;
        Events *in = &z.events[s & 1], *out = &z.events[(s + 1) & 1];
        z.lines.changed.count = 0;
        if (lines)
            change_lines(m.stage[0], m, z.acting.at, (int)z.acting.count, g, z.lines);
        if (!incoming && first == last && !z.lines.changed.count) continue;
        memset(out->count, 0, sizeof out->count);
        for (int64_t i = first; i < last; i++)
            z.ignored[z.neurons.at[i].neuron / PACK] |= 1 << z.neurons.at[i].neuron % PACK;
        LayerRun layer = {&m, &m.stage[s], g, incoming ? in : nullptr,
                          s + 1 < m.stages ? out : nullptr, z.outputs, z.touched, z.blocks,
                          z.nothing, z.ignored};
        if (incoming) run_layer(layer);
        if (z.lines.changed.count) run_lines(z, layer, lanes);
        for (int64_t i = first; i < last; i++) run_faulty(z, layer, s, z.neurons.at[i], lanes);
        for (int64_t i = first; i < last; i++) z.ignored[z.neurons.at[i].neuron / PACK] = 0;
        incoming = false;
        for (int lane = 0; lane < GROUP; lane++) incoming |= out->count[lane] > 0;
    }
}

// Samples in which the same faults act.
static void run_range(Scratch& z, int first, int last) {
    const Model& m = *z.model;
    z.acting.count = z.lines.which.count = 0;
    for (int64_t i = 0; i < z.faults.count; i++) {
        Fault& f = z.faults.at[i];
        if (f.sample0 <= first && last <= f.sample1) z.acting.push(&f);
    }
    if (!z.acting.count) return;
    const int32_t stamp = ++z.stamped;
    for (int64_t i = 0; i < z.acting.count; i++) {
        const Fault& f = *z.acting.at[i];
        if (f.place != AT_LINES) continue;
        const int64_t rows = stop_of(f.row->m, f.role->positions);
        const int64_t columns = stop_of(f.row->n, f.role->channels);
        for (int64_t a = f.row->m[0]; a < rows; a += f.row->m[2])
            for (int64_t b = f.row->n[0]; b < columns; b += f.row->n[2]) {
                const int64_t k = a * f.role->by_m + b * f.role->by_n;
                if (z.stamp[k] == stamp) continue;
                z.stamp[k] = stamp;
                z.lines.which.push((int32_t)k);
            }
    }
    if (z.lines.which.count > z.lines.room) {
        z.lines.room = z.lines.which.count;
        free(z.lines.delta);
        z.lines.delta = (int32_t*)malloc(z.lines.room * m.steps * GROUP * sizeof(int32_t));
        if (!z.lines.delta) abort();
    }
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
