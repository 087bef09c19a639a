// What changed inputs, weights and biases add to one sum in a group of samples. Included once for
// each instruction set, inside of its namespace.

// Inputs of a stage that faults corrupt.
struct Lines {
    Grown<int32_t> changed;   // those that differ in this group
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

// Golden values of an input line at a step; padding, line -1, is zero.
INLINE void golden_input(const Stage& s, const Model& m, int64_t line, int64_t g, int t,
                         int32_t* to) {
    const int64_t at = (line * m.groups + g) * (s.still ? 1 : m.steps) + (s.still ? 0 : t);
    if (line < 0) {
        memset(to, 0, GROUP * sizeof *to);
    } else if (s.binary) {
        for (int j = 0; j < PACKS; j++) store(to + PACK * j, spread(s.lines[at] >> PACK * j) & 1);
    } else {
        memcpy(to, s.codes + at * GROUP, GROUP * sizeof *to);
    }
}

// One weight that is wrong all through a run of steps: weight difference times golden input.
static void drive_weight(const Stage& s, const Model& m, int64_t line, int64_t g,
                         int32_t difference, int first, int last, Drive& d) {
    const int64_t at = (line * m.groups + g) * (s.still ? 1 : m.steps);
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

// Any mixture of rows on term k of a sum, which reads a line: faulty product less golden product.
static void drive_product(const Stage& s, const Model& m, Fault* const* mine, int count,
                          int64_t golden_weight, int64_t k, int64_t line, int64_t g,
                          const int32_t* delta, Drive& d) {
    int64_t most = 0;
    int32_t x[GROUP];
    for (int t = 0; t < m.steps; t++) {
        golden_input(s, m, line, g, t, x);
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

// What corruptions make of a sum, after all that changes its terms.
static void drive_sum(const Stage& s, const Model& m, Fault* const* mine, int count, int64_t sum,
                      int64_t g, Drive& d) {
    const int64_t at = (sum * m.groups + g) * (s.still ? 1 : m.steps);
    for (int i = 0; i < count; i++) {
        const Fault& f = *mine[i];
        if (f.place != AT_SUM) continue;
        for (int t = f.step0; t < f.step1; t++) {
            int32_t* to = d.at + (int64_t)t * GROUP;
            for (int lane = 0; lane < GROUP; lane++) {
                const int64_t place = (at + (s.still ? 0 : t)) * GROUP + lane;
                const int64_t golden =
                    s.narrow ? ((const int16_t*)s.total)[place] : ((const int32_t*)s.total)[place];
                to[lane] = (int32_t)(corrupt(golden + to[lane], *f.row) - golden);
            }
            cover(d, t);
        }
        d.extra = larger(d.extra, reach_of(*f.row));
    }
}

// Incoming spikes that differ, of one line, as values.
static const int32_t* delta_of(const Events& in, int64_t line, int64_t steps, int32_t* to) {
    memset(to, 0, steps * GROUP * sizeof *to);
    bool any = false;
    for (int lane = 0; lane < GROUP; lane++)
        for (int64_t i = 0; i < in.of[lane].count; i++) {
            if (in.of[lane].at[i].line != line) continue;
            to[in.of[lane].at[i].step * GROUP + lane] += in.of[lane].at[i].delta;
            any = true;
        }
    return any ? to : nullptr;
}

INLINE bool picks_line(const Fault& f, int64_t line) {
    return picks(f.row->m, line / f.role->by_m % f.role->positions) &&
           picks(f.row->n, line / f.role->by_n % f.role->channels);
}

// What faults make of the lines that they pick in a group; what does not differ there is left out.
// `in`: differences that come from before, or null.
static void change_lines(const Stage& s, const Model& m, Fault* const* faults, int count,
                         int32_t stage, const Grown<int32_t>& which, int64_t g, const Events* in,
                         Lines& lines) {
    lines.changed.count = 0;
    lines.first = (int32_t)m.steps;
    lines.last = 0;
    lines.low = (int32_t)s.input_low;
    lines.high = (int32_t)s.input_high;
    for (int64_t l = 0; l < which.count; l++) {
        const int64_t line = which.at[l];
        int32_t* delta = lines.delta + lines.changed.count * m.steps * GROUP;
        if (!in || !delta_of(*in, line, m.steps, delta))
            memset(delta, 0, m.steps * GROUP * sizeof *delta);
        bool differs = false;
        for (int t = 0; t < m.steps; t++) {
            int32_t x[GROUP];
            int32_t* to = delta + (int64_t)t * GROUP;
            golden_input(s, m, line, g, t, x);
            int64_t y[GROUP];
            for (int lane = 0; lane < GROUP; lane++) y[lane] = x[lane] + to[lane];
            for (int i = 0; i < count; i++) {
                const Fault& f = *faults[i];
                if (f.place != AT_LINES || f.stage != stage || t < f.step0 || t >= f.step1 ||
                    !picks_line(f, line))
                    continue;
                for (int lane = 0; lane < GROUP; lane++) y[lane] = corrupt(y[lane], *f.row);
            }
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
        if (differs || in) lines.changed.push((int32_t)line);
    }
}

// Replaces the events of corrupted lines, sorted, by what they have become.
static void replace_events(const Model& m, const Lines& lines, uint32_t lanes, Events& events) {
    for (int lane = 0; lane < GROUP; lane++) {
        Grown<Event>& list = events.of[lane];
        int64_t kept = 0;
        for (int64_t i = 0; i < list.count; i++) {
            bool gone = false;
            for (int64_t l = 0; l < lines.changed.count && !gone; l++)
                gone = lines.changed.at[l] == list.at[i].line;
            if (!gone) list.at[kept++] = list.at[i];
        }
        list.count = kept;
        if (!(lanes >> lane & 1)) continue;
        for (int64_t l = 0; l < lines.changed.count; l++)
            for (int t = 0; t < m.steps; t++) {
                const int32_t delta = lines.delta[(l * m.steps + t) * GROUP + lane];
                if (delta) list.push({t, lines.changed.at[l], delta});
            }
    }
}

// Lines of a stage from neurons of the one before whose spikes differ.
static void pool_flips(const Stage& s, const Stage& before, const Model& m, int64_t g, Flips& flips,
                       Grown<int32_t>& lines, int32_t* stamps, int32_t stamp, Events& to) {
    lines.count = 0;
    for (int64_t i = 0; i < flips.which.count; i++) {
        const int32_t neuron = flips.which.at[i];
        for (int32_t o = s.in_owner_start[neuron]; o < s.in_owner_start[neuron + 1]; o++) {
            if (stamps[s.in_owner[o]] == stamp) continue;
            stamps[s.in_owner[o]] = stamp;
            lines.push(s.in_owner[o]);
        }
    }
    for (int64_t i = 0; i < lines.count; i++) {
        const int32_t line = lines.at[i], *window = s.in_windows + line * s.in_window;
        for (int t = 0; t < m.steps; t++) {
            uint32_t flipped = 0, old_any = 0, new_any = 0;
            for (int w = 0; w < s.in_window; w++) {
                if (window[w] < 0) continue;
                const uint32_t old = before.spikes[(window[w] * m.groups + g) * m.steps + t];
                const uint32_t flip = flips.words[window[w] * m.steps + t];
                flipped |= flip;
                old_any |= old;
                new_any |= old ^ flip;
            }
            uint32_t bits = s.in_pool == MAXIMUM ? old_any ^ new_any : flipped;
            for (; bits; bits &= bits - 1) {
                const int lane = __builtin_ctz(bits);
                int delta = new_any >> lane & 1 ? 1 : -1;
                if (s.in_pool != MAXIMUM) {
                    int golden = 0, faulty = 0;
                    for (int w = 0; w < s.in_window; w++) {
                        if (window[w] < 0) continue;
                        const uint32_t old = before.spikes[(window[w] * m.groups + g) * m.steps + t];
                        const uint32_t flip = flips.words[window[w] * m.steps + t];
                        golden += old >> lane & 1;
                        faulty += (old ^ flip) >> lane & 1;
                    }
                    delta = pooled_spikes(s, line, faulty) - pooled_spikes(s, line, golden);
                }
                if (delta) to.of[lane].push({t, line, delta});
            }
        }
    }
    for (int64_t i = 0; i < flips.which.count; i++) {
        flips.listed[flips.which.at[i]] = 0;
        memset(flips.words + flips.which.at[i] * m.steps, 0, m.steps * sizeof *flips.words);
    }
    flips.which.count = 0;
}
