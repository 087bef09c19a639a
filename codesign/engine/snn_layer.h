// All neurons of a stage, eight channels a vector, where lines differ from golden. Included once
// for each instruction set, inside of its namespace.

struct Event {
    int32_t step, line;
    int32_t delta;  // value less golden
};

// Lines that differ, by sample of a group.
struct Events {
    Grown<Event> of[GROUP];
    int64_t count() const {
        int64_t all = 0;
        for (int lane = 0; lane < GROUP; lane++) all += of[lane].count;
        return all;
    }
};

// Neurons whose spikes differ, for a stage that pools them.
struct Flips {
    uint32_t* words;         // [neurons][T], zeros before and after
    uint8_t* listed;         // [neurons] likewise
    Grown<int32_t> which;
};

// Steps and vectors in which a sum or a position differs; none where last is 0. Of the steps
// between, those that may differ are bits, modulo 64.
struct Span {
    int32_t first, last, block0, block1;
    uint64_t steps;
};

INLINE Span span_at(int32_t step, int64_t block0, int64_t block1) {
    return {step, step + 1, (int32_t)block0, (int32_t)block1, (uint64_t)1 << (step & 63)};
}
INLINE void add_step(Span& span, int32_t step) {
    span.first = step < span.first ? step : span.first;
    span.last = step >= span.last ? step + 1 : span.last;
    span.steps |= (uint64_t)1 << (step & 63);
}

struct Spans {
    Span* at;                // [slots][elements], zeros before and after
    Grown<int32_t> which;
};

struct LayerRun {
    const Model* model;
    const Stage* stage;
    int64_t group;
    const Events* in;
    Events* out;             // null behind the last stage
    Flips* flips;            // instead of `out` if the next stage pools spikes
    int64_t* outputs;        // [samples][outputs] of the trial
    uint32_t* touched;       // [G] samples whose outputs were written
    int32_t* drive;          // [slots][Q][T][P], zeros before and after
    Spans *sums, *positions;
    const uint8_t* mine;     // [M][P / 8] neurons that are computed elsewhere
    bool beyond, wide;       // whether lines leave their range, and 32 bits then may be too few
};

INLINE void list_flips(Flips& flips, int64_t neuron) {
    if (flips.listed[neuron]) return;
    flips.listed[neuron] = 1;
    flips.which.push((int32_t)neuron);
}

INLINE void tell(const LayerRun& run, int lane, int step, int64_t neuron, int sign) {
    if (run.flips) {
        list_flips(*run.flips, neuron);
        run.flips->words[neuron * run.model->steps + step] |= 1u << lane;
    } else if (run.out) {
        run.out->of[lane].push({step, (int32_t)neuron, sign});
    } else {
        run.touched[run.group] |= 1u << lane;
        run.outputs[(run.group * GROUP + lane) * run.model->outputs + neuron] += sign;
    }
}

// A vector of channels at one position of one sample.
template <class S> struct Job {
    const S *current, *membrane, *total;
    const int32_t *threshold, *multiplier, *window;
    const uint8_t* spikes;
    int32_t* drive;
    int64_t position, block;
    int lane, ignored, first, last;
    uint64_t steps;
};

constexpr int JOBS = 4;

// The windows of jobs: where their sums lie.
struct Windows {
    int64_t at[JOBS][LARGEST_WINDOW];
    int count[JOBS];
};

template <class S>
INLINE void find_windows(const Stage& s, const Job<S> (&jobs)[JOBS], int64_t steps, Windows& to) {
    for (int j = 0; j < JOBS; j++) {
        to.count[j] = 0;
        for (int i = 0; i < s.window; i++)
            if (jobs[j].window[i] >= 0)
                to.at[j][to.count[j]++] = jobs[j].window[i] * steps * s.padded;
    }
}

