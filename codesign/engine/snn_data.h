// What Python hands to the spiking kernels: rows of the effects table, stages, roles of layers.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace snn {

constexpr int GROUP = 32;  // samples whose spikes of one step are the bits of one word
constexpr int PACK = 8;    // lanes of a vector

enum Kind { OPERAND = 0, ACTIVATION = 3, PARAMETER = 4, STATE = 5, OPERATION = 6, SPIKE = 7 };
enum At { WEIGHT = 0, INPUT = 1, STORED = 8, BIAS = 9, THRESHOLD = 10, CELL = 11, READ = 12,
          WRITE = 13, INTEGRATE = 14, LEAK = 15, RESET = 16, FIRE = 17, LINE = 18 };
enum Op { XOR = 0, STUCK = 1, REPLACE = 2, ADD = 3, SCALE = 4, SKIP = 5, ALWAYS = 6 };
enum Role { NOTHING = 0, LINES = 1, SUMS = 2, NEURONS = 3, CURRENTS = 4, SPIKES = 5 };
enum LeakKind { NO_LEAK = 0, SHIFT = 1, MULTIPLY = 2, SUBTRACT = 3 };
enum ResetKind { TO_ZERO = 0, BY_THRESHOLD = 1, NO_RESET = 2 };
enum FitKind { SATURATE = 1, WRAP = 2 };
enum PoolKind { NO_POOL = 0, MAXIMUM = 1, TOTAL = 2 };
enum Rounding { HALF_UP = 0, HALF_EVEN = 1, FLOOR = 2 };

#include "effect_row.h"

// What a line adds to: position of the sum, row of its weights, vectors of channels from and to.
struct Reach { int32_t sum, row, block0, block1; };

// One layer of synapses and the neurons behind it; fully connected layers have one position. L
// lines are read by sums at Q positions, which are pooled (or not) into currents of neurons at M
// positions of N channels; P is N padded to whole packs. Sum and neuron (position, n) are number
// n * positions + position. There are G groups of samples and T steps. Arrays by sample lanes serve
// faults in a neuron; arrays by channel lanes (_n) serve what reaches it from other neurons, and
// are missing in the first stage. Golden is int16_t where narrow, else int32_t.
struct Stage {
    int64_t inputs, neurons, positions, channels, padded;
    int64_t sums, terms, parts, window;  // parts: groups of the convolution
    int64_t pool, q_used, q_shift, q_rounding, q_low, q_high, q_wide;
    int64_t in_pool, in_window, in_positions;
    int64_t leak, amount, factor, reset, strict, order[4];  // order: At values
    int64_t fit, low, high, bits, is_signed;
    int64_t free_slack;      // extra current with which no write leaves the format; -1: none proved
    int64_t peak_current;    // magnitude
    int64_t input_low, input_high;
    int64_t wide;            // whether 32 bits do not hold every intermediate result
    int64_t still;           // whether the inputs, and so the currents, are the same at every step
    int64_t binary;          // whether the inputs are spikes
    int64_t narrow;
    int64_t direct;          // whether there is one sum, whose term k reads line k
    const int32_t* weight;       // [parts * K][P], zero in channels of other parts
    const int32_t* bias;         // [P]
    const int32_t* threshold;    // [P]
    const int32_t* q_multiplier; // [P]
    const int32_t* line_of;      // [Q][parts][K] line, or -1 for padding
    const int32_t* reach_start;  // [L + 1]
    const Reach* reach;          // rising by sum within a line
    const int32_t* windows;      // [M][window] position of a sum, or -1
    const int32_t* owner_start;  // [Q + 1]
    const int32_t* owner;        // positions of neurons whose window holds a sum
    const int32_t* in_windows;   // [L][in_window] neuron of the stage before, or -1
    const int32_t* in_owner_start;  // [neurons before + 1]
    const int32_t* in_owner;        // lines whose window holds a neuron
    const int32_t* in_table;        // [channels][in_window + 1] value by count of spikes
    const uint32_t* lines;   // [L][G][T or 1] spikes of the inputs, samples as bits
    const int32_t* codes;    // [L][G][T or 1][32] values of inputs that are no spikes
    void* total;             // Golden [Q * N][G][T or 1][32] sums, where they are pooled
    void* current;           // Golden [M * N][G][T or 1][32]
    void* membrane;          // Golden [M * N][G][T][32] as a step ends
    uint32_t* spikes;        // [M * N][G][T]
    void* total_n;           // Golden [samples][Q][T][P]
    void* current_n;         // Golden [samples][M][T][P]
    void* membrane_n;        // Golden [samples][M][T][P]
    uint8_t* spikes_n;       // [samples][M][T][P / 8]
};

struct LayerRole {
    int32_t role, stage, reader;  // reader: layer index, or -2
    int64_t positions, channels, by_m, by_n;  // of its elements
};

struct Model {
    int64_t samples, groups, steps, stages, layers, outputs;
    const Stage* stage;
    const LayerRole* roles;  // [layers]
    const int64_t* golden;   // [samples][outputs]
};

// A list that grows.
template <class X> struct Grown {
    X* at = nullptr;
    int64_t count = 0, room = 0;
    __attribute__((noinline, cold)) void grow(int64_t least) {
        room = 2 * room > least ? 2 * room : least;
        X* more = (X*)realloc((void*)at, room * sizeof(X));
        if (!more) abort();
        at = more;
    }
    void reserve(int64_t more) {
        if (__builtin_expect(count + more > room, 0)) grow(count + more);
    }
    void push(const X& x) {
        if (__builtin_expect(count == room, 0)) grow(64);
        at[count++] = x;
    }
    void release() { free((void*)at); at = nullptr; count = room = 0; }
};

template <class X> static X* made(int64_t count) {
    X* at = (X*)calloc(count, sizeof(X));
    if (!at) abort();
    return at;
}

}  // namespace snn
