// What changes the current of a faulty neuron in a group of samples. Included once for each
// instruction set, inside of its namespace.

constexpr int MAX_STAGES = 64;

// What a thread needs, made once for many trials.
struct Scratch {
    const Model* model;
    Grown<Fault> faults;
    Grown<Fault*> acting, mine, here;
    Grown<int32_t> cuts;
    Grown<Neuron> neurons;
    int32_t from[MAX_STAGES + 1];       // faulty neurons of each stage
    Grown<int32_t> which[MAX_STAGES];   // corrupted lines of each stage
    Prepared made;
    Lines lines;
    Events events[2];
    Flips flips;
    Spans sums, positions;
    Grown<int32_t> pooled;
    int32_t *drive, *incoming, *blocks, *stamp;
    uint32_t* changed;
    uint8_t* ignored;
    int32_t stamped;
    int64_t* outputs;   // [samples][outputs] of the trial
    uint32_t* touched;  // [G] samples whose outputs were written
    bool ran;
};

INLINE bool at_synapse(const Fault& f) { return f.place <= AT_SUM; }

// The faults in the synapses of a channel.
static void synapses_of(Scratch& z, int s, int64_t n) {
    z.mine.count = 0;
    for (int64_t i = 0; i < z.acting.count; i++) {
        Fault& f = *z.acting.at[i];
        if (f.stage == s && at_synapse(f) && picks(f.row->n, n)) z.mine.push(&f);
    }
}

static const int32_t* delta_of(Scratch& z, int64_t line) {
    for (int64_t l = 0; l < z.lines.changed.count; l++)
        if (z.lines.changed.at[l] == line) return z.lines.delta + l * z.model->steps * GROUP;
    return nullptr;
}

// Row of the weights with which a sum of a part reads a line, or -1.
INLINE int32_t row_of(const Stage& s, int64_t line, int64_t sum, int64_t part) {
    for (int32_t r = s.reach_start[line]; r < s.reach_start[line + 1]; r++)
        if (s.reach[r].sum == sum)
            return s.reach[r].row / s.terms == part ? s.reach[r].row : -1;
    return -1;
}

// Faults in the synapses of one sum: those in `here`. Terms that they pick are stamped.
static void drive_synapses(Scratch& z, int s, int64_t n, int64_t sum, int64_t part, int64_t g,
                           const Events* in, int32_t stamp, Drive& d) {
    const Model& m = *z.model;
    const Stage& stage = m.stage[s];
    const bool simple = z.here.count == 1 && z.here.at[0]->place == AT_WEIGHT;
    const double most = larger(-(double)stage.input_low, (double)stage.input_high);
    const int32_t* lines = stage.line_of + (sum * stage.parts + part) * stage.terms;
    for (int64_t i = 0; i < z.here.count; i++) {
        const Fault& f = *z.here.at[i];
        if (f.place != AT_WEIGHT && f.place != AT_INPUT) continue;
        const int64_t stop = stop_of(f.row->k, stage.terms);
        for (int64_t k = f.row->k[0]; k < stop; k += f.row->k[2]) {
            if (z.stamp[k] == stamp) continue;
            z.stamp[k] = stamp;
            const int64_t line = lines[k];
            const int64_t golden = stage.weight[(part * stage.terms + k) * stage.padded + n];
            const int32_t* delta = nullptr;
            if (line >= 0 && in) delta = delta_of(*in, line, m.steps, z.incoming);
            else if (line >= 0 && s == 0) delta = delta_of(z, line);
            if (simple && !delta) {
                const int64_t difference = corrupt(golden, *f.row) - golden;
                if (!difference || line < 0) continue;
                d.extra += most * (double)(difference < 0 ? -difference : difference);
                drive_weight(stage, m, line, g, (int32_t)difference, f.step0, f.step1, d);
            } else {
                drive_product(stage, m, z.here.at, (int)z.here.count, golden, k, line, g, delta, d);
            }
        }
    }
    drive_bias(stage, z.here.at, (int)z.here.count, n, (int)m.steps, d);
}

