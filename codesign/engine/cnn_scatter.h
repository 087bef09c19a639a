// What differing inputs add to the sums of a convolution. Included once for each instruction set.

template <class S> struct Lanes;
template <> struct Lanes<int16_t> { typedef v16h V; typedef v16b B; enum { N = 16 }; };
template <> struct Lanes<int32_t> { typedef v8i V; typedef v8b B; enum { N = 8 }; };

INLINE v16h widen(v16b x, v16h) {
#if HAS_AVX2  // the compiler takes two halves
    return (v16h)_mm256_cvtepi8_epi16((__m128i)x);
#else
    return __builtin_convertvector(x, v16h);
#endif
}
INLINE v8i widen(v8b x, v8i) {
#if HAS_AVX2  // the compiler takes it lane by lane
    return (v8i)_mm256_cvtepi8_epi32(_mm_set_epi64x(0, (int64_t)x));
#else
    return __builtin_convertvector(x, v8i);
#endif
}
INLINE v8i widen(v8h x, v8i) { return __builtin_convertvector(x, v8i); }

INLINE int16_t delta_of(const Entry* e, const int32_t*, int32_t i, int16_t) { return e[i].delta; }
INLINE int32_t delta_of(const Entry* e, const int32_t* large, int32_t i, int32_t) {
    return large ? large[i] : e[i].delta;
}

// VECTORS vectors of sums stay in registers while all entries of a pixel add to them.
template <int VECTORS, class S, class W, class WV>
INLINE void add_run(S* to, const W* weights, int64_t by_channel, const Entry* e,
                    const int32_t* large, int32_t n) {
    typedef typename Lanes<S>::V V;
    V sums[VECTORS];
    for (int j = 0; j < VECTORS; j++) sums[j] = load<V>(to + j * Lanes<S>::N);
    for (int32_t i = 0; i < n; i++) {
        const W* w = weights + e[i].channel * by_channel;
        const V delta = V{} + delta_of(e, large, i, S{});
        for (int j = 0; j < VECTORS; j++)
            sums[j] += delta * widen(load<WV>(w + j * Lanes<S>::N), V{});
    }
    for (int j = 0; j < VECTORS; j++) store(to + j * Lanes<S>::N, sums[j]);
}

template <class S, class W, class WV>
INLINE void add_runs(S* to, const W* w, int64_t lanes, int64_t by, const Entry* e,
                     const int32_t* large, int32_t n) {
    int64_t left = lanes / Lanes<S>::N;
    while (left) {
        int64_t took;
        if (left >= 12) { add_run<12, S, W, WV>(to, w, by, e, large, n); took = 12; }
        else if (left >= 8) { add_run<8, S, W, WV>(to, w, by, e, large, n); took = 8; }
        else if (left >= 6) { add_run<6, S, W, WV>(to, w, by, e, large, n); took = 6; }
        else if (left == 5) { add_run<5, S, W, WV>(to, w, by, e, large, n); took = 5; }
        else if (left >= 4) { add_run<4, S, W, WV>(to, w, by, e, large, n); took = 4; }
        else if (left >= 3) { add_run<3, S, W, WV>(to, w, by, e, large, n); took = 3; }
        else if (left >= 2) { add_run<2, S, W, WV>(to, w, by, e, large, n); took = 2; }
        else { add_run<1, S, W, WV>(to, w, by, e, large, n); took = 1; }
        to += took * Lanes<S>::N;
        w += took * Lanes<S>::N;
        left -= took;
    }
}

// The same, summed in 16 bits over the entries of one pixel and in 32 over pixels.
template <int VECTORS>
INLINE void add_mixed(int32_t* to, const int8_t* weights, int64_t by_channel, const Entry* e,
                      int32_t n) {
    v16h sums[VECTORS];
    for (int j = 0; j < VECTORS; j++) sums[j] = v16h{};
    for (int32_t i = 0; i < n; i++) {
        const int8_t* w = weights + e[i].channel * by_channel;
        const v16h delta = v16h{} + e[i].delta;
        for (int j = 0; j < VECTORS; j++) sums[j] += delta * widen(load<v16b>(w + j * 16), v16h{});
    }
    for (int j = 0; j < VECTORS; j++) {
        v8i low, high;
        widen16(sums[j], low, high);
        store(to + j * 16, load<v8i>(to + j * 16) + low);
        store(to + j * 16 + 8, load<v8i>(to + j * 16 + 8) + high);
    }
}

