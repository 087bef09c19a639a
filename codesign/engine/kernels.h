// What every kernel file begins with: exported names, and one build for every x86-64.
//
// An entry point marked FOR_EACH_ISA is compiled twice, for any x86-64 and for those with AVX2,
// and the loader takes the one that the processor can run. Helpers of it are INLINE: a function
// that stays one would be compiled for any x86-64 only.
#pragma once

#include <cstdint>

#define EXPORT extern "C" __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__) && defined(__ELF__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_ISA __attribute__((target_clones("arch=x86-64-v3", "default")))
#define HAS_TWO_ISAS 1
#else
#define FOR_EACH_ISA
#define HAS_TWO_ISAS 0
#endif
