// Layers without weights. Included once for each instruction set.

// Two inputs of 15 bits: their faulty codes, side by side.
INLINE Difference* add_two(Work& work, const Node& node, Difference* const* in) {
    const Value &left = work.plan->value[node.in[0]], &right = work.plan->value[node.in[1]];
    Difference* first = in[0];
    Difference* second = node.in[1] == node.in[0] ? nullptr : in[1];
    int16_t *more = work.sums16, *too = work.other16;
    const int64_t padded = node.padded;
    if (first) lay_down(work, *first, more, padded);
    if (second) lay_down(work, *second, too, padded);
    const int16_t* a = (const int16_t*)plane(work, left);
    const int16_t* b = (const int16_t*)plane(work, right);
    const int16_t by_a = (int16_t)node.multipliers[0], by_b = (int16_t)node.multipliers[1];
    const bool same = node.in[1] == node.in[0];
    return finish_small<false>(work, node, [=](int64_t m, int64_t e, int64_t c, v8i& one,
                                               v8i& other) __attribute__((always_inline)) {
        const int64_t at = m * padded + c;
        const v16h changed = load<v16h>(more + at);
        const v16h x = load<v16h>(a + e) + changed;
        const v16h y = load<v16h>(b + e) + (same ? changed : load<v16h>(too + at));
        clear16(more + at);
        clear16(too + at);
        weighted(x, y, by_a, by_b, one, other);
    });
}

INLINE bool are_two_small(const Work& work, const Node& node, Difference* const* in) {
    if (node.inputs != 2 || !node.small) return false;
    for (int64_t i = 0; i < 2; i++) {
        if (node.multipliers[i] > INT16_MAX || node.multipliers[i] < INT16_MIN) return false;
        if (work.plan->value[node.in[i]].wide || (in[i] && in[i]->large)) return false;
    }
    return true;
}

INLINE Difference* add_layer(Work& work, const Node& node, Difference* const* in) {
    work.specials = 0;
    if (are_two_small(work, node, in)) return add_two(work, node, in);
    for (int64_t i = 0; i < node.inputs; i++) {
        const int32_t multiplier = (int32_t)node.multipliers[i];
        if (in[i]) each_entry(*in[i], [&](int32_t pixel, int64_t channel, int32_t delta) {
            work.pixels.set(pixel);
            work.sums[pixel * node.padded + channel] += multiplier * delta;
        });
    }
    const auto sums = [&](int64_t m, int64_t e, int64_t c, v8i& one, v8i& other) {
        int32_t* more = work.sums + m * node.padded + c;
        one = load<v8i>(more);
        other = load<v8i>(more + 8);
        for (int64_t i = 0; i < node.inputs; i++) {
            const Value& value = work.plan->value[node.in[i]];
            const v8i multiplier = v8i{} + (int32_t)node.multipliers[i];
            one += multiplier * golden8(work, value, e);
            other += multiplier * golden8(work, value, e + 8);
        }
        clear16(more);
    };
    return node.small ? finish_small<false>(work, node, sums) : finish_large(work, node, sums);
}

// Pools: a changed input touches the windows that hold it.
struct Windows {
    Span y, x;
};

// Windows of pixels that are asked for in ascending order.
struct Touched {
    const Spans& spans;
    int32_t width, y, start;

    INLINE_MEMBER Windows of(int32_t pixel) {
        for (; pixel >= start + width; y++) start += width;
        return {spans.in_y[y], spans.in_x[pixel - start]};
    }
};

INLINE Touched touched(const Work& work, const Node& node) {
    return {work.spans[&node - work.plan->node],
            (int32_t)work.plan->value[node.in[0]].width, 0, 0};
}

// The part of a window inside the image.
INLINE Windows inside(const Work& work, const Node& node, int64_t m) {
    const Spans& spans = work.spans[&node - work.plan->node];
    const uint32_t width = (uint32_t)work.plan->value[node.out].width, y = (uint32_t)m / width;
    return {spans.out_y[y], spans.out_x[(uint32_t)m - y * width]};
}

