// The module that Python finds, from which digest of sources it was compiled, and what it runs.

#include "kernels.h"

#ifndef CODESIGN_KERNEL_SHA256
#error "setup.py defines the digest of the sources"
#endif

// Which of the two builds of a kernel its entry points take.
EXPORT const char* codesign_kernel_isa() {
#if HAS_TWO_ISAS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("x86-64-v3")) return "avx2";
#endif
    return "baseline";
}

EXPORT const char* codesign_kernel_sha256() { return CODESIGN_KERNEL_SHA256; }

// Never called: nobody imports the library, ctypes loads it. Some linkers want the name.
EXPORT void* PyInit__kernels() { return nullptr; }
