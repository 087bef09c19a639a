// Integers: corruption, fitting, requantisation. Included once for each instruction set.

typedef int8_t v8b __attribute__((vector_size(8)));
typedef int8_t v16b __attribute__((vector_size(16)));
typedef int16_t v8h __attribute__((vector_size(16)));
typedef int16_t v16h __attribute__((vector_size(32)));
typedef int32_t v4i __attribute__((vector_size(16)));
typedef int32_t v8i __attribute__((vector_size(32)));
typedef int64_t v4q __attribute__((vector_size(32)));
typedef double v4d __attribute__((vector_size(32)));

template <class V> INLINE V load(const void* from) { V x; memcpy(&x, from, sizeof x); return x; }
template <class V> INLINE void store(void* to, V x) { memcpy(to, &x, sizeof x); }

INLINE int64_t corrupt(int64_t v, const Row& row) {
    switch (row.op) {
        case REPLACE: return row.value;
        case ADD: return v + row.value;
        case SCALE: return v * row.value;
        default: break;
    }
    const int64_t all = ((int64_t)1 << row.bits) - 1;
    int64_t pattern = v & all;
    pattern = row.op == XOR ? pattern ^ row.mask : (pattern & ~row.mask) | (row.value & row.mask);
    const int64_t sign = (int64_t)1 << (row.bits - 1);
    return row.is_signed ? ((pattern & all) ^ sign) - sign : pattern;
}

INLINE int64_t fit(int64_t v, const Format& form) {
    if (v >= form.low && v <= form.high) return v;
    if (!form.wraps) return v < form.low ? form.low : form.high;
    return ((v - form.low) & (form.high - form.low)) + form.low;  // a power of two less one
}

INLINE int64_t clip(int64_t v, int64_t low, int64_t high) {
    return v < low ? low : v > high ? high : v;
}

INLINE int64_t code(int64_t sum, const Requantise& q, int64_t channel) {
    if (!q.is_there) return sum;
    int64_t v = sum * q.multiplier[channel];
    if (q.shift) {
        const int64_t whole = v >> q.shift, half = (int64_t)1 << (q.shift - 1);
        const int64_t rest = v & (2 * half - 1);
        const bool up = q.rounding == HALF_UP ? rest >= half
                      : q.rounding == HALF_EVEN ? rest > half || (rest == half && (whole & 1))
                      : false;
        v = whole + up;
    }
    return clip(v, q.low, q.high);
}

// A requantisation in registers. In doubles: a 31-bit sum times 15 bits over a power of two is exact,
// and so is a half more; clipping to whole numbers first makes truncation the floor. In products of
// 64 bits: what is added makes them positive, so that a logical shift is the floor.
struct Coder {
    const Requantise* q;
    v4d bias, span;
    v4q lift;
    v4i low;
    v8i half, drop, lowest, highest;
    int way, shift;
    bool even;
};

INLINE Coder coder_of(const Requantise& q) {
    constexpr int64_t LIFT = (int64_t)1 << 61;
    const bool up = q.rounding == HALF_UP && q.shift;
    const int64_t half = up ? (int64_t)1 << (q.shift - 1) : 0;
    const double low = (double)q.low;
    return {&q, v4d{} + ((up ? 0.5 : 0.0) - low), v4d{} + (double)(q.high - q.low),
            v4q{} + (LIFT + half), v4i{} + (int32_t)q.low, v8i{} + (int32_t)half,
            v8i{} + (int32_t)(LIFT >> q.shift), v8i{} + (int32_t)q.low, v8i{} + (int32_t)q.high,
            (int)q.is_there, (int)q.shift, q.rounding == HALF_EVEN};
}

INLINE v4d doubles(v4i x) {
#if HAS_AVX2
    return (v4d)_mm256_cvtepi32_pd((__m128i)x);
#else
    return __builtin_convertvector(x, v4d);
#endif
}

// Clipped to 0..span, fractions cut off.
INLINE v4i whole(v4d v, v4d span) {
    const v4d none = {};
#if HAS_AVX2
    return (v4i)_mm256_cvttpd_epi32(_mm256_min_pd(_mm256_max_pd((__m256d)v, (__m256d)none), span));
#else
    v = v > none ? v : none;
    v = v < span ? v : span;
    return __builtin_convertvector(v, v4i);
#endif
}

