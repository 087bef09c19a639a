// What pools sums into currents, and spikes into lines. Included once for each instruction set,
// inside of its namespace.

constexpr int LARGEST_WINDOW = 64;

template <class T, class V> INLINE V rounded_shift(V x, const Stage& s) {
    const int shift = (int)s.q_shift;
    if (!shift) return x;
    const V whole = x >> shift, rest = x & (T)(((T)1 << shift) - 1);
    const T half = (T)1 << (shift - 1);
    if (s.q_rounding == FLOOR) return whole;
    if (s.q_rounding == HALF_UP) return whole - (V)(rest >= half);
    return whole - (V)((rest > half) | ((rest == half) & ((whole & 1) == 1)));
}

// Sums of a window to the code that the neuron reads.
INLINE v8i requantised(v8i sum, v8i multiplier, const Stage& s) {
    if (!s.q_used) return sum;
    v8l x = widen<int64_t>(sum) * widen<int64_t>(multiplier);
    x = rounded_shift<int64_t>(x, s);
    x = x < s.q_low ? (v8l){} + s.q_low : x;
    return narrow(x > s.q_high ? (v8l){} + s.q_high : x);
}

struct Pooling {
    v8i value;
    explicit INLINE_MEMBER Pooling(const Stage& s) : value((v8i){}) {
        if (s.pool == MAXIMUM) value += INT32_MIN;
    }
    INLINE_MEMBER void add(v8i x, const Stage& s) {
        if (s.pool == MAXIMUM) value = x > value ? x : value;
        else value += x;
    }
};

// Value of a line of the stage by the spikes that it pools.
INLINE int32_t pooled_spikes(const Stage& s, int64_t line, int count) {
    if (s.in_pool == MAXIMUM) return count > 0;
    return s.in_table[line / s.in_positions * (s.in_window + 1) + count];
}
