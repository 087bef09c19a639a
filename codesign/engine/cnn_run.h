// One trial on one image, from its first faulty node to where no difference is left. Included once
// for each instruction set.

struct Pass {
    Work& work;
    const Trial& trial;
    Cells cells;
    int32_t item;      // the next
    int64_t needed;    // last node that reads a difference
};

INLINE void remember(Pass& pass, int64_t value, Difference* d) {
    pass.work.difference[value] = d;
    if (!d) return;
    const int64_t last = pass.work.plan->value[value].last_reader;
    pass.needed = last > pass.needed ? last : pass.needed;
}

// The rows of a node that act on the sample; the pass goes on behind them.
INLINE void rows_at(Pass& pass, int32_t node, Rows& rows) {
    rows.count = 0;
    for (; pass.item < pass.trial.count && pass.trial.item[pass.item].node == node; pass.item++) {
        const Item& item = pass.trial.item[pass.item];
        if (!acts(*item.row, pass.work.sample)) continue;
        rows.row[rows.count] = item.row;
        rows.what[rows.count++] = item.what;
    }
}

INLINE Difference* input_of(Pass& pass, const Node& node, int64_t i) {
    const int64_t value = node.in[i];
    Difference* d = pass.work.difference[value];
    if (!pass.trial.by_reader) return d;
    Rows rows;  // rows of single readers: the value is stored as it is and corrupted here
    rows.count = 0;
    for (int32_t j = 0; j < pass.trial.count; j++) {
        const Item& item = pass.trial.item[j];
        if (item.what != STORED || !acts(*item.row, pass.work.sample)) continue;
        if (pass.work.plan->node[item.node].out != value) continue;
        rows.row[rows.count] = item.row;
        rows.what[rows.count++] = STORED;
    }
    return read_through(pass.work, pass.work.plan->value[value], rows, node.layer, d);
}

INLINE bool has_input(const Pass& pass, const Node& node) {
    for (int64_t i = 0; i < node.inputs; i++)
        if (pass.work.difference[node.in[i]]) return true;
    if (!pass.trial.by_reader) return false;
    for (int32_t j = 0; j < pass.trial.count; j++)
        for (int64_t i = 0; i < node.inputs; i++)
            if (pass.trial.item[j].what == STORED
                && pass.work.plan->node[pass.trial.item[j].node].out == node.in[i]) return true;
    return false;
}

static Difference* layer(Pass& pass, const Node& node, const Rows& rows) {
    constexpr int64_t MOST = 16;
    Difference* in[MOST];
    in[0] = nullptr;
    for (int64_t i = 0; i < node.inputs; i++) in[i] = input_of(pass, node, i);
    switch (node.kind) {
        case SUMS: {
            const Cells cells = cells_at(pass.cells, (int32_t)(&node - pass.work.plan->node));
            return sums_layer(pass.work, node, rows, in[0], cells, pass.trial.by_terms);
        }
        case ADDS: return add_layer(pass.work, node, in);
        case MOVES: return move_layer(pass.work, node, in);
        case MAXPOOL: return in[0] ? largest_layer(pass.work, node, *in[0]) : nullptr;
        case AVGPOOL: return in[0] ? average_layer(pass.work, node, *in[0]) : nullptr;
        default: return nullptr;
    }
}

INLINE Difference* one_element(Work& work, const Value& value, int64_t m, int64_t n, int64_t v) {
    const int64_t e = m * value.channels + n, delta = v - golden(work, value, e);
    if (!delta) return nullptr;
    Difference* d = open_difference(work, 1, 1);
    d->count = 1;
    d->pixel[0] = (int32_t)m;
    d->first[1] = 1;
    d->entry[0] = {(uint16_t)n, (int16_t)delta};
    if (value.wide || !is_small(v)) {
        open_large(work, d, 1);
        d->large[0] = (int32_t)delta;
    }
    return d;
}

// The commonest first steps, without scratch.
INLINE Difference* first_step(Work& work, const Trial& trial, const Node& node) {
    const Value& to = work.plan->value[node.out];
    const Row& row = *trial.item->row;
    const int64_t m = row.m[0], n = row.n[0];
    if (trial.shape == ONE_WEIGHT) {
        if (!trial.cells.count) return nullptr;
        const Cell& cell = *trial.cells.cell;
        if (to.pixels > 1 || node.kh * node.kw > 1)
            return inject_weight(work, node, cell);
        const Value& from = work.plan->value[node.in[0]];
        const int32_t x = golden(work, from, cell.n / (to.channels / node.groups)
                                 * (from.channels / node.groups) + cell.k);
        if (!x) return nullptr;
        const int64_t sum = finished(node, golden_sums(work, node)[cell.n] + cell.delta * x);
        return one_element(work, to, 0, cell.n, code(sum, node.requantise, cell.n));
    }
    if (trial.shape == ONE_CODE)
        return one_element(work, to, m, n, corrupt(golden(work, to, m * to.channels + n), row));
    const int64_t e = m * to.channels + n;
    const int64_t total = corrupt(finished(node, golden_sums(work, node)[e]), row);
    work.specials = 1;
    work.special[0] = e;
    work.special_total[0] = total;
    return one_element(work, to, m, n, code(total, node.requantise, n));
}

