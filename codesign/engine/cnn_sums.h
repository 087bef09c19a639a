// Layers that sum: from differences of inputs, faulty weights, biases and single outputs to
// differences of codes. Included once for each instruction set.

struct Cell {
    int32_t node, n, k, delta;  // a weight and what is added to it
};

struct Cells {
    const Cell* cell;
    int64_t count;
};

// Channel planes of an image's golden sums, made when first asked for.
INLINE const int32_t* planar_sums(Work& work, const Node& node) {
    const int64_t at = &node - work.plan->node;
    int32_t* to = work.planar + work.planar_at[at];
    if (work.planar_made[at]) return to;
    work.planar_made[at] = 1;
    const Value& value = work.plan->value[node.out];
    const int32_t* from = golden_sums(work, node);
    for (int64_t m = 0; m < value.pixels; m++)
        for (int64_t n = 0; n < value.channels; n++)
            to[n * value.pixels + m] = from[m * value.channels + n];
    return to;
}

template <class T> INLINE void copy_row(const T* from, int64_t by, int64_t count, int32_t* to) {
    if (by == 1) for (int64_t i = 0; i < count; i++) to[i] = from[i];
    else for (int64_t i = 0; i < count; i++) to[i] = from[i * by];
}

// Golden codes of a channel along a row of pixels.
INLINE void read_row(const Work& work, const Value& v, int64_t pixel, int64_t step, int64_t channel,
                     int64_t count, int32_t* to) {
    if (!v.kept) {
        for (int64_t i = 0; i < count; i++)
            to[i] = golden(work, v, (pixel + i * step) * v.channels + channel);
        return;
    }
    const int64_t at = work.sample * v.stride + pixel * v.by_m + channel * v.by_n;
    switch (v.type) {
        case 0: copy_row((const uint8_t*)v.kept + at, v.by_m * step, count, to); break;
        case 1: copy_row((const int8_t*)v.kept + at, v.by_m * step, count, to); break;
        case 2: copy_row((const int16_t*)v.kept + at, v.by_m * step, count, to); break;
        case 3: copy_row((const int32_t*)v.kept + at, v.by_m * step, count, to); break;
        default: copy_row((const int64_t*)v.kept + at, v.by_m * step, count, to); break;
    }
}

// Output columns that read inside the image through column kx of the kernel: [first, stop).
INLINE void columns(const Node& node, const Value& from, const Value& to, int64_t kx,
                    int64_t& first, int64_t& stop) {
    const int64_t before = node.left - kx;
    first = before > 0 ? (before + node.sx - 1) / node.sx : 0;
    stop = from.width - 1 + before < 0 ? 0 : (from.width - 1 + before) / node.sx + 1;
    stop = stop < to.width ? stop : to.width;
}

INLINE int64_t finished(const Node& node, int32_t sum) {
    return node.mode == WRAPS ? fit(sum, node.outer) : sum;
}

// The first step of a faulty weight: one channel, where its input is not zero.
static Difference* inject_weight(Work& work, const Node& node, const Cell& cell) {
    const Value &from = work.plan->value[node.in[0]], &to = work.plan->value[node.out];
    const int64_t taps = node.kh * node.kw, n = cell.n;
    const int64_t ky = cell.k % taps / node.kw, kx = cell.k % node.kw;
    const int64_t channel = n / (to.channels / node.groups) * (from.channels / node.groups)
                          + cell.k / taps;
    int64_t first, stop;
    columns(node, from, to, kx, first, stop);
    if (stop <= first) return nullptr;
    const int32_t* sums = planar_sums(work, node) + n * to.pixels;
    const Coder coder = coder_of(node.requantise);
    const v8i delta = v8i{} + cell.delta;
    const int64_t count = stop - first;
    int32_t x[count + 8], y[count + 8];
    Difference* d = open_difference(work, to.pixels, to.pixels);
    if (!node.small) open_large(work, d, to.pixels);
    for (int64_t oy = 0; oy < to.height; oy++) {
        const int64_t iy = oy * node.sy + ky - node.top;
        if (iy < 0 || iy >= from.height) continue;
        const int64_t start = oy * to.width + first;
        read_row(work, from, iy * from.width + first * node.sx + kx - node.left, node.sx, channel,
                 count, x);
        read_row(work, to, start, 1, n, count, y);
        for (int64_t i = 0; i < count; i += 8) {
            const uint32_t there = count - i < 8 ? (1u << (count - i)) - 1 : 255;
            const v8i inputs = load<v8i>(x + i);
            if (!(nonzero(inputs) & there)) continue;
            v8i sum = load<v8i>(sums + start + i) + delta * inputs;
            if (node.mode == WRAPS) sum = wrapped(sum, node.outer);
            const v8i changes = same_codes8(sum, coder, n) - load<v8i>(y + i);
            uint32_t bits = nonzero(changes) & there;
            if (!bits) continue;
            int32_t change[8];
            store(change, changes);
            for (; bits; bits &= bits - 1) {
                const int lane = __builtin_ctz(bits);
                d->pixel[d->count] = (int32_t)(start + i + lane);
                if (d->large) d->large[d->count] = change[lane];
                d->entry[d->count] = {(uint16_t)n, (int16_t)change[lane]};
                d->count++;
                d->first[d->count] = d->count;
            }
        }
    }
    return close_difference(work, d, d->count);
}

