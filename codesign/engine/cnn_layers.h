// Layers without weights, element by element. Included once for each instruction set.

INLINE Difference* add_layer(Work& work, const Node& node, Difference* const* in) {
    constexpr int64_t FEW = 2;
    for (int64_t i = 0; i < node.inputs; i++) {
        const int32_t multiplier = (int32_t)node.multipliers[i];
        if (!in[i]) continue;
        const Difference& d = *in[i];
        for (int32_t p = 0; p < d.count; p++) {
            int32_t* sums = work.sums + d.pixel[p] * node.padded;
            work.pixels.set(d.pixel[p]);
            for (int32_t j = d.first[p]; j < d.first[p + 1]; j++)
                sums[d.entry[j].channel] += multiplier * d.entry[j].delta;
        }
    }
    work.specials = 0;
    const Value* values[FEW] = {work.plan->value + node.in[0],
                                work.plan->value + node.in[node.inputs > 1]};
    const bool few = node.inputs == FEW && !values[0]->wide && !values[1]->wide;
    const int16_t* first = (const int16_t*)plane(work, *values[0]);
    const int16_t* second = (const int16_t*)plane(work, *values[1]);
    const v8i a = v8i{} + (int32_t)node.multipliers[0];
    const v8i b = v8i{} + (int32_t)node.multipliers[node.inputs > 1];
    if (few)
        return finish<false>(work, node, work.sums, [=](int64_t e, int64_t) {
            return a * widen8(first + e) + b * widen8(second + e);
        });
    return finish<false>(work, node, work.sums, [&](int64_t e, int64_t) {
        v8i sum = {};
        for (int64_t i = 0; i < node.inputs; i++)
            sum += (v8i{} + (int32_t)node.multipliers[i])
                 * golden8(work, work.plan->value[node.in[i]], e);
        return sum;
    });
}

// Pools: a changed input touches the windows that hold it.
INLINE void touch_windows(Work& work, const Node& node, const Difference& d) {
    const Value &from = work.plan->value[node.in[0]], &to = work.plan->value[node.out];
    each_entry(d, [&](int32_t pixel, Entry e) {
        work.codes[pixel * from.channels + e.channel] = e.delta;
    });
    for (int32_t p = 0; p < d.count; p++)
        each_reach(node, from, to, d.pixel[p], [&](int64_t, const Reach& reach) {
            for (int64_t i = 0; i < reach.count; i++)
                for (int32_t j = d.first[p]; j < d.first[p + 1]; j++)
                    work.elements.set((reach.row * to.width + reach.first + i) * to.channels
                                      + d.entry[j].channel);
        });
}

INLINE Difference* pool_layer(Work& work, const Node& node, const Difference& d) {
    const Value &from = work.plan->value[node.in[0]], &to = work.plan->value[node.out];
    touch_windows(work, node, d);
    Writer out = write_to(work, to);
    drain(work.elements, [&](int64_t e) {
        const int64_t m = e / to.channels, n = e % to.channels;
        const int64_t top = m / to.width * node.sy - node.top;
        const int64_t left = m % to.width * node.sx - node.left;
        int64_t sum = 0, most = INT64_MIN;
        for (int64_t y = top < 0 ? 0 : top; y < top + node.kh && y < from.height; y++) {
            for (int64_t x = left < 0 ? 0 : left; x < left + node.kw && x < from.width; x++) {
                const int64_t i = (y * from.width + x) * from.channels + n;
                const int64_t v = golden(work, from, i) + work.codes[i];
                sum += v;
                most = v > most ? v : most;
            }
        }
        const int64_t found = node.kind == MAXPOOL ? most : code(sum, node.requantise, n);
        out.add(e, (int32_t)(found - golden(work, to, e)));
    });
    each_entry(d, [&](int32_t pixel, Entry e) {
        work.codes[pixel * from.channels + e.channel] = 0;
    });
    return close_difference(work, out.d, out.entries);
}

// Flatten, slice, pad, concatenate, lay out otherwise: elements go elsewhere or nowhere.
INLINE Difference* move_layer(Work& work, const Node& node, Difference* const* in) {
    const Value& to = work.plan->value[node.out];
    for (int64_t i = 0; i < node.inputs; i++) {
        const Value& from = work.plan->value[node.in[i]];
        if (in[i]) each_entry(*in[i], [&](int32_t pixel, Entry e) {
            const int64_t element = pixel * from.channels + e.channel;
            const int32_t there = node.maps[i][element];
            if (there < 0) return;
            const int64_t v = golden(work, from, element) + e.delta;
            const int64_t moved = code(v, node.each[i], e.channel);
            work.codes[there] = (int32_t)(moved - golden(work, to, there));
            work.elements.set(there);
        });
    }
    Writer out = write_to(work, to);
    drain(work.elements, [&](int64_t e) {
        out.add(e, work.codes[e]);
        work.codes[e] = 0;
    });
    return close_difference(work, out.d, out.entries);
}

// What a reader gets of a stored value under the rows that act on it.
INLINE Difference* read_through(Work& work, const Value& value, const Rows& rows, int64_t reader,
                                Difference* d) {
    bool any = false;
    for (int i = 0; i < rows.count; i++) {
        const Row& row = *rows.row[i];
        if (rows.what[i] != STORED || (row.reader != -1 && row.reader != reader)) continue;
        if (!any && d) each_entry(*d, [&](int32_t pixel, Entry e) {
            const int64_t element = pixel * value.channels + e.channel;
            work.codes[element] = e.delta;
            work.elements.set(element);
        });
        any = true;
        for (int64_t m = row.m[0]; m < end_of(row.m, value.pixels); m += row.m[2]) {
            for (int64_t n = row.n[0]; n < end_of(row.n, value.channels); n += row.n[2]) {
                const int64_t e = m * value.channels + n, was = golden(work, value, e);
                work.codes[e] = (int32_t)(corrupt(was + work.codes[e], row) - was);
                work.elements.set(e);
            }
        }
    }
    if (!any) return d;
    Writer out = write_to(work, value);
    drain(work.elements, [&](int64_t e) {
        out.add(e, work.codes[e]);
        work.codes[e] = 0;
    });
    return close_difference(work, out.d, out.entries);
}