// A current from sums that may differ.
template <class S, int POOLED>
INLINE v8i pooled_at(const Stage& s, const Job<S>& job, const int64_t* windows, int count,
                     int64_t at) {
    if (POOLED == MAXIMUM) {
        v8i most = load(job.total + windows[0] + at) + load(job.drive + windows[0] + at);
        for (int i = 1; i < count; i++) {
            const int64_t here = windows[i] + at;
            const v8i x = load(job.total + here) + load(job.drive + here);
            most = x > most ? x : most;
        }
        return most;
    }
    v8i all = {};
    for (int i = 0; i < count; i++)
        all += load(job.total + windows[i] + at) + load(job.drive + windows[i] + at);
    return requantised(all, s.q_used ? load(job.multiplier) : (v8i){}, s);
}

// Four jobs from the first step at which one differs on.
template <class T, class S, int FIT, int ORDER, int POOLED>
static void run_blocks(const LayerRun& run, const Job<S> (&jobs)[JOBS]) {
    typedef typename Lanes<T>::type V;
    const Stage& s = *run.stage;
    const Rule<T> rule(s);
    const int64_t stride = s.padded, words = stride / PACK, steps = run.model->steps;
    Windows windows;
    if (POOLED) find_windows(s, jobs, steps, windows);
    uint64_t differ = 0;
    V v[JOBS] = {}, f[JOBS] = {}, threshold[JOBS];
    int first = (int)steps, last = 0;
    for (int j = 0; j < JOBS; j++) {
        first = jobs[j].first < first ? jobs[j].first : first;
        last = jobs[j].last > last ? jobs[j].last : last;
        differ |= jobs[j].steps;
    }
    for (int j = 0; j < JOBS; j++) {
        threshold[j] = widen<T>(load(jobs[j].threshold));
        if (first == 0) continue;
        v[j] = widen<T>(load(jobs[j].membrane + (first - 1) * stride));
        f[j] = widen<T>(spread(jobs[j].spikes[(first - 1) * words]));
    }
    for (int64_t t = first; t < steps; t++) {
        V c[JOBS];
        const int64_t at = t * stride;
        if (POOLED && t < last && differ >> (t & 63) & 1) {
            for (int j = 0; j < JOBS; j++)
                c[j] = widen<T>(pooled_at<S, POOLED>(s, jobs[j], windows.at[j], windows.count[j], at));
        } else if (POOLED) {
            for (int j = 0; j < JOBS; j++) c[j] = widen<T>(load(jobs[j].current + at));
        } else {
            for (int j = 0; j < JOBS; j++) {
                int32_t* more = jobs[j].drive + at;
                c[j] = widen<T>(load(jobs[j].current + at) + load(more));
                if (t < last) store(more, (v8i){});
            }
        }
        step_<T, FIT, ORDER>(v, f, c, threshold, rule);
        uint32_t found[JOBS], any = 0;
        for (int j = 0; j < JOBS; j++) {
            found[j] = signs(narrow(f[j])) ^ jobs[j].spikes[t * words];
            any |= found[j];
        }
        if (any) {
            for (int j = 0; j < JOBS; j++) {
                uint32_t bits = found[j] & ~(uint32_t)jobs[j].ignored;
                for (; bits; bits &= bits - 1) {
                    const int bit = __builtin_ctz(bits);
                    const int sign = jobs[j].spikes[t * words] >> bit & 1 ? -1 : 1;
                    const int64_t n = jobs[j].block * PACK + bit;
                    tell(run, jobs[j].lane, (int)t, n * s.positions + jobs[j].position, sign);
                }
            }
        } else if (t + 1 >= last) {
            V wrong = (V){};
            for (int j = 0; j < JOBS; j++)
                wrong |= v[j] ^ widen<T>(load(jobs[j].membrane + t * stride));
            if (!signs(narrow((V)(wrong != (V){})))) return;
        }
    }
}

template <class S, int FIT, int POOLED>
static void run_ordered(const LayerRun& run, const Job<S> (&jobs)[JOBS]) {
    const int order = FEW ? 0 : usual_order(*run.stage);
    if (order == 1) run_blocks<int32_t, S, FIT, FEW ? 0 : 1, POOLED>(run, jobs);
    else if (order == 2) run_blocks<int32_t, S, FIT, FEW ? 0 : 2, POOLED>(run, jobs);
    else run_blocks<int32_t, S, FIT, 0, POOLED>(run, jobs);
}

