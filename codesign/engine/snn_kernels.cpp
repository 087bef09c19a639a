// Spiking networks: the golden run and exact difference propagation of many trials in one call.
//
// The headers are compiled twice where that pays: for any machine, and for AVX2, chosen at run time.

#include <type_traits>

#include "kernels.h"
#include "snn_data.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define SNN_AVX2 1
#endif

#pragma GCC diagnostic ignored "-Wpsabi"  // no vector crosses a function of another file

namespace snn {

#define HAS_AVX2 0
namespace portable {
constexpr bool FEW = true;  // fewer special cases: smaller, not slower where vectors are missing
#include "snn_lanes.h"
#include "snn_pool.h"
#include "snn_neuron.h"
#include "snn_layer.h"
#include "snn_faults.h"
#include "snn_drive.h"
#include "snn_current.h"
#include "snn_trial.h"
#include "snn_golden.h"
#include "snn_entry.h"
}  // namespace portable
#undef HAS_AVX2

#ifdef SNN_AVX2
#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2,fma,lzcnt,popcnt")
#define HAS_AVX2 1  // the pragma does not define __AVX2__ with every compiler
namespace avx2 {
constexpr bool FEW = false;
#include "snn_lanes.h"
#include "snn_pool.h"
#include "snn_neuron.h"
#include "snn_layer.h"
#include "snn_faults.h"
#include "snn_drive.h"
#include "snn_current.h"
#include "snn_trial.h"
#include "snn_golden.h"
#include "snn_entry.h"
}  // namespace avx2
#undef HAS_AVX2
#pragma GCC pop_options
#endif

static bool has_avx2() {
#ifdef SNN_AVX2
    static const bool found = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
    return found;
#else
    return false;
#endif
}

}  // namespace snn

// Bytes of a row, a stage, a role and a model: Python's must be equal.
EXPORT void snn_sizes(int64_t* to) {
    to[0] = sizeof(snn::Row);
    to[1] = sizeof(snn::Stage);
    to[2] = sizeof(snn::LayerRole);
    to[3] = sizeof(snn::Model);
}

// Whether the vectors of AVX2 are used unless a caller asks for portable ones.
EXPORT int snn_fast() { return snn::has_avx2(); }

// Fills what the stages point to. Gives the stages, as bits, that should keep values in 16 bits
// which these do not hold: then the run is worth nothing.
EXPORT int64_t snn_golden(const snn::Model* model, const int16_t* codes, int64_t* outputs,
                          int portable) {
#ifdef SNN_AVX2
    if (!portable && snn::has_avx2()) {
        return snn::avx2::golden_run(*model, codes, outputs);
    }
#endif
    return snn::portable::golden_run(*model, codes, outputs);
}

// Trials `first` to `last`; rows of trial i are starts[i] to starts[i + 1]. Either `outputs`
// [trials][samples][outputs] is filled, or, where it is null, `counts` [trials][4] with how many
// samples ended masked, tolerated and as SDC, and how many are correct. `ran` [trials] says which
// trials were proved masked (0) and which computed (1).
EXPORT void snn_trials(const snn::Model* model, const snn::Row* rows, const int64_t* starts,
                       int64_t first, int64_t last, int64_t* outputs, const int64_t* labels,
                       int64_t* counts, uint8_t* ran, int portable) {
#ifdef SNN_AVX2
    if (!portable && snn::has_avx2()) {
        const snn::avx2::Wanted wanted = {outputs, labels, counts, ran};
        snn::avx2::run_trials(*model, rows, starts, first, last, wanted);
        return;
    }
#endif
    const snn::portable::Wanted wanted = {outputs, labels, counts, ran};
    snn::portable::run_trials(*model, rows, starts, first, last, wanted);
}