INLINE v4i codes4(v4i sums, const Coder& coder, v4d factor) {
    v4d v = doubles(sums) * factor;
    if (coder.even) {
        const double magic = 6755399441055744.0;  // 1.5 · 2^52: adding it rounds to whole, to even
        v = (v + magic) - magic;
    }
    v += coder.bias;
    return whole(v, coder.span) + coder.low;
}

INLINE v8i codes8(v8i sums, const Coder& coder, v4d first, v4d second) {
#if HAS_AVX2  // through memory, two halves written and read as one would wait
    const v4i a = codes4((v4i)_mm256_castsi256_si128((__m256i)sums), coder, first);
    const v4i b = codes4((v4i)_mm256_extracti128_si256((__m256i)sums, 1), coder, second);
    return (v8i)_mm256_set_m128i((__m128i)b, (__m128i)a);
#else
    v4i half[2];
    memcpy(half, &sums, sizeof sums);
    half[0] = codes4(half[0], coder, first);
    half[1] = codes4(half[1], coder, second);
    v8i both;
    memcpy(&both, half, sizeof both);
    return both;
#endif
}

INLINE v8i clipped(v8i v, v8i low, v8i high) {
#if HAS_AVX2
    return (v8i)_mm256_min_epi32(_mm256_max_epi32((__m256i)v, (__m256i)low), (__m256i)high);
#else
    v = v > low ? v : low;
    return v < high ? v : high;
#endif
}

// Eight sums times multipliers, shifted: codes before they are clipped.
INLINE v8i products(v8i sums, v8i multiplier, const Coder& coder) {
#if HAS_AVX2
    const __m256i s = (__m256i)sums, m = (__m256i)multiplier, lift = (__m256i)coder.lift;
    const __m128i shift = _mm_cvtsi32_si128(coder.shift);
    const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(s, m), lift);
    const __m256i odd = _mm256_add_epi64(
        _mm256_mul_epi32(_mm256_srli_epi64(s, 32), _mm256_srli_epi64(m, 32)), lift);
    const __m256i low = _mm256_srl_epi64(even, shift);
    const __m256i high = _mm256_slli_epi64(_mm256_srl_epi64(odd, shift), 32);
    return (v8i)_mm256_blend_epi32(low, high, 0xAA) - coder.drop;
#else
    v8i all = {};
    for (int i = 0; i < 8; i++)
        all[i] = (int32_t)(((int64_t)sums[i] * multiplier[i] + coder.lift[0]) >> coder.shift);
    return all - coder.drop;
#endif
}

// Codes of eight channels from one on; clipping them again, also to 16 bits first, is right.
INLINE v8i raw_codes8(v8i sums, const Coder& coder, int64_t channel) {
    switch (coder.way) {
        case IN_PRODUCTS: return products(sums, load<v8i>(coder.q->narrow + channel), coder);
        case BY_SHIFT: return (sums + coder.half) >> coder.shift;
        case IN_DOUBLES: {
            const double* factor = coder.q->factor + channel;
            return codes8(sums, coder, load<v4d>(factor), load<v4d>(factor + 4));
        }
        default: break;
    }
    v8i all = {};  // fractions too fine for doubles
    for (int i = 0; i < 8; i++) all[i] = (int32_t)code(sums[i], *coder.q, channel + i);
    return all;
}

INLINE v8i codes8(v8i sums, const Coder& coder, int64_t channel) {
    if (!coder.way) return sums;
    return clipped(raw_codes8(sums, coder, channel), coder.lowest, coder.highest);
}

// Codes of eight sums of one channel.
INLINE v8i same_codes8(v8i sums, const Coder& coder, int64_t channel) {
    if (!coder.way) return sums;
    v8i found = {};
    if (coder.way == IN_PRODUCTS) {
        found = products(sums, v8i{} + coder.q->narrow[channel], coder);
    } else if (coder.way == BY_SHIFT) {
        found = (sums + coder.half) >> coder.shift;
    } else if (coder.way == IN_DOUBLES) {
        const v4d factor = v4d{} + coder.q->factor[channel];
        return codes8(sums, coder, factor, factor);
    } else {
        for (int i = 0; i < 8; i++) found[i] = (int32_t)code(sums[i], *coder.q, channel);
    }
    return clipped(found, coder.lowest, coder.highest);
}

INLINE v8i widen8(const int16_t* from) {
#if HAS_AVX2
    return (v8i)_mm256_cvtepi16_epi32((__m128i)load<v8h>(from));
#else
    return __builtin_convertvector(load<v8h>(from), v8i);
#endif
}
INLINE v8i widen8(const int32_t* from) { return load<v8i>(from); }

