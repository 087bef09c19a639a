// Trials, their rows by node, and one trial on one image. Included once for each instruction set.

enum Shape { ANY = 0, ONE_WEIGHT = 1, ONE_CODE = 2, ONE_TOTAL = 3 };

struct Trial {
    const Item* item;  // by node, in each in the order in which they act
    int32_t count, first, last, shape;
    int64_t from, to;     // samples on which any row acts
    bool by_terms, windowed, by_reader, by_lanes;
    int32_t number, channel;  // in the order of the call; the first row's
    int64_t place;            // in the outputs
    Cells cells;          // of all nodes, unless windowed
};

static int by_order(const void* a, const void* b) {
    const Item &x = *(const Item*)a, &y = *(const Item*)b;
    if (x.node != y.node) return x.node < y.node ? -1 : 1;
    if (x.row->rank != y.row->rank) return x.row->rank < y.row->rank ? -1 : 1;
    const bool stuck = x.row->op == STUCK, other = y.row->op == STUCK;
    return stuck != other ? (stuck ? 1 : -1) : x.order - y.order;
}

struct Part {
    int32_t node, n, k;
    const Row* row;
    int32_t order;
};

static int by_weight(const void* a, const void* b) {
    const Part &x = *(const Part*)a, &y = *(const Part*)b;
    if (x.node != y.node) return x.node - y.node;
    if (x.n != y.n) return x.n - y.n;
    return x.k != y.k ? x.k - y.k : x.order - y.order;
}

// The weights that rows change, and by how much, on a sample (-1: on all).
static Cells weights_of(const Plan& plan, const Trial& trial, int64_t sample) {
    int64_t parts = 0, found = 0;
    Part* part = nullptr;
    for (int pass = 0; pass < 2; pass++) {
        parts = 0;
        for (int32_t i = 0; i < trial.count; i++) {
            const Item& item = trial.item[i];
            if (item.what != CELLS || (sample >= 0 && !acts(*item.row, sample))) continue;
            const Node& node = plan.node[item.node];
            const int64_t channels = plan.value[node.out].channels;
            for (int64_t n = item.row->n[0]; n < end_of(item.row->n, channels); n += item.row->n[2])
                for (int64_t k = item.row->k[0]; k < end_of(item.row->k, node.terms);
                     k += item.row->k[2], parts++)
                    if (part) part[parts] = {item.node, (int32_t)n, (int32_t)k, item.row, i};
        }
        if (!parts) return {nullptr, 0};
        if (!part) part = (Part*)malloc(parts * sizeof(Part));
    }
    if (parts > 1) qsort(part, parts, sizeof(Part), by_weight);
    Cell* cell = (Cell*)malloc(parts * sizeof(Cell));
    for (int64_t i = 0; i < parts;) {
        const Part& p = part[i];
        const Node& node = plan.node[p.node];
        const int64_t was = node.weight[p.n * node.terms + p.k];
        int64_t w = was;
        for (; i < parts && part[i].node == p.node && part[i].n == p.n && part[i].k == p.k; i++)
            w = corrupt(w, *part[i].row);
        if (w != was) cell[found++] = {p.node, p.n, p.k, (int32_t)(w - was)};
    }
    free(part);
    return {cell, found};
}

INLINE Cells cells_at(const Cells& all, int32_t node) {
    int64_t first = 0;
    while (first < all.count && all.cell[first].node < node) first++;
    int64_t stop = first;
    while (stop < all.count && all.cell[stop].node == node) stop++;
    return {all.cell + first, stop - first};
}

// Whether weights and biases may be added up: else their outputs are summed term by term.
INLINE int64_t size_of(const Row& row, int64_t was) {
    const int64_t spread = ((int64_t)1 << row.bits) + (was < 0 ? -was : was);
    if (row.op == XOR || row.op == STUCK) return spread;
    const int64_t value = row.value < 0 ? -row.value : row.value;
    return row.op == SCALE ? (was < 0 ? -was : was) * (value + 1) : value + (was < 0 ? -was : was);
}

INLINE int64_t count_of(const int64_t* box, int64_t size) {
    return (end_of(box, size) - box[0] + box[2] - 1) / box[2];
}

