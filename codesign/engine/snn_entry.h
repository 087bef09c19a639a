// Many trials by one thread. Included once for each instruction set, inside of its namespace.

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

// Sizes of what a thread needs.
struct Sizes { int64_t blocks, drives, stamps, ignored, sums, positions, neurons; };

INLINE void raise(int64_t& most, int64_t value) { most = value > most ? value : most; }

static Sizes sizes_of(const Model& m) {
    Sizes z = {JOBS * m.steps * PACK, 0, 0, 0, JOBS, JOBS, 0};
    for (int i = 0; i < m.stages; i++) {
        const Stage& s = m.stage[i];
        raise(z.blocks, s.sums * m.steps * s.padded);
        // Stages of few sums take several samples together.
        raise(z.blocks, JOBS * m.steps * s.padded);
        raise(z.drives, (s.pool ? s.window + 1 : 1) * m.steps * GROUP);
        raise(z.stamps, s.inputs > s.terms ? s.inputs : s.terms);
        raise(z.stamps, s.neurons);
        raise(z.ignored, s.positions * (s.padded / PACK));
        raise(z.sums, JOBS * s.sums);
        raise(z.positions, JOBS * s.positions);
        raise(z.neurons, s.neurons);
    }
    return z;
}

static void run_trials(const Model& m, const Row* rows, const int64_t* starts, int64_t first,
                       int64_t last, const Wanted& wanted) {
    const Sizes sizes = sizes_of(m);
    Scratch z = {};
    z.model = &m;
    z.drive = made<int32_t>(sizes.drives);
    z.incoming = made<int32_t>(m.steps * GROUP);
    z.blocks = made<int32_t>(sizes.blocks);
    z.stamp = made<int32_t>(sizes.stamps);
    z.changed = made<uint32_t>(m.steps);
    z.touched = made<uint32_t>(m.groups);
    z.ignored = made<uint8_t>(sizes.ignored);
    z.sums.at = made<Span>(sizes.sums);
    z.positions.at = made<Span>(sizes.positions);
    z.flips.words = made<uint32_t>(sizes.neurons * m.steps);
    z.flips.listed = made<uint8_t>(sizes.neurons);
    z.lines.room = 1;
    z.lines.delta = made<int32_t>(m.steps * GROUP);
    run_each(z, rows, starts, first, last, wanted);
    z.faults.release();
    z.acting.release();
    z.mine.release();
    z.here.release();
    z.cuts.release();
    z.neurons.release();
    for (int s = 0; s < MAX_STAGES; s++) z.which[s].release();
    z.made.phases.release();
    z.made.fixes.release();
    z.made.breaks.release();
    z.lines.changed.release();
    z.pooled.release();
    z.flips.which.release();
    z.sums.which.release();
    z.positions.which.release();
    for (int i = 0; i < 2 * GROUP; i++) z.events[i / GROUP].of[i % GROUP].release();
    free(z.lines.delta);
    free(z.drive);
    free(z.incoming);
    free(z.blocks);
    free(z.stamp);
    free(z.changed);
    free(z.touched);
    free(z.ignored);
    free(z.sums.at);
    free(z.positions.at);
    free(z.flips.words);
    free(z.flips.listed);
}