INLINE void add_mixed_runs(int32_t* to, const int8_t* w, int64_t lanes, int64_t by, const Entry* e,
                           int32_t n) {
    for (int64_t left = lanes / 16, took; left; left -= took, to += took * 16, w += took * 16) {
        if (left >= 12) { add_mixed<12>(to, w, by, e, n); took = 12; }
        else if (left >= 6) { add_mixed<6>(to, w, by, e, n); took = 6; }
        else if (left >= 4) { add_mixed<4>(to, w, by, e, n); took = 4; }
        else if (left >= 3) { add_mixed<3>(to, w, by, e, n); took = 3; }
        else if (left >= 2) { add_mixed<2>(to, w, by, e, n); took = 2; }
        else { add_mixed<1>(to, w, by, e, n); took = 1; }
    }
}

// The nine pixels around one, of sixteen channels each: all of their sums stay in registers.
INLINE void add_around(int16_t* to, int64_t row, const int8_t* w, int64_t by_row, const Entry* e,
                       int32_t n) {
    v16h sums[9];
    for (int ky = 0; ky < 3; ky++)
        for (int j = 0; j < 3; j++) sums[3 * ky + j] = load<v16h>(to - ky * row + j * 16);
    for (int32_t i = 0; i < n; i++) {
        const int8_t* from = w + e[i].channel * 48;
        const v16h delta = v16h{} + e[i].delta;
        for (int ky = 0; ky < 3; ky++)
            for (int j = 0; j < 3; j++)
                sums[3 * ky + j] += delta * widen(load<v16b>(from + ky * by_row + j * 16), v16h{});
    }
    for (int ky = 0; ky < 3; ky++)
        for (int j = 0; j < 3; j++) store(to - ky * row + j * 16, sums[3 * ky + j]);
}

// A kernel of three by three whose step is one, inside the image: VECTORS vectors for each row.
template <int VECTORS>
INLINE void scatter_inside(int16_t* to, int64_t row, const int8_t* w, int64_t by_row,
                           int64_t by_channel, const Entry* e, int32_t n) {
    if (VECTORS == 3) {
        add_around(to, row, w, by_row, e, n);
        return;
    }
    for (int ky = 0; ky < 3; ky++)
        add_run<VECTORS, int16_t, int8_t, v16b>(to - ky * row, w + ky * by_row, by_channel, e,
                                                nullptr, n);
}

// Output pixels that one row of the kernel reaches from an input pixel.
struct Reach {
    int64_t row, first, count, kx;  // kx: of the first, counted from the kernel's right end
};

template <class F> INLINE void each_reach(const Node& node, const Value& from, const Value& to,
                                          int64_t pixel, F&& f) {
    const uint32_t wide = (uint32_t)from.width;
    const int64_t iy = (uint32_t)pixel / wide, ix = (uint32_t)pixel % wide;
    for (int64_t ky = 0; ky < node.kh; ky++) {
        int64_t oy = iy + node.top - ky;
        if (oy < 0) continue;
        if (node.sy > 1) {
            if ((uint32_t)oy % (uint32_t)node.sy) continue;
            oy = (uint32_t)oy / (uint32_t)node.sy;
        }
        if (oy >= to.height) continue;
        if (node.sx == 1) {
            const int64_t ox = ix + node.left - node.kw + 1;
            const int64_t low = ox < 0 ? -ox : 0;
            const int64_t high = to.width - ox < node.kw ? to.width - ox : node.kw;
            if (low < high) f(ky, Reach{oy, ox + low, high - low, low});
            continue;
        }
        for (int64_t kx = 0; kx < node.kw; kx++) {
            const int64_t ox = ix + node.left - kx;
            if (ox < 0 || (uint32_t)ox % (uint32_t)node.sx) continue;
            const int64_t there = (uint32_t)ox / (uint32_t)node.sx;
            if (there < to.width) f(ky, Reach{oy, there, 1, node.kw - 1 - kx});
        }
    }
}

// Whether a layer makes a vector of a vector.
INLINE bool is_vector(const Node& node, const Value& from, const Value& to) {
    return from.pixels == 1 && to.pixels == 1 && node.kh * node.kw == 1 && node.top == 0
        && node.left == 0;
}