// Golden sums of an image's windows, made when first asked for.
INLINE const int32_t* pooled_sums(Work& work, const Node& node) {
    const int64_t at = &node - work.plan->node;
    int32_t* sums = work.planar + work.planar_at[at];
    if (work.planar_made[at]) return sums;
    work.planar_made[at] = 1;
    const Value &from = work.plan->value[node.in[0]], &to = work.plan->value[node.out];
    for (int64_t m = 0; m < to.pixels; m++) {
        const Windows w = inside(work, node, m);
        for (int64_t n = 0; n < to.channels; n++) {
            int32_t sum = 0;
            for (int64_t y = w.y.first; y < w.y.stop; y++)
                for (int64_t x = w.x.first; x < w.x.stop; x++)
                    sum += golden(work, from, (y * from.width + x) * from.channels + n);
            sums[m * to.channels + n] = sum;
        }
    }
    return sums;
}

INLINE Difference* average_layer(Work& work, const Node& node, const Difference& d) {
    const Value& to = work.plan->value[node.out];
    Touched windows = touched(work, node);
    for (int32_t p = 0; p < d.count; p++) {
        const Windows w = windows.of(d.pixel[p]);
        for (int64_t y = w.y.first; y < w.y.stop; y++)
            for (int64_t x = w.x.first; x < w.x.stop; x++) {
                int32_t* sums = work.sums + (y * to.width + x) * node.padded;
                work.pixels.set(y * to.width + x);
                for (int32_t i = d.first[p]; i < d.first[p + 1]; i++)
                    sums[d.entry[i].channel] += delta_at(d, i);
            }
    }
    work.specials = 0;
    return finish_sums(work, node, pooled_sums(work, node), work.sums, node.padded);
}

// The largest codes of sixteen channels in a window.
INLINE v16h largest_of(const int16_t* codes, const Windows& w, int64_t width, int64_t channels) {
    const int16_t* row = codes + (w.y.first * width + w.x.first) * channels;
    if (w.y.stop - w.y.first == 2 && w.x.stop - w.x.first == 2) {
        const int16_t* next = row + width * channels;
        return larger(larger(load<v16h>(row), load<v16h>(row + channels)),
                      larger(load<v16h>(next), load<v16h>(next + channels)));
    }
    v16h most = v16h{} - SMALL;
    for (int64_t y = w.y.first; y < w.y.stop; y++, row += width * channels)
        for (int64_t x = 0; x < w.x.stop - w.x.first; x++)
            most = larger(most, load<v16h>(row + x * channels));
    return most;
}

// The largest of sixteen channels' faulty codes at once.
INLINE Difference* largest_small(Work& work, const Node& node, const Difference& d) {
    const Value &from = work.plan->value[node.in[0]], &to = work.plan->value[node.out];
    const int64_t channels = to.channels;
    Touched windows = touched(work, node);
    for (int32_t p = 0; p < d.count; p++) {
        const Windows w = windows.of(d.pixel[p]);
        for (int64_t y = w.y.first; y < w.y.stop; y++)
            for (int64_t x = w.x.first; x < w.x.stop; x++) work.pixels.set(y * to.width + x);
    }
    patch(work, from, d);
    const int16_t *codes = (const int16_t*)plane(work, from), *was = (const int16_t*)plane(work, to);
    Difference* out = open_difference(work, to.pixels, to.pixels * channels);
    Entry* entry = out->entry;
    int32_t count = 0;
    drain(work.pixels, [&](int64_t m) {
        const Windows w = inside(work, node, m);
        Entry* next = entry;
        for (int64_t c = 0; c < channels; c += 16) {
            const v16h most = largest_of(codes + c, w, from.width, channels);
            const v16h changes = most - load<v16h>(was + m * channels + c);
            uint32_t bits = nonzero(changes);
            if (channels - c < 16) bits &= (1u << (channels - c)) - 1;
            next = put_entries(next, changes, bits, c, channels - c > 8);
        }
        out->pixel[count] = (int32_t)m;
        count += next > entry;
        entry = next;
        out->first[count] = (int32_t)(entry - out->entry);
    });
    unpatch(work, from, d);
    out->count = count;
    return close_difference(work, out, (int32_t)(entry - out->entry));
}

