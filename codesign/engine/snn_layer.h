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

// Steps and vectors in which a sum or a position differs; none where last is 0.
struct Span { int32_t first, last, block0, block1; };

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

INLINE void tell(const LayerRun& run, int lane, int step, int64_t neuron, int sign) {
    if (run.flips) {
        Flips& f = *run.flips;
        if (!f.listed[neuron]) {
            f.listed[neuron] = 1;
            f.which.push((int32_t)neuron);
        }
        f.words[neuron * run.model->steps + step] |= 1u << lane;
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
};

constexpr int JOBS = 4;

template <class S, int POOLED>
INLINE v8i current_at(const Stage& s, const Job<S>& job, int64_t t, int64_t steps) {
    if (!POOLED) return load(job.current + t * s.padded) + load(job.drive + t * s.padded);
    Pooling pooling(s);
    for (int i = 0; i < s.window; i++) {
        if (job.window[i] < 0) continue;
        const int64_t at = (job.window[i] * steps + t) * s.padded;
        pooling.add(load(job.total + at) + load(job.drive + at), s);
    }
    return requantised(pooling.value, s.q_used ? load(job.multiplier) : (v8i){}, s);
}

// Four jobs from the first step at which one differs on.
template <class T, class S, int FIT, int ORDER, int POOLED>
static void run_blocks(const LayerRun& run, const Job<S> (&jobs)[JOBS]) {
    typedef typename Lanes<T>::type V;
    const Stage& s = *run.stage;
    const Rule<T> rule(s);
    const int64_t stride = s.padded, words = s.padded / PACK, steps = run.model->steps;
    V v[JOBS] = {}, f[JOBS] = {}, threshold[JOBS];
    int first = (int)steps, last = 0;
    for (int j = 0; j < JOBS; j++) {
        first = jobs[j].first < first ? jobs[j].first : first;
        last = jobs[j].last > last ? jobs[j].last : last;
    }
    for (int j = 0; j < JOBS; j++) {
        threshold[j] = widen<T>(load(jobs[j].threshold));
        if (first == 0) continue;
        v[j] = widen<T>(load(jobs[j].membrane + (first - 1) * stride));
        f[j] = widen<T>(spread(jobs[j].spikes[(first - 1) * words]));
    }
    for (int64_t t = first; t < steps; t++) {
        V c[JOBS];
        for (int j = 0; j < JOBS; j++) {
            if (POOLED && t >= last) {
                c[j] = widen<T>(load(jobs[j].current + t * stride));
                continue;
            }
            c[j] = widen<T>(current_at<S, POOLED>(s, jobs[j], t, steps));
            if (!POOLED && t < last) store(jobs[j].drive + t * stride, (v8i){});
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
    Span span = {(int32_t)steps, 0, 0, (int32_t)(width / PACK)};
    for (int64_t i = 0; i < list.count; i++) {
        const Event e = list.at[i];
        add_row(s.weight + e.line * width, e.delta, 0, width, drive + e.step * width);
        span.first = e.step < span.first ? e.step : span.first;
        span.last = e.step >= span.last ? e.step + 1 : span.last;
    }
    cover(*run.sums, slot, span);
}

// Weighted differences of a sample's lines.
static void gather(const LayerRun& run, int lane, int slot) {
    const Stage& s = *run.stage;
    const int64_t width = s.padded, steps = run.model->steps;
    const Grown<Event>& list = run.in->of[lane];
    for (int64_t i = 0; i < list.count; i++) {
        const Event e = list.at[i];
        for (int32_t r = s.reach_start[e.line]; r < s.reach_start[e.line + 1]; r++) {
            const Reach reach = s.reach[r];
            const int64_t sum = slot * s.sums + reach.sum;
            cover(*run.sums, sum, {e.step, e.step + 1, reach.block0, reach.block1});
            add_row(s.weight + reach.row * width, e.delta, reach.block0 * PACK,
                    reach.block1 * PACK, run.drive + (sum * steps + e.step) * width);
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
            const int64_t at = found.which.at[i], slot = at / s.positions, m = at % s.positions;
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

static void run_layer(const LayerRun& run) {
    if (run.stage->narrow) {
        if (run.stage->pool) run_stage<int16_t, 1>(run);
        else run_stage<int16_t, 0>(run);
    } else {
        if (run.stage->pool) run_stage<int32_t, 1>(run);
        else run_stage<int32_t, 0>(run);
    }
}
