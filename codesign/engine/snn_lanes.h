// Vectors of eight lanes and one step of a leaky neuron on them. Included once for each
// instruction set, inside of its namespace.

typedef int32_t v8i __attribute__((vector_size(32)));
typedef int64_t v8l __attribute__((vector_size(64)));

template <class T> struct Lanes;
template <> struct Lanes<int32_t> { typedef v8i type; };
template <> struct Lanes<int64_t> { typedef v8l type; };

INLINE v8i load(const int32_t* from) { v8i x; memcpy(&x, from, sizeof x); return x; }
INLINE void store(int32_t* to, v8i x) { memcpy(to, &x, sizeof x); }
template <class T> INLINE typename Lanes<T>::type widen(v8i x) {
    return __builtin_convertvector(x, typename Lanes<T>::type);
}
// Golden values, kept in 16 or 32 bits.
typedef int16_t v8s __attribute__((vector_size(16)));
INLINE v8i load(const int16_t* from) {
    v8s x;
    memcpy(&x, from, sizeof x);
    return __builtin_convertvector(x, v8i);
}

INLINE v8i narrow(v8i x) { return x; }
INLINE v8i narrow(v8l x) { return __builtin_convertvector(x, v8i); }

// The sign bits of eight lanes, lane 0 lowest.
INLINE uint32_t signs(v8i x) {
#if HAS_AVX2
    return (uint32_t)_mm256_movemask_ps((__m256)x);
#elif defined(__SSE2__)
    __m128 half[2];
    memcpy(half, &x, sizeof half);
    return (uint32_t)_mm_movemask_ps(half[0]) | (uint32_t)_mm_movemask_ps(half[1]) << 4;
#else
    uint32_t bits = 0;
    for (int i = 0; i < PACK; i++) bits |= (uint32_t)(x[i] < 0) << i;
    return bits;
#endif
}

// All ones in the lanes whose bit is set.
INLINE v8i spread(uint32_t bits) {
    const v8i lane = {1, 2, 4, 8, 16, 32, 64, 128};
    return (((v8i){} + (int32_t)(bits & 255)) & lane) != 0;
}

// A corruption of values, prepared: xor, stuck and replace are keep, flip and set.
struct Fix {
    int64_t keep, flip, set;
    int32_t bits, is_signed, replaces;
};

template <class T, class V> INLINE V corrupted(V v, const Fix& fix) {
    if (fix.replaces) return (V){} + (T)fix.set;
    v = ((v & (T)fix.keep) ^ (T)fix.flip) | (T)fix.set;
    if (!fix.is_signed) return v;
    const int shift = (int)(8 * sizeof(T)) - fix.bits;
    typedef typename std::make_unsigned<T>::type U;
    typedef U VU __attribute__((vector_size(PACK * sizeof(U))));
    return (V)((VU)v << shift) >> shift;
}

// What is wrong with a neuron during a run of steps.
struct Phase {
    int32_t first, last;
    int32_t plain;                          // nothing is wrong but, perhaps, threshold and line
    int32_t begin, begins, end, ends, cur, curs;  // fixes: where they start and how many
    int8_t skipped[4], always[4];           // operations, by At - INTEGRATE
    int64_t threshold;
    uint32_t line0, line1;                  // what the line gives for no spike and for a spike
};

template <class T> struct Rule {
    T amount, factor, half, low, high;
    int32_t leak, reset, strict, fit, shift, is_signed, order[4];
    explicit Rule(const Stage& s)
        : amount((T)s.amount), factor((T)s.factor), half(s.amount ? (T)1 << (s.amount - 1) : 0),
          low((T)s.low), high((T)s.high), leak((int)s.leak), reset((int)s.reset),
          strict((int)s.strict), fit((int)s.fit), shift((int)(8 * sizeof(T)) - (int)s.bits),
          is_signed((int)s.is_signed) {
        for (int i = 0; i < 4; i++) order[i] = (int)s.order[i];
    }
};

// FIT: whether writes may leave the format. ORDER: 1, 2 are the usual ones, 0 asks the rule.
enum { FREE = 0, FITTED = 1 };

template <class T, int FIT, class V> INLINE V fitted(V v, const Rule<T>& r) {
    if (FIT == FREE) return v;
    if (r.fit == SATURATE) {
        v = v < r.low ? (V){} + r.low : v;
        return v > r.high ? (V){} + r.high : v;
    }
    if (!r.is_signed) return v & r.high;
    typedef typename std::make_unsigned<T>::type U;
    typedef U VU __attribute__((vector_size(PACK * sizeof(U))));
    return (V)((VU)v << r.shift) >> r.shift;
}