// Corrupted lines of the first stage, but for terms that are stamped.
static void drive_lines(Scratch& z, const Stage& stage, int64_t n, int64_t sum, int64_t part,
                        int32_t stamp, Drive& d) {
    const int64_t steps = z.model->steps;
    for (int64_t l = 0; l < z.lines.changed.count; l++) {
        const int32_t row = row_of(stage, z.lines.changed.at[l], sum, part);
        if (row < 0 || z.stamp[row - part * stage.terms] == stamp) continue;
        const int32_t weight = stage.weight[row * stage.padded + n];
        if (!weight) continue;
        const int32_t* delta = z.lines.delta + l * steps * GROUP;
        for (int64_t i = z.lines.first * GROUP; i < z.lines.last * GROUP; i += PACK)
            store(d.at + i, load(d.at + i) + load(delta + i) * weight);
        cover(d, z.lines.first);
        cover(d, z.lines.last - 1);
        if (z.lines.low < stage.input_low || z.lines.high > stage.input_high) {
            const double most = larger(-(double)z.lines.low, (double)z.lines.high);
            d.extra += 2 * most * (weight < 0 ? -(double)weight : (double)weight);
        }
    }
}

// Differences that come from the stage before, likewise.
static void drive_events(Scratch& z, const Stage& stage, int64_t n, int64_t sum, int64_t part,
                         const Events& in, bool beyond, int32_t stamp, Drive& d) {
    for (int lane = 0; lane < GROUP; lane++)
        for (int64_t i = 0; i < in.of[lane].count; i++) {
            const Event e = in.of[lane].at[i];
            const int32_t row = row_of(stage, e.line, sum, part);
            if (row < 0 || z.stamp[row - part * stage.terms] == stamp) continue;
            cover(d, e.step);
            d.at[e.step * GROUP + lane] += e.delta * stage.weight[row * stage.padded + n];
        }
    if (beyond) d.extra += 1e9;
}

// All that changes one sum in a group.
static Drive drive_of_sum(Scratch& z, int s, const Neuron& neuron, int64_t n, int64_t sum,
                          int64_t g, const Events* in, bool beyond, int32_t* to) {
    const Model& m = *z.model;
    const Stage& stage = m.stage[s];
    const int64_t part = stage.parts == 1 ? 0 : n / (stage.channels / stage.parts);
    Drive d = {to, (int32_t)m.steps, 0, 0};
    memset(to, 0, m.steps * GROUP * sizeof *to);
    const int32_t stamp = ++z.stamped;  // terms that the sum's own rows pick
    z.here.count = 0;
    if (neuron.synapses) {
        synapses_of(z, s, n);
        for (int64_t i = 0; i < z.mine.count; i++)
            if (picks(z.mine.at[i]->row->m, sum)) z.here.push(z.mine.at[i]);
        drive_synapses(z, s, n, sum, part, g, in, stamp, d);
    }
    if (s == 0) drive_lines(z, stage, n, sum, part, stamp, d);
    if (in) drive_events(z, stage, n, sum, part, *in, beyond, stamp, d);
    if (stage.pool) drive_sum(stage, m, z.here.at, (int)z.here.count, n * stage.sums + sum, g, d);
    return d;
}

// Pooled faulty sums less the golden current.
template <class S>
static void pool_drives(const Stage& s, const Model& m, int64_t neuron, int64_t g,
                        const int32_t* drives, Drive& d) {
    const int64_t n = neuron / s.positions, steps = s.still ? 1 : m.steps;
    const int32_t* window = s.windows + neuron % s.positions * s.window;
    const v8i multiplier = (v8i){} + (s.q_used ? s.q_multiplier[n] : 0);
    memset(d.at, 0, m.steps * GROUP * sizeof *d.at);
    for (int64_t t = d.first; t < d.last; t++) {
        const int64_t at = s.still ? 0 : t;
        for (int j = 0; j < GROUP; j += PACK) {
            Pooling pooling(s);
            for (int i = 0; i < s.window; i++) {
                if (window[i] < 0) continue;
                const int64_t place = ((n * s.sums + window[i]) * m.groups + g) * steps + at;
                pooling.add(load((const S*)s.total + place * GROUP + j) +
                                load(drives + (i * m.steps + t) * GROUP + j), s);
            }
            const int64_t place = (neuron * m.groups + g) * steps + at;
            const v8i golden = load((const S*)s.current + place * GROUP + j);
            store(d.at + t * GROUP + j, requantised(pooling.value, multiplier, s) - golden);
        }
    }
}

