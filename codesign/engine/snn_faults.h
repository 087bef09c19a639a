// Rows of one trial, resolved: where in which stage, for which samples and steps, and what they
// make of a neuron. Included once for each instruction set, inside of its namespace.

enum Place { AT_WEIGHT, AT_INPUT, AT_BIAS, AT_SUM,  // in synapses
             AT_STATE, AT_OPERATION, AT_THRESHOLD, AT_LINE, AT_CURRENT,  // in a neuron
             AT_LINES };  // in the inputs of a stage

struct Fault {
    const Row* row;
    const LayerRole* role;
    int64_t key;
    int32_t sample0, sample1, step0, step1, stage, place;
};

INLINE bool picks(const int64_t* box, int64_t i) {
    return i >= box[0] && (box[1] < 0 || i < box[1]) && (i - box[0]) % box[2] == 0;
}
INLINE int64_t stop_of(const int64_t* box, int64_t size) { return box[1] < 0 ? size : box[1]; }
INLINE int clipped(int64_t value, int64_t size) {
    return (int)(value < 0 || value > size ? size : value);
}

static int64_t corrupt(int64_t value, const Row& row) {
    if (row.op == REPLACE) return row.value;
    if (row.op == ADD) return value + row.value;
    if (row.op == SCALE) return value * row.value;
    const int64_t low = ((int64_t)1 << row.bits) - 1;
    int64_t pattern = value & low;
    pattern = row.op == XOR ? pattern ^ row.mask : (pattern & ~row.mask) | (row.value & row.mask);
    const int64_t sign = (int64_t)1 << (row.bits - 1);
    return row.is_signed ? ((pattern & low) ^ sign) - sign : pattern;
}

static Fix prepared(const Row& row) {
    if (row.op == REPLACE) return {0, 0, row.value, 0, 0, 1};
    const int64_t low = ((int64_t)1 << row.bits) - 1;
    if (row.op == XOR) return {low, row.mask, 0, row.bits, row.is_signed, 0};
    return {low & ~row.mask, 0, row.value & row.mask & low, row.bits, row.is_signed, 0};
}

// Whether a row acts at all here, and where.
static bool resolve(const Model& model, const Row& row, Fault& fault) {
    const LayerRole& role = model.roles[row.layer];
    fault.row = &row;
    fault.role = &role;
    fault.key = 2 * (int64_t)row.layer + (row.kind == ACTIVATION);
    fault.stage = role.stage;
    fault.sample0 = (int32_t)(row.samples[0] < 0 ? 0 : clipped(row.samples[0], model.samples));
    fault.sample1 = clipped(row.samples[1], model.samples);
    fault.step0 = (int32_t)(row.steps[0] < 0 ? 0 : clipped(row.steps[0], model.steps));
    fault.step1 = clipped(row.steps[1], model.steps);
    if (fault.sample0 >= fault.sample1 || fault.step0 >= fault.step1) return false;
    switch (row.kind) {
        case OPERAND: fault.place = row.at == WEIGHT ? AT_WEIGHT : AT_INPUT; return true;
        case PARAMETER: fault.place = row.at == BIAS ? AT_BIAS : AT_THRESHOLD; return true;
        case STATE: fault.place = AT_STATE; return true;
        case OPERATION: fault.place = AT_OPERATION; return true;
        case SPIKE: fault.place = AT_LINE; return true;
        default: break;
    }
    if (row.reader != -1 && row.reader != role.reader) return false;
    if (role.role == LINES) fault.place = AT_LINES;
    else if (role.role == CURRENTS) fault.place = AT_CURRENT;
    else if (role.role == SUMS) fault.place = model.stage[role.stage].pool ? AT_SUM : AT_CURRENT;
    else fault.place = AT_LINE;
    return true;
}

// The order in which effects in one value act: layer, rank, stuck bits last, order of the table.
static int by_order(const void* left, const void* right) {
    const Fault &a = *(const Fault*)left, &b = *(const Fault*)right;
    if (a.key != b.key) return a.key < b.key ? -1 : 1;
    if (a.row->rank != b.row->rank) return a.row->rank < b.row->rank ? -1 : 1;
    if ((a.row->op == STUCK) != (b.row->op == STUCK)) return a.row->op == STUCK ? 1 : -1;
    return a.row < b.row ? -1 : a.row > b.row;
}

static int by_value(const void* left, const void* right) {
    const int32_t a = *(const int32_t*)left, b = *(const int32_t*)right;
    return a < b ? -1 : a > b;
}

static int sorted_unique(int32_t* values, int count) {
    qsort(values, count, sizeof *values, by_value);
    int kept = 0;
    for (int i = 0; i < count; i++)
        if (kept == 0 || values[kept - 1] != values[i]) values[kept++] = values[i];
    return kept;
}

// A faulty neuron: its phases, and what its own rows do at all.
struct Neuron {
    int64_t neuron;
    int32_t phase, phases, first, last;  // steps at which its phases differ from golden
    int32_t alters, synapses, fit;       // membrane or firing; drive; whether writes must be fitted
    int32_t only_silences;               // all that is wrong is that it does not fire
    double reach, cur_reach, threshold_reach;  // magnitudes that corruptions can give
};

INLINE double reach_of(const Row& row) {
    if (row.op == REPLACE) return row.value < 0 ? -(double)row.value : (double)row.value;
    return (double)((int64_t)1 << (row.bits - (row.is_signed ? 1 : 0)));
}
INLINE double larger(double a, double b) { return a > b ? a : b; }

