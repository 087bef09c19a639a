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

struct Span {
    int32_t first, stop;
};

// Windows of a pool, along the image's height and its width.
struct Spans {
    Span *in_y, *in_x;    // [input] the windows that hold it
    Span *out_y, *out_x;  // [window] the inputs in it
};

struct Work {
    const Plan* plan;
    int64_t sample;
    uint8_t* planes;         // golden, [pixels][channels] of every value
    int32_t* planar;         // golden sums [channels][pixels] of every node with sums
    int64_t* planar_at;      // [nodes]
    uint8_t* planar_made;    // [nodes] for this image
    Spans* spans;            // [nodes]
    int64_t* output_at;      // [elements of the last value] which output it is
    int32_t *sums, *codes;   // zeros: [largest] of 32 bits
    int16_t *sums16, *other16;  // zeros
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

// Room for elements; a few behind them may be written to.
INLINE Difference* open_difference(Work& work, int64_t pixels, int64_t elements) {
    Difference* d = (Difference*)take(work, sizeof(Difference));
    d->count = 0;
    d->pixel = (int32_t*)take(work, (pixels + 1) * 4);
    d->first = (int32_t*)take(work, (2 * pixels + 1) * 4) + pixels;  // room for sums in front
    d->entry = (Entry*)take(work, (elements + 16) * sizeof(Entry));
    d->large = nullptr;
    d->first[0] = 0;
    return d;
}

INLINE void open_large(Work& work, Difference* d, int64_t elements) {
    d->large = (int32_t*)take(work, elements * 4);
}

// Give back what was not used; null if nothing differs.
INLINE Difference* close_difference(Work& work, Difference* d, int32_t entries) {
    if (!d->count) {
        work.next = (char*)d;
        return nullptr;
    }
    const uintptr_t end = d->large ? (uintptr_t)(d->large + entries)
                                   : (uintptr_t)(d->entry + entries);
    work.next = (char*)((end + 63) & ~(uintptr_t)63);
    return d;
}

INLINE int32_t delta_at(const Difference& d, int32_t i) {
    return d.large ? d.large[i] : d.entry[i].delta;
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

// The golden code of a channel of a value of one pixel.
INLINE int32_t kept_code(const Value& v, int64_t sample, int64_t channel) {
    const int64_t i = sample * v.stride + channel * v.by_n;
    switch (v.type) {
        case 0: return ((const uint8_t*)v.kept)[i];
        case 1: return ((const int8_t*)v.kept)[i];
        case 2: return ((const int16_t*)v.kept)[i];
        case 3: return ((const int32_t*)v.kept)[i];
        default: return (int32_t)((const int64_t*)v.kept)[i];
    }
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

static Span* spans_in(int64_t inputs, int64_t windows, int64_t kernel, int64_t step, int64_t pad) {
    Span* span = (Span*)calloc(inputs + 1, sizeof(Span));
    for (int64_t i = 0; i < inputs; i++) {
        const int64_t low = i + pad - kernel + 1, stop = (i + pad) / step + 1;
        span[i] = {(int32_t)(low > 0 ? (low + step - 1) / step : 0),
                   (int32_t)(stop < windows ? stop : windows)};
    }
    return span;
}

static Span* spans_out(int64_t inputs, int64_t windows, int64_t kernel, int64_t step, int64_t pad) {
    Span* span = (Span*)calloc(windows + 1, sizeof(Span));
    for (int64_t i = 0; i < windows; i++) {
        const int64_t first = i * step - pad, stop = first + kernel;
        span[i] = {(int32_t)(first > 0 ? first : 0), (int32_t)(stop < inputs ? stop : inputs)};
    }
    return span;
}

static Spans* open_spans(const Plan& plan) {
    Spans* spans = (Spans*)calloc(plan.nodes + 1, sizeof(Spans));
    for (int64_t i = 0; i < plan.nodes; i++) {
        const Node& node = plan.node[i];
        if (node.kind != MAXPOOL && node.kind != AVGPOOL) continue;
        const Value &from = plan.value[node.in[0]], &to = plan.value[node.out];
        spans[i] = {spans_in(from.height, to.height, node.kh, node.sy, node.top),
                    spans_in(from.width, to.width, node.kw, node.sx, node.left),
                    spans_out(from.height, to.height, node.kh, node.sy, node.top),
                    spans_out(from.width, to.width, node.kw, node.sx, node.left)};
    }
    return spans;
}

static Work* open_work(const Plan& plan) {
    Work* work = (Work*)calloc(1, sizeof(Work));
    int64_t sums = 0, all = 0, values = 0, terms = 1;
    work->plan = &plan;
    work->planar_at = (int64_t*)calloc(plan.nodes + 1, 8);
    for (int64_t i = 0; i < plan.nodes; i++) {
        const Node& node = plan.node[i];
        work->planar_at[i] = sums;
        if (node.sums || node.kind == AVGPOOL)
            sums += plan.value[node.out].pixels * plan.value[node.out].channels + 16;
        terms = node.terms > terms ? node.terms : terms;
    }
    for (int64_t i = 0; i < plan.values; i++) {
        const Value& v = plan.value[i];
        all += 1024 + v.pixels * 12 + v.pixels * v.channels * (sizeof(Entry) + sizeof(int32_t));
        values = v.pixels * v.channels > values ? v.pixels * v.channels : values;
    }
    const int64_t words = values / 64 + 2;
    work->planes = (uint8_t*)calloc(1, plan.bytes + 64);
    work->planar = (int32_t*)calloc(sums + 16, 4);
    work->planar_made = (uint8_t*)calloc(plan.nodes + 1, 1);
    work->sums = (int32_t*)calloc(plan.largest + 64, 4);
    work->codes = (int32_t*)calloc(plan.largest + 64, 4);
    work->sums16 = (int16_t*)calloc(plan.largest + 64, 2);
    work->other16 = (int16_t*)calloc(plan.largest + 64, 2);
    work->pixels = {(uint64_t*)calloc(words, 8), words, words, -1};
    work->elements = {(uint64_t*)calloc(words, 8), words, words, -1};
    work->arena = (char*)aligned_alloc(64, ((3 * all + 1024) + 63) & ~(int64_t)63);
    work->difference = (Difference**)calloc(plan.values + 1, sizeof(Difference*));
    work->operands = (int32_t*)calloc(terms + 8, 4);
    work->spans = open_spans(plan);
    work->output_at = (int64_t*)calloc(plan.classes + 1, 8);
    for (int64_t i = 0; i < plan.classes; i++) work->output_at[plan.positions[i]] = i;
    work->special = (int64_t*)calloc(values + 1, 8);
    work->special_total = (int64_t*)calloc(values + 1, 8);
    return work;
}

static void close_work(Work* work) {
    for (int64_t i = 0; i < work->plan->nodes; i++) {
        free(work->spans[i].in_y);
        free(work->spans[i].in_x);
        free(work->spans[i].out_y);
        free(work->spans[i].out_x);
    }
    free(work->spans);
    void* all[] = {work->planar_at, work->output_at, work->planes, work->planar, work->planar_made, work->sums,
                   work->codes, work->sums16, work->other16, work->pixels.words, work->elements.words,
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

INLINE void clear16(int32_t* at) {
    store(at, v8i{});
    store(at + 8, v8i{});
}
INLINE void clear16(int16_t* at) { store(at, v16h{}); }

#if HAS_AVX2
struct Lefts {
    uint8_t bytes[256][16];  // by a mask, where its lanes of 16 bits are
};
constexpr Lefts lefts() {
    Lefts made = {};
    for (int mask = 0; mask < 256; mask++)
        for (int lane = 0, at = 0; lane < 8; lane++)
            if (mask >> lane & 1) {
                made.bytes[mask][at++] = (uint8_t)(2 * lane);
                made.bytes[mask][at++] = (uint8_t)(2 * lane + 1);
            }
    return made;
}
alignas(64) static constexpr Lefts LEFTS = lefts();

// Entries of the lanes of a mask; room for eight is written to. Without a branch: which lanes
// differ cannot be foretold.
INLINE Entry* put8(Entry* to, __m128i deltas, __m128i channels, uint32_t bits) {
    const __m128i lanes = _mm_load_si128((const __m128i*)LEFTS.bytes[bits]);
    const __m128i delta = _mm_shuffle_epi8(deltas, lanes);
    const __m128i channel = _mm_shuffle_epi8(channels, lanes);
    _mm_storeu_si128((__m128i*)to, _mm_unpacklo_epi16(channel, delta));
    _mm_storeu_si128((__m128i*)(to + 4), _mm_unpackhi_epi16(channel, delta));
    return to + __builtin_popcount(bits);
}
#endif

// The same of sixteen lanes, or of eight alone.
INLINE Entry* put_entries(Entry* to, v16h changes, uint32_t bits, int64_t channel, bool second) {
#if HAS_AVX2
    const __m128i eight = _mm_set1_epi16(8);
    const __m128i first = _mm_add_epi16(_mm_set_epi16(7, 6, 5, 4, 3, 2, 1, 0),
                                        _mm_set1_epi16((int16_t)channel));
    to = put8(to, _mm256_castsi256_si128((__m256i)changes), first, bits & 255);
    if (!second) return to;
    return put8(to, _mm256_extracti128_si256((__m256i)changes, 1), _mm_add_epi16(first, eight),
                bits >> 8);
#else
    (void)second;
    for (; bits; bits &= bits - 1) {
        const int lane = __builtin_ctz(bits);
        *to++ = {(uint16_t)(channel + lane), changes[lane]};
    }
    return to;
#endif
}

constexpr int32_t SMALL = 1 << 14;  // codes from -SMALL to SMALL - 1 differ by 16 bits

INLINE bool is_small(int64_t v) { return v >= -SMALL && v < SMALL; }

// Differences of single elements, given pixel by pixel.
struct Writer {
    Work* work;
    const Value* value;
    Difference* d;
    int32_t entries, end;  // the element behind the current pixel
    bool large;

    INLINE_MEMBER void add(int64_t element, int32_t delta) {
        if (!delta) return;
        const int64_t channels = value->channels;
        if (element >= end) {
            const int32_t pixel = (int32_t)((uint32_t)element / (uint32_t)channels);
            d->pixel[d->count] = pixel;
            d->count++;
            end = (int32_t)((pixel + 1) * channels);
        }
        large |= value->wide || !is_small((int64_t)golden(*work, *value, element) + delta);
        d->large[entries] = delta;
        d->entry[entries++] = {(uint16_t)(element - (end - channels)), (int16_t)delta};
        d->first[d->count] = entries;
    }

    INLINE_MEMBER Difference* close() {
        if (!large) d->large = nullptr;
        return close_difference(*work, d, entries);
    }
};

INLINE Writer write_to(Work& work, const Value& value) {
    Difference* d = open_difference(work, value.pixels, value.pixels * value.channels);
    open_large(work, d, value.pixels * value.channels);
    return {&work, &value, d, 0, 0, false};
}

template <class F> INLINE void each_entry(const Difference& d, F&& f) {
    for (int32_t p = 0; p < d.count; p++)
        for (int32_t i = d.first[p]; i < d.first[p + 1]; i++)
            f(d.pixel[p], d.entry[i].channel, delta_at(d, i));
}

// Write differences into scratch, and their pixels into the set.
INLINE void lay_down(Work& work, const Difference& d, int16_t* scratch, int64_t padded) {
    for (int32_t p = 0; p < d.count; p++) {
        int16_t* to = scratch + d.pixel[p] * padded;
        work.pixels.set(d.pixel[p]);
        for (int32_t i = d.first[p]; i < d.first[p + 1]; i++)
            to[d.entry[i].channel] = d.entry[i].delta;
    }
}

// Write differences into the golden planes, and take them out again.
INLINE void patch(Work& work, const Value& value, const Difference& d) {
    int16_t* plane = (int16_t*)(work.planes + value.at);
    for (int32_t p = 0; p < d.count; p++) {
        int16_t* codes = plane + d.pixel[p] * value.channels;
        for (int32_t i = d.first[p]; i < d.first[p + 1]; i++)
            codes[d.entry[i].channel] = (int16_t)(codes[d.entry[i].channel] + d.entry[i].delta);
    }
}

INLINE void unpatch(Work& work, const Value& value, const Difference& d) {
    int16_t* plane = (int16_t*)(work.planes + value.at);
    for (int32_t p = 0; p < d.count; p++) {
        int16_t* codes = plane + d.pixel[p] * value.channels;
        for (int32_t i = d.first[p]; i < d.first[p + 1]; i++)
            codes[d.entry[i].channel] = (int16_t)(codes[d.entry[i].channel] - d.entry[i].delta);
    }
}
