// One thread's memory: an image's golden planes, scratch that is all zero between uses, and an
// arena for the differences of one (trial, image). Included once for each instruction set.

struct Bits {
    uint64_t* words;
    int64_t used, low, high;  // words, and the span of them that may hold ones

    INLINE_MEMBER void set(int64_t i) {
        const int64_t w = i >> 6;
        words[w] |= (uint64_t)1 << (i & 63);
        low = w < low ? w : low;
        high = w > high ? w : high;
    }

    INLINE_MEMBER void set_all(int64_t i, int64_t count) {  // at most 64
        const int64_t w = i >> 6, end = (i + count - 1) >> 6;
        const uint64_t ones = ~(uint64_t)0 >> (64 - count);
        words[w] |= ones << (i & 63);
        if (end > w) words[end] |= ones >> (64 - (i & 63));
        low = w < low ? w : low;
        high = end > high ? end : high;
    }
};

struct Work {
    const Plan* plan;
    int64_t sample;
    uint8_t* planes;         // golden, [pixels][channels] of every value
    int32_t* planar;         // golden sums [channels][pixels] of every node with sums
    int64_t* planar_at;      // [nodes]
    uint8_t* planar_made;    // [nodes] for this image
    int32_t *sums, *codes;   // zeros: [largest] of 32 bits
    int16_t* sums16;         // zeros
    Bits pixels, elements;   // empty
    char *arena, *next;
    Difference** difference;  // [values] of this (trial, image), or null
    int32_t* operands;        // [terms] of one output
    int64_t* special;         // [elements] ascending, their totals in special_total
    int64_t* special_total;
    int64_t specials;
    int64_t counts[8];
};

INLINE void* take(Work& work, int64_t bytes) {
    void* found = work.next;
    work.next += (bytes + 63) & ~(int64_t)63;
    return found;
}

INLINE Difference* open_difference(Work& work, int64_t pixels, int64_t elements) {
    Difference* d = (Difference*)take(work, sizeof(Difference));
    d->count = 0;
    d->pixel = (int32_t*)take(work, pixels * 4);
    d->first = (int32_t*)take(work, (2 * pixels + 1) * 4) + pixels;  // room for sums in front
    d->entry = (Entry*)take(work, elements * sizeof(Entry));
    d->first[0] = 0;
    return d;
}

// Give back what was not used; null if nothing differs.
INLINE Difference* close_difference(Work& work, Difference* d, int32_t entries) {
    if (!d->count) {
        work.next = (char*)d;
        return nullptr;
    }
    work.next = (char*)(((uintptr_t)(d->entry + entries) + 63) & ~(uintptr_t)63);
    return d;
}

INLINE const void* plane(const Work& work, const Value& value) { return work.planes + value.at; }

INLINE int32_t golden(const Work& work, const Value& value, int64_t element) {
    const void* p = plane(work, value);
    return value.wide ? ((const int32_t*)p)[element] : ((const int16_t*)p)[element];
}

INLINE v8i golden8(const Work& work, const Value& value, int64_t element) {
    const void* p = plane(work, value);
    return value.wide ? load<v8i>((const int32_t*)p + element)
                      : widen8((const int16_t*)p + element);
}

template <class From, class To> INLINE void lay(const From* from, To* to, const Value& v) {
    for (int64_t m = 0; m < v.pixels; m++)
        for (int64_t n = 0; n < v.channels; n++)
            to[m * v.channels + n] = (To)from[m * v.by_m + n * v.by_n];
}

template <class To> INLINE void lay(const Value& v, int64_t sample, To* to) {
    const int64_t at = sample * v.stride;
    switch (v.type) {
        case 0: lay((const uint8_t*)v.kept + at, to, v); break;
        case 1: lay((const int8_t*)v.kept + at, to, v); break;
        case 2: lay((const int16_t*)v.kept + at, to, v); break;
        case 3: lay((const int32_t*)v.kept + at, to, v); break;
        default: lay((const int64_t*)v.kept + at, to, v); break;
    }
}

INLINE void put(Work& work, const Value& value, int64_t element, int32_t x) {
    void* p = work.planes + value.at;
    if (value.wide) ((int32_t*)p)[element] = x;
    else ((int16_t*)p)[element] = (int16_t)x;
}

// The golden planes of one image.
static void show_image(Work& work, int64_t sample) {
    const Plan& plan = *work.plan;
    work.sample = sample;
    memset(work.planar_made, 0, plan.nodes);
    for (int64_t i = 0; i < plan.nodes; i++) {
        const Node& node = plan.node[i];
        const Value& value = plan.value[node.out];
        if (value.kept && value.wide) {
            lay(value, sample, (int32_t*)(work.planes + value.at));
        } else if (value.kept) {
            lay(value, sample, (int16_t*)(work.planes + value.at));
        } else {  // another layout of a value: all of it moved
            const Value& from = plan.value[node.in[0]];
            for (int64_t e = 0; e < from.pixels * from.channels; e++)
                put(work, value, node.maps[0][e], golden(work, from, e));
        }
    }
}

