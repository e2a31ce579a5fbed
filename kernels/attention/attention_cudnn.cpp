#include "kernels/attention/attention_cudnn.h"

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/base/candidate_timing.h"
#include "kernels/base/cuda_libraries.h"
#include "kernels/base/error.h"
#include "kernels/base/plan_book.h"

#define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING
#define CUDNN_FRONTEND_SKIP_JSON_LIB
#include <cudnn_frontend.h>

// cudnn-frontend looks functions up through this handle; it asks for the definition. Set once, before the first call.
namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;
}

namespace nemo::kernels {
namespace {

namespace fe = cudnn_frontend;
using Graph = fe::graph::Graph;
using Tensor = std::shared_ptr<fe::graph::Tensor_attributes>;

enum Uid : int64_t { kQ = 1, kK, kV, kOut, kLse, kDout, kDq, kDk, kDv };

const std::string kLibrary = "cuDNN";

struct BuiltGraph {
  std::unique_ptr<Graph> graph;   // null: cuDNN has no plan for the shape
  std::vector<int64_t> plans;     // built ones, the heuristic's favourite first; one alone when the choice is made
};

// Everything that a plan rests on.
struct GraphKey {
  std::array<int64_t, 5> sizes;         // segments, length, heads, groups, head size
  std::array<int64_t, 4> strides;       // q k v out
  std::array<int64_t, 4> grad_strides;  // dout dq dk dv; zeros for a forward
  int64_t window;
  uint32_t scale_bits;
  bool causal, backward, deterministic;
  auto operator<=>(const GraphKey&) const = default;
};

GraphKey key_of(const AttentionShape& shape, const AttentionGradStrides& strides, bool backward, bool deterministic) {
  GraphKey key{};
  key.sizes = {shape.num_segments, shape.max_query_length, shape.num_heads, shape.num_groups, shape.head_size};
  key.strides = {shape.q_stride, shape.k_stride, shape.v_stride, shape.out_stride};
  if (backward) key.grad_strides = {strides.dout_stride, strides.dq_stride, strides.dk_stride, strides.dv_stride};
  key.window = shape.window;
  key.scale_bits = std::bit_cast<uint32_t>(shape.scale);
  key.causal = shape.causal;
  key.backward = backward;
  key.deterministic = deterministic;
  return key;
}

// The plan book's name for the shape.
std::string description(const GraphKey& key) {
  std::string text = key.backward ? (key.deterministic ? "deterministic attention backward" : "attention backward") : "attention forward";
  text += key.causal ? ", causal" : ", full";
  if (key.window > 0) text += ", window " + std::to_string(key.window);
  text += ", scale " + std::to_string(key.scale_bits) + ", segments length heads groups size";
  for (const int64_t size : key.sizes) text += " " + std::to_string(size);
  text += ", rows apart";
  for (const int64_t stride : key.strides) text += " " + std::to_string(stride);
  if (key.backward)
    for (const int64_t stride : key.grad_strides) text += " " + std::to_string(stride);
  return text;
}

// What the library's graph cannot say, or what this file does not say to it.
bool expressible(const AttentionShape& shape) {
  const int64_t tokens = shape.num_segments * shape.max_query_length;
  return shape.dropout == 0 && shape.softcap == 0 && shape.max_query_length == shape.max_key_length && tokens > 0 &&
         tokens == shape.query_tokens && tokens == shape.key_tokens && (shape.window == 0 || shape.causal) &&
         shape.window <= INT32_MAX;
}

class GraphBuilder {
 public:
  explicit GraphBuilder(const AttentionShape& shape) : shape_(shape), graph_(std::make_unique<Graph>()) {
    graph_->set_io_data_type(fe::DataType_t::BFLOAT16)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
  }

  std::unique_ptr<Graph> forward() {
    const Tensor q = input("q", kQ, shape_.num_heads, shape_.q_stride), k = input("k", kK, shape_.num_groups, shape_.k_stride),
                 v = input("v", kV, shape_.num_groups, shape_.v_stride);
    auto options = fe::graph::SDPA_attributes().set_name("attention").set_generate_stats(true).set_attn_scale(shape_.scale);
    mask(options);
    const auto [out, lse] = graph_->sdpa(q, k, v, options);
    output(out, kOut, shape_.num_heads, shape_.out_stride);
    lse->set_output(true).set_data_type(fe::DataType_t::FLOAT).set_uid(kLse).set_dim(lse_dim()).set_stride(lse_stride());
    return std::move(graph_);
  }