// Faulty weights on faulty or golden inputs: added to the sums of all outputs that read them.
INLINE void add_cells(Work& work, const Node& node, const Difference* d, Cells cells) {
    const Value &from = work.plan->value[node.in[0]], &to = work.plan->value[node.out];
    const int64_t taps = node.kh * node.kw;
    for (int64_t i = 0; i < cells.count; i++) {
        const Cell& cell = cells.cell[i];
        const int64_t ky = cell.k % taps / node.kw, kx = cell.k % node.kw;
        const int64_t channel = cell.n / (to.channels / node.groups) * (from.channels / node.groups)
                              + cell.k / taps;
        int64_t first, stop;
        columns(node, from, to, kx, first, stop);
        for (int64_t oy = 0; oy < to.height; oy++) {
            const int64_t iy = oy * node.sy + ky - node.top;
            if (iy < 0 || iy >= from.height) continue;
            for (int64_t ox = first; ox < stop; ox++) {
                const int64_t pixel = iy * from.width + ox * node.sx + kx - node.left;
                const int32_t x = golden(work, from, pixel * from.channels + channel);
                if (!x) continue;
                const int64_t o = oy * to.width + ox;
                work.sums[o * node.padded + cell.n] += cell.delta * x;
                work.pixels.set(o);
            }
        }
        if (d) each_entry(*d, [&](int32_t pixel, int64_t c, int32_t delta) {
            if (c != channel) return;
            const int64_t oy = pixel / from.width + node.top - ky;
            const int64_t ox = pixel % from.width + node.left - kx;
            if (oy < 0 || ox < 0 || oy % node.sy || ox % node.sx) return;
            if (oy / node.sy >= to.height || ox / node.sx >= to.width) return;
            const int64_t o = oy / node.sy * to.width + ox / node.sx;
            work.sums[o * node.padded + cell.n] += cell.delta * delta;
            work.pixels.set(o);
        });
    }
}

INLINE void add_biases(Work& work, const Node& node, const Row& row) {
    const Value& to = work.plan->value[node.out];
    for (int64_t m = row.m[0]; m < end_of(row.m, to.pixels); m += row.m[2]) {
        for (int64_t n = row.n[0]; n < end_of(row.n, to.channels); n += row.n[2]) {
            const int64_t bias = node.bias[(node.bias_by_m ? m * to.channels : 0) + n];
            work.sums[m * node.padded + n] += (int32_t)(corrupt(bias, row) - bias);
        }
        work.pixels.set(m);
    }
}

// Outputs to sum term by term, and their totals.
INLINE void add_specials(Work& work, const Node& node, const Rows& rows, const Difference* d) {
    const Value& to = work.plan->value[node.out];
    work.specials = 0;
    for (int i = 0; i < rows.count; i++) {
        if (rows.what[i] != SPECIAL) continue;
        const Row& row = *rows.row[i];
        for (int64_t m = row.m[0]; m < end_of(row.m, to.pixels); m += row.m[2])
            for (int64_t n = row.n[0]; n < end_of(row.n, to.channels); n += row.n[2])
                work.elements.set(m * to.channels + n);
    }
    drain(work.elements, [&](int64_t e) {
        work.special[work.specials] = e;
        work.special_total[work.specials++] =
            total_by_terms(work, node, rows, d, e / to.channels, e % to.channels);
        work.pixels.set(e / to.channels);
    });
}

// Every output of the touched pixels, term by term.
INLINE Difference* finish_by_terms(Work& work, const Node& node, const Rows& rows,
                                   const Difference* in) {
    const Value& to = work.plan->value[node.out];
    Writer out = write_to(work, to);
    const int64_t known = work.specials;
    int64_t at = 0;
    drain(work.pixels, [&](int64_t m) {
        for (int64_t n = 0; n < to.channels; n++) {
            const int64_t e = m * to.channels + n;
            const bool special = at < known && work.special[at] == e;
            const int64_t total = special ? work.special_total[at++]
                                          : total_by_terms(work, node, rows, in, m, n);
            out.add(e, (int32_t)(code(total, node.requantise, n) - golden(work, to, e)));
        }
    });
    return out.close();
}

static Difference* sums_layer(Work& work, const Node& node, const Rows& rows, const Difference* d,
                              Cells cells, bool by_terms) {
    const Value &from = work.plan->value[node.in[0]], &to = work.plan->value[node.out];
    add_specials(work, node, rows, d);
    if (by_terms || node.mode == BY_TERMS) {
        if (d) for (int32_t p = 0; p < d->count; p++)
            each_reach(node, from, to, d->pixel[p], [&](int64_t, const Reach& reach) {
                for (int64_t i = 0; i < reach.count; i++)
                    work.pixels.set(reach.row * to.width + reach.first + i);
            });
        return finish_by_terms(work, node, rows, d);
    }
    bool narrow = !cells.count && d && node.packed && node.groups == 1;
    for (int i = 0; i < rows.count; i++) {
        if (rows.what[i] != BIASES) continue;
        add_biases(work, node, *rows.row[i]);
        narrow = false;
    }
    if (narrow && fits16(node, from, *d)) {
        work.counts[3]++;
        scatter16(work, node, *d);
        return finish_sums(work, node, golden_sums(work, node), work.sums16, node.padded);
    }
    const bool mixed = d && node.packed && node.groups == 1;
    if (mixed && !narrow) fits16(node, from, *d);  // for the sums that it leaves
    if (cells.count) add_cells(work, node, d, cells);
    if (d && node.groups > 1) scatter_groups(work, node, *d);
    else if (mixed) scatter_mixed(work, node, *d);
    else if (d) scatter<int32_t, int16_t, v8h>(work, node, *d, work.sums, node.packed16);
    return finish_sums(work, node, golden_sums(work, node), work.sums, node.padded);
}