// The outputs of a trial on the image, where they differ from golden: `outputs` holds these.
static void write_outputs(Pass& pass, const Rows& rows, bool specials, int64_t* outputs) {
    const Work& work = pass.work;
    const Plan& plan = *work.plan;
    const Value& last = plan.value[plan.layers - 1];
    const Node& node = plan.node[plan.node_of[plan.layers - 1]];
    const Difference* d = work.difference[plan.layers - 1];
    if (d) each_entry(*d, [&](int32_t pixel, int64_t channel, int32_t delta) {
        outputs[work.output_at[pixel * last.channels + channel]] += delta;
    });
    for (int64_t j = 0; specials && j < work.specials; j++) {
        const int64_t e = work.special[j], n = e % last.channels;
        outputs[work.output_at[e]] = code(work.special_total[j], node.requantise, n);
    }
    for (int j = 0; j < rows.count; j++) {
        const Row& row = *rows.row[j];
        if (rows.what[j] != STORED || row.reader != -1) continue;
        for (int64_t m = row.m[0]; m < end_of(row.m, last.pixels); m += row.m[2])
            for (int64_t n = row.n[0]; n < end_of(row.n, last.channels); n += row.n[2]) {
                int64_t& v = outputs[work.output_at[m * last.channels + n]];
                v = corrupt(v, row);
            }
    }
}

// From node i on, to where no difference is left.
static void go_on(Pass& pass, int64_t i, bool specials, int64_t* outputs) {
    Work& work = pass.work;
    const Trial& trial = pass.trial;
    const Plan& plan = *work.plan;
    const int64_t end = plan.node_of[plan.layers - 1];
    Rows rows;
    rows.count = 0;
    for (; i < plan.nodes && (i <= pass.needed || i <= trial.last || trial.by_reader); i++) {
        const Node& node = plan.node[i];
        const bool mine = pass.item < trial.count && trial.item[pass.item].node == i;
        if (!mine && !has_input(pass, node)) continue;
        work.counts[1]++;
        rows_at(pass, (int32_t)i, rows);
        work.specials = 0;
        Difference* d = layer(pass, node, rows);
        specials = i == end && work.specials;
        if (i != end && !trial.by_reader && rows.count)
            d = read_through(work, plan.value[node.out], rows, -1, d);
        remember(pass, node.out, d);
        if (i != end) rows.count = 0;
    }
    bool stored = false;
    for (int j = 0; j < rows.count; j++) stored |= rows.what[j] == STORED;
    if (work.difference[plan.layers - 1] || specials || stored)
        write_outputs(pass, rows, specials, outputs);
    for (int64_t v = 0; v < plan.values; v++) work.difference[v] = nullptr;
}

// A trial on the image, or what follows a first step that was made before.
static void run(Work& work, const Trial& trial, int64_t* outputs) {
    work.counts[0]++;
    work.next = work.arena;
    work.specials = 0;
    if (trial.shape == ANY) {
        Pass pass = {work, trial, trial.cells, 0, -1};
        if (trial.windowed) pass.cells = weights_of(*work.plan, trial, work.sample);
        go_on(pass, trial.first, false, outputs);
        if (trial.windowed) free((void*)pass.cells.cell);
        return;
    }
    const Plan& plan = *work.plan;
    const Node& node = plan.node[trial.first];
    Difference* d = first_step(work, trial, node);
    const bool specials = trial.first == plan.node_of[plan.layers - 1] && work.specials;
    if (!d && !specials) return;
    Pass pass = {work, trial, trial.cells, 1, -1};
    remember(pass, node.out, d);
    go_on(pass, trial.first + 1, specials, outputs);
}

// What follows a code that changed by delta in the first layer, which has one pixel.
static void run_from(Work& work, const Trial& trial, int32_t delta, int64_t* outputs) {
    const Node& node = work.plan->node[trial.first];
    const Value& to = work.plan->value[node.out];
    const int64_t n = trial.cells.cell->n;
    work.next = work.arena;
    work.specials = 0;
    Pass pass = {work, trial, trial.cells, 1, -1};
    remember(pass, node.out, one_element(work, to, 0, n, (int64_t)golden(work, to, n) + delta));
    go_on(pass, trial.first + 1, false, outputs);
}
