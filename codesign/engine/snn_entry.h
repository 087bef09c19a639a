// Many trials by one thread. Included once for each instruction set, inside of its namespace.

template <class X> static X* made(int64_t count) {
    X* at = (X*)calloc(count, sizeof(X));
    if (!at) abort();
    return at;
}

static void run_trials(const Model& m, const Row* rows, const int64_t* starts, int64_t first,
                       int64_t last, int64_t* outputs, uint8_t* ran) {
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
    z.ignored = made<uint8_t>(widest / PACK);
    z.lines.room = 1;
    z.lines.delta = made<int32_t>(m.steps * GROUP);
    Event* events = (Event*)malloc(2 * GROUP * m.steps * widest * sizeof(Event));
    if (!events) abort();
    for (int i = 0; i < 2 * GROUP; i++)
        z.events[i / GROUP].list[i % GROUP] = events + i * m.steps * widest;
    for (int64_t i = first; i < last; i++)
        ran[i] = (uint8_t)run_trial(z, rows + starts[i], starts[i + 1] - starts[i],
                                    outputs + i * m.samples * m.outputs);
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
    free(z.ignored);
    free(events);
}