// All that changes the current of a faulty neuron in a group.
static Drive drive_of(Scratch& z, int s, const Neuron& neuron, int64_t g, const Events* in,
                      bool beyond) {
    const Model& m = *z.model;
    const Stage& stage = m.stage[s];
    const int64_t n = neuron.neuron / stage.positions, position = neuron.neuron % stage.positions;
    if (!stage.pool) return drive_of_sum(z, s, neuron, n, position, g, in, beyond, z.drive);
    const int64_t size = m.steps * GROUP;
    Drive d = {z.drive + stage.window * size, (int32_t)m.steps, 0, 0};
    for (int i = 0; i < stage.window; i++) {
        const int32_t sum = stage.windows[position * stage.window + i];
        if (sum < 0) continue;
        const Drive one = drive_of_sum(z, s, neuron, n, sum, g, in, beyond, z.drive + i * size);
        d.first = one.first < d.first ? one.first : d.first;
        d.last = one.last > d.last ? one.last : d.last;
        if (stage.pool == MAXIMUM) d.extra = larger(d.extra, one.extra);
        else if (!stage.q_used) d.extra += one.extra;
    }
    if (d.first >= d.last) return d;
    if (stage.narrow) pool_drives<int16_t>(stage, m, neuron.neuron, g, z.drive, d);
    else pool_drives<int32_t>(stage, m, neuron.neuron, g, z.drive, d);
    return d;
}

// A sum that a neuron pools, and what is added to it: a weight difference at spikes, or a weight
// times differences of a line. Nothing if both are null.
template <class S> struct Term {
    const S* golden;         // [T or 1][32]
    const uint32_t* spikes;  // [T or 1]
    const int32_t* delta;    // [T][32]
    int32_t weight;
};

// The current that follows from a few terms, less the golden one, in the steps from first to last.
template <class S>
static Drive drive_terms(const Stage& s, const Model& m, int64_t neuron, int64_t g,
                         const Term<S>* terms, int count, int first, int last, int32_t* to) {
    const int64_t apart = s.still ? 0 : GROUP, apart_words = s.still ? 0 : 1;
    const v8i multiplier = (v8i){} + (s.q_used ? s.q_multiplier[neuron / s.positions] : 0);
    const S* golden =
        (const S*)s.current + (neuron * m.groups + g) * (s.still ? 1 : m.steps) * GROUP;
    Drive d = {to, (int32_t)m.steps, 0, 0};
    for (int t = first; t < last; t++) {
        uint32_t any = 0;
        for (int i = 0; i < count; i++)
            any |= terms[i].delta ? 1 : terms[i].spikes ? terms[i].spikes[t * apart_words] : 0;
        int32_t* row = to + t * GROUP;
        v8i wrong = {};
        for (int j = 0; j < GROUP; j += PACK) {
            v8i more = {};
            if (any) {
                Pooling pooling(s);
                for (int i = 0; i < count; i++) {
                    const Term<S>& x = terms[i];
                    v8i add = {};
                    if (x.delta) add = load(x.delta + t * GROUP + j) * x.weight;
                    else if (x.spikes) add = spread(x.spikes[t * apart_words] >> j) & x.weight;
                    pooling.add(load(x.golden + t * apart + j) + add, s);
                }
                more = requantised(pooling.value, multiplier, s) - load(golden + t * apart + j);
            }
            store(row + j, more);
            wrong |= more;
        }
        if (!signs((v8i)(wrong != (v8i){}))) continue;
        d.first = t < d.first ? t : d.first;
        d.last = t + 1;
    }
    if (d.first >= d.last) return d;
    memset(to + last * GROUP, 0, (m.steps - last) * GROUP * sizeof *to);
    return d;
}