  std::unique_ptr<Graph> backward(const AttentionGradStrides& strides, bool deterministic) {
    const Tensor q = input("q", kQ, shape_.num_heads, shape_.q_stride), k = input("k", kK, shape_.num_groups, shape_.k_stride),
                 v = input("v", kV, shape_.num_groups, shape_.v_stride), out = input("out", kOut, shape_.num_heads, shape_.out_stride),
                 dout = input("dout", kDout, shape_.num_heads, strides.dout_stride);
    const Tensor lse = graph_->tensor(fe::graph::Tensor_attributes()
                                          .set_name("lse")
                                          .set_uid(kLse)
                                          .set_dim(lse_dim())
                                          .set_stride(lse_stride())
                                          .set_data_type(fe::DataType_t::FLOAT));
    auto options = fe::graph::SDPA_backward_attributes()
                       .set_name("attention_backward")
                       .set_attn_scale(shape_.scale)
                       .set_deterministic_algorithm(deterministic);
    mask(options);
    const auto [dq, dk, dv] = graph_->sdpa_backward(q, k, v, out, dout, lse, options);
    output(dq, kDq, shape_.num_heads, strides.dq_stride);
    output(dk, kDk, shape_.num_groups, strides.dk_stride);
    output(dv, kDv, shape_.num_groups, strides.dv_stride);
    return std::move(graph_);
  }

 private:
  // cuDNN's order is [batch, head, token, element]; ours lies as [token, head, element], segments one after the other.
  std::vector<int64_t> dim(int64_t heads) const { return {shape_.num_segments, heads, shape_.max_query_length, shape_.head_size}; }
  std::vector<int64_t> stride(int64_t token_stride) const {
    return {shape_.max_query_length * token_stride, shape_.head_size, token_stride, 1};
  }
  std::vector<int64_t> lse_dim() const { return {shape_.num_segments, shape_.num_heads, shape_.max_query_length, 1}; }
  std::vector<int64_t> lse_stride() const { return {shape_.num_heads * shape_.max_query_length, shape_.max_query_length, 1, 1}; }

  Tensor input(const char* name, Uid uid, int64_t heads, int64_t token_stride) {
    return graph_->tensor(
        fe::graph::Tensor_attributes().set_name(name).set_uid(uid).set_dim(dim(heads)).set_stride(stride(token_stride)));
  }
  void output(const Tensor& tensor, Uid uid, int64_t heads, int64_t token_stride) {
    tensor->set_output(true).set_uid(uid).set_dim(dim(heads)).set_stride(stride(token_stride));
  }

  // The left bound keeps key + bound > query, which is our window; the right bound 0 is the causal mask.
  template <class Options>
  void mask(Options& options) const {
    if (shape_.causal) options.set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT).set_diagonal_band_right_bound(0);
    if (shape_.window > 0) options.set_diagonal_band_left_bound(static_cast<int>(shape_.window));
  }

  const AttentionShape& shape_;
  std::unique_ptr<Graph> graph_;
};

// cudnn-frontend reports some failures by throwing; everything that leaves this file is a CudaError.
template <class Call>
auto as_cuda_error(const char* what, const Call& call) {
  try {
    return call();
  } catch (const CudaError&) {
    throw;
  } catch (const std::exception& error) {
    throw CudaError(what, error.what());
  }
}

void* pointer(const void* data) { return const_cast<void*>(data); }

}  // namespace

class CudnnAttention {
 public:
  CudnnAttention(bool tune, PlanBook& book) : cudart_(open_cudart()), cudnn_(open_cudnn()), tune_(tune), book_(book) {
    cudnn_frontend::cudnn_dlhandle = cudnn_.handle();
    check(fe::detail::create_handle(&handle_), "cudnnCreate");
    book_.open(kLibrary, static_cast<int64_t>(cudnn_.function<size_t (*)()>("cudnnGetVersion")()));
  }
  CudnnAttention(const CudnnAttention&) = delete;
  ~CudnnAttention() {
    graphs_.clear();
    fe::detail::destroy_handle(handle_);
  }

  // Builds what is not built yet, within the limit.
  bool plan_forward(const AttentionShape& shape, size_t limit_bytes) {
    return plan(key_of(shape, {}, false, false), limit_bytes, [&] { return GraphBuilder(shape).forward(); });
  }
  bool plan_backward(const AttentionShape& shape, const AttentionGradStrides& strides, bool deterministic, size_t limit_bytes) {
    return plan(key_of(shape, strides, true, deterministic), limit_bytes,
                [&] { return GraphBuilder(shape).backward(strides, deterministic); });
  }

  void execute(const GraphKey& key, std::unordered_map<int64_t, void*> pointers, void* workspace, cudaStream_t stream) {
    const auto found = graphs_.find(key);
    if (found == graphs_.end() || !found->second.graph) throw CudaError("cuDNN attention", "no plan for this shape; ask cudnn_attention_plan first");
    BuiltGraph& built = found->second;
    check(fe::detail::set_stream(handle_, stream), "cudnnSetStream");
    const auto run = [&](size_t i) { return built.graph->execute_plan_at_index(handle_, pointers, workspace, built.plans[i]); };
    if (built.plans.size() > 1) {
      const size_t best = fastest_candidate(built.plans.size(), [&](size_t i) { return run(i).is_good(); }, stream).value_or(0);
      decide(key, built, built.plans[best]);
    }
    auto status = run(0);
    if (status.is_bad()) throw CudaError("cuDNN attention", status.get_message());
  }

