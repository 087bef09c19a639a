// All neurons of a stage, eight a vector, where spikes from other neurons differ from golden.
// Included once for each instruction set, inside of its namespace.

struct Event {
    int32_t step;
    int32_t neuron;
    int32_t sign;  // +1: a spike that golden does not have; -1: one that it has
};

// Spikes that differ, by sample of a group.
struct Events {
    Event* list[GROUP];
    int32_t count[GROUP];
};

struct LayerRun {
    const Model* model;
    const Stage* stage;
    int64_t group;
    const Events* in;
    Events* out;             // null behind the last stage
    int64_t* outputs;        // [samples][outputs] of the trial
    uint32_t* touched;       // [G] samples whose outputs were written
    int32_t* drive;          // [4][T][P], zeros before and after
    int32_t* nothing;        // [T][8] zeros
    const uint8_t* mine;     // [P / 8] neurons that are computed elsewhere
};

INLINE void tell(const LayerRun& run, int lane, int step, int64_t neuron, int sign) {
    if (run.out) {
        run.out->list[lane][run.out->count[lane]++] = {step, (int32_t)neuron, sign};
    } else {
        run.touched[run.group] |= 1u << lane;
        run.outputs[(run.group * GROUP + lane) * run.model->outputs + neuron] += sign;
    }
}

struct Job {
    const int32_t *current, *membrane, *threshold;
    const uint8_t* spikes;
    int32_t* drive;
    int64_t stride, block;
    int lane, ignored;
};

constexpr int JOBS = 4;

// Four blocks of neurons from step `first` on; incoming differences end before `last`.
template <class T, int FIT, int ORDER>
static void run_blocks(const LayerRun& run, const Job (&jobs)[JOBS], int first, int last) {
    typedef typename Lanes<T>::type V;
    const Stage& s = *run.stage;
    const Rule<T> rule(s);
    const int64_t stride = s.padded, words = s.padded / PACK, steps = run.model->steps;
    V v[JOBS] = {}, f[JOBS] = {}, threshold[JOBS];
    for (int j = 0; j < JOBS; j++) {
        threshold[j] = widen<T>(load(jobs[j].threshold));
        if (first == 0) continue;
        v[j] = widen<T>(load(jobs[j].membrane + (first - 1) * stride));
        f[j] = widen<T>(spread(jobs[j].spikes[(first - 1) * words]));
    }
    for (int64_t t = first; t < steps; t++) {
        V c[JOBS];
        for (int j = 0; j < JOBS; j++) {
            int32_t* more = jobs[j].drive + t * jobs[j].stride;
            c[j] = widen<T>(load(jobs[j].current + t * stride) + load(more));
            if (t < last) store(more, (v8i){});
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
                    tell(run, jobs[j].lane, (int)t, jobs[j].block * PACK + bit, sign);
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

template <int FIT>
static void run_ordered(const LayerRun& run, const Job (&jobs)[JOBS], int first, int last) {
    const int order = FEW ? 0 : usual_order(*run.stage);
    if (order == 1) run_blocks<int32_t, FIT, FEW ? 0 : 1>(run, jobs, first, last);
    else if (order == 2) run_blocks<int32_t, FIT, FEW ? 0 : 2>(run, jobs, first, last);
    else run_blocks<int32_t, FIT, 0>(run, jobs, first, last);
}

static void run_four(const LayerRun& run, const Job (&jobs)[JOBS], int first, int last) {
    if (run.stage->wide) run_blocks<int64_t, FITTED, 0>(run, jobs, first, last);
    else if (run.stage->free_slack < 0) run_ordered<FITTED>(run, jobs, first, last);
    else run_ordered<FREE>(run, jobs, first, last);
}

// Weighted differences of the incoming spikes, and the steps that they span.
static void gather(const LayerRun& run, int lane, int32_t* drive, int& first, int& last) {
    const int64_t width = run.stage->padded;
    const Event* list = run.in->list[lane];
    for (int i = 0; i < run.in->count[lane]; i++) {
        const Event e = list[i];
        const int32_t* row = run.stage->weight + e.neuron * width;
        int32_t* to = drive + e.step * width;
        if (e.sign > 0) {
            for (int64_t n = 0; n < width; n += PACK) store(to + n, load(to + n) + load(row + n));
        } else {
            for (int64_t n = 0; n < width; n += PACK) store(to + n, load(to + n) - load(row + n));
        }
        first = e.step < first ? e.step : first;
        last = e.step >= last ? e.step + 1 : last;
    }
}

// Every sample of a group that has incoming differences.
static void run_layer(const LayerRun& run) {
    const Stage& s = *run.stage;
    const int64_t width = s.padded, blocks = width / PACK, steps = run.model->steps;
    const int together = blocks >= JOBS ? 1 : (int)(JOBS / blocks);
    int lane = 0;
    while (lane < GROUP) {
        int lanes[JOBS], count = 0, first = (int)steps, last = 0;
        for (; lane < GROUP && count < together; lane++) {
            if (!run.in->count[lane]) continue;
            gather(run, lane, run.drive + count * steps * width, first, last);
            lanes[count++] = lane;
        }
        if (!count) return;
        const int64_t all = count * blocks;
        for (int64_t done = 0; done < all; done += JOBS) {
            Job jobs[JOBS];
            for (int j = 0; j < JOBS; j++) {
                const bool dummy = done + j >= all;
                const int64_t at = dummy ? done : done + j, block = at % blocks;
                const int64_t sample = run.group * GROUP + lanes[at / blocks];
                jobs[j].current = s.current_n + sample * steps * width + block * PACK;
                jobs[j].membrane = s.membrane_n + sample * steps * width + block * PACK;
                jobs[j].spikes = s.spikes_n + sample * steps * blocks + block;
                jobs[j].threshold = s.threshold + block * PACK;
                jobs[j].drive = run.drive + at / blocks * steps * width + block * PACK;
                jobs[j].stride = width;
                jobs[j].block = block;
                jobs[j].lane = lanes[at / blocks];
                jobs[j].ignored = run.mine[block];
                if (dummy) {
                    jobs[j].drive = run.nothing;
                    jobs[j].stride = PACK;
                    jobs[j].ignored = 255;
                }
            }
            run_four(run, jobs, first, last);
        }
    }
}