template <class T, int FIT, int COUNT, class V>
INLINE void leak_(V (&v)[COUNT], const Rule<T>& r) {
    if (r.leak == NO_LEAK) {
        for (int j = 0; j < COUNT; j++) v[j] = fitted<T, FIT>(v[j], r);
    } else if (r.leak == MULTIPLY) {
        for (int j = 0; j < COUNT; j++)
            v[j] = fitted<T, FIT>((v[j] * r.factor + r.half) >> (int)r.amount, r);
    } else if (r.leak == SHIFT) {
        for (int j = 0; j < COUNT; j++) v[j] = fitted<T, FIT>(v[j] - (v[j] >> (int)r.amount), r);
    } else {
        for (int j = 0; j < COUNT; j++) {
            V lost = v[j] > r.amount ? (V){} + r.amount : v[j];
            lost = lost < -r.amount ? (V){} - r.amount : lost;
            v[j] = fitted<T, FIT>(v[j] - lost, r);
        }
    }
}

template <class T, int FIT, int COUNT, class V>
INLINE void reset_(V (&v)[COUNT], const V (&due)[COUNT], const V (&threshold)[COUNT],
                   const Rule<T>& r) {
    if (r.reset == TO_ZERO) {
        for (int j = 0; j < COUNT; j++) v[j] &= ~due[j];
    } else if (r.reset == BY_THRESHOLD && FIT == FREE) {
        for (int j = 0; j < COUNT; j++) v[j] -= threshold[j] & due[j];
    } else if (r.reset == BY_THRESHOLD) {
        for (int j = 0; j < COUNT; j++)  // a membrane outside of the format stays there if not due
            v[j] = due[j] ? fitted<T, FIT>(v[j] - threshold[j], r) : v[j];
    }
}

template <class T, int FIT, int COUNT, class V>
INLINE void operate(int at, V (&v)[COUNT], V (&f)[COUNT], const V (&current)[COUNT],
                    const V (&threshold)[COUNT], const Rule<T>& r) {
    if (at == LEAK) {
        leak_<T, FIT>(v, r);
    } else if (at == INTEGRATE) {
        for (int j = 0; j < COUNT; j++) v[j] = fitted<T, FIT>(v[j] + current[j], r);
    } else if (at == FIRE) {
        if (r.strict) {
            for (int j = 0; j < COUNT; j++) f[j] = v[j] > threshold[j];
        } else {
            for (int j = 0; j < COUNT; j++) f[j] = v[j] >= threshold[j];
        }
    } else {
        reset_<T, FIT>(v, f, threshold, r);
    }
}

// One step; f is all ones where a neuron fires.
template <class T, int FIT, int ORDER, int COUNT, class V>
INLINE void step_(V (&v)[COUNT], V (&f)[COUNT], const V (&current)[COUNT],
                  const V (&threshold)[COUNT], const Rule<T>& r) {
    if (ORDER == 0) {
        for (int i = 0; i < 4; i++) operate<T, FIT>(r.order[i], v, f, current, threshold, r);
        return;
    }
    operate<T, FIT>(LEAK, v, f, current, threshold, r);
    operate<T, FIT>(INTEGRATE, v, f, current, threshold, r);
    operate<T, FIT>(ORDER == 1 ? FIRE : RESET, v, f, current, threshold, r);
    operate<T, FIT>(ORDER == 1 ? RESET : FIRE, v, f, current, threshold, r);
}

// One step in which operations are broken.
template <class T, int COUNT, class V>
INLINE void broken_step(V (&v)[COUNT], V (&f)[COUNT], const V (&current)[COUNT],
                        const V (&threshold)[COUNT], const Rule<T>& r, const Phase& phase) {
    for (int i = 0; i < 4; i++) {
        const int at = r.order[i], which = at - INTEGRATE;
        if (phase.skipped[which]) {
            if (at == FIRE) for (int j = 0; j < COUNT; j++) f[j] = (V){};
        } else if (phase.always[which]) {
            V due[COUNT];
            for (int j = 0; j < COUNT; j++) due[j] = ~(V){};
            if (at == FIRE) for (int j = 0; j < COUNT; j++) f[j] = due[j];
            else reset_<T, FITTED>(v, due, threshold, r);
        } else {
            operate<T, FITTED>(at, v, f, current, threshold, r);
        }
    }
}

INLINE int usual_order(const Stage& s) {
    if (s.order[0] != LEAK || s.order[1] != INTEGRATE) return 0;
    return s.order[2] == FIRE ? 1 : 2;
}
