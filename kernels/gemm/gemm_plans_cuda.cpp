#include "kernels/gemm/gemm_plans.h"

#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/base/candidate_timing.h"
#include "kernels/base/cuda_check.h"
#include "kernels/base/plan_book.h"
#include "kernels/gemm/cublaslt_library.h"

namespace nemo::kernels {
namespace {

const std::string kLibrary = "cuBLASLt";
const std::string kNoAlgorithm = "none";  // in the plan book

// What cuBLASLt computes is column-major, so it is given the transposed problem C^T = op(B)^T op(A)^T: a row-major
// matrix read column-major is its own transpose, so our B is its left operand, our n its rows, and the transpose flags
// stay.
struct Plan {
  CublasLtOwner<cublasLtMatmulDesc_t> operation;
  CublasLtOwner<cublasLtMatrixLayout_t> left, right, result;
  std::optional<cublasLtMatmulAlgo_t> algorithm;  // none: the library has none
};

// Everything that an algorithm's choice may rest on.
struct PlanKey {
  GemmProduct product;
  std::array<uint32_t, 5> alignments;  // c a b vector aux
  bool operator==(const PlanKey&) const = default;
};

struct PlanKeyHash {
  size_t operator()(const PlanKey& key) const {
    uint64_t hash = 0x9E3779B97F4A7C15ull;
    const auto mix = [&hash](auto value) {
      hash = (hash ^ static_cast<uint64_t>(value)) * 0xD6E8FEB86659FD93ull, hash ^= hash >> 32;
    };
    const GemmProduct& p = key.product;
    for (const int64_t size : {p.m, p.n, p.k, p.lda, p.ldb, p.ldc, p.ld_aux}) mix(size);
    for (const uint32_t alignment : key.alignments) mix(alignment);
    for (const bool flag : {p.transpose_a, p.transpose_b, p.add_to_c, p.fast_accumulation, p.scaled}) mix(flag);
    for (const GemmType type : {p.a, p.b, p.c, p.vector}) mix(type);
    mix(p.epilogue);
    return hash;
  }
};

// The largest power of two up to 256 that divides the address: what the heuristic may rely on.
uint32_t alignment_of(const void* address) {
  const uintptr_t bits = reinterpret_cast<uintptr_t>(address) | 256;
  return static_cast<uint32_t>(bits & (~bits + 1));
}

const char* type_name(GemmType type) {
  switch (type) {
    case GemmType::fp32:
      return "fp32";
    case GemmType::bf16:
      return "bf16";
    case GemmType::e4m3:
      return "e4m3";
    case GemmType::e5m2:
      return "e5m2";
  }
  return "?";
}

cudaDataType_t cuda_type(GemmType type) {
  switch (type) {
    case GemmType::fp32:
      return CUDA_R_32F;
    case GemmType::bf16:
      return CUDA_R_16BF;
    case GemmType::e4m3:
      return CUDA_R_8F_E4M3;
    case GemmType::e5m2:
      return CUDA_R_8F_E5M2;
  }
  return CUDA_R_32F;
}

const char* epilogue_name(GemmEpilogue epilogue) {
  switch (epilogue) {
    case GemmEpilogue::none:
      return "none";
    case GemmEpilogue::bias:
      return "bias";
    case GemmEpilogue::gelu_aux:
      return "gelu_aux";
    case GemmEpilogue::gelu_aux_bias:
      return "gelu_aux_bias";
    case GemmEpilogue::dgelu:
      return "dgelu";
    case GemmEpilogue::dgelu_bgrad:
      return "dgelu_bgrad";
    case GemmEpilogue::bgrad_a:
      return "bgrad_a";
    case GemmEpilogue::bgrad_b:
      return "bgrad_b";
  }
  return "?";
}

// Our operands are the library's in the other order, so its A is our b.
cublasLtEpilogue_t cublaslt_epilogue(GemmEpilogue epilogue) {
  switch (epilogue) {
    case GemmEpilogue::none:
      return CUBLASLT_EPILOGUE_DEFAULT;
    case GemmEpilogue::bias:
      return CUBLASLT_EPILOGUE_BIAS;
    case GemmEpilogue::gelu_aux:
      return CUBLASLT_EPILOGUE_GELU_AUX;
    case GemmEpilogue::gelu_aux_bias:
      return CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
    case GemmEpilogue::dgelu:
      return CUBLASLT_EPILOGUE_DGELU;
    case GemmEpilogue::dgelu_bgrad:
      return CUBLASLT_EPILOGUE_DGELU_BGRAD;
    case GemmEpilogue::bgrad_a:
      return CUBLASLT_EPILOGUE_BGRADB;
    case GemmEpilogue::bgrad_b:
      return CUBLASLT_EPILOGUE_BGRADA;
  }
  return CUBLASLT_EPILOGUE_DEFAULT;
}

bool has_vector(GemmEpilogue epilogue) {
  return epilogue != GemmEpilogue::none && epilogue != GemmEpilogue::gelu_aux && epilogue != GemmEpilogue::dgelu;
}
bool has_aux(GemmEpilogue epilogue) {
  return epilogue == GemmEpilogue::gelu_aux || epilogue == GemmEpilogue::gelu_aux_bias ||
         epilogue == GemmEpilogue::dgelu || epilogue == GemmEpilogue::dgelu_bgrad;
}

// One line that says all of the key: the plan book's name for the product, and what errors show.
std::string description(const PlanKey& key) {
  const GemmProduct& p = key.product;
  std::string text = std::string(type_name(p.a)) + (p.transpose_a ? "^T x " : " x ") + type_name(p.b) +
                     (p.transpose_b ? "^T" : "") + (p.add_to_c ? " added to " : " to ") + type_name(p.c) + ", m n k";
  for (const int64_t size : {p.m, p.n, p.k}) text += " " + std::to_string(size);
  text += ", rows apart";
  for (const int64_t size : {p.lda, p.ldb, p.ldc}) text += " " + std::to_string(size);
  if (p.epilogue != GemmEpilogue::none)
    text += std::string(", ") + epilogue_name(p.epilogue) + " " + type_name(p.vector) + " " + std::to_string(p.ld_aux);
  if (p.scaled) text += ", scaled";
  if (p.fast_accumulation) text += ", fast accumulation";
  text += ", aligned";
  for (const uint32_t alignment : key.alignments) text += " " + std::to_string(alignment);
  return text;
}

std::string to_hex(const cublasLtMatmulAlgo_t& algorithm) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  const auto* bytes = reinterpret_cast<const unsigned char*>(&algorithm);
  for (size_t i = 0; i < sizeof(algorithm); ++i) text += {kDigits[bytes[i] >> 4], kDigits[bytes[i] & 15]};
  return text;
}

std::optional<cublasLtMatmulAlgo_t> from_hex(const std::string& text) {
  cublasLtMatmulAlgo_t algorithm{};
  if (text.size() != 2 * sizeof(algorithm) || text.find_first_not_of("0123456789abcdef") != std::string::npos)
    return std::nullopt;
  for (size_t i = 0; i < sizeof(algorithm); ++i)
    reinterpret_cast<unsigned char*>(&algorithm)[i] =
        static_cast<unsigned char>(std::stoi(text.substr(2 * i, 2), nullptr, 16));
  return algorithm;
}

}  // namespace

