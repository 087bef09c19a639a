// One output summed term by term, as codesign.program tells it: exact for every arithmetic and every
// effect, and slow. Included once for each instruction set.

constexpr int MOST_ROWS = 128;

struct Item {
    const Row* row;
    int32_t node;
    int8_t what;
    int32_t order;
};

enum What { STORED = 0, CELLS = 1, BIASES = 2, SPECIAL = 3 };

// The rows of a trial that act on a sample in one node, in the order in which they act.
struct Rows {
    const Row* row[MOST_ROWS];
    int8_t what[MOST_ROWS];
    int32_t count;
};

// Golden or faulty operands of an output in the order of k; zeros of the padding included.
INLINE void gather(Work& work, const Node& node, const Difference* d, int64_t m, int64_t n) {
    const Value &from = work.plan->value[node.in[0]], &to = work.plan->value[node.out];
    const int64_t fan_in = from.channels / node.groups;
    const int64_t first = n / (to.channels / node.groups) * fan_in;
    const int64_t taps = node.kh * node.kw, oy = m / to.width, ox = m % to.width;
    for (int64_t tap = 0; tap < taps; tap++) {
        const int64_t iy = oy * node.sy + tap / node.kw - node.top;
        const int64_t ix = ox * node.sx + tap % node.kw - node.left;
        const bool inside = iy >= 0 && ix >= 0 && iy < from.height && ix < from.width;
        const int64_t pixel = iy * from.width + ix;
        for (int64_t c = 0; c < fan_in; c++)
            work.operands[c * taps + tap] =
                inside ? golden(work, from, pixel * from.channels + first + c) : 0;
        if (!d || !inside) continue;
        int32_t low = 0, high = d->count;
        while (low < high) {
            const int32_t middle = (low + high) / 2;
            if (d->pixel[middle] < pixel) low = middle + 1;
            else high = middle;
        }
        if (low == d->count || d->pixel[low] != pixel) continue;
        for (int32_t i = d->first[low]; i < d->first[low + 1]; i++) {
            const int64_t c = (int64_t)d->entry[i].channel - first;
            if (c >= 0 && c < fan_in) work.operands[c * taps + tap] += delta_at(*d, i);
        }
    }
}

// The rows that pick an output, by what they corrupt.
struct Here {
    const Row *weight[MOST_ROWS], *input[MOST_ROWS], *product[MOST_ROWS], *sum[MOST_ROWS];
    int weights, inputs, products, sums;
};

INLINE int64_t bias_of(const Node& node, const Rows& rows, int64_t m, int64_t n, int64_t channels) {
    int64_t bias = node.bias[(node.bias_by_m ? m * channels : 0) + n];
    for (int i = 0; i < rows.count; i++) {
        const Row& row = *rows.row[i];
        if (row.kind == PARAMETER && picks(row.m, m) && picks(row.n, n)) bias = corrupt(bias, row);
    }
    return bias;
}

INLINE void sort_out(const Rows& rows, int64_t m, int64_t n, Here& here) {
    here.weights = here.inputs = here.products = here.sums = 0;
    for (int i = 0; i < rows.count; i++) {
        const Row* row = rows.row[i];
        if (rows.what[i] == STORED || !picks(row->m, m) || !picks(row->n, n)) continue;
        if (row->kind == OPERAND && row->at == WEIGHT) here.weight[here.weights++] = row;
        else if (row->kind == OPERAND) here.input[here.inputs++] = row;
        else if (row->kind == TERM) here.product[here.products++] = row;
        else if (row->kind == ACCUMULATOR) here.sum[here.sums++] = row;
    }
}

INLINE int64_t through(int64_t v, const Row* const* rows, int count, int64_t k) {
    for (int i = 0; i < count; i++)
        if (picks(rows[i]->k, k)) v = corrupt(v, *rows[i]);
    return v;
}

INLINE int64_t strike(int64_t v, const Here& here, int64_t segment, int at) {
    for (int i = 0; i < here.sums; i++) {
        const Row& row = *here.sum[i];
        if (row.at == at && (row.segment == -1 || row.segment == segment)) v = corrupt(v, row);
    }
    return v;
}

INLINE int64_t strike_term(int64_t v, const Here& here, int64_t segment, int64_t j) {
    for (int i = 0; i < here.sums; i++) {
        const Row& row = *here.sum[i];
        if (row.segment != -1 && row.segment != segment) continue;
        if (row.at == EVERY || (row.at == AFTER && row.after == j)) v = corrupt(v, row);
    }
    return v;
}

static int64_t total_by_terms(Work& work, const Node& node, const Rows& rows, const Difference* d,
                              int64_t m, int64_t n) {
    Here here;
    gather(work, node, d, m, n);
    sort_out(rows, m, n, here);
    const int64_t bias = bias_of(node, rows, m, n, work.plan->value[node.out].channels);
    const int32_t* weights = node.weight + n * node.terms;
    int64_t total = fit(node.bias_at_load ? 0 : bias, node.outer);
    for (int64_t s = 0; s < node.segments; s++) {
        const int64_t start = s ? node.splits[s - 1] : 0;
        int64_t sum = s == 0 && node.bias_at_load ? bias : 0;
        sum = strike(sum, here, s, LOAD);
        for (int64_t j = start; j < node.splits[s]; j++) {
            const int64_t k = node.order ? node.order[j] : j;
            const int64_t w = through(weights[k], here.weight, here.weights, k);
            const int64_t x = through(work.operands[k], here.input, here.inputs, k);
            sum = fit(sum + through(w * x, here.product, here.products, k), node.inner);
            if (here.sums) sum = strike_term(sum, here, s, j - start + 1);
        }
        sum = strike(code(sum, node.readout, n), here, s, OUT);
        if (node.readout.is_there) sum = clip(sum, node.readout.low, node.readout.high);
        total = strike(fit(total + sum, node.outer), here, s, TOTAL);
    }
    work.counts[2]++;
    return total;
}
