#include "kernels/attention/attention_cudnn.h"

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/base/cuda_libraries.h"
#include "kernels/base/error.h"

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

struct BuiltGraph {
  std::unique_ptr<Graph> graph;  // null: cuDNN has no plan for the shape
  size_t workspace_bytes = 0;
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

  BuiltGraph forward(cudnnHandle_t handle) {
    const Tensor q = input("q", kQ, shape_.num_heads, shape_.q_stride), k = input("k", kK, shape_.num_groups, shape_.k_stride),
                 v = input("v", kV, shape_.num_groups, shape_.v_stride);
    auto options = fe::graph::SDPA_attributes().set_name("attention").set_generate_stats(true).set_attn_scale(shape_.scale);
    mask(options);
    const auto [out, lse] = graph_->sdpa(q, k, v, options);
    output(out, kOut, shape_.num_heads, shape_.out_stride);
    lse->set_output(true).set_data_type(fe::DataType_t::FLOAT).set_uid(kLse).set_dim(lse_dim()).set_stride(lse_stride());
    return built(handle);
  }

  BuiltGraph backward(cudnnHandle_t handle, const AttentionGradStrides& strides, bool deterministic) {
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
    return built(handle);
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

  BuiltGraph built(cudnnHandle_t handle) {
    const bool supported = graph_->validate().is_good() && graph_->build_operation_graph(handle).is_good() &&
                           graph_->create_execution_plans({fe::HeurMode_t::A}).is_good() && graph_->check_support().is_good() &&
                           graph_->build_plans(fe::BuildPlanPolicy_t::HEURISTICS_CHOICE).is_good();
    if (!supported) return {};
    int64_t bytes = 0;
    auto status = graph_->get_workspace_size(bytes);
    if (status.is_bad()) throw CudaError("cuDNN attention workspace", status.get_message());
    return {std::move(graph_), static_cast<size_t>(bytes)};
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
  CudnnAttention() : cudart_(open_cudart()), cudnn_(open_cudnn()) {
    cudnn_frontend::cudnn_dlhandle = cudnn_.handle();
    check(fe::detail::create_handle(&handle_), "cudnnCreate");
  }
  CudnnAttention(const CudnnAttention&) = delete;
  ~CudnnAttention() {
    graphs_.clear();
    fe::detail::destroy_handle(handle_);
  }

  const BuiltGraph& forward(const AttentionShape& shape) {
    return find(key_of(shape, {}, false, false), [&] { return GraphBuilder(shape).forward(handle_); });
  }
  const BuiltGraph& backward(const AttentionShape& shape, const AttentionGradStrides& strides, bool deterministic) {
    return find(key_of(shape, strides, true, deterministic),
                [&] { return GraphBuilder(shape).backward(handle_, strides, deterministic); });
  }

  void execute(const BuiltGraph& built, std::unordered_map<int64_t, void*> pointers, void* workspace, cudaStream_t stream) {
    if (!built.graph) throw CudaError("cuDNN attention", "no plan for this shape; ask cudnn_attention_plan first");
    check(fe::detail::set_stream(handle_, stream), "cudnnSetStream");
    auto status = built.graph->execute(handle_, pointers, workspace);
    if (status.is_bad()) throw CudaError("cuDNN attention", status.get_message());
  }

 private:
  template <class Build>
  const BuiltGraph& find(const GraphKey& key, const Build& build) {
    auto found = graphs_.find(key);
    if (found == graphs_.end()) found = graphs_.emplace(key, build()).first;
    return found->second;
  }

  void check(cudnnStatus_t status, const char* call) const {
    if (status == CUDNN_STATUS_SUCCESS) return;
    throw CudaError(call, cudnn_.function<const char* (*)(cudnnStatus_t)>("cudnnGetErrorString")(status));
  }

  DynamicLibrary cudart_, cudnn_;  // the frontend looks for libcudart by name: it has to be loaded by then
  cudnnHandle_t handle_ = nullptr;
  std::map<GraphKey, BuiltGraph> graphs_;
};

CudnnAttention* cudnn_attention_create() {
  return as_cuda_error("cuDNN attention", [] { return new CudnnAttention; });
}
void cudnn_attention_destroy(CudnnAttention* engine) noexcept { delete engine; }

CudnnPlan cudnn_attention_plan(CudnnAttention& engine, const AttentionShape& shape, const AttentionGradStrides& strides,
                               bool training, bool deterministic) {
  if (!expressible(shape)) return {};
  return as_cuda_error("cuDNN attention plan", [&]() -> CudnnPlan {
    const BuiltGraph& forward = engine.forward(shape);
    if (!forward.graph) return {};
    CudnnPlan plan{true, forward.workspace_bytes};
    if (!training) return plan;
    const BuiltGraph& backward = engine.backward(shape, strides, deterministic);
    if (!backward.graph) return {};
    plan.workspace_bytes = std::max(plan.workspace_bytes, backward.workspace_bytes);
    return plan;
  });
}

void cudnn_attention_forward(CudnnAttention& engine, bf16* out, float* lse, const bf16* q, const bf16* k, const bf16* v,
                             const AttentionShape& shape, void* workspace, cudaStream_t stream) {
  as_cuda_error("cuDNN attention forward", [&] {
    engine.execute(engine.forward(shape),
                   {{kQ, pointer(q)}, {kK, pointer(k)}, {kV, pointer(v)}, {kOut, out}, {kLse, lse}}, workspace, stream);
  });
}

void cudnn_attention_backward(CudnnAttention& engine, bf16* dq, bf16* dk, bf16* dv, const bf16* dout, const bf16* q, const bf16* k,
                              const bf16* v, const bf16* out, const float* lse, const AttentionShape& shape,
                              const AttentionGradStrides& strides, bool deterministic, void* workspace, cudaStream_t stream) {
  as_cuda_error("cuDNN attention backward", [&] {
    engine.execute(engine.backward(shape, strides, deterministic),
                   {{kQ, pointer(q)}, {kK, pointer(k)}, {kV, pointer(v)}, {kOut, pointer(out)}, {kLse, pointer(lse)},
                    {kDout, pointer(dout)}, {kDq, dq}, {kDk, dk}, {kDv, dv}},
                   workspace, stream);
  });
}

}  // namespace nemo::kernels
