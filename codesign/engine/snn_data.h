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
enum Role { NOTHING = 0, LINES = 1, SUMS = 2, NEURONS = 3 };
enum LeakKind { NO_LEAK = 0, SHIFT = 1, MULTIPLY = 2, SUBTRACT = 3 };
enum ResetKind { TO_ZERO = 0, BY_THRESHOLD = 1, NO_RESET = 2 };
enum FitKind { SATURATE = 1, WRAP = 2 };

#include "effect_row.h"

// One layer of synapses and the neurons behind it. G groups of samples, T steps; P is N padded to
// whole packs. Arrays by sample lanes serve faults in a neuron; arrays by neuron lanes serve what
// reaches it from other neurons, and are missing in the first stage.
struct Stage {
    int64_t inputs, neurons, padded;
    int64_t leak, amount, factor, reset, strict, order[4];  // order: At values
    int64_t fit, low, high, bits, is_signed;
    int64_t free_slack;      // extra current with which no write leaves the format; -1: none proved
    int64_t peak_current;    // magnitude
    int64_t input_low, input_high;
    int64_t wide;            // whether 32 bits do not hold every intermediate result
    int64_t still;           // whether the inputs, and so the currents, are the same at every step
    int64_t binary;          // whether the inputs are spikes
    const int32_t* weight;     // [K][P]
    const int32_t* bias;       // [P]
    const int32_t* threshold;  // [P]
    const uint32_t* lines;     // [K][G][T or 1] spikes of the inputs, samples as bits
    const int32_t* codes;      // [K][G][T or 1][32] values of inputs that are no spikes
    int32_t* current;          // [N][G][T or 1][32]
    int32_t* membrane;         // [N][G][T][32] as a step ends
    uint32_t* spikes;          // [N][G][T]
    int32_t* current_n;        // [samples][T][P]
    int32_t* membrane_n;       // [samples][T][P]
    uint8_t* spikes_n;         // [samples][T][P / 8]
};

struct LayerRole {
    int32_t role, stage, reader;  // stage: for LINES the one that reads; reader: layer index, or -2
    int64_t positions, channels, by_m, by_n;  // of its elements
};

struct Model {
    int64_t samples, groups, steps, stages, layers, outputs;
    const Stage* stage;
    const LayerRole* roles;  // [layers]
    const int64_t* golden;   // [samples][outputs]
};

}  // namespace snn
