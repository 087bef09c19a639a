// The golden run: sums, currents, membranes and spikes of every stage, in both layouts. Included
// once for each instruction set, inside of its namespace.

// Input codes of a group as lines; samples beyond the last repeat it.
static void golden_lines(const Model& m, const int16_t* codes, uint32_t* lines, int32_t* values) {
    const Stage& s = m.stage[0];
    const int64_t steps = s.still ? 1 : m.steps;
    for (int64_t lane = 0; lane < m.groups * GROUP; lane++) {
        const int64_t sample = lane < m.samples ? lane : m.samples - 1, g = lane / GROUP;
        for (int64_t t = 0; t < steps; t++) {
            const int16_t* x = codes + (sample * steps + t) * s.inputs;
            for (int64_t k = 0; k < s.inputs; k++) {
                if (!x[k]) continue;
                const int64_t at = (k * m.groups + g) * steps + t;
                if (s.binary) lines[at] |= 1u << lane % GROUP;
                else values[at * GROUP + lane % GROUP] = x[k];
            }
        }
    }
}

// Values of one sample's lines that are not zero.
static void golden_values(const Stage& s, const Model& m, int64_t g, int lane, Grown<Event>& to) {
    const int64_t steps = s.still ? 1 : m.steps;
    to.count = 0;
    for (int64_t line = 0; line < s.inputs; line++)
        for (int64_t t = 0; t < steps; t++) {
            const int64_t at = (line * m.groups + g) * steps + t;
            const int32_t value =
                s.binary ? (int32_t)(s.lines[at] >> lane & 1) : s.codes[at * GROUP + lane];
            if (value) to.push({(int32_t)t, (int32_t)line, value});
        }
}

// Sums [Q][T][P] of one sample.
static void golden_sums(const Stage& s, int64_t steps, const Grown<Event>& values, int32_t* to) {
    const int64_t width = s.padded;
    for (int64_t at = 0; at < s.sums * steps; at++)
        memcpy(to + at * width, s.bias, width * sizeof *to);
    for (int64_t i = 0; i < values.count; i++) {
        const Event e = values.at[i];
        for (int32_t r = s.reach_start[e.line]; r < s.reach_start[e.line + 1]; r++) {
            const Reach reach = s.reach[r];
            const int32_t* row = s.weight + reach.row * width;
            int32_t* sum = to + (reach.sum * steps + e.step) * width;
            for (int64_t n = reach.block0 * PACK; n < reach.block1 * PACK; n += PACK)
                store(sum + n, load(sum + n) + load(row + n) * e.delta);
        }
    }
}

// Currents [M][T][P] of one sample from its sums.
static void golden_currents(const Stage& s, int64_t steps, const int32_t* sums, int32_t* to) {
    for (int64_t position = 0; position < s.positions; position++)
        for (int64_t t = 0; t < steps; t++)
            for (int64_t n = 0; n < s.padded; n += PACK) {
                Pooling pooling(s);
                for (int i = 0; i < s.window; i++) {
                    const int32_t sum = s.windows[position * s.window + i];
                    if (sum >= 0) pooling.add(load(sums + (sum * steps + t) * s.padded + n), s);
                }
                const v8i multiplier = s.q_used ? load(s.q_multiplier + n) : (v8i){};
                store(to + (position * steps + t) * s.padded + n,
                      requantised(pooling.value, multiplier, s));
            }
}

template <class T>
static void golden_neurons(const Stage& s, int64_t steps, const int32_t* current, int32_t* membrane,
                           uint8_t* spikes) {
    typedef typename Lanes<T>::type V;
    const Rule<T> rule(s);
    const int64_t blocks = s.padded / PACK;
    for (int64_t i = 0; i < s.positions * blocks; i++) {
        const int64_t position = i / blocks, block = i % blocks;
        V v[1] = {}, f[1] = {}, threshold[1] = {widen<T>(load(s.threshold + block * PACK))};
        for (int64_t t = 0; t < steps; t++) {
            const int64_t at = (position * steps + t) * s.padded + block * PACK;
            const int64_t still = position * s.padded + block * PACK;
            V c[1] = {widen<T>(load(current + (s.still ? still : at)))};
            step_<T, FITTED, 0>(v, f, c, threshold, rule);
            store(membrane + at, narrow(v[0]));
            spikes[at / PACK] = (uint8_t)signs(narrow(f[0]));
        }
    }
}