template <class S, int POOLED>
static void run_four(const LayerRun& run, const Job<S> (&jobs)[JOBS]) {
    const Stage& s = *run.stage;
    if (s.wide || run.wide) run_blocks<int64_t, S, FITTED, 0, POOLED>(run, jobs);
    else if (s.free_slack < 0 || run.beyond) run_ordered<S, FITTED, POOLED>(run, jobs);
    else run_ordered<S, FREE, POOLED>(run, jobs);
}

INLINE void cover(Spans& spans, int64_t at, const Span& more) {
    Span& x = spans.at[at];
    if (!x.last) {
        spans.which.push((int32_t)at);
        x = more;
        return;
    }
    x.first = more.first < x.first ? more.first : x.first;
    x.last = more.last > x.last ? more.last : x.last;
    x.block0 = more.block0 < x.block0 ? more.block0 : x.block0;
    x.block1 = more.block1 > x.block1 ? more.block1 : x.block1;
    x.steps |= more.steps;
}

// Adds what a line that differs adds to a sum.
INLINE void add_row(const int32_t* row, int32_t delta, int64_t from, int64_t stop, int32_t* to) {
    if (delta == 1) {
        for (int64_t n = from; n < stop; n += PACK) store(to + n, load(to + n) + load(row + n));
    } else if (delta == -1) {
        for (int64_t n = from; n < stop; n += PACK) store(to + n, load(to + n) - load(row + n));
    } else {
        for (int64_t n = from; n < stop; n += PACK)
            store(to + n, load(to + n) + load(row + n) * delta);
    }
}

// Weighted differences of a sample's lines, where each reads all weights of its row.
static void gather_only(const LayerRun& run, int lane, int slot) {
    const Stage& s = *run.stage;
    const int64_t width = s.padded, steps = run.model->steps;
    const Grown<Event>& list = run.in->of[lane];
    int32_t* drive = run.drive + slot * steps * width;
    int32_t first = (int32_t)steps, last = 0;
    const Event* at = list.at;
    for (int64_t i = 0; i < list.count; i++) {
        const Event e = at[i];
        add_row(s.weight + e.line * width, e.delta, 0, width, drive + e.step * width);
        first = e.step < first ? e.step : first;
        last = e.step >= last ? e.step + 1 : last;
    }
    const Span span = {first, last, 0, (int32_t)(width / PACK), ~(uint64_t)0};
    cover(*run.sums, slot, span);
}

// Weighted differences of a sample's lines: events of one line in a row at once.
static void gather(const LayerRun& run, int lane, int slot) {
    const Stage& s = *run.stage;
    const int64_t width = s.padded, steps = run.model->steps, count = run.in->of[lane].count;
    const Event* list = run.in->of[lane].at;
    for (int64_t i = 0, stop; i < count; i = stop) {
        const int32_t line = list[i].line;
        Span span = span_at(list[i].step, 0, 0);
        for (stop = i + 1; stop < count && list[stop].line == line; stop++)
            add_step(span, list[stop].step);
        for (int32_t r = s.reach_start[line]; r < s.reach_start[line + 1]; r++) {
            const Reach reach = s.reach[r];
            const int64_t sum = slot * s.sums + reach.sum;
            span.block0 = reach.block0;
            span.block1 = reach.block1;
            cover(*run.sums, sum, span);
            int32_t* drive = run.drive + sum * steps * width;
            const int32_t* row = s.weight + reach.row * width;
            for (int64_t e = i; e < stop; e++)
                add_row(row, list[e].delta, reach.block0 * PACK, reach.block1 * PACK,
                        drive + list[e].step * width);
        }
    }
}

// From sums that differ to positions of neurons.
static void own(const LayerRun& run) {
    const Stage& s = *run.stage;
    for (int64_t i = 0; i < run.sums->which.count; i++) {
        const int32_t at = run.sums->which.at[i];
        const int64_t sum = at % s.sums, slot = at / s.sums;
        for (int32_t o = s.owner_start[sum]; o < s.owner_start[sum + 1]; o++)
            cover(*run.positions, slot * s.positions + s.owner[o], run.sums->at[at]);
    }
}