struct Prepared {
    Grown<Phase> phases;
    Grown<Fix> fixes;
    Grown<int32_t> breaks;
};

static void fixed(Prepared& made, int32_t& start, int32_t& count, const Row& row) {
    if (!count) start = (int32_t)made.fixes.count;
    made.fixes.push(prepared(row));
    count++;
}

// One run of steps of a neuron in which the same faults act; fixes of a kind lie together.
static Phase phase_of(const Stage& stage, Fault* const* mine, int count, int first, int last,
                      Prepared& made, Neuron& neuron) {
    const int64_t channel = neuron.neuron / stage.positions;
    Phase phase = {first, last, 1, 0, 0, 0, 0, 0, 0, {}, {}, stage.threshold[channel], 0, ~0u};
    int64_t silent = 0, spike = 1;
    for (int which = 0; which < 4; which++) {
        for (int i = 0; i < count; i++) {
            const Fault& f = *mine[i];
            const Row& row = *f.row;
            if (first < f.step0 || first >= f.step1) continue;
            const bool cell = f.place == AT_STATE && row.at == CELL, stuck = row.op == STUCK;
            if (which == 0 && f.place == AT_STATE && row.at != WRITE &&
                (!cell || stuck || row.steps[0] == first)) {
                fixed(made, phase.begin, phase.begins, row);
            } else if (which == 1 && f.place == AT_STATE && (row.at == WRITE || (cell && stuck))) {
                fixed(made, phase.end, phase.ends, row);
            } else if (which == 2 && f.place == AT_CURRENT) {
                fixed(made, phase.cur, phase.curs, row);
                neuron.cur_reach = larger(neuron.cur_reach, reach_of(row));
            } else if (which == 3 && f.place == AT_OPERATION) {
                (row.op == SKIP ? phase.skipped : phase.always)[row.at - INTEGRATE] = 1;
                phase.plain = 0;
            } else if (which == 3 && f.place == AT_THRESHOLD) {
                phase.threshold = corrupt(phase.threshold, row);
            } else if (which == 3 && f.place == AT_LINE) {
                silent = corrupt(silent, row);
                spike = corrupt(spike, row);
            }
            if (f.place == AT_STATE) neuron.reach = larger(neuron.reach, reach_of(row));
        }
    }
    if (phase.begins || phase.ends || phase.curs) phase.plain = 0;
    phase.line0 = silent ? ~0u : 0;
    phase.line1 = spike ? ~0u : 0;
    const double threshold = (double)phase.threshold;
    neuron.threshold_reach = larger(neuron.threshold_reach, threshold < 0 ? -threshold : threshold);
    if (!phase.plain || phase.threshold != stage.threshold[channel]) neuron.alters = 1;
    return phase;
}

// Whether all that is wrong in a phase is that the neuron does not fire.
INLINE bool only_silences(const Phase& phase, int64_t threshold) {
    int broken = 0;
    for (int i = 0; i < 4; i++) broken += phase.skipped[i] + phase.always[i];
    return broken == 1 && phase.skipped[FIRE - INTEGRATE] && phase.threshold == threshold &&
           !phase.begins && !phase.ends && !phase.curs && !phase.line0 && phase.line1;
}

// The phases of a neuron under faults that pick it.
static void prepare(const Stage& stage, Fault* const* mine, int count, int steps, Prepared& made,
                    Neuron& neuron) {
    const int64_t threshold = stage.threshold[neuron.neuron / stage.positions];
    made.breaks.count = 0;
    made.breaks.push(0);
    made.breaks.push(steps);
    for (int i = 0; i < count; i++) {
        made.breaks.push(mine[i]->step0);
        made.breaks.push(mine[i]->step1);
        const bool once = mine[i]->place == AT_STATE && mine[i]->row->at == CELL;
        if (once && mine[i]->step0 + 1 < steps) made.breaks.push(mine[i]->step0 + 1);
    }
    const int breaks = sorted_unique(made.breaks.at, (int)made.breaks.count);
    neuron.phase = (int32_t)made.phases.count;
    neuron.phases = breaks - 1;
    neuron.first = steps;
    neuron.last = 0;
    neuron.only_silences = 1;
    for (int i = 0; i + 1 < breaks; i++) {
        const Phase phase = phase_of(stage, mine, count, made.breaks.at[i],
                                     made.breaks.at[i + 1], made, neuron);
        made.phases.push(phase);
        if (phase.plain && phase.threshold == threshold && !phase.line0 &&
            phase.line1)
            continue;
        neuron.first = phase.first < neuron.first ? phase.first : neuron.first;
        neuron.last = phase.last;
        neuron.only_silences &= only_silences(phase, threshold);
    }
    neuron.fit = neuron.alters;
}

// Whether 32 bits may not hold some intermediate result of a faulty neuron.
static bool too_wide(const Stage& s, const Neuron& neuron, double extra) {
    if (s.wide) return true;
    const double format = larger(-(double)s.low, (double)s.high);
    const double v = larger(neuron.reach, format);
    const double current = larger((double)s.peak_current + extra, neuron.cur_reach);
    const double half = s.amount > 0 && s.amount < 62 ? (double)((int64_t)1 << s.amount) : 1;
    const double leaked = s.leak == MULTIPLY ? v * (double)s.factor + half : v + (double)s.amount;
    const double peak = larger(larger(leaked, v + current), v + neuron.threshold_reach);
    return neuron.fit && peak >= 2147483647.0;
}
