// What changed inputs, weights and biases add to the current of one neuron in a group of samples.
// Included once for each instruction set, inside of its namespace.

// Inputs of the first stage that differ from golden.
struct Lines {
    Grown<int32_t> which;     // lines, each once
    Grown<int32_t> changed;   // of those, the ones that differ in this group
    int32_t* delta;           // [lines][T][32] new less golden
    int64_t room;             // lines that delta holds
    int32_t first, last;      // steps at which any differs
    int32_t low, high;        // of the new values
};

struct Drive {
    int32_t* at;            // [T][32]
    int32_t first, last;    // steps at which it may not be zero
    double extra;           // magnitude beyond what inputs within their range can give
};

INLINE void cover(Drive& d, int t) {
    d.first = t < d.first ? t : d.first;
    d.last = t >= d.last ? t + 1 : d.last;
}

// Golden values of an input line at a step.
INLINE void golden_input(const Stage& s, const Model& m, int64_t k, int64_t g, int t, int32_t* to) {
    const int64_t at = (k * m.groups + g) * (s.still ? 1 : m.steps) + (s.still ? 0 : t);
    if (s.binary) {
        for (int j = 0; j < PACKS; j++) store(to + PACK * j, spread(s.lines[at] >> PACK * j) & 1);
    } else {
        memcpy(to, s.codes + at * GROUP, GROUP * sizeof *to);
    }
}

// One weight that is wrong all through a run of steps: weight difference times golden input.
static void drive_weight(const Stage& s, const Model& m, int64_t k, int64_t g, int32_t difference,
                         int first, int last, Drive& d) {
    const int64_t at = (k * m.groups + g) * (s.still ? 1 : m.steps);
    if (!s.binary) {
        for (int t = first; t < last; t++) {
            const int32_t* x = s.codes + (at + (s.still ? 0 : t)) * GROUP;
            int32_t* to = d.at + (int64_t)t * GROUP;
            for (int j = 0; j < PACKS; j++)
                store(to + PACK * j, load(to + PACK * j) + load(x + PACK * j) * difference);
        }
        if (first < last) { cover(d, first); cover(d, last - 1); }
        return;
    }
    for (int t = first; t < last; t++) {
        const uint32_t bits = s.lines[at + (s.still ? 0 : t)];
        if (!bits) continue;
        cover(d, t);
        int32_t* to = d.at + (int64_t)t * GROUP;
        for (int j = 0; j < PACKS; j++)
            store(to + PACK * j, load(to + PACK * j) + (spread(bits >> PACK * j) & difference));
    }
}

// Any mixture of rows on one input line k of a neuron: faulty product less golden product.
static void drive_product(const Stage& s, const Model& m, Fault* const* mine, int count, int64_t n,
                          int64_t k, int64_t g, const int32_t* delta, Drive& d) {
    const int64_t golden_weight = s.weight[k * s.padded + n];
    int64_t most = 0;
    int32_t x[GROUP];
    for (int t = 0; t < m.steps; t++) {
        golden_input(s, m, k, g, t, x);
        int64_t weight = golden_weight;
        bool any = delta != nullptr, inputs = false;
        for (int i = 0; i < count; i++) {
            const Fault& f = *mine[i];
            if (t < f.step0 || t >= f.step1 || !picks(f.row->k, k)) continue;
            if (f.place == AT_WEIGHT) weight = corrupt(weight, *f.row);
            inputs |= f.place == AT_INPUT;
            any = true;
        }
        if (!any) continue;
        cover(d, t);
        int32_t* to = d.at + (int64_t)t * GROUP;
        for (int lane = 0; lane < GROUP; lane++) {
            int64_t y = x[lane] + (delta ? delta[t * GROUP + lane] : 0);
            if (inputs)
                for (int i = 0; i < count; i++) {
                    const Fault& f = *mine[i];
                    if (f.place == AT_INPUT && t >= f.step0 && t < f.step1 && picks(f.row->k, k))
                        y = corrupt(y, *f.row);
                }
            const int64_t more = weight * y - golden_weight * x[lane];
            most = more > most ? more : -more > most ? -more : most;
            to[lane] += (int32_t)more;
        }
    }
    d.extra += (double)most;
}

static void drive_bias(const Stage& s, Fault* const* mine, int count, int64_t n, int steps,
                       Drive& d) {
    double most = 0;
    for (int t = 0; t < steps; t++) {
        int64_t bias = s.bias[n];
        bool any = false;
        for (int i = 0; i < count; i++) {
            if (mine[i]->place != AT_BIAS || t < mine[i]->step0 || t >= mine[i]->step1) continue;
            bias = corrupt(bias, *mine[i]->row);
            any = true;
        }
        const int32_t more = (int32_t)(bias - s.bias[n]);
        if (!any || !more) continue;
        cover(d, t);
        most = larger(most, more < 0 ? -(double)more : (double)more);
        int32_t* to = d.at + (int64_t)t * GROUP;
        for (int j = 0; j < PACKS; j++) store(to + PACK * j, load(to + PACK * j) + more);
    }
    d.extra += most;
}

// Values of the changed input lines of a group; what does not differ there is left out.
static void change_lines(const Stage& s, const Model& m, Fault* const* faults, int count, int64_t g,
                         Lines& lines) {
    lines.changed.count = 0;
    lines.first = (int32_t)m.steps;
    lines.last = 0;
    lines.low = (int32_t)s.input_low;
    lines.high = (int32_t)s.input_high;
    for (int64_t l = 0; l < lines.which.count; l++) {
        const int64_t k = lines.which.at[l];
        int32_t* delta = lines.delta + lines.changed.count * m.steps * GROUP;
        bool differs = false;
        for (int t = 0; t < m.steps; t++) {
            int32_t x[GROUP];
            int32_t* to = delta + (int64_t)t * GROUP;
            golden_input(s, m, k, g, t, x);
            memset(to, 0, GROUP * sizeof *to);
            bool any = false;
            int64_t y[GROUP];
            for (int lane = 0; lane < GROUP; lane++) y[lane] = x[lane];
            for (int i = 0; i < count; i++) {
                const Fault& f = *faults[i];
                if (f.place != AT_LINES || t < f.step0 || t >= f.step1) continue;
                const int64_t at_m = k / f.role->by_m % f.role->positions;
                const int64_t at_n = k / f.role->by_n % f.role->channels;
                if (!picks(f.row->m, at_m) || !picks(f.row->n, at_n)) continue;
                any = true;
                for (int lane = 0; lane < GROUP; lane++) y[lane] = corrupt(y[lane], *f.row);
            }
            if (!any) continue;
            bool here = false;
            for (int lane = 0; lane < GROUP; lane++) {
                to[lane] = (int32_t)(y[lane] - x[lane]);
                here |= to[lane] != 0;
                lines.low = y[lane] < lines.low ? (int32_t)y[lane] : lines.low;
                lines.high = y[lane] > lines.high ? (int32_t)y[lane] : lines.high;
            }
            if (!here) continue;
            differs = true;
            lines.first = t < lines.first ? t : lines.first;
            lines.last = t >= lines.last ? t + 1 : lines.last;
        }
        if (differs) lines.changed.push((int32_t)k);
    }
}
