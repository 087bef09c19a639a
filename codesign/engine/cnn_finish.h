// From sums of touched pixels to differences of codes. Included once for each instruction set.

INLINE const int32_t* golden_sums(const Work& work, const Node& node) {
    const Value& to = work.plan->value[node.out];
    return node.sums + work.sample * to.pixels * to.channels;
}

// The change of a special output's code: it was summed term by term.
INLINE int32_t special_change(const Work& work, const Node& node, int64_t at, int64_t channel) {
    const int64_t e = work.special[at];
    const int64_t found = code(work.special_total[at], node.requantise, channel);
    return (int32_t)(found - golden(work, work.plan->value[node.out], e));
}

// Special outputs take the place of the others of some changes, from element `first` on.
template <class V>
INLINE uint32_t override(const Work& work, const Node& node, int64_t first, int64_t c, int64_t stop,
                         int64_t& at, V& changes, uint32_t bits) {
    for (; at < work.specials && work.special[at] < stop; at++) {
        const int lane = (int)(work.special[at] - first);
        const int32_t change = special_change(work, node, at, c + lane);
        decltype(changes[0] + 0) kept = change;
        changes[lane] = kept;
        bits = (bits & ~(1u << lane)) | (uint32_t)(change != 0) << lane;
    }
    return bits;
}

// Sixteen channels at once, whose codes and differences 16 bits hold. `sums` gives those of a
// pixel from a channel on, golden and added; what was added is zero again.
template <bool SPECIALS, class F>
INLINE Difference* finish_small(Work& work, const Node& node, F sums) {
    const Value& to = work.plan->value[node.out];
    const int64_t channels = to.channels;
    const Coder coder = coder_of(node.requantise);
    const v16h low = v16h{} + (int16_t)node.requantise.low;
    const v16h high = v16h{} + (int16_t)node.requantise.high;
    const bool wraps = node.mode == WRAPS;
    const int16_t* codes = (const int16_t*)plane(work, to);
    Difference* d = open_difference(work, to.pixels, to.pixels * channels);
    Entry* entry = d->entry;
    int32_t count = 0;
    int64_t at = 0;
    drain(work.pixels, [&](int64_t m) __attribute__((always_inline)) {
        Entry* next = entry;
        for (int64_t c = 0; c < channels; c += 16) {
            const int64_t first = m * channels + c, left = channels - c;
            v8i one, other;
            sums(m, first, c, one, other);
            if (wraps) {
                one = wrapped(one, node.outer);
                other = wrapped(other, node.outer);
            }
            one = raw_codes8(one, coder, c);
            if (left > 8) other = raw_codes8(other, coder, c + 8);
            v16h changes = narrowed(one, other, low, high) - load<v16h>(codes + first);
            uint32_t bits = nonzero(changes);
            if (left < 16) bits &= (1u << left) - 1;
            if (SPECIALS)
                bits = override(work, node, first, c, first + (left < 16 ? left : 16), at, changes,
                                bits);
            next = put_entries(next, changes, bits, c, left > 8);
        }
        d->pixel[count] = (int32_t)m;
        count += next > entry;
        entry = next;
        d->first[count] = (int32_t)(entry - d->entry);
    });
    d->count = count;
    return close_difference(work, d, (int32_t)(entry - d->entry));
}

// Eight channels at once, whatever their codes.
template <class F> INLINE Difference* finish_large(Work& work, const Node& node, F sums) {
    const Value& to = work.plan->value[node.out];
    const int64_t channels = to.channels;
    const Coder coder = coder_of(node.requantise);
    Difference* d = open_difference(work, to.pixels, to.pixels * channels);
    open_large(work, d, to.pixels * channels);
    int32_t entries = 0;
    int64_t at = 0;
    const auto emit = [&](int64_t m, int64_t first, int64_t c, v8i sum)
        __attribute__((always_inline)) {
        const int64_t left = channels - c < 8 ? channels - c : 8;
        if (left <= 0) return;
        if (node.mode == WRAPS) sum = wrapped(sum, node.outer);
        v8i changes = codes8(sum, coder, c) - golden8(work, to, first);
        uint32_t bits = nonzero(changes) & ((1u << left) - 1);
        bits = override(work, node, first, c, first + left, at, changes, bits);
        int32_t change[8];
        store(change, changes);
        for (; bits; bits &= bits - 1) {
            const int lane = __builtin_ctz(bits);
            d->large[entries] = change[lane];
            d->entry[entries++] = {(uint16_t)(c + lane), (int16_t)change[lane]};
        }
    };
    drain(work.pixels, [&](int64_t m) {
        const int32_t before = entries;
        for (int64_t c = 0; c < channels; c += 16) {
            v8i one, other;
            sums(m, m * channels + c, c, one, other);
            emit(m, m * channels + c, c, one);
            emit(m, m * channels + c + 8, c + 8, other);
        }
        if (entries == before) return;
        d->pixel[d->count] = (int32_t)m;
        d->count++;
        d->first[d->count] = entries;
    });
    return close_difference(work, d, entries);
}

// Golden sums and what was added to them.
template <class S> INLINE Difference* finish_sums(Work& work, const Node& node, const int32_t* from,
                                                  S* added, int64_t padded) {
    const auto sums = [=](int64_t m, int64_t first, int64_t c, v8i& one, v8i& other)
        __attribute__((always_inline)) {
        S* more = added + m * padded + c;
        one = load<v8i>(from + first) + widen8(more);
        other = load<v8i>(from + first + 8) + widen8(more + 8);
        clear16(more);
    };
    if (!node.small) return finish_large(work, node, sums);
    return work.specials ? finish_small<true>(work, node, sums)
                         : finish_small<false>(work, node, sums);
}