 private:
  template <class Describe>
  bool plan(const GraphKey& key, size_t limit_bytes, const Describe& describe) {
    auto found = graphs_.find(key);
    if (found == graphs_.end()) found = graphs_.emplace(key, build(key, describe(), limit_bytes)).first;
    return found->second.graph != nullptr;
  }

  BuiltGraph build(const GraphKey& key, std::unique_ptr<Graph> graph, size_t limit_bytes) {
    constexpr size_t kMaxTimed = 4;  // each costs a build at start-up
    const bool known = graph->validate().is_good() && graph->build_operation_graph(handle_).is_good() &&
                       graph->create_execution_plans({fe::HeurMode_t::A}).is_good();
    if (!known) return {};
    BuiltGraph built{std::move(graph), {}};
    if (const std::string* kept = book_.find(kLibrary, description(key))) {
      for (int64_t i = 0; i < built.graph->get_execution_plan_count() && built.plans.empty(); ++i)
        if (name(*built.graph, i) == *kept && buildable(*built.graph, i, limit_bytes)) built.plans.push_back(i);
      if (!built.plans.empty()) return built;
    }
    for (int64_t i = 0; i < built.graph->get_execution_plan_count() && built.plans.size() < (tune_ ? kMaxTimed : 1); ++i)
      if (buildable(*built.graph, i, limit_bytes)) built.plans.push_back(i);
    if (built.plans.empty()) return {};
    if (built.plans.size() == 1) decide(key, built, built.plans.front());
    return built;
  }

  bool buildable(Graph& graph, int64_t plan, size_t limit_bytes) const {
    int64_t bytes = 0;
    return graph.build_plan_at_index(handle_, plan).is_good() && graph.get_workspace_size_plan_at_index(plan, bytes).is_good() &&
           static_cast<size_t>(bytes) <= limit_bytes;
  }

  // Engine and knobs, which mean the same to every build of one library version.
  static std::string name(const Graph& graph, int64_t plan) {
    std::string text;
    return graph.get_plan_name_at_index(plan, text).is_good() ? text : "";
  }

  void decide(const GraphKey& key, BuiltGraph& built, int64_t plan) {
    built.plans = {plan};
    book_.keep(kLibrary, description(key), name(*built.graph, plan));
  }

  void check(cudnnStatus_t status, const char* call) const {
    if (status == CUDNN_STATUS_SUCCESS) return;
    throw CudaError(call, cudnn_.function<const char* (*)(cudnnStatus_t)>("cudnnGetErrorString")(status));
  }

  DynamicLibrary cudart_, cudnn_;  // the frontend looks for libcudart by name: it has to be loaded by then
  bool tune_;
  PlanBook& book_;
  cudnnHandle_t handle_ = nullptr;
  std::map<GraphKey, BuiltGraph> graphs_;
};

CudnnAttention* cudnn_attention_create(bool tune, PlanBook& book) {
  return as_cuda_error("cuDNN attention", [&] { return new CudnnAttention(tune, book); });
}
void cudnn_attention_destroy(CudnnAttention* engine) noexcept { delete engine; }

bool cudnn_attention_plan(CudnnAttention& engine, const AttentionShape& shape, const AttentionGradStrides& strides, bool training,
                          bool deterministic, const CudnnWorkspaceLimits& limits) {
  if (!expressible(shape)) return false;
  return as_cuda_error("cuDNN attention plan", [&] {
    return engine.plan_forward(shape, limits.forward_bytes) &&
           (!training || engine.plan_backward(shape, strides, deterministic, limits.backward_bytes));
  });
}

void cudnn_attention_forward(CudnnAttention& engine, bf16* out, float* lse, const bf16* q, const bf16* k, const bf16* v,
                             const AttentionShape& shape, void* workspace, cudaStream_t stream) {
  as_cuda_error("cuDNN attention forward", [&] {
    engine.execute(key_of(shape, {}, false, false),
                   {{kQ, pointer(q)}, {kK, pointer(k)}, {kV, pointer(v)}, {kOut, out}, {kLse, lse}}, workspace, stream);
  });
}

void cudnn_attention_backward(CudnnAttention& engine, bf16* dq, bf16* dk, bf16* dv, const bf16* dout, const bf16* q, const bf16* k,
                              const bf16* v, const bf16* out, const float* lse, const AttentionShape& shape,
                              const AttentionGradStrides& strides, bool deterministic, void* workspace, cudaStream_t stream) {
  as_cuda_error("cuDNN attention backward", [&] {
    engine.execute(key_of(shape, strides, true, deterministic),
                   {{kQ, pointer(q)}, {kK, pointer(k)}, {kV, pointer(v)}, {kOut, pointer(out)}, {kLse, pointer(lse)},
                    {kDout, pointer(dout)}, {kDq, dq}, {kDk, dk}, {kDv, dv}},
                   workspace, stream);
  });
}

}  // namespace nemo::kernels
