// Conventional networks: only what differs from the golden run is computed, and exactly.
// The whole of it is compiled twice, for any processor and for those with AVX2.

#include "cnn_data.h"
#include "kernels.h"

#if HAS_TWO_ISAS
#include <immintrin.h>
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
#define HAS_AVX2 1  // the pragma does not define __AVX2__ with every compiler
namespace cnn {
namespace avx2 {
#include "cnn_body.h"
}
}  // namespace cnn
#undef HAS_AVX2
#pragma GCC pop_options
#endif

#define HAS_AVX2 0

namespace cnn {
namespace baseline {
#include "cnn_body.h"
}
}  // namespace cnn

static bool is_fast() {
#if HAS_TWO_ISAS
    return __builtin_cpu_supports("x86-64-v3");
#else
    return false;
#endif
}

// Sums of samples from..to; the number of codes that do not follow from them, which is zero.
EXPORT int64_t codesign_cnn_golden(const cnn::Plan* plan, int64_t from, int64_t to) {
#if HAS_TWO_ISAS
    if (is_fast()) return cnn::avx2::golden_images(*plan, from, to);
#endif
    return cnn::baseline::golden_images(*plan, from, to);
}

// Outputs [places][samples][classes] of samples from..to, where they are not golden. Sums [trials]:
// 0 golden plus differences, 1 so although codes leave their range, 2 term by term.
EXPORT void codesign_cnn_evaluate(const cnn::Plan* plan, const cnn::Row* rows,
                                  const int64_t* starts, const uint8_t* sums,
                                  const int64_t* places, int64_t trials,
                                  int64_t from, int64_t to, int64_t* outputs, int64_t* counts) {
#if HAS_TWO_ISAS
    if (is_fast()) {
        cnn::avx2::evaluate(*plan, rows, starts, sums, places, trials, from, to, outputs, counts);
        return;
    }
#endif
    cnn::baseline::evaluate(*plan, rows, starts, sums, places, trials, from, to, outputs, counts);
}

// Bytes of the structs that Python fills: plan, node, value, requantisation, row.
EXPORT int64_t codesign_cnn_size(int64_t which) {
    const int64_t sizes[] = {sizeof(cnn::Plan), sizeof(cnn::Node), sizeof(cnn::Value),
                             sizeof(cnn::Requantise), sizeof(cnn::Row)};
    return sizes[which];
}
