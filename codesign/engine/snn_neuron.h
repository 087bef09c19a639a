// One neuron, 32 samples as lanes, over time: where faults act. Included once for each
// instruction set, inside of its namespace.

struct NeuronRun {
    const Stage* stage;
    int64_t neuron, group, groups, steps;
    const Phase* phases;
    int phase_count;
    const Fix* fixes;
    const int32_t* drive;  // [T][32] added to the currents after scaling, or null
    int32_t scale;
    int32_t first, last;   // steps before first and, once converged, from last on are golden
    int32_t fit, wide;
    uint32_t* changed;     // [T] samples whose spike differs from golden
    int32_t begin, end;    // steps of `changed` that were written
};

constexpr int PACKS = GROUP / PACK;

template <class T, class S, class V> INLINE void widen4(V (&to)[PACKS], const S* from) {
    for (int j = 0; j < PACKS; j++) to[j] = widen<T>(load(from + PACK * j));
}

template <class T, class V>
INLINE void drive4(V (&current)[PACKS], const NeuronRun& run, int t, int mode) {
    if (mode == 0) return;
    const int32_t* at = run.drive + (int64_t)t * GROUP;
    for (int j = 0; j < PACKS; j++) {
        V more = widen<T>(load(at + PACK * j));
        current[j] += mode == 1 ? more : more * (T)run.scale;
    }
}

template <class V> INLINE uint32_t signs4(const V (&f)[PACKS]) {
    uint32_t bits = 0;
    for (int j = 0; j < PACKS; j++) bits |= signs(narrow(f[j])) << (PACK * j);
    return bits;
}

template <class T, class S, class V> INLINE bool same4(const V (&v)[PACKS], const S* golden) {
    V wrong = v[0] ^ widen<T>(load(golden));
    for (int j = 1; j < PACKS; j++) wrong |= v[j] ^ widen<T>(load(golden + PACK * j));
    return !signs(narrow((V)(wrong != (V){})));
}

template <class T, class V>
INLINE void fix4(V (&v)[PACKS], const NeuronRun& run, int start, int count) {
    for (int i = 0; i < count; i++)
        for (int j = 0; j < PACKS; j++) v[j] = corrupted<T>(v[j], run.fixes[start + i]);
}

INLINE uint32_t on_line(uint32_t bits, const Phase& phase) {
    return (bits & phase.line1) | (~bits & phase.line0);
}

// Where a run finds its golden values.
template <class S> struct Tracks {
    const S *current, *membrane;
    const uint32_t* spikes;
    int64_t stride;  // of the currents, from step to step
};

template <class S> INLINE Tracks<S> tracks_of(const NeuronRun& run) {
    const Stage& s = *run.stage;
    const int64_t place = run.neuron * run.groups + run.group;
    return {(const S*)s.current + place * (s.still ? 1 : run.steps) * GROUP,
            (const S*)s.membrane + place * run.steps * GROUP, s.spikes + place * run.steps,
            s.still ? 0 : GROUP};
}

// Steps of a phase in which more is wrong than threshold and line; true if converged.
template <class T, class S, class V>
static __attribute__((noinline)) bool broken_steps(NeuronRun& run, const Phase& phase, int t,
                                                   V (&v)[PACKS], V (&f)[PACKS]) {
    const Rule<T> rule(*run.stage);
    const Tracks<S> at = tracks_of<S>(run);
    V threshold[PACKS];
    for (int j = 0; j < PACKS; j++) threshold[j] = (V){} + (T)phase.threshold;
    for (; t < phase.last; t++) {
        V c[PACKS];
        widen4<T>(c, at.current + t * at.stride);
        if (run.drive) drive4<T>(c, run, t, 2);
        fix4<T>(v, run, phase.begin, phase.begins);
        fix4<T>(c, run, phase.cur, phase.curs);
        broken_step<T>(v, f, c, threshold, rule, phase);
        fix4<T>(v, run, phase.end, phase.ends);
        const uint32_t fired = signs4(f);
        run.changed[t] = on_line(fired, phase) ^ at.spikes[t];
        if (t < run.last || fired != at.spikes[t]) continue;
        if (same4<T>(v, at.membrane + (int64_t)t * GROUP)) {
            run.end = t + 1;
            return true;
        }
    }
    return false;
}