INLINE Difference* largest_layer(Work& work, const Node& node, const Difference& d) {
    const Value &from = work.plan->value[node.in[0]], &to = work.plan->value[node.out];
    if (!from.wide && !to.wide && !d.large) return largest_small(work, node, d);
    Touched windows = touched(work, node);
    each_entry(d, [&](int32_t pixel, int64_t channel, int32_t delta) {
        work.codes[pixel * from.channels + channel] = delta;
        const Windows w = windows.of(pixel);
        for (int64_t y = w.y.first; y < w.y.stop; y++)
            for (int64_t x = w.x.first; x < w.x.stop; x++)
                work.elements.set((y * to.width + x) * to.channels + channel);
    });
    Writer out = write_to(work, to);
    drain(work.elements, [&](int64_t e) {
        const int64_t n = e % to.channels;
        const Windows w = inside(work, node, e / to.channels);
        int64_t most = INT64_MIN;
        for (int64_t y = w.y.first; y < w.y.stop; y++)
            for (int64_t x = w.x.first; x < w.x.stop; x++) {
                const int64_t i = (y * from.width + x) * from.channels + n;
                const int64_t v = golden(work, from, i) + work.codes[i];
                most = v > most ? v : most;
            }
        out.add(e, (int32_t)(most - golden(work, to, e)));
    });
    each_entry(d, [&](int32_t pixel, int64_t channel, int32_t) {
        work.codes[pixel * from.channels + channel] = 0;
    });
    return out.close();
}

// Moves that keep the order of pixels, and values as they are.
INLINE Difference* move_in_order(Work& work, const Node& node, const Difference& d) {
    const Value &from = work.plan->value[node.in[0]], &to = work.plan->value[node.out];
    const int64_t channels = to.channels;
    Difference* out = open_difference(work, to.pixels, to.pixels * channels);
    if (d.large) open_large(work, out, to.pixels * channels);
    int32_t entries = 0;
    int64_t start = -channels;  // of the current pixel's elements
    for (int32_t p = 0; p < d.count; p++) {
        const int32_t* map = node.maps[0] + d.pixel[p] * from.channels;
        for (int32_t i = d.first[p]; i < d.first[p + 1]; i++) {
            const int64_t there = map[d.entry[i].channel];
            if (there < 0) continue;
            if (there >= start + channels) {
                const int32_t pixel = (int32_t)((uint32_t)there / (uint32_t)channels);
                start = pixel * channels;
                out->pixel[out->count] = pixel;
                out->count++;
            }
            if (d.large) out->large[entries] = d.large[i];
            out->entry[entries++] = {(uint16_t)(there - start), d.entry[i].delta};
            out->first[out->count] = entries;
        }
    }
    return close_difference(work, out, entries);
}

// Flatten, slice, pad, concatenate, lay out otherwise: elements go elsewhere or nowhere.
INLINE Difference* move_layer(Work& work, const Node& node, Difference* const* in) {
    if (node.keeps_order) return in[0] ? move_in_order(work, node, *in[0]) : nullptr;
    const Value& to = work.plan->value[node.out];
    for (int64_t i = 0; i < node.inputs; i++) {
        const Value& from = work.plan->value[node.in[i]];
        if (in[i]) each_entry(*in[i], [&](int32_t pixel, int64_t channel, int32_t delta) {
            const int64_t element = pixel * from.channels + channel;
            const int32_t there = node.maps[i][element];
            if (there < 0) return;
            const int64_t v = golden(work, from, element) + delta;
            const int64_t moved = code(v, node.each[i], channel);
            work.codes[there] = (int32_t)(moved - golden(work, to, there));
            work.elements.set(there);
        });
    }
    Writer out = write_to(work, to);
    drain(work.elements, [&](int64_t e) {
        out.add(e, work.codes[e]);
        work.codes[e] = 0;
    });
    return out.close();
}

// What a reader gets of a stored value under the rows that act on it.
INLINE Difference* read_through(Work& work, const Value& value, const Rows& rows, int64_t reader,
                                Difference* d) {
    bool any = false;
    for (int i = 0; i < rows.count; i++) {
        const Row& row = *rows.row[i];
        if (rows.what[i] != STORED || (row.reader != -1 && row.reader != reader)) continue;
        if (!any && d) each_entry(*d, [&](int32_t pixel, int64_t channel, int32_t delta) {
            const int64_t element = pixel * value.channels + channel;
            work.codes[element] = delta;
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
    return out.close();
}
