// Many trials by one thread. Included once for each instruction set, inside of its namespace.

template <class X> static X* made(int64_t count) {
    X* at = (X*)calloc(count, sizeof(X));
    if (!at) abort();
    return at;
}

// What a call gives, of each trial: its outputs, or how many samples ended how.
struct Wanted {
    int64_t* outputs;       // [trials][samples][outputs], or null
    const int64_t* labels;  // [samples]
    int64_t* counts;        // [trials][4] masked, tolerated, SDC, correct
    uint8_t* ran;           // [trials] 0: proved masked, 1: computed
};

static int64_t guess(const int64_t* outputs, int64_t count) {
    int64_t best = 0;
    for (int64_t i = 1; i < count; i++) best = outputs[i] > outputs[best] ? i : best;
    return best;
}

// How the samples of a trial ended; its outputs become golden again.
static void count_outcomes(Scratch& z, const int64_t* guesses, const int64_t* labels,
                           int64_t* counts) {
    const Model& m = *z.model;
    for (int64_t g = 0; g < m.groups; g++) {
        for (uint32_t bits = z.touched[g]; bits; bits &= bits - 1) {
            const int64_t sample = g * GROUP + __builtin_ctz(bits);
            int64_t* faulty = z.outputs + sample * m.outputs;
            const int64_t* golden = m.golden + sample * m.outputs;
            const int64_t bytes = m.outputs * sizeof *faulty;
            if (!memcmp(faulty, golden, bytes)) continue;
            const int64_t now = guess(faulty, m.outputs), then = guesses[sample];
            counts[0]--;
            counts[now == then ? 1 : 2]++;
            counts[3] += (now == labels[sample]) - (then == labels[sample]);
            memcpy(faulty, golden, bytes);
        }
        z.touched[g] = 0;
    }
}

static void run_each(Scratch& z, const Row* rows, const int64_t* starts, int64_t first,
                     int64_t last, const Wanted& wanted) {
    const Model& m = *z.model;
    const int64_t size = m.samples * m.outputs;
    int64_t *own = made<int64_t>(size), *guesses = made<int64_t>(m.samples), correct = 0;
    memcpy(own, m.golden, size * sizeof *own);
    for (int64_t i = 0; i < m.samples && !wanted.outputs; i++) {
        guesses[i] = guess(m.golden + i * m.outputs, m.outputs);
        correct += guesses[i] == wanted.labels[i];
    }
    for (int64_t i = first; i < last; i++) {
        int64_t* outputs = wanted.outputs ? wanted.outputs + i * size : own;
        if (wanted.outputs) memcpy(outputs, m.golden, size * sizeof *outputs);
        wanted.ran[i] = run_trial(z, rows + starts[i], starts[i + 1] - starts[i], outputs);
        if (wanted.outputs) continue;
        int64_t* counts = wanted.counts + 4 * i;
        counts[0] = m.samples;
        counts[1] = counts[2] = 0;
        counts[3] = correct;
        count_outcomes(z, guesses, wanted.labels, counts);
    }
    free(own);
    free(guesses);
}

static void run_trials(const Model& m, const Row* rows, const int64_t* starts, int64_t first,
                       int64_t last, const Wanted& wanted) {
    int64_t widest = PACK, stamps = 0;
    for (int s = 0; s < m.stages; s++) {
        widest = m.stage[s].padded > widest ? m.stage[s].padded : widest;
        stamps = m.stage[s].inputs > stamps ? m.stage[s].inputs : stamps;
    }
    Scratch z = {};
    z.model = &m;
    z.drive = made<int32_t>(m.steps * GROUP);
    z.blocks = made<int32_t>(JOBS * m.steps * widest);
    z.nothing = made<int32_t>(m.steps * PACK);
    z.stamp = made<int32_t>(stamps > widest ? stamps : widest);
    z.changed = made<uint32_t>(m.steps);
    z.touched = made<uint32_t>(m.groups);
    z.ignored = made<uint8_t>(widest / PACK);
    z.lines.room = 1;
    z.lines.delta = made<int32_t>(m.steps * GROUP);
    Event* events = (Event*)malloc(2 * GROUP * m.steps * widest * sizeof(Event));
    if (!events) abort();
    for (int i = 0; i < 2 * GROUP; i++)
        z.events[i / GROUP].list[i % GROUP] = events + i * m.steps * widest;
    run_each(z, rows, starts, first, last, wanted);
    z.faults.release();
    z.acting.release();
    z.mine.release();
    z.cuts.release();
    z.neurons.release();
    z.made.phases.release();
    z.made.fixes.release();
    z.made.breaks.release();
    z.lines.which.release();
    z.lines.changed.release();
    free(z.lines.delta);
    free(z.drive);
    free(z.blocks);
    free(z.nothing);
    free(z.stamp);
    free(z.changed);
    free(z.touched);
    free(z.ignored);
    free(events);
}