template <class S, class W, class WV>
INLINE void scatter(Work& work, const Node& node, const Difference& d, S* sums, const W* packed) {
    const Value &from = work.plan->value[node.in[0]], &to = work.plan->value[node.out];
    const int64_t by_channel = node.kw * node.padded, by_row = from.channels * by_channel;
    if (is_vector(node, from, to)) {
        work.pixels.set(0);
        add_runs<S, W, WV>(sums, packed, node.padded, by_channel, d.entry, d.large, d.first[1]);
        return;
    }
    for (int32_t p = 0; p < d.count; p++) {
        const Entry* e = d.entry + d.first[p];
        const int32_t* large = d.large ? d.large + d.first[p] : nullptr;
        const int32_t n = d.first[p + 1] - d.first[p];
        each_reach(node, from, to, d.pixel[p], [&](int64_t ky, const Reach& reach) {
            const int64_t o = reach.row * to.width + reach.first;
            work.pixels.set_all(o, reach.count);
            add_runs<S, W, WV>(sums + o * node.padded,
                               packed + ky * by_row + reach.kx * node.padded,
                               reach.count * node.padded, by_channel, e, large, n);
        });
    }
}

// The same in 16 bits for kernels of three by three with a step of one, most pixels at once.
template <int VECTORS>
INLINE void scatter3x3(Work& work, const Node& node, const Difference& d) {
    const Value &from = work.plan->value[node.in[0]], &to = work.plan->value[node.out];
    const int64_t padded = VECTORS * 16 / 3, by_channel = 3 * padded;
    const int64_t by_row = from.channels * by_channel, row = to.width * padded;
    int32_t y = 0, start = 0;  // of the row that holds the pixel
    const int32_t width = (int32_t)from.width;
    for (int32_t p = 0; p < d.count; p++) {
        const Entry* e = d.entry + d.first[p];
        const int32_t n = d.first[p + 1] - d.first[p], pixel = d.pixel[p];
        for (; pixel >= start + width; y++) start += width;
        const int64_t oy = y + node.top, ox = pixel - start + node.left - 2;
        if (oy >= 2 && oy < to.height && ox >= 0 && ox + 3 <= to.width) {
            const int64_t o = oy * to.width + ox;
            for (int64_t ky = 0; ky < 3; ky++) work.pixels.set_all(o - ky * to.width, 3);
            scatter_inside<VECTORS>(work.sums16 + o * padded, row, node.packed, by_row, by_channel,
                                    e, n);
            continue;
        }
        each_reach(node, from, to, pixel, [&](int64_t ky, const Reach& reach) {
            const int64_t at = reach.row * to.width + reach.first;
            work.pixels.set_all(at, reach.count);
            add_runs<int16_t, int8_t, v16b>(work.sums16 + at * padded,
                                            node.packed + ky * by_row + reach.kx * padded,
                                            reach.count * padded, by_channel, e, nullptr, n);
        });
    }
}

INLINE void scatter16(Work& work, const Node& node, const Difference& d) {
    const bool three = node.kh == 3 && node.kw == 3 && node.sy == 1 && node.sx == 1;
    if (three && node.padded == 16) scatter3x3<3>(work, node, d);
    else if (three && node.padded == 32) scatter3x3<6>(work, node, d);
    else if (three && node.padded == 64) scatter3x3<12>(work, node, d);
    else scatter<int16_t, int8_t, v16b>(work, node, d, work.sums16, node.packed);
}

// Where 16 bits hold what one pixel adds, by the sums that `fits16` left; 32 bits elsewhere.
INLINE void scatter_mixed(Work& work, const Node& node, const Difference& d) {
    const Value &from = work.plan->value[node.in[0]], &to = work.plan->value[node.out];
    const int64_t by_channel = node.kw * node.padded, by_row = from.channels * by_channel;
    const int64_t limit = 32767 / node.largest_weight;
    for (int32_t p = 0; p < d.count; p++) {
        const Entry* e = d.entry + d.first[p];
        const int32_t* large = d.large ? d.large + d.first[p] : nullptr;
        const int32_t n = d.first[p + 1] - d.first[p];
        const bool narrow = d.first[-1 - p] <= limit;
        each_reach(node, from, to, d.pixel[p], [&](int64_t ky, const Reach& reach) {
            const int64_t o = reach.row * to.width + reach.first;
            const int8_t* w = node.packed + ky * by_row + reach.kx * node.padded;
            const int64_t lanes = reach.count * node.padded;
            int32_t* sums = work.sums + o * node.padded;
            work.pixels.set_all(o, reach.count);
            if (narrow) add_mixed_runs(sums, w, lanes, by_channel, e, n);
            else add_runs<int32_t, int8_t, v8b>(sums, w, lanes, by_channel, e, large, n);
        });
    }
}