class CublasLt {
 public:
  CublasLt(bool tune, PlanBook& book) : handle_(nullptr, lt_.destroy), tune_(tune), book_(book) {
    cublasLtHandle_t handle = nullptr;
    lt_.check(lt_.create(&handle), "cublasLtCreate");
    handle_.reset(handle);
    book_.open(kLibrary, static_cast<int64_t>(lt_.version()));
  }

  // false: no algorithm. Then the caller must have another way, else it is an error.
  bool run(const PlanKey& key, const GemmOperands& operands, bool other_way, cudaStream_t stream) {
    auto found = plans_.find(key);
    if (found == plans_.end()) found = plans_.emplace(key, make_plan(key, operands, other_way, stream)).first;
    const Plan& plan = found->second;
    if (!plan.algorithm) {
      if (other_way) return false;
      throw CudaError("cublasLtMatmulAlgoGetHeuristic", "no algorithm for " + description(key));
    }
    point(plan, key.product, operands);
    lt_.check(multiply(plan, *plan.algorithm, key.product, operands, operands.c, stream), "cublasLtMatmul");
    return true;
  }

 private:
  Plan make_plan(const PlanKey& key, const GemmOperands& operands, bool other_way, cudaStream_t stream) {
    const GemmProduct& p = key.product;
    Plan plan{operation(), layout(p.b, p.transpose_b ? p.k : p.n, p.transpose_b ? p.n : p.k, p.ldb),
              layout(p.a, p.transpose_a ? p.m : p.k, p.transpose_a ? p.k : p.m, p.lda), layout(p.c, p.n, p.m, p.ldc), std::nullopt};
    set(plan, CUBLASLT_MATMUL_DESC_TRANSA, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(plan, CUBLASLT_MATMUL_DESC_TRANSB, p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(plan, CUBLASLT_MATMUL_DESC_EPILOGUE, cublaslt_epilogue(p.epilogue));
    if (has_vector(p.epilogue)) set(plan, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, cuda_type(p.vector));
    if (has_aux(p.epilogue)) set(plan, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, p.ld_aux);
    if (p.fast_accumulation) set(plan, CUBLASLT_MATMUL_DESC_FAST_ACCUM, int8_t{1});
    point(plan, p, operands);
    plan.algorithm = choose(plan, key, operands, other_way, stream);
    return plan;
  }

  std::optional<cublasLtMatmulAlgo_t> choose(const Plan& plan, const PlanKey& key, const GemmOperands& operands,
                                             bool other_way, cudaStream_t stream) {
    const std::string product = description(key);
    if (const std::string* kept = book_.find(kLibrary, product)) {
      if (other_way && *kept == kNoAlgorithm) return std::nullopt;
      const std::optional<cublasLtMatmulAlgo_t> algorithm = from_hex(*kept);
      if (algorithm && usable(plan, *algorithm)) return *algorithm;
    }
    const std::vector<cublasLtMatmulHeuristicResult_t> results = candidates(plan, key);
    if (results.empty()) {
      if (!other_way) return std::nullopt;
      book_.keep(kLibrary, product, kNoAlgorithm);
      book_.notice(kLibrary + " has no algorithm for " + product + ": its parts run one by one");
      return std::nullopt;
    }
    const cublasLtMatmulAlgo_t chosen =
        results[tune_ && results.size() > 1 ? fastest(plan, results, key.product, operands, stream) : 0].algo;
    book_.keep(kLibrary, product, to_hex(chosen));
    return chosen;
  }

  std::vector<cublasLtMatmulHeuristicResult_t> candidates(const Plan& plan, const PlanKey& key) const {
    cublasLtMatmulPreference_t created = nullptr;
    lt_.check(lt_.preference_create(&created), "cublasLtMatmulPreferenceCreate");
    const CublasLtOwner<cublasLtMatmulPreference_t> preference(created, lt_.preference_destroy);
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      lt_.check(lt_.preference_set(created, attribute, &value, sizeof(value)), "cublasLtMatmulPreferenceSetAttribute");
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kGemmWorkspaceBytes});
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key.alignments[2]);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key.alignments[1]);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key.alignments[0]);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key.alignments[0]);

    constexpr int kMaxCandidates = 32;
    std::vector<cublasLtMatmulHeuristicResult_t> results(kMaxCandidates);
    int found = 0;
    const cublasStatus_t status =
        lt_.get_heuristic(handle_.get(), plan.operation.get(), plan.left.get(), plan.right.get(), plan.result.get(),
                          plan.result.get(), created, tune_ ? kMaxCandidates : 1, results.data(), &found);
    if (status != CUBLAS_STATUS_NOT_SUPPORTED) lt_.check(status, "cublasLtMatmulAlgoGetHeuristic");
    results.resize(status == CUBLAS_STATUS_SUCCESS ? static_cast<size_t>(found) : 0);
    std::erase_if(results, [](const cublasLtMatmulHeuristicResult_t& result) {
      return result.state != CUBLAS_STATUS_SUCCESS || result.workspaceSize > kGemmWorkspaceBytes;
    });
    return results;
  }

  // A plan that was read may be of another library build with the same version: asked for before it is trusted.
  bool usable(const Plan& plan, const cublasLtMatmulAlgo_t& algorithm) const {
    cublasLtMatmulHeuristicResult_t result{};
    const cublasStatus_t status = lt_.algo_check(handle_.get(), plan.operation.get(), plan.left.get(), plan.right.get(),
                                                 plan.result.get(), plan.result.get(), &algorithm, &result);
    return status == CUBLAS_STATUS_SUCCESS && result.state == CUBLAS_STATUS_SUCCESS &&
           result.workspaceSize <= kGemmWorkspaceBytes;
  }

  // Where the product adds to C, the trials write elsewhere; if there is no memory for that, the heuristic's first
  // choice stays.
  size_t fastest(const Plan& plan, const std::vector<cublasLtMatmulHeuristicResult_t>& results,
                 const GemmProduct& product, const GemmOperands& operands, cudaStream_t stream) const {
    void* elsewhere = nullptr;
    if (product.add_to_c) {
      const size_t bytes = static_cast<size_t>(product.m * product.ldc) * (product.c == GemmType::fp32 ? 4 : 2);
      if (cudaMalloc(&elsewhere, bytes) != cudaSuccess) {
        cudaGetLastError();
        return 0;
      }
    }
    const std::unique_ptr<void, cudaError_t (*)(void*)> owner(elsewhere, cudaFree);
    void* const target = elsewhere ? elsewhere : operands.c;
    return fastest_candidate(
               results.size(),
               [&](size_t i) {
                 return multiply(plan, results[i].algo, product, operands, target, stream) == CUBLAS_STATUS_SUCCESS;
               },
               stream)
        .value_or(0);
  }

  cublasStatus_t multiply(const Plan& plan, const cublasLtMatmulAlgo_t& algorithm, const GemmProduct& product,
                          const GemmOperands& operands, void* target, cudaStream_t stream) const {
    const float alpha = 1, beta = product.add_to_c ? 1 : 0;
    return lt_.matmul(handle_.get(), plan.operation.get(), &alpha, operands.b, plan.left.get(), operands.a,
                      plan.right.get(), &beta, operands.c, plan.result.get(), target, plan.result.get(), &algorithm,
                      operands.workspace, kGemmWorkspaceBytes, stream);
  }

  // The pointers that the operation holds itself.
  void point(const Plan& plan, const GemmProduct& product, const GemmOperands& operands) const {
    if (has_vector(product.epilogue)) set(plan, CUBLASLT_MATMUL_DESC_BIAS_POINTER, operands.vector);
    if (has_aux(product.epilogue)) set(plan, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, operands.aux);
    if (product.scaled) {
      set(plan, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, operands.scale_b);
      set(plan, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, operands.scale_a);
    }
  }

  CublasLtOwner<cublasLtMatmulDesc_t> operation() const {
    cublasLtMatmulDesc_t created = nullptr;
    // Plain fp32 arithmetic for fp32 operands: TF32 would be CUBLAS_COMPUTE_32F_FAST_TF32.
    lt_.check(lt_.desc_create(&created, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
    return {created, lt_.desc_destroy};
  }

  CublasLtOwner<cublasLtMatrixLayout_t> layout(GemmType type, int64_t rows, int64_t columns, int64_t leading) const {
    cublasLtMatrixLayout_t created = nullptr;
    lt_.check(lt_.layout_create(&created, cuda_type(type), static_cast<uint64_t>(rows), static_cast<uint64_t>(columns),
                                leading),
              "cublasLtMatrixLayoutCreate");
    return {created, lt_.layout_destroy};
  }

  template <class Value>
  void set(const Plan& plan, cublasLtMatmulDescAttributes_t attribute, Value value) const {
    lt_.check(lt_.desc_set(plan.operation.get(), attribute, &value, sizeof(value)), "cublasLtMatmulDescSetAttribute");
  }

  CublasLtLibrary lt_;
  CublasLtOwner<cublasLtHandle_t> handle_;
  bool tune_;
  PlanBook& book_;
  std::unordered_map<PlanKey, Plan, PlanKeyHash> plans_;
};

CublasLt* cublaslt_create(bool tune, PlanBook& book) {
  return new CublasLt(tune, book);
}
void cublaslt_destroy(CublasLt* handle) noexcept {
  delete handle;
}

namespace {

PlanKey key_of(const GemmProduct& product, const GemmOperands& operands) {
  return {product,
          {alignment_of(operands.c), alignment_of(operands.a), alignment_of(operands.b), alignment_of(operands.vector),
           alignment_of(operands.aux)}};
}

}  // namespace

void run_product(CublasLt& handle, const GemmProduct& product, const GemmOperands& operands, cudaStream_t stream) {
  handle.run(key_of(product, operands), operands, false, stream);
}

bool try_product(CublasLt& handle, const GemmProduct& product, const GemmOperands& operands, cudaStream_t stream) {
  return handle.run(key_of(product, operands), operands, true, stream);
}

}  // namespace nemo::kernels