// Keeps values [elements][T][P] of the samples of a group: by sample lanes and, where `rows` is
// given, as they are. True if one does not fit.
template <class S>
static bool keep(const Stage& s, const Model& m, int64_t g, int64_t elements, int64_t steps,
                 const int32_t* from, int64_t apart, S* lanes, S* rows) {
    int32_t low = 0, high = 0;
    for (int64_t at = 0; at < elements * steps; at++) {
        const int64_t element = at / steps, t = at % steps;
        for (int64_t n = 0; n < s.channels; n++) {
            const int64_t place = ((n * elements + element) * m.groups + g) * steps + t;
            for (int lane = 0; lane < GROUP; lane++) {
                const int32_t x = from[lane * apart + at * s.padded + n];
                low = x < low ? x : low;
                high = x > high ? x : high;
                lanes[place * GROUP + lane] = (S)x;
            }
        }
    }
    const int64_t size = elements * steps * s.padded;
    for (int lane = 0; rows && lane < GROUP; lane++)
        for (int64_t i = 0; i < size; i++) {
            const int32_t x = from[lane * apart + i];
            low = x < low ? x : low;
            high = x > high ? x : high;
            rows[lane * size + i] = (S)x;
        }
    return sizeof(S) == 2 && (low < INT16_MIN || high > INT16_MAX);
}

static bool keep(const Stage& s, const Model& m, int64_t g, int64_t elements, int64_t steps,
                 const int32_t* from, int64_t apart, void* lanes, void* rows) {
    const int64_t at = g * GROUP * elements * steps * s.padded;
    if (s.narrow)
        return keep<int16_t>(s, m, g, elements, steps, from, apart, (int16_t*)lanes,
                             rows ? (int16_t*)rows + at : nullptr);
    return keep<int32_t>(s, m, g, elements, steps, from, apart, (int32_t*)lanes,
                         rows ? (int32_t*)rows + at : nullptr);
}

static void keep_spikes(const Stage& s, const Model& m, int64_t g, const uint8_t* from) {
    const int64_t words = s.padded / PACK;
    for (int lane = 0; lane < GROUP; lane++)
        for (int64_t at = 0; at < s.positions * m.steps; at++) {
            const uint8_t* bytes = from + (lane * s.positions * m.steps + at) * words;
            const int64_t position = at / m.steps, t = at % m.steps;
            for (int64_t n = 0; n < s.channels; n++)
                if (bytes[n / PACK] >> n % PACK & 1)
                    s.spikes[((n * s.positions + position) * m.groups + g) * m.steps + t] |=
                        1u << lane;
        }
}

// Lines of a stage that pools the spikes of the one before.
static void golden_pooled(const Stage& s, const Stage& before, const Model& m, int64_t g) {
    for (int64_t line = 0; line < s.inputs; line++)
        for (int64_t t = 0; t < m.steps; t++) {
            int count[GROUP] = {};
            for (int w = 0; w < s.in_window; w++) {
                const int64_t neuron = s.in_windows[line * s.in_window + w];
                if (neuron < 0) continue;
                const uint32_t bits = before.spikes[(neuron * m.groups + g) * m.steps + t];
                for (int lane = 0; lane < GROUP; lane++) count[lane] += bits >> lane & 1;
            }
            const int64_t at = (line * m.groups + g) * m.steps + t;
            for (int lane = 0; lane < GROUP; lane++) {
                const int32_t value = pooled_spikes(s, line, count[lane]);
                if (s.binary) ((uint32_t*)s.lines)[at] |= (uint32_t)value << lane;
                else ((int32_t*)s.codes)[at * GROUP + lane] = value;
            }
        }
}