// Groups: a channel adds to the outputs of its group only.
INLINE void scatter_groups(Work& work, const Node& node, const Difference& d) {
    const Value &from = work.plan->value[node.in[0]], &to = work.plan->value[node.out];
    const int64_t fan_in = from.channels / node.groups, fan_out = to.channels / node.groups;
    const int64_t taps = node.kh * node.kw;
    for (int32_t p = 0; p < d.count; p++) {
        each_reach(node, from, to, d.pixel[p], [&](int64_t ky, const Reach& reach) {
            for (int64_t i = 0; i < reach.count; i++) {
                const int64_t o = reach.row * to.width + reach.first + i;
                const int64_t tap = ky * node.kw + node.kw - 1 - (reach.kx + i);
                work.pixels.set(o);
                for (int32_t j = d.first[p]; j < d.first[p + 1]; j++) {
                    const int64_t channel = d.entry[j].channel;
                    const int64_t group = channel / fan_in, c = channel % fan_in;
                    const int32_t delta = delta_at(d, j);
                    int32_t* sums = work.sums + o * node.padded;
                    for (int64_t k = group * fan_out; k < (group + 1) * fan_out; k++)
                        sums[k] += delta * node.weight[k * node.terms + c * taps + tap];
                }
            }
        });
    }
}

// Whether no sum of the differences that meet in one output can leave 16 bits: by the number and
// size of differences, or by the largest sums of a kernel's width along the rows, of as many rows
// as the kernel has.
INLINE bool fits16(const Node& node, const Value& from, const Difference& d) {
    constexpr int TALLEST = 16;
    constexpr int64_t MOST = 1 << 20;
    const int64_t limit = 32767 / node.largest_weight;
    if (!d.large) {  // without the sums
        int16_t largest = 0;
        for (int32_t i = 0; i < d.first[d.count]; i++) {
            const int16_t size = (int16_t)(d.entry[i].delta < 0 ? -d.entry[i].delta : d.entry[i].delta);
            largest = size > largest ? size : largest;
        }
        int32_t longest = 0;
        for (int32_t p = 0; p < d.count; p++) {
            const int32_t n = d.first[p + 1] - d.first[p];
            longest = n > longest ? n : longest;
        }
        const int64_t taps = node.kh * node.kw < d.count ? node.kh * node.kw : d.count;
        if ((int64_t)largest * longest * taps <= limit) return true;
    }
    int64_t most = 0, all = 0;
    for (int32_t p = 0; p < d.count; p++) {
        int64_t sum = 0;
        for (int32_t i = d.first[p]; i < d.first[p + 1]; i++) sum += abs(delta_at(d, i));
        sum = sum < MOST ? sum : MOST;
        d.first[-1 - p] = (int32_t)sum;  // kept in front of `first`, see open_difference
        most = sum > most ? sum : most;
        all += sum;
    }
    if (all <= limit || most * node.kh * node.kw <= limit) return true;
    if (most > limit || node.kh > TALLEST) return false;
    int64_t rows[TALLEST] = {}, last = -1, heaviest = 0;
    for (int32_t p = 0; p < d.count;) {
        const int64_t y = (uint32_t)d.pixel[p] / (uint32_t)from.width;
        int32_t first = p;
        int64_t here = 0, window = 0;
        for (; p < d.count && d.pixel[p] < (y + 1) * from.width; p++) {
            window += d.first[-1 - p];
            for (; d.pixel[first] <= d.pixel[p] - node.kw; first++) window -= d.first[-1 - first];
            here = window > here ? window : here;
        }
        for (int64_t gone = last + 1; gone < y; gone++) rows[gone % node.kh] = 0;
        rows[y % node.kh] = here;
        last = y;
        int64_t sum = 0;
        for (int64_t i = 0; i < node.kh; i++) sum += rows[i];
        heaviest = sum > heaviest ? sum : heaviest;
    }
    return heaviest <= limit;
}
