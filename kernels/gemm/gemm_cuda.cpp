#include <algorithm>
#include <array>
#include <unordered_map>
#include <vector>

#include "kernels/base/cuda_check.h"
#include "kernels/gemm/cublaslt_library.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/gemm_epilogue.h"

namespace nemo::kernels {
namespace {

// What cuBLASLt computes is column-major, so it is given the transposed problem C^T = op(B)^T op(A)^T: a row-major matrix
// read column-major is its own transpose, so our B is its left operand, our n its rows, and the transpose flags stay.
struct Plan {
  CublasLtOwner<cublasLtMatmulDesc_t> operation;
  CublasLtOwner<cublasLtMatrixLayout_t> left, right, result;
  cublasLtMatmulAlgo_t algorithm{};
};

// Everything that an algorithm's choice may rest on.
struct PlanKey {
  std::array<int64_t, 6> sizes;  // m n k lda ldb ldc
  bool transpose_a, transpose_b, add_to_c, bias;
  DType in, out;
  std::array<uint32_t, 4> alignments;  // c a b bias
  bool operator==(const PlanKey&) const = default;
};

struct PlanKeyHash {
  size_t operator()(const PlanKey& key) const {
    uint64_t hash = 0x9E3779B97F4A7C15ull;
    const auto mix = [&hash](uint64_t value) { hash = (hash ^ value) * 0xD6E8FEB86659FD93ull, hash ^= hash >> 32; };
    for (int64_t size : key.sizes) mix(static_cast<uint64_t>(size));
    for (uint32_t alignment : key.alignments) mix(alignment);
    mix(key.transpose_a | key.transpose_b << 1 | key.add_to_c << 2 | key.bias << 3 | static_cast<int>(key.in) << 4 |
        static_cast<int>(key.out) << 8);
    return hash;
  }
};

// The largest power of two up to 256 that divides the address: what the heuristic may rely on.
uint32_t alignment_of(const void* address) {
  const uintptr_t bits = reinterpret_cast<uintptr_t>(address) | 256;
  return static_cast<uint32_t>(bits & (~bits + 1));
}

cudaDataType_t cuda_type(DType dtype) { return dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

struct Operands {
  void* c;
  const void *a, *b;
  float beta;
  void* workspace;
  cudaStream_t stream;
};

struct EventPair {
  cudaEvent_t begin = nullptr, end = nullptr;
  EventPair() {
    cuda_check(cudaEventCreate(&begin), "cudaEventCreate");
    const cudaError_t status = cudaEventCreate(&end);
    if (status != cudaSuccess) cudaEventDestroy(begin);
    cuda_check(status, "cudaEventCreate");
  }
  EventPair(const EventPair&) = delete;
  ~EventPair() {
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
  }
};

}  // namespace

class CublasLt {
 public:
  explicit CublasLt(bool tune) : handle_(nullptr, lt_.destroy), tune_(tune) {
    cublasLtHandle_t handle = nullptr;
    lt_.check(lt_.create(&handle), "cublasLtCreate");
    handle_.reset(handle);
  }

  void multiply(const PlanKey& key, const Operands& operands, const void* bias) {
    auto found = plans_.find(key);
    if (found == plans_.end()) found = plans_.emplace(key, make_plan(key, operands, bias)).first;
    const Plan& plan = found->second;
    if (bias) set_bias(plan, bias);
    run(plan, plan.algorithm, operands.c, operands);
  }

