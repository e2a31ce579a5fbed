#include "kernels/base/cpu_features.h"

namespace nemo::kernels {

// This file is compiled with the options of the CPU kernels, so the compiler's macros say what those may use.
std::vector<std::string> cpu_features_compiled_in() {
  return {
#ifdef __AVX__
      "avx",
#endif
#ifdef __AVX2__
      "avx2",
#endif
#ifdef __FMA__
      "fma",
#endif
#ifdef __F16C__
      "f16c",
#endif
#ifdef __BMI2__
      "bmi2",
#endif
#ifdef __AVX512F__
      "avx512f",
#endif
#ifdef __AVX512BW__
      "avx512bw",
#endif
#ifdef __AVX512VL__
      "avx512vl",
#endif
#ifdef __AVX512VNNI__
      "avx512_vnni",
#endif
#ifdef __AVX512BF16__
      "avx512_bf16",
#endif
#ifdef __ARM_FEATURE_FP16_VECTOR_ARITHMETIC
      "asimdhp",
#endif
#ifdef __ARM_FEATURE_DOTPROD
      "asimddp",
#endif
#ifdef __ARM_FEATURE_SVE
      "sve",
#endif
#ifdef __ARM_FEATURE_SVE2
      "sve2",
#endif
#ifdef __ARM_FEATURE_BF16_VECTOR_ARITHMETIC
      "bf16",
#endif
#ifdef __ARM_FEATURE_MATMUL_INT8
      "i8mm",
#endif
  };
}

}  // namespace nemo::kernels