static void clear(const LayerRun& run, bool drive) {
    const Stage& s = *run.stage;
    const int64_t steps = run.model->steps;
    for (int64_t i = 0; i < run.sums->which.count; i++) {
        Span& x = run.sums->at[run.sums->which.at[i]];
        int32_t* from = run.drive + (run.sums->which.at[i] * steps + x.first) * s.padded;
        if (drive) memset(from, 0, (x.last - x.first) * s.padded * sizeof *from);
        x.last = 0;
    }
    run.sums->which.count = 0;
    for (int64_t i = 0; i < run.positions->which.count; i++)
        run.positions->at[run.positions->which.at[i]].last = 0;
    run.positions->which.count = 0;
}

template <class S> static Job<S> job_of(const LayerRun& run, int lane, int64_t slot, int64_t m,
                                        int64_t block, const Span& span) {
    const Stage& s = *run.stage;
    const int64_t sample = run.group * GROUP + lane, steps = run.model->steps, width = s.padded;
    const int64_t at = (sample * s.positions + m) * steps * width + block * PACK;
    Job<S> job;
    job.current = (const S*)s.current_n + at;
    job.membrane = (const S*)s.membrane_n + at;
    job.spikes = s.spikes_n + at / PACK;
    job.threshold = s.threshold + block * PACK;
    job.multiplier = s.q_multiplier + block * PACK;
    job.window = s.windows + m * s.window;
    job.total = (const S*)s.total_n + sample * s.sums * steps * width + block * PACK;
    job.drive = run.drive + slot * s.sums * steps * width + block * PACK;
    if (!s.pool) job.drive += m * steps * width;
    job.position = m;
    job.block = block;
    job.lane = lane;
    job.ignored = run.mine[m * (width / PACK) + block];
    job.first = span.first;
    job.last = span.last;
    job.steps = span.steps;
    return job;
}

// Every sample of a group that has incoming differences.
template <class S, int POOLED> static void run_stage(const LayerRun& run) {
    const Stage& s = *run.stage;
    const int64_t blocks = s.padded / PACK;
    const int together = s.sums * blocks >= JOBS ? 1 : (int)(JOBS / (s.sums * blocks));
    Spans& found = POOLED ? *run.positions : *run.sums;
    int lane = 0;
    while (lane < GROUP) {
        int lanes[JOBS], count = 0;
        for (; lane < GROUP && count < together; lane++) {
            if (!run.in->of[lane].count) continue;
            if (s.direct) gather_only(run, lane, count);
            else gather(run, lane, count);
            lanes[count++] = lane;
        }
        if (!count) return;
        if (POOLED) own(run);
        Job<S> jobs[JOBS];
        int ready = 0;
        for (int64_t i = 0; i < found.which.count; i++) {
            const int32_t at = found.which.at[i], positions = (int32_t)s.positions;
            const int32_t slot = at / positions, m = at % positions;
            const Span span = found.at[at];
            for (int64_t block = span.block0; block < span.block1; block++) {
                jobs[ready++] = job_of<S>(run, lanes[slot], slot, m, block, span);
                if (ready < JOBS) continue;
                run_four<S, POOLED>(run, jobs);
                ready = 0;
            }
        }
        for (int j = ready; ready && j < JOBS; j++) {
            jobs[j] = jobs[0];
            jobs[j].ignored = 255;
        }
        if (ready) run_four<S, POOLED>(run, jobs);
        clear(run, POOLED);
    }
}

template <class S> static void run_golden_kept_as(const LayerRun& run) {
    if (run.stage->pool == MAXIMUM) run_stage<S, MAXIMUM>(run);
    else if (run.stage->pool == TOTAL) run_stage<S, TOTAL>(run);
    else run_stage<S, NO_POOL>(run);
}

static void run_layer(const LayerRun& run) {
    if (run.stage->narrow) run_golden_kept_as<int16_t>(run);
    else run_golden_kept_as<int32_t>(run);
}
