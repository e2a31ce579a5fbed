#include "kernels/base/cuda_libraries.h"
#include "kernels/base/error.h"
#include "kernels/gemm/cublaslt_library.h"

namespace nemo::kernels {

CublasLtLibrary::CublasLtLibrary() : library(open_cublaslt()) {
  create = library.function<decltype(create)>("cublasLtCreate");
  destroy = library.function<decltype(destroy)>("cublasLtDestroy");
  matmul = library.function<decltype(matmul)>("cublasLtMatmul");
  get_heuristic = library.function<decltype(get_heuristic)>("cublasLtMatmulAlgoGetHeuristic");
  algo_check = library.function<decltype(algo_check)>("cublasLtMatmulAlgoCheck");
  version = library.function<decltype(version)>("cublasLtGetVersion");
  desc_create = library.function<decltype(desc_create)>("cublasLtMatmulDescCreate");
  desc_destroy = library.function<decltype(desc_destroy)>("cublasLtMatmulDescDestroy");
  desc_set = library.function<decltype(desc_set)>("cublasLtMatmulDescSetAttribute");
  layout_create = library.function<decltype(layout_create)>("cublasLtMatrixLayoutCreate");
  layout_destroy = library.function<decltype(layout_destroy)>("cublasLtMatrixLayoutDestroy");
  preference_create = library.function<decltype(preference_create)>("cublasLtMatmulPreferenceCreate");
  preference_destroy = library.function<decltype(preference_destroy)>("cublasLtMatmulPreferenceDestroy");
  preference_set = library.function<decltype(preference_set)>("cublasLtMatmulPreferenceSetAttribute");
  status_string = library.function<decltype(status_string)>("cublasLtGetStatusString");
}

void CublasLtLibrary::check(cublasStatus_t status, const char* call) const {
  if (status != CUBLAS_STATUS_SUCCESS) throw CudaError(call, status_string(status));
}

}  // namespace nemo::kernels
