// The functions of cuBLASLt that nemo calls, looked up in the library at first use; handles with owners.
// Not here: which algorithm multiplies what (gemm_plans.h).
#pragma once
#include <cublasLt.h>

#include <memory>

#include "kernels/base/dynamic_library.h"

namespace nemo::kernels {

struct CublasLtLibrary {
  CublasLtLibrary();  // throws CudaError where the library is absent

  DynamicLibrary library;
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtMatmulAlgoGetHeuristic) get_heuristic;
  decltype(&cublasLtMatmulAlgoCheck) algo_check;
  decltype(&cublasLtGetVersion) version;
  decltype(&cublasLtMatmulDescCreate) desc_create;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set;
  decltype(&cublasLtMatrixLayoutCreate) layout_create;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
  decltype(&cublasLtGetStatusString) status_string;

  void check(cublasStatus_t status, const char* call) const;  // throws CudaError
};

// A cuBLASLt object that its own destroy function ends.
template <class Handle>
using CublasLtOwner = std::unique_ptr<std::remove_pointer_t<Handle>, cublasStatus_t (*)(Handle)>;

}  // namespace nemo::kernels
