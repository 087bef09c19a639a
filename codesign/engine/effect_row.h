// Included inside the namespace of each engine, behind <cstdint>.

// One row of codesign.effect_rows.EFFECT, byte for byte.
#pragma pack(push, 1)
struct Row {
    int64_t trial, event;
    int8_t kind, at;
    int32_t layer;
    int64_t m[3], k[3], n[3];
    int32_t segment, after, reader;
    int8_t op, bits;
    uint8_t is_signed;
    int64_t mask, value, samples[2], steps[2];
    int8_t execution;
    int64_t rank;
};
#pragma pack(pop)
