// All trials on some images. Included once for each instruction set.
//
// Images are outermost, for their golden planes to stay in the cache, in groups of sixteen: a weight
// between two vectors (a layer that is linear) meets a group at once, one image in each lane.

constexpr int GROUP = 16;
constexpr int64_t BLOCK = 2048;  // trials, while what lanes have found is kept

struct Found {
    int32_t trial, delta;
};

struct Lanes16 {
    int32_t** input;  // [nodes] golden codes [channels][GROUP] of a node's input, or null
    int32_t** sums;   // [nodes] golden sums [channels][GROUP]
    Found* found;     // [GROUP][BLOCK]
    int32_t count[GROUP];
};

INLINE bool has_lanes(const Plan& plan, const Trial& trial) {
    if (trial.shape != ONE_WEIGHT || !trial.cells.count) return false;
    const Node& node = plan.node[trial.first];
    const Value &from = plan.value[node.in[0]], &to = plan.value[node.out];
    return is_vector(node, from, to) && from.kept && node.groups == 1;
}

// The golden codes and sums of a group of images, image by image in lanes.
static void show_lanes(const Plan& plan, const Lanes16& lanes, int64_t from, int64_t to) {
    for (int64_t i = 0; i < plan.nodes; i++) {
        if (!lanes.input[i]) continue;
        const Node& node = plan.node[i];
        const int64_t fan_in = plan.value[node.in[0]].channels;
        const int64_t fan_out = plan.value[node.out].channels;
        for (int64_t sample = from; sample < to; sample++) {
            for (int64_t k = 0; k < fan_in; k++)
                lanes.input[i][k * GROUP + sample - from] =
                    kept_code(plan.value[node.in[0]], sample, k);
            for (int64_t n = 0; n < fan_out; n++)
                lanes.sums[i][n * GROUP + sample - from] = node.sums[sample * fan_out + n];
        }
    }
}

// The first step of a weight on a group: the code that its sums give, against the golden one.
INLINE void step_lanes(const Plan& plan, Lanes16& lanes, const Trial& trial, int32_t number,
                       int64_t images) {
    const Node& node = plan.node[trial.first];
    const Cell& cell = *trial.cells.cell;
    const int32_t* input = lanes.input[trial.first] + cell.k * GROUP;
    const int32_t* sums = lanes.sums[trial.first] + cell.n * GROUP;
    const Coder coder = coder_of(node.requantise);
    for (int64_t i = 0; i < images; i += 8) {
        const v8i x = load<v8i>(input + i);
        const uint32_t there = images - i < 8 ? (1u << (images - i)) - 1 : 255;
        if (!(nonzero(x) & there)) continue;
        v8i was = load<v8i>(sums + i), is = was + x * cell.delta;
        if (node.mode == WRAPS) {
            was = wrapped(was, node.outer);
            is = wrapped(is, node.outer);
        }
        const v8i changes = same_codes8(is, coder, cell.n) - same_codes8(was, coder, cell.n);
        int32_t change[8];
        store(change, changes);
        for (uint32_t bits = nonzero(changes) & there; bits; bits &= bits - 1) {
            const int lane = __builtin_ctz(bits);
            lanes.found[(i + lane) * BLOCK + lanes.count[i + lane]++] = {number, change[lane]};
        }
    }
}

static Lanes16 open_lanes(const Plan& plan, const Trial* trial, int64_t trials) {
    Lanes16 lanes = {};
    lanes.input = (int32_t**)calloc(plan.nodes + 1, sizeof(int32_t*));
    lanes.sums = (int32_t**)calloc(plan.nodes + 1, sizeof(int32_t*));
    lanes.found = (Found*)malloc(GROUP * BLOCK * sizeof(Found));
    for (int64_t t = 0; t < trials; t++) {
        const int32_t i = trial[t].first;
        if (lanes.input[i] || !trial[t].by_lanes) continue;
        const Node& node = plan.node[i];
        lanes.input[i] = (int32_t*)calloc(plan.value[node.in[0]].channels * GROUP, 4);
        lanes.sums[i] = (int32_t*)calloc(plan.value[node.out].channels * GROUP, 4);
    }
    return lanes;
}

