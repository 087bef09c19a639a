// What Python hands to the kernels of conventional networks, and what they carry. Every field of
// the structs that Python fills is 64 bits wide: codesign.engine.sparse_cnn has the same list.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace cnn {

enum Kind { OPERAND = 0, TERM = 1, ACCUMULATOR = 2, ACTIVATION = 3, PARAMETER = 4 };
enum At { WEIGHT = 0, INPUT = 1, PRODUCT = 2, LOAD = 3, EVERY = 4, AFTER = 5, OUT = 6, TOTAL = 7 };
enum Op { XOR = 0, STUCK = 1, REPLACE = 2, ADD = 3, SCALE = 4 };
enum NodeKind { INPUTS = 0, SUMS = 1, ADDS = 2, MAXPOOL = 3, AVGPOOL = 4, MOVES = 5 };
enum Mode { PLAIN = 0, WRAPS = 1, BY_TERMS = 2 };
enum Rounding { HALF_UP = 0, HALF_EVEN = 1, FLOOR = 2 };

#include "effect_row.h"

struct Format {
    int64_t low, high, wraps;
};

enum Way { IN_DOUBLES = 1, EACH_ALONE = 2, IN_PRODUCTS = 3, BY_SHIFT = 4 };

struct Requantise {
    int64_t is_there, shift, low, high, rounding;  // is_there: 0, or a Way
    const int64_t* multiplier;  // [channels]
    const double* factor;       // [channels, padded with zeros] multiplier / 2^shift
    const int32_t* narrow;      // [channels, padded with zeros] multiplier
};

// What a layer stores, [pixels][channels]. Layouts that a reader wants otherwise are values too.
struct Value {
    int64_t pixels, channels, height, width;
    int64_t wide;            // golden codes are int32 instead of int16, of which 15 bits are used
    int64_t at;              // byte in the image's golden planes
    const void* kept;        // golden codes of all samples, or null: moved from another value
    int64_t type;            // of kept: 0 uint8, 1 int8, 2 int16, 3 int32, 4 int64
    int64_t stride;          // elements of a sample
    int64_t by_m, by_n;      // strides of a pixel and of a channel in kept
    int64_t last_reader;     // node
};

struct Node {
    int64_t kind, layer, out, inputs;
    const int64_t* in;           // [inputs] values
    const int64_t* multipliers;  // [inputs] of an addition
    const int32_t* const* maps;  // [inputs] of moves: element of an input → element, or -1
    const Requantise* each;      // [inputs] of moves
    int64_t keeps_order;         // of moves: a pixel goes to one pixel, ascending, as it is
    Requantise requantise;
    int64_t kh, kw, sy, sx, top, left, groups, terms, padded;
    const int8_t* packed;      // [ky][c][kx reversed][padded] if every weight has eight bits
    const int16_t* packed16;   // the same otherwise
    const int32_t* weight;     // [n][k]
    const int64_t* bias;       // [m or 1][n]
    int64_t bias_by_m, bias_at_load, mode, largest_weight, room;
    Format inner, outer;
    const int64_t* splits;
    int64_t segments;
    const int64_t* order;  // [k] or null
    const int64_t* place;  // [k] position of a term in the order
    Requantise readout;
    int32_t* sums;         // [samples][pixels][channels] golden, unless by terms
    int64_t largest_input, struck_input;
    int64_t small;         // codes have 15 bits: eight times two of them are made at once
};

struct Plan {
    int64_t nodes, values, layers, classes, samples, bytes, largest, outside_wide;
    const Node* node;
    const Value* value;
    const int64_t* node_of;   // [layers]
    const int64_t* positions; // [classes] element of the last value, by flat index
};

struct Entry {
    uint16_t channel;
    int16_t delta;  // its lowest bits, where deltas are large
};

// Where a value differs from golden: pixels ascending, in each some of its channels.
struct Difference {
    int32_t count;
    int32_t* pixel;  // [count]
    int32_t* first;  // [count + 1] into entry
    Entry* entry;
    int32_t* large;  // [entries] deltas, or null: then the faulty values too have 15 bits
};

}  // namespace cnn