static Work* open_work(const Plan& plan) {
    Work* work = (Work*)calloc(1, sizeof(Work));
    int64_t sums = 0, all = 0, values = 0, terms = 1;
    work->plan = &plan;
    work->planar_at = (int64_t*)calloc(plan.nodes + 1, 8);
    for (int64_t i = 0; i < plan.nodes; i++) {
        const Node& node = plan.node[i];
        work->planar_at[i] = sums;
        if (node.sums) sums += plan.value[node.out].pixels * plan.value[node.out].channels + 8;
        terms = node.terms > terms ? node.terms : terms;
    }
    for (int64_t i = 0; i < plan.values; i++) {
        const Value& v = plan.value[i];
        all += 1024 + v.pixels * 12 + v.pixels * v.channels * sizeof(Entry);
        values = v.pixels * v.channels > values ? v.pixels * v.channels : values;
    }
    const int64_t words = values / 64 + 2;
    work->planes = (uint8_t*)calloc(1, plan.bytes + 64);
    work->planar = (int32_t*)calloc(sums + 16, 4);
    work->planar_made = (uint8_t*)calloc(plan.nodes + 1, 1);
    work->sums = (int32_t*)calloc(plan.largest + 64, 4);
    work->codes = (int32_t*)calloc(plan.largest + 64, 4);
    work->sums16 = (int16_t*)calloc(plan.largest + 64, 2);
    work->pixels = {(uint64_t*)calloc(words, 8), words, words, -1};
    work->elements = {(uint64_t*)calloc(words, 8), words, words, -1};
    work->arena = (char*)aligned_alloc(64, ((3 * all + 1024) + 63) & ~(int64_t)63);
    work->difference = (Difference**)calloc(plan.values + 1, sizeof(Difference*));
    work->operands = (int32_t*)calloc(terms + 8, 4);
    work->special = (int64_t*)calloc(values + 1, 8);
    work->special_total = (int64_t*)calloc(values + 1, 8);
    return work;
}

static void close_work(Work* work) {
    void* all[] = {work->planar_at, work->planes, work->planar, work->planar_made, work->sums,
                   work->codes, work->sums16, work->pixels.words, work->elements.words,
                   work->arena, work->difference, work->operands, work->special,
                   work->special_total, work};
    for (void* one : all) free(one);
}

// Give the ones of a set to a function, ascending, and empty it.
template <class F> INLINE void drain(Bits& bits, F&& f) {
    const int64_t low = bits.low, high = bits.high;
    bits.low = bits.used;
    bits.high = -1;
    for (int64_t w = low; w <= high; w++) {
        uint64_t word = bits.words[w];
        bits.words[w] = 0;
        for (; word; word &= word - 1) f(w * 64 + __builtin_ctzll(word));
    }
}

INLINE void clear8(int32_t* at) { store(at, v8i{}); }
INLINE void clear8(int16_t* at) { store(at, v8h{}); }

#if HAS_AVX2
struct Lefts {
    int32_t lanes[256][8];  // by a mask, its lanes first
};
constexpr Lefts lefts() {
    Lefts made = {};
    for (int mask = 0; mask < 256; mask++)
        for (int lane = 0, at = 0; lane < 8; lane++)
            if (mask >> lane & 1) made.lanes[mask][at++] = lane;
    return made;
}
alignas(64) static constexpr Lefts LEFTS = lefts();
#endif

// Entries of the lanes of a mask; room for eight is written to.
INLINE Entry* put_entries(Entry* to, v8i changes, uint32_t bits, int32_t channel) {
#if HAS_AVX2  // without a branch: which lanes differ cannot be foretold
    const __m256i lanes = _mm256_load_si256((const __m256i*)LEFTS.lanes[bits]);
    const __m256i delta = _mm256_permutevar8x32_epi32((__m256i)changes, lanes);
    const __m256i where = _mm256_add_epi32(lanes, _mm256_set1_epi32(channel));
    const __m256i low = _mm256_unpacklo_epi32(where, delta);
    const __m256i high = _mm256_unpackhi_epi32(where, delta);
    _mm256_storeu_si256((__m256i*)to, _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_storeu_si256((__m256i*)(to + 4), _mm256_permute2x128_si256(low, high, 0x31));
    return to + __builtin_popcount(bits);
#else
    for (; bits; bits &= bits - 1) {
        const int lane = __builtin_ctz(bits);
        *to++ = {channel + lane, changes[lane]};
    }
    return to;
#endif
}

// Differences of single elements, given in ascending order.
struct Writer {
    Difference* d;
    int64_t channels;
    int32_t entries, end;  // the element behind the current pixel

    INLINE_MEMBER void add(int64_t element, int32_t delta) {
        if (!delta) return;
        if (element >= end) {
            const int32_t pixel = (int32_t)((uint32_t)element / (uint32_t)channels);
            d->pixel[d->count] = pixel;
            d->count++;
            end = (int32_t)((pixel + 1) * channels);
        }
        d->entry[entries++] = {(int32_t)(element - (end - channels)), delta};
        d->first[d->count] = entries;
    }
};

INLINE Writer write_to(Work& work, const Value& value) {
    return {open_difference(work, value.pixels, value.pixels * value.channels), value.channels, 0,
            0};
}

template <class F> INLINE void each_entry(const Difference& d, F&& f) {
    for (int32_t p = 0; p < d.count; p++)
        for (int32_t i = d.first[p]; i < d.first[p + 1]; i++) f(d.pixel[p], d.entry[i]);
}
