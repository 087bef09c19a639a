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
    Difference* in[MOST] = {};
    for (int64_t i = 0; i < node.inputs; i++) in[i] = input_of(pass, node, i);
    switch (node.kind) {
        case SUMS: {
            const Cells cells = cells_at(pass.cells, (int32_t)(&node - pass.work.plan->node));
            return sums_layer(pass.work, node, rows, in[0], cells, pass.trial.by_terms);
        }
        case ADDS: return add_layer(pass.work, node, in);
        case MOVES: return move_layer(pass.work, node, in);
        case MAXPOOL:
        case AVGPOOL: return in[0] ? pool_layer(pass.work, node, *in[0]) : nullptr;
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
    d->entry[0] = {(int32_t)n, (int32_t)delta};
    return d;
}

// The commonest first steps, without scratch.
INLINE Difference* first_step(Pass& pass, const Node& node) {
    Work& work = pass.work;
    const Value& to = work.plan->value[node.out];
    const Row& row = *pass.trial.item->row;
    const int64_t m = row.m[0], n = row.n[0];
    if (pass.trial.shape == ONE_WEIGHT) {
        if (!pass.cells.count) return nullptr;
        const Cell& cell = *pass.cells.cell;
        if (to.pixels > 1 || node.kh * node.kw > 1)
            return inject_weight(work, node, cell);
        const Value& from = work.plan->value[node.in[0]];
        const int32_t x = golden(work, from, cell.n / (to.channels / node.groups)
                                 * (from.channels / node.groups) + cell.k);
        if (!x) return nullptr;
        const int64_t sum = finished(node, golden_sums(work, node)[cell.n] + cell.delta * x);
        return one_element(work, to, 0, cell.n, code(sum, node.requantise, cell.n));
    }
    if (pass.trial.shape == ONE_CODE)
        return one_element(work, to, m, n, corrupt(golden(work, to, m * to.channels + n), row));
    const int64_t e = m * to.channels + n;
    const int64_t total = corrupt(finished(node, golden_sums(work, node)[e]), row);
    work.specials = 1;
    work.special[0] = e;
    work.special_total[0] = total;
    return one_element(work, to, m, n, code(total, node.requantise, n));
}

// The outputs of a trial on the image, where they differ from golden.
static void write_outputs(Pass& pass, const Rows& rows, bool specials, int64_t* outputs) {
    const Plan& plan = *pass.work.plan;
    const Value& last = plan.value[plan.layers - 1];
    const Node& node = plan.node[plan.node_of[plan.layers - 1]];
    const Difference* d = pass.work.difference[plan.layers - 1];
    for (int64_t i = 0; i < plan.classes; i++) {
        const int64_t e = plan.positions[i], m = e / last.channels, n = e % last.channels;
        int64_t v = golden(pass.work, last, e);
        if (d)
            for (int32_t p = 0; p < d->count; p++)
                for (int32_t j = d->first[p]; d->pixel[p] == m && j < d->first[p + 1]; j++)
                    if (d->entry[j].channel == n) v += d->entry[j].delta;
        for (int64_t j = 0; specials && j < pass.work.specials; j++)
            if (pass.work.special[j] == e) v = code(pass.work.special_total[j], node.requantise, n);
        for (int j = 0; j < rows.count; j++) {
            const Row& row = *rows.row[j];
            if (rows.what[j] == STORED && row.reader == -1 && picks(row.m, m) && picks(row.n, n))
                v = corrupt(v, row);
        }
        outputs[i] = v;
    }
}

static void run(Work& work, const Trial& trial, int64_t* outputs) {
    const Plan& plan = *work.plan;
    Pass pass = {work, trial, trial.cells, 0, -1};
    Rows rows;
    rows.count = 0;
    bool specials = false;
    const int64_t end = plan.node_of[plan.layers - 1];
    if (trial.windowed) pass.cells = weights_of(plan, trial, work.sample);
    work.next = work.arena;
    work.specials = 0;
    int64_t i = trial.first;
    if (trial.shape != ANY) {
        const Node& node = plan.node[i];
        remember(pass, node.out, first_step(pass, node));
        specials = i == end && work.specials;
        pass.item = 1;
        i++;
    }
    for (; i < plan.nodes && (i <= pass.needed || i <= trial.last || trial.by_reader); i++) {
        const Node& node = plan.node[i];
        const bool mine = pass.item < trial.count && trial.item[pass.item].node == i;
        if (!mine && !has_input(pass, node)) continue;
        work.counts[1]++;
        rows_at(pass, (int32_t)i, rows);
        work.specials = 0;
        Difference* d = layer(pass, node, rows);
        specials = i == end && work.specials;
        if (i != end && !trial.by_reader)
            d = read_through(work, plan.value[node.out], rows, -1, d);
        remember(pass, node.out, d);
        if (i != end) rows.count = 0;
    }
    bool stored = false;
    for (int j = 0; j < rows.count; j++) stored |= rows.what[j] == STORED;
    if (work.difference[plan.layers - 1] || specials || stored)
        write_outputs(pass, rows, specials, outputs);
    for (int64_t v = 0; v < plan.values; v++) work.difference[v] = nullptr;
    if (trial.windowed) free((void*)pass.cells.cell);
    work.counts[0]++;
}