// Memory of the golden run of one group.
struct Draft {
    int32_t *sums, *current, *membrane;  // [samples of a group][elements][T][P]
    uint8_t* spikes;
    Grown<Event> values;
};

// Everything that a stage keeps of one group; true if 16 bits do not hold it.
static bool golden_group(const Model& m, int index, int64_t g, Draft& draft) {
    const Stage& s = m.stage[index];
    const int64_t steps = s.still ? 1 : m.steps, words = s.padded / PACK;
    const int64_t summed = s.sums * steps * s.padded, wide = s.positions * m.steps * s.padded;
    const int64_t flown = s.positions * steps * s.padded;
    uint8_t* spikes = s.spikes_n ? s.spikes_n + g * GROUP * s.positions * m.steps * words
                                 : draft.spikes;
    if (s.in_pool) golden_pooled(s, m.stage[index - 1], m, g);
    int32_t* current = s.pool ? draft.current : draft.sums;
    for (int lane = 0; lane < GROUP; lane++) {
        golden_values(s, m, g, lane, draft.values);
        golden_sums(s, steps, draft.values, draft.sums + lane * summed);
        if (s.pool)
            golden_currents(s, steps, draft.sums + lane * summed, current + lane * flown);
        int32_t* v = draft.membrane + lane * wide;
        uint8_t* f = spikes + lane * s.positions * m.steps * words;
        if (s.wide) golden_neurons<int64_t>(s, m.steps, current + lane * flown, v, f);
        else golden_neurons<int32_t>(s, m.steps, current + lane * flown, v, f);
    }
    bool large = false;
    if (s.pool)
        large |= keep(s, m, g, s.sums, steps, draft.sums, summed, s.total, s.total_n);
    large |= keep(s, m, g, s.positions, steps, current, flown, s.current, s.current_n);
    large |= keep(s, m, g, s.positions, m.steps, draft.membrane, wide, s.membrane, s.membrane_n);
    keep_spikes(s, m, g, spikes);
    return large;
}

// Stages, as bits, whose values 16 bits do not hold though they should.
static int64_t golden_run(const Model& m, const int16_t* codes, int64_t* outputs) {
    const Stage &first = m.stage[0], &last = m.stage[m.stages - 1];
    golden_lines(m, codes, (uint32_t*)first.lines, (int32_t*)first.codes);
    int64_t sums = 0, neurons = 0, large = 0;
    for (int i = 0; i < m.stages; i++) {
        const int64_t summed = m.stage[i].sums * m.stage[i].padded;
        const int64_t positions = m.stage[i].positions * m.stage[i].padded;
        sums = summed > sums ? summed : sums;
        neurons = positions > neurons ? positions : neurons;
    }
    const int64_t lanes = GROUP * m.steps;
    Draft draft = {made<int32_t>(sums * lanes), made<int32_t>(neurons * lanes),
                   made<int32_t>(neurons * lanes), made<uint8_t>(neurons * lanes / PACK), {}};
    memset(outputs, 0, m.samples * m.outputs * sizeof *outputs);
    for (int64_t g = 0; g < m.groups; g++) {
        for (int i = 0; i < m.stages; i++)
            large |= (int64_t)golden_group(m, i, g, draft) << i;
        for (int64_t n = 0; n < m.outputs; n++)
            for (int64_t t = 0; t < m.steps; t++) {
                const uint32_t bits = last.spikes[(n * m.groups + g) * m.steps + t];
                for (int lane = 0; lane < GROUP && g * GROUP + lane < m.samples; lane++)
                    outputs[(g * GROUP + lane) * m.outputs + n] += bits >> lane & 1;
            }
    }
    free(draft.sums);
    free(draft.current);
    free(draft.membrane);
    free(draft.spikes);
    draft.values.release();
    return large;
}
