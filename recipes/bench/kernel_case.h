// `nemo bench kernels`: each kernel alone. A case says what a launch reads and writes; it is checked on a small shape
// against the CPU's loop, then timed on the shape of a model. Not here: which kernels there are
// (recipes/bench/kernel_cases_*.cpp), matrix products (bench_gemm.h).
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/ops/copy.h"
#include "core/ops/launch.h"
#include "models/decoder/config.h"
#include "recipes/bench/timing.h"

namespace nemo {

// The sizes kernels of a training step meet.
struct KernelSizes {
  int64_t tokens, seq_length;  // seq_length divides tokens
  int64_t hidden, ffn, heads, groups, head_size;
  int64_t vocab, padded_vocab;
  int64_t elements;  // of an optimizer buffer
};
KernelSizes kernel_sizes(const DecoderConfig& model, int64_t padded_vocab_size, int64_t tokens);

// One set of buffers of a case. What is asked of it here is counted: a launch must move at least that.
class KernelBuffers {
 public:
  enum class Purpose : uint8_t { check, timing };  // check: the same numbers on every device, outputs poisoned
  enum class Draw : uint8_t { normal, uniform };   // standard normal; [0, 1)
  KernelBuffers(ExecContext& ctx, Purpose purpose, uint64_t number)
      : ctx_(ctx), purpose_(purpose), number_(number << 16) {}

  ExecContext& ctx() { return ctx_; }

  template <class T>
  const T* input(int64_t count, Draw draw = Draw::normal) {
    return counted(random(count, dtype_of<T>, draw), 1).template data<T>();
  }  // read once
  template <class T>
  T* output(int64_t count) {
    return counted(poisoned(count, dtype_of<T>), 1).template data<T>();
  }  // written once
  template <class T>
  T* in_out(int64_t count, Draw draw = Draw::normal) {  // read and written
    const Tensor x = counted(random(count, dtype_of<T>, draw), 2);
    outputs_.push_back(x);
    return x.data<T>();
  }
  template <class T>
  const T* values(const std::vector<T>& values) {  // integers, read once
    const Tensor x = from_host(ctx_, values);
    ctx_.synchronize();
    return counted(x, 1).template data<T>();
  }
  const int32_t* indices(int64_t count, int64_t limit);  // below limit, read once
  // Not counted: a kernel could do without. Standard normal too, as some of it is what another kernel left.
  template <class T>
  T* scratch(int64_t count) {
    return counted(random(count, dtype_of<T>, Draw::normal), 0).template data<T>();
  }
  void* scratch_bytes(int64_t bytes) {
    return counted(ctx_.empty({bytes}, DType::uint8, MemoryTag::workspace), 0).raw();
  }
  kernels::StepState* step_state();  // of one step; what kernels write there is an output

  size_t moved_bytes() const { return moved_bytes_; }
  // Every output as fp32, the step state's sums at the end.
  std::vector<std::vector<float>> read_outputs();

 private:
  Tensor random(int64_t count, DType dtype, Draw draw);
  Tensor poisoned(int64_t count, DType dtype);
  const Tensor& counted(const Tensor& x, size_t times);  // keeps it as well

  ExecContext& ctx_;
  Purpose purpose_;
  uint64_t number_;
  size_t moved_bytes_ = 0;
  std::vector<Tensor> kept_, outputs_;
  Tensor state_;
};

using KernelLaunch = std::function<void()>;

// cpu(arguments...) on a CPU, cuda(arguments..., stream) on a GPU.
template <class... Parameters, class... CudaParameters, class... Arguments>
KernelLaunch kernel_launch(ExecContext& ctx, void (*cpu)(Parameters...), void (*cuda)(CudaParameters...),
                           Arguments... arguments) {
  return [&ctx, cpu, cuda, arguments...] {
    launch(
        ctx, "bench", [&] { cpu(arguments...); }, [&] { cuda(arguments..., ctx.stream()); });
  };
}

struct KernelCase {
  std::string name;
  // Makes the buffers and gives what launches the kernel on them. Empty: the device's library has none for these sizes.
  std::function<KernelLaunch(KernelBuffers&, const KernelSizes&)> make;
  std::function<double(const KernelSizes&)> flops = {};  // of kernels that are bound by arithmetic
  bool cuda_only = false;                                // a library's: on the CPU, make gives our own, to compare with
};

// T is what the step computes in; gradients and moments are fp32.
template <class T>
std::vector<KernelCase> attention_cases();
template <class T>
std::vector<KernelCase> row_cases();  // norms, cross entropy, embedding
template <class T>
std::vector<KernelCase> pointwise_cases();
template <class T>
std::vector<KernelCase> optimizer_cases();  // and the filling of parameters
std::vector<KernelCase> list_kernel_cases(DType compute_dtype);

struct KernelTime {
  std::string name;
  Spread ms;
  size_t moved_bytes = 0;  // that a launch must read and write
  double flops = 0;        // 0: bound by memory
  double check_error = 0;  // largest difference to the CPU's loop, over the largest value
  double gb_per_s() const { return static_cast<double>(moved_bytes) / ms.median * 1e-6; }
  double tflops() const { return flops / ms.median * 1e-9; }
};

// Checks, then times. Nothing where the device has no such kernel; DeviceError where the result is not the CPU's.
std::optional<KernelTime> time_kernel(ExecContext& ctx, const KernelCase& kernel, const KernelSizes& sizes);

}  // namespace nemo
