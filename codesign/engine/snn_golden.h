// The golden run: currents, membranes and spikes of every stage, in both layouts. Included once for
// each instruction set, inside of its namespace.

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

// Currents of one sample and step from what its inputs are.
static void golden_current(const Stage& s, const int16_t* x, const uint8_t* bits, int32_t* to) {
    memcpy(to, s.bias, s.padded * sizeof *to);
    for (int64_t k = 0; k < s.inputs; k++) {
        const int32_t value = x ? x[k] : bits[k / PACK] >> k % PACK & 1;
        if (!value) continue;
        const int32_t* row = s.weight + k * s.padded;
        if (value == 1) {
            for (int64_t n = 0; n < s.padded; n += PACK) store(to + n, load(to + n) + load(row + n));
        } else {
            for (int64_t n = 0; n < s.padded; n += PACK)
                store(to + n, load(to + n) + load(row + n) * value);
        }
    }
}

template <class T>
static void golden_neurons(const Stage& s, int64_t steps, const int32_t* current, int32_t* membrane,
                           uint8_t* spikes) {
    typedef typename Lanes<T>::type V;
    const Rule<T> rule(s);
    for (int64_t block = 0; block < s.padded / PACK; block++) {
        V v[1] = {}, f[1] = {}, threshold[1] = {widen<T>(load(s.threshold + block * PACK))};
        for (int64_t t = 0; t < steps; t++) {
            const int64_t at = t * s.padded + block * PACK;
            V c[1] = {widen<T>(load(current + (s.still ? block * PACK : at)))};
            step_<T, FITTED, 0>(v, f, c, threshold, rule);
            store(membrane + at, narrow(v[0]));
            spikes[t * (s.padded / PACK) + block] = (uint8_t)signs(narrow(f[0]));
        }
    }
}

// One group's values from neuron lanes to sample lanes.
static void transpose(const Stage& s, const Model& m, int64_t g, int64_t steps, const int32_t* from,
                      int64_t apart, int32_t* to) {
    for (int64_t t = 0; t < steps; t++)
        for (int64_t n = 0; n < s.neurons; n++) {
            int32_t* row = to + ((n * m.groups + g) * steps + t) * GROUP;
            for (int lane = 0; lane < GROUP; lane++) row[lane] = from[lane * apart + t * s.padded + n];
        }
}

static void transpose_spikes(const Stage& s, const Model& m, int64_t g, const uint8_t* from) {
    const int64_t words = s.padded / PACK;
    for (int lane = 0; lane < GROUP; lane++)
        for (int64_t t = 0; t < m.steps; t++) {
            const uint8_t* bytes = from + (lane * m.steps + t) * words;
            for (int64_t n = 0; n < s.neurons; n++)
                if (bytes[n / PACK] >> n % PACK & 1)
                    s.spikes[(n * m.groups + g) * m.steps + t] |= 1u << lane;
        }
}

// Everything that a stage keeps of one group.
static void golden_group(const Model& m, int index, int64_t g, const int16_t* codes, int32_t* current,
                         int32_t* membrane, uint8_t* spikes, const uint8_t* before) {
    const Stage& s = m.stage[index];
    const int64_t steps = s.still ? 1 : m.steps, words = s.padded / PACK;
    for (int64_t lane = 0; lane < GROUP; lane++) {
        int64_t sample = g * GROUP + lane;
        sample = sample < m.samples ? sample : m.samples - 1;
        int32_t* c = current + lane * m.steps * s.padded;
        for (int64_t t = 0; t < steps; t++) {
            const int16_t* x = codes ? codes + (sample * steps + t) * s.inputs : nullptr;
            const uint8_t* bits =
                before ? before + (lane * m.steps + t) * (m.stage[index - 1].padded / PACK) : nullptr;
            golden_current(s, x, bits, c + t * s.padded);
        }
        int32_t* v = membrane + lane * m.steps * s.padded;
        uint8_t* f = spikes + lane * m.steps * words;
        if (s.wide) golden_neurons<int64_t>(s, m.steps, c, v, f);
        else golden_neurons<int32_t>(s, m.steps, c, v, f);
    }
    transpose(s, m, g, steps, current, m.steps * s.padded, s.current);
    transpose(s, m, g, m.steps, membrane, m.steps * s.padded, s.membrane);
    transpose_spikes(s, m, g, spikes);
}

static int golden_run(const Model& m, const int16_t* codes, int64_t* outputs) {
    const Stage& first = m.stage[0];
    golden_lines(m, codes, (uint32_t*)first.lines, (int32_t*)first.codes);
    const int64_t room = GROUP * m.steps * first.padded;
    int32_t* current = (int32_t*)malloc(room * sizeof *current);
    int32_t* membrane = (int32_t*)malloc(room * sizeof *membrane);
    uint8_t* spikes = (uint8_t*)malloc(room);
    if (!current || !membrane || !spikes) abort();
    memset(outputs, 0, m.samples * m.outputs * sizeof *outputs);
    for (int64_t g = 0; g < m.groups; g++) {
        const uint8_t* before = nullptr;
        for (int i = 0; i < m.stages; i++) {
            const Stage& s = m.stage[i];
            const int64_t at = g * GROUP * m.steps * s.padded;
            uint8_t* fired = i ? s.spikes_n + at / PACK : spikes;
            golden_group(m, i, g, i ? nullptr : codes, i ? s.current_n + at : current,
                         i ? s.membrane_n + at : membrane, fired, before);
            before = fired;
        }
        const Stage& last = m.stage[m.stages - 1];
        for (int lane = 0; lane < GROUP && g * GROUP + lane < m.samples; lane++)
            for (int64_t t = 0; t < m.steps; t++)
                for (int64_t n = 0; n < m.outputs; n++)
                    outputs[(g * GROUP + lane) * m.outputs + n] +=
                        before[(lane * m.steps + t) * (last.padded / PACK) + n / PACK] >> n % PACK & 1;
    }
    free(current);
    free(membrane);
    free(spikes);
    return 0;
}