static void close_lanes(const Plan& plan, const Lanes16& lanes) {
    for (int64_t i = 0; i < plan.nodes; i++) {
        free(lanes.input[i]);
        free(lanes.sums[i]);
    }
    free(lanes.input);
    free(lanes.sums);
    free(lanes.found);
}

// Trials by where they start: neighbours then do the same on the same data.
static int by_place(const void* a, const void* b) {
    const Trial &x = *(const Trial*)a, &y = *(const Trial*)b;
    if (x.first != y.first) return x.first - y.first;
    if (x.by_lanes != y.by_lanes) return x.by_lanes - y.by_lanes;
    if (x.channel != y.channel) return x.channel - y.channel;
    return x.number < y.number ? -1 : 1;
}

// Memory that a trial will soon read and write.
INLINE void ask_for(const Trial& trial, const int64_t* outputs) {
    __builtin_prefetch(trial.item->row);
    __builtin_prefetch((const char*)trial.item->row + 64);
    __builtin_prefetch(outputs);
}

// Some trials on a group of images.
static void run_group(Work& work, Lanes16& lanes, const Trial* trial, int64_t trials, int64_t from,
                      int64_t to, int64_t* outputs) {
    const Plan& plan = *work.plan;
    memset(lanes.count, 0, sizeof lanes.count);
    for (int64_t i = 0; i < trials; i++)
        if (trial[i].by_lanes) step_lanes(plan, lanes, trial[i], (int32_t)i, to - from);
    for (int64_t sample = from; sample < to; sample++) {
        bool shown = false;
        const auto outputs_of = [&](const Trial& one) {
            return outputs + (one.place * plan.samples + sample) * plan.classes;
        };
        const auto show = [&]() {
            if (!shown) show_image(work, sample);
            shown = true;
        };
        for (int64_t i = 0; i < trials; i++) {
            const Trial& one = trial[i];
            if (one.by_lanes || sample < one.from || sample >= one.to) continue;
            if (i + 2 < trials) ask_for(trial[i + 2], outputs_of(trial[i + 2]));
            show();
            run(work, one, outputs_of(one));
        }
        const Found* found = lanes.found + (sample - from) * BLOCK;
        const int32_t count = lanes.count[sample - from];
        for (int32_t i = 0; i < count; i++) {
            if (i + 2 < count) __builtin_prefetch(outputs_of(trial[found[i + 2].trial]));
            show();
            run_from(work, trial[found[i].trial], found[i].delta, outputs_of(trial[found[i].trial]));
        }
    }
}

static void evaluate(const Plan& plan, const Row* rows, const int64_t* starts,
                     const uint8_t* sums, const int64_t* places, int64_t trials, int64_t from,
                     int64_t to, int64_t* outputs, int64_t* counts) {
    Work* work = open_work(plan);
    Trial* trial = (Trial*)calloc(trials + 1, sizeof(Trial));
    Item* items = (Item*)calloc(starts[trials] + 1, sizeof(Item));
    int64_t acting = 0;
    for (int64_t t = 0; t < trials; t++) {
        if (starts[t + 1] == starts[t]) continue;
        Trial& one = trial[acting++];
        one = prepare(plan, rows + starts[t], starts[t + 1] - starts[t], sums[t],
                      items + starts[t]);
        one.place = places[t];
        one.number = (int32_t)t;
        one.channel = (int32_t)one.item->row->n[0];
        one.by_lanes = has_lanes(plan, one);
        if (one.by_lanes) work->counts[0] += to - from;
    }
    qsort(trial, acting, sizeof(Trial), by_place);
    Lanes16 lanes = open_lanes(plan, trial, acting);
    for (int64_t block = 0; block < acting; block += BLOCK) {
        const int64_t some = acting - block < BLOCK ? acting - block : BLOCK;
        for (int64_t sample = from; sample < to; sample += GROUP) {
            const int64_t stop = sample + GROUP < to ? sample + GROUP : to;
            show_lanes(plan, lanes, sample, stop);
            run_group(*work, lanes, trial + block, some, sample, stop, outputs);
        }
    }
    for (int i = 0; i < 8; i++) counts[i] += work->counts[i];
    for (int64_t t = 0; t < acting; t++) free((void*)trial[t].cells.cell);
    close_lanes(plan, lanes);
    free(items);
    free(trial);
    close_work(work);
}
