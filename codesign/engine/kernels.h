// What every kernel file begins with: exported names, and whether there are two builds.
//
// Where HAS_TWO_ISAS, a kernel is compiled twice: for any x86-64, and under a target pragma for
// those with AVX2. Its entry points ask __builtin_cpu_supports("x86-64-v3") which to take, as
// codesign_kernel_isa does, which tells it.
#pragma once

#include <cstdint>

#define EXPORT extern "C" __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))
#define INLINE_MEMBER inline __attribute__((always_inline))

#if defined(__x86_64__) && defined(__ELF__) && defined(__GNUC__) && !defined(__clang__)
#define HAS_TWO_ISAS 1
#else
#define HAS_TWO_ISAS 0
#endif