 private:
  Plan make_plan(const PlanKey& key, const Operands& operands, const void* bias) {
    const auto [m, n, k, lda, ldb, ldc] = key.sizes;
    const cublasOperation_t left_op = key.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t right_op = key.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    Plan plan{operation(), layout(key.in, key.transpose_b ? k : n, key.transpose_b ? n : k, ldb),
              layout(key.in, key.transpose_a ? m : k, key.transpose_a ? k : m, lda), layout(key.out, n, m, ldc)};
    set(plan, CUBLASLT_MATMUL_DESC_TRANSA, left_op);
    set(plan, CUBLASLT_MATMUL_DESC_TRANSB, right_op);
    if (bias) {
      set(plan, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(plan, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, cuda_type(key.in));
      set_bias(plan, bias);
    }

    cublasLtMatmulPreference_t created = nullptr;
    lt_.check(lt_.preference_create(&created), "cublasLtMatmulPreferenceCreate");
    const CublasLtOwner<cublasLtMatmulPreference_t> preference(created, lt_.preference_destroy);
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      lt_.check(lt_.preference_set(created, attribute, &value, sizeof(value)), "cublasLtMatmulPreferenceSetAttribute");
    };
    const auto [align_c, align_a, align_b, align_bias] = key.alignments;
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kGemmWorkspaceBytes});
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, align_b);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, align_a);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, align_c);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, align_c);

    constexpr int kMaxCandidates = 16;
    std::array<cublasLtMatmulHeuristicResult_t, kMaxCandidates> results{};
    int found = 0;
    const cublasStatus_t status =
        lt_.get_heuristic(handle_.get(), plan.operation.get(), plan.left.get(), plan.right.get(), plan.result.get(),
                          plan.result.get(), created, tune_ ? kMaxCandidates : 1, results.data(), &found);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || (status == CUBLAS_STATUS_SUCCESS && found == 0)) {
      throw CudaError("cublasLtMatmulAlgoGetHeuristic", "no algorithm for " + description(key));
    }
    lt_.check(status, "cublasLtMatmulAlgoGetHeuristic");
    plan.algorithm = results[0].algo;
    if (tune_ && found > 1) plan.algorithm = fastest(plan, {results.begin(), results.begin() + found}, key, operands);
    return plan;
  }

  // Times each candidate on the real operands. Where the product adds to C, the trials write elsewhere; if there is no
  // memory for that, the heuristic's first choice stays.
  cublasLtMatmulAlgo_t fastest(const Plan& plan, const std::vector<cublasLtMatmulHeuristicResult_t>& candidates, const PlanKey& key,
                               const Operands& operands) {
    constexpr int kTrials = 4;
    void* elsewhere = nullptr;
    if (key.add_to_c) {
      const size_t bytes = static_cast<size_t>(key.sizes[0] * key.sizes[5]) * size_bytes(key.out);
      if (cudaMalloc(&elsewhere, bytes) != cudaSuccess) {
        cudaGetLastError();
        return candidates.front().algo;
      }
    }
    const std::unique_ptr<void, cudaError_t (*)(void*)> owner(elsewhere, cudaFree);
    void* target = elsewhere ? elsewhere : operands.c;
    const EventPair events;
    float best_ms = 0;
    const cublasLtMatmulAlgo_t* best = nullptr;
    for (const cublasLtMatmulHeuristicResult_t& candidate : candidates) {
      if (candidate.state != CUBLAS_STATUS_SUCCESS || candidate.workspaceSize > kGemmWorkspaceBytes) continue;
      run(plan, candidate.algo, target, operands);  // warms up: the first launch loads the kernel
      cuda_check(cudaEventRecord(events.begin, operands.stream), "cudaEventRecord");
      for (int trial = 0; trial < kTrials; ++trial) run(plan, candidate.algo, target, operands);
      cuda_check(cudaEventRecord(events.end, operands.stream), "cudaEventRecord");
      cuda_check(cudaEventSynchronize(events.end), "cudaEventSynchronize");
      float ms = 0;
      cuda_check(cudaEventElapsedTime(&ms, events.begin, events.end), "cudaEventElapsedTime");
      if (!best || ms < best_ms) {
        best = &candidate.algo;
        best_ms = ms;
      }
    }
    return best ? *best : candidates.front().algo;
  }

  void run(const Plan& plan, const cublasLtMatmulAlgo_t& algorithm, void* target, const Operands& operands) const {
    const float alpha = 1;
    lt_.check(lt_.matmul(handle_.get(), plan.operation.get(), &alpha, operands.b, plan.left.get(), operands.a, plan.right.get(),
                         &operands.beta, operands.c, plan.result.get(), target, plan.result.get(), &algorithm,
                         operands.workspace, kGemmWorkspaceBytes, operands.stream),
              "cublasLtMatmul");
  }

  CublasLtOwner<cublasLtMatmulDesc_t> operation() const {
    cublasLtMatmulDesc_t created = nullptr;
    // Plain fp32 arithmetic for fp32 operands: TF32 would be CUBLAS_COMPUTE_32F_FAST_TF32.
    lt_.check(lt_.desc_create(&created, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
    return {created, lt_.desc_destroy};
  }

  CublasLtOwner<cublasLtMatrixLayout_t> layout(DType dtype, int64_t rows, int64_t columns, int64_t leading) const {
    cublasLtMatrixLayout_t created = nullptr;
    lt_.check(lt_.layout_create(&created, cuda_type(dtype), static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), leading),
              "cublasLtMatrixLayoutCreate");
    return {created, lt_.layout_destroy};
  }

  template <class Value>
  void set(const Plan& plan, cublasLtMatmulDescAttributes_t attribute, Value value) const {
    lt_.check(lt_.desc_set(plan.operation.get(), attribute, &value, sizeof(value)), "cublasLtMatmulDescSetAttribute");
  }
  void set_bias(const Plan& plan, const void* bias) const { set(plan, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias); }

  static std::string description(const PlanKey& key) {
    std::string text = "m n k " + std::to_string(key.sizes[0]) + " " + std::to_string(key.sizes[1]) + " " +
                       std::to_string(key.sizes[2]) + ", leading dimensions " + std::to_string(key.sizes[3]) + " " +
                       std::to_string(key.sizes[4]) + " " + std::to_string(key.sizes[5]) + ", ";
    return text + std::string(name(key.in)) + " to " + std::string(name(key.out));
  }

  CublasLtLibrary lt_;
  CublasLtOwner<cublasLtHandle_t> handle_;
  bool tune_;
  std::unordered_map<PlanKey, Plan, PlanKeyHash> plans_;
};