INLINE int8_t what_of(const Plan& plan, const Node& node, const Row& row) {
    if (row.kind == ACTIVATION) return STORED;
    if (node.mode == BY_TERMS || !is_all(row.m, plan.value[node.out].pixels)) return SPECIAL;
    if (row.kind == OPERAND && row.at == WEIGHT) return CELLS;
    return row.kind == PARAMETER ? BIASES : SPECIAL;
}

// Rows of one node whose sum of changes has no room, or whose order matters, are special.
static void make_special(const Plan& plan, Item* item, int32_t count, bool excess) {
    const Node& node = plan.node[item->node];
    const Value& to = plan.value[node.out];
    const int64_t input = excess ? node.struck_input : node.largest_input;
    int64_t changes = 0, biases = 0;
    for (int32_t i = 0; i < count; i++) {
        const Row& row = *item[i].row;
        if (item[i].what == CELLS) {
            const int64_t terms = count_of(row.k, node.terms);
            changes += terms * size_of(row, node.largest_weight) * input;
        } else if (item[i].what == BIASES) {
            biases++;
            int64_t most = 0;
            for (int64_t m = 0; m < (node.bias_by_m ? to.pixels : 1); m++)
                for (int64_t n = 0; n < to.channels; n++) {
                    const int64_t b = node.bias[m * to.channels + n];
                    most = b > most ? b : -b > most ? -b : most;
                }
            changes += size_of(row, most);
        }
    }
    if (biases < 2 && (node.mode == WRAPS || changes <= node.room)) return;
    for (int32_t i = 0; i < count; i++)
        if (item[i].what != STORED) item[i].what = SPECIAL;
}

INLINE int shape_of(const Plan& plan, const Trial& trial) {
    if (trial.count != 1 || trial.by_terms) return ANY;
    const Item& item = *trial.item;
    const Node& node = plan.node[item.node];
    const Value& to = plan.value[node.out];
    const Row& row = *item.row;
    const bool one = is_one(row.m, to.pixels) && is_one(row.n, to.channels);
    if (item.what == CELLS && trial.cells.count < 2 && !trial.windowed) return ONE_WEIGHT;
    if (item.what == STORED && row.reader == -1 && one && node.out != plan.layers - 1)
        return ONE_CODE;
    const bool last = row.segment == node.segments - 1 || (row.segment == -1 && node.segments == 1);
    if (row.kind == ACCUMULATOR && row.at == TOTAL && one && last && node.mode != BY_TERMS)
        return ONE_TOTAL;
    return ANY;
}

static Trial prepare(const Plan& plan, const Row* rows, int64_t count, int sums, Item* item) {
    const bool by_terms = sums == 2;
    Trial trial = {item, (int32_t)count, 0, 0, ANY, INT64_MAX, 0, by_terms, false, false, false,
                   0, 0, 0, {}};
    for (int64_t i = 0; i < count; i++) {
        const int32_t node = (int32_t)plan.node_of[rows[i].layer];
        item[i] = {rows + i, node, what_of(plan, plan.node[node], rows[i]), (int32_t)i};
        const int64_t stop = rows[i].samples[1] < 0 ? plan.samples : rows[i].samples[1];
        trial.from = rows[i].samples[0] < trial.from ? rows[i].samples[0] : trial.from;
        trial.to = stop > trial.to ? stop : trial.to;
        trial.windowed |= rows[i].samples[0] > 0 || stop < plan.samples;
        trial.by_reader |= rows[i].kind == ACTIVATION && rows[i].reader != -1;
        if (by_terms && item[i].what != STORED) item[i].what = SPECIAL;
    }
    if (!count) return trial;
    qsort(item, count, sizeof(Item), by_order);
    for (int32_t i = 0, j; i < count; i = j) {
        for (j = i + 1; j < count && item[j].node == item[i].node;) j++;
        make_special(plan, item + i, j - i, sums > 0);
    }
    trial.first = item[0].node;
    trial.last = item[count - 1].node;
    if (!trial.windowed) trial.cells = weights_of(plan, trial, -1);
    trial.shape = shape_of(plan, trial);
    return trial;
}