INLINE void widen16(v16h x, v8i& low, v8i& high) {
#if HAS_AVX2
    low = (v8i)_mm256_cvtepi16_epi32(_mm256_castsi256_si128((__m256i)x));
    high = (v8i)_mm256_cvtepi16_epi32(_mm256_extracti128_si256((__m256i)x, 1));
#else
    for (int i = 0; i < 8; i++) low[i] = x[i];
    for (int i = 0; i < 8; i++) high[i] = x[i + 8];
#endif
}

INLINE v8i wrapped(v8i sums, const Format& form) {  // of at most 32 bits
    return ((sums - (int32_t)form.low) & (int32_t)(form.high - form.low)) + (int32_t)form.low;
}

INLINE uint32_t nonzero(v8i x) {
#if HAS_AVX2
    return ~(uint32_t)_mm256_movemask_ps((__m256)(x == 0)) & 255;
#else
    uint32_t bits = 0;
    for (int i = 0; i < 8; i++) bits |= (uint32_t)(x[i] != 0) << i;
    return bits;
#endif
}

// Codes of sixteen channels, from codes before they are clipped to what 15 bits hold.
INLINE v16h narrowed(v8i first, v8i second, v16h low, v16h high) {
#if HAS_AVX2
    const __m256i both = _mm256_packs_epi32((__m256i)first, (__m256i)second);
    const __m256i codes = _mm256_permute4x64_epi64(both, 0xD8);
    return (v16h)_mm256_min_epi16(_mm256_max_epi16(codes, (__m256i)low), (__m256i)high);
#else
    v16h codes = {};
    for (int i = 0; i < 16; i++) {
        const int32_t v = i < 8 ? first[i & 7] : second[i & 7];
        codes[i] = (int16_t)(v < low[i] ? low[i] : v > high[i] ? high[i] : v);
    }
    return codes;
#endif
}

INLINE uint32_t nonzero(v16h x) {
#if HAS_AVX2
    const __m256i zero = _mm256_cmpeq_epi16((__m256i)x, _mm256_setzero_si256());
    return 0xFFFF & ~(uint32_t)_mm_movemask_epi8(_mm_packs_epi16(
        _mm256_castsi256_si128(zero), _mm256_extracti128_si256(zero, 1)));
#else
    uint32_t bits = 0;
    for (int i = 0; i < 16; i++) bits |= (uint32_t)(x[i] != 0) << i;
    return bits;
#endif
}

INLINE v16h larger(v16h x, v16h y) {
#if HAS_AVX2
    return (v16h)_mm256_max_epi16((__m256i)x, (__m256i)y);
#else
    return x > y ? x : y;
#endif
}

// x·a + y·b of sixteen lanes.
INLINE void weighted(v16h x, v16h y, int16_t a, int16_t b, v8i& first, v8i& second) {
#if HAS_AVX2
    const __m256i both = _mm256_set1_epi32((int32_t)((uint32_t)(uint16_t)b << 16 | (uint16_t)a));
    const __m256i low =
        _mm256_madd_epi16(_mm256_unpacklo_epi16((__m256i)x, (__m256i)y), both);
    const __m256i high =
        _mm256_madd_epi16(_mm256_unpackhi_epi16((__m256i)x, (__m256i)y), both);
    first = (v8i)_mm256_permute2x128_si256(low, high, 0x20);
    second = (v8i)_mm256_permute2x128_si256(low, high, 0x31);
#else
    for (int i = 0; i < 8; i++) first[i] = x[i] * a + y[i] * b;
    for (int i = 0; i < 8; i++) second[i] = x[i + 8] * a + y[i + 8] * b;
#endif
}

INLINE bool picks(const int64_t* box, int64_t i) {
    return i >= box[0] && (box[1] < 0 || i < box[1]) && (box[2] == 1 || (i - box[0]) % box[2] == 0);
}

INLINE int64_t end_of(const int64_t* box, int64_t size) { return box[1] < 0 ? size : box[1]; }

INLINE bool is_all(const int64_t* box, int64_t size) {
    return size == 1 || (box[0] == 0 && box[2] == 1 && (box[1] < 0 || box[1] == size));
}

INLINE bool is_one(const int64_t* box, int64_t size) {
    return box[0] + box[2] >= end_of(box, size);
}

INLINE bool acts(const Row& row, int64_t sample) {
    return sample >= row.samples[0] && (row.samples[1] < 0 || sample < row.samples[1]);
}