// A weight difference at spikes of one line, from the first of them on.
static Drive drive_spikes(const Model& m, const uint32_t* spikes, bool still, int32_t difference,
                          int first, int last, int32_t* to) {
    const int apart = still ? 0 : 1;
    while (first < last && !spikes[first * apart]) first++;
    while (first < last && !spikes[(last - 1) * apart]) last--;
    if (first >= last) return {to, (int32_t)m.steps, 0, 0};
    for (int t = first; t < last; t++)
        for (int j = 0; j < GROUP; j += PACK)
            store(to + t * GROUP + j, spread(spikes[t * apart] >> j) & difference);
    memset(to + last * GROUP, 0, (m.steps - last) * GROUP * sizeof *to);
    return {to, first, last, difference < 0 ? -(double)difference : (double)difference};
}

// One weight that is wrong, where neither spikes nor lines differ that the neuron reads.
template <class S>
static Drive drive_one_weight(Scratch& z, int s, const Neuron& neuron, const Fault& f, int64_t g) {
    const Model& m = *z.model;
    const Stage& stage = m.stage[s];
    const int64_t n = neuron.neuron / stage.positions, position = neuron.neuron % stage.positions;
    const int64_t part = stage.parts == 1 ? 0 : n / (stage.channels / stage.parts);
    const int64_t k = f.row->k[0], steps = stage.still ? 1 : m.steps;
    const int64_t golden = stage.weight[(part * stage.terms + k) * stage.padded + n];
    const int32_t difference = (int32_t)(corrupt(golden, *f.row) - golden);
    if (!stage.pool) {
        const int32_t line = stage.line_of[(position * stage.parts + part) * stage.terms + k];
        if (line < 0 || !difference || !picks(f.row->m, position))
            return {z.drive, (int32_t)m.steps, 0, 0};
        return drive_spikes(m, stage.lines + (line * m.groups + g) * steps, stage.still, difference,
                            f.step0, f.step1, z.drive);
    }
    Term<S> terms[LARGEST_WINDOW];
    int count = 0;
    bool any = false;
    for (int i = 0; i < stage.window && difference; i++) {
        const int32_t sum = stage.windows[position * stage.window + i];
        if (sum < 0) continue;
        const int32_t line = stage.line_of[(sum * stage.parts + part) * stage.terms + k];
        const bool hit = line >= 0 && picks(f.row->m, sum);
        any |= hit;
        const S* total =
            (const S*)stage.total + ((n * stage.sums + sum) * m.groups + g) * steps * GROUP;
        terms[count++] = {total, hit ? stage.lines + (line * m.groups + g) * steps : nullptr,
                          nullptr, difference};
    }
    if (!any) return {z.drive, (int32_t)m.steps, 0, 0};
    Drive d = drive_terms<S>(stage, m, neuron.neuron, g, terms, count, f.step0, f.step1, z.drive);
    d.extra = difference < 0 ? -(double)difference : (double)difference;
    if (stage.pool == TOTAL) d.extra *= (double)stage.window;
    return d;
}

// One corrupted line of the first stage, for a neuron that is not faulty itself.
template <class S>
static Drive drive_one_line(Scratch& z, int64_t n, int64_t position, int64_t g) {
    const Model& m = *z.model;
    const Stage& stage = m.stage[0];
    const int64_t part = stage.parts == 1 ? 0 : n / (stage.channels / stage.parts);
    const int64_t steps = stage.still ? 1 : m.steps;
    Term<S> terms[LARGEST_WINDOW];
    int count = 0;
    bool any = false;
    for (int i = 0; i < stage.window; i++) {
        const int32_t sum = stage.windows[position * stage.window + i];
        if (sum < 0) continue;
        const int32_t row = row_of(stage, z.lines.changed.at[0], sum, part);
        const int32_t weight = row < 0 ? 0 : stage.weight[row * stage.padded + n];
        any |= weight != 0;
        const S* total =
            (const S*)stage.total + ((n * stage.sums + sum) * m.groups + g) * steps * GROUP;
        terms[count++] = {total, nullptr, weight ? z.lines.delta : nullptr, weight};
    }
    if (!any) return {z.drive, (int32_t)m.steps, 0, 0};
    return drive_terms<S>(stage, m, n * stage.positions + position, g, terms, count, z.lines.first,
                          z.lines.last, z.drive);
}