template <class T, class S, int FIT, int ORDER, int DRIVE> static void run_neuron(NeuronRun& run) {
    typedef typename Lanes<T>::type V;
    const Rule<T> rule(*run.stage);
    const Tracks<S> at = tracks_of<S>(run);
    V v[PACKS] = {}, f[PACKS] = {};
    run.begin = run.end = run.first;
    if (run.first > 0) {
        widen4<T>(v, at.membrane + (int64_t)(run.first - 1) * GROUP);
        for (int j = 0; j < PACKS; j++)
            f[j] = widen<T>(spread(at.spikes[run.first - 1] >> PACK * j));
    }
    for (int p = 0; p < run.phase_count; p++) {
        const Phase& phase = run.phases[p];
        int t = phase.first > run.first ? phase.first : run.first;
        if (!phase.plain) {
            if (t < phase.last && broken_steps<T, S>(run, phase, t, v, f)) return;
            continue;
        }
        V threshold[PACKS];
        for (int j = 0; j < PACKS; j++) threshold[j] = (V){} + (T)phase.threshold;
        for (; t < phase.last; t++) {
            V c[PACKS];
            widen4<T>(c, at.current + t * at.stride);
            drive4<T>(c, run, t, DRIVE);
            step_<T, FIT, ORDER>(v, f, c, threshold, rule);
            const uint32_t fired = signs4(f);
            run.changed[t] = on_line(fired, phase) ^ at.spikes[t];
            if (t < run.last || fired != at.spikes[t]) continue;
            if (same4<T>(v, at.membrane + (int64_t)t * GROUP)) {
                run.end = t + 1;
                return;
            }
        }
    }
    run.end = (int32_t)run.steps;
}

template <class S, int FIT, int ORDER> static void run_driven(NeuronRun& run) {
    if (!run.drive) run_neuron<int32_t, S, FIT, ORDER, 0>(run);
    else if (run.scale == 1 && !FEW) run_neuron<int32_t, S, FIT, ORDER, 1>(run);
    else run_neuron<int32_t, S, FIT, ORDER, 2>(run);
}

template <class S, int FIT> static void run_ordered(NeuronRun& run) {
    const int order = FEW ? 0 : usual_order(*run.stage);
    if (order == 1) run_driven<S, FIT, FEW ? 0 : 1>(run);
    else if (order == 2) run_driven<S, FIT, FEW ? 0 : 2>(run);
    else run_driven<S, FIT, 0>(run);
}

template <class S> static void run_golden_kept_as(NeuronRun& run) {
    if (run.wide) {
        if (run.drive) run_neuron<int64_t, S, FITTED, 0, 2>(run);
        else run_neuron<int64_t, S, FITTED, 0, 0>(run);
    } else if (run.fit) {
        run_ordered<S, FITTED>(run);
    } else {
        run_ordered<S, FREE>(run);
    }
}

static void run_any(NeuronRun& run) {
    if (run.stage->narrow) run_golden_kept_as<int16_t>(run);
    else run_golden_kept_as<int32_t>(run);
}

// Whether a neuron does not fire in any sample of the group while its faults act.
static bool silent(const NeuronRun& run) {
    const uint32_t* spikes =
        run.stage->spikes + (run.neuron * run.groups + run.group) * run.steps;
    uint32_t any = 0;
    for (int t = run.first; t < run.last; t++) any |= spikes[t];
    return !any;
}

// A neuron whose membrane goes its golden way and whose line alone is wrong; true if it differs.
static bool run_line(NeuronRun& run) {
    const Stage& s = *run.stage;
    const uint32_t* spikes = s.spikes + (run.neuron * run.groups + run.group) * run.steps;
    uint32_t any = 0;
    run.begin = run.first;
    run.end = run.last;
    for (int p = 0; p < run.phase_count; p++) {
        const Phase& phase = run.phases[p];
        const int from = phase.first > run.begin ? phase.first : run.begin;
        const int to = phase.last < run.end ? phase.last : run.end;
        for (int t = from; t < to; t++)
            any |= run.changed[t] = on_line(spikes[t], phase) ^ spikes[t];
    }
    return any != 0;
}