CublasLt* cublaslt_create(bool tune) { return new CublasLt(tune); }
void cublaslt_destroy(CublasLt* handle) noexcept { delete handle; }

template <class In, class Out>
void gemm_cuda(CublasLt& handle, Out* c, const In* a, const In* b, const In* bias, const GemmShape& shape, void* workspace,
               cudaStream_t stream) {
  if constexpr (dtype_of<In> == DType::fp32 && dtype_of<Out> == DType::bf16) {
    throw CudaError("gemm", "cuBLASLt has no product of fp32 operands with a bf16 result; give it an fp32 one");
  }
  if (shape.m == 0 || shape.n == 0) return;
  // The library adds a bias of the output's type only; with another output it is added after the product.
  const bool fused_bias = bias && dtype_of<In> == dtype_of<Out>;
  if (shape.k == 0) {  // an empty sum
    if (shape.beta == 0) {
      cuda_check(cudaMemset2DAsync(c, static_cast<size_t>(shape.ldc) * sizeof(Out), 0, static_cast<size_t>(shape.n) * sizeof(Out),
                                   static_cast<size_t>(shape.m), stream),
                 "cudaMemset2DAsync");
    }
  } else {
    const void* epilogue_bias = fused_bias ? bias : nullptr;
    const PlanKey key{{shape.m, shape.n, shape.k, shape.lda, shape.ldb, shape.ldc},
                      shape.transpose_a,
                      shape.transpose_b,
                      shape.beta != 0,
                      fused_bias,
                      dtype_of<In>,
                      dtype_of<Out>,
                      {alignment_of(c), alignment_of(a), alignment_of(b), alignment_of(epilogue_bias)}};
    handle.multiply(key, {c, a, b, shape.beta, workspace, stream}, epilogue_bias);
  }
  if (bias && (!fused_bias || shape.k == 0)) add_row_vector(c, bias, {shape.m, shape.n, shape.ldc}, stream);
}

template void gemm_cuda(CublasLt&, float*, const float*, const float*, const float*, const GemmShape&, void*, cudaStream_t);
template void gemm_cuda(CublasLt&, bf16*, const float*, const float*, const float*, const GemmShape&, void*, cudaStream_t);
template void gemm_cuda(CublasLt&, float*, const bf16*, const bf16*, const bf16*, const GemmShape&, void*, cudaStream_t);
template void gemm_cuda(CublasLt&, bf16*, const bf16*, const bf16*, const bf16*, const GemmShape&, void*, cudaStream_t);

}  // namespace nemo::kernels
