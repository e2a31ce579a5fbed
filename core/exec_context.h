// What every op is handed first: the device to run on, where memory comes from, the tape if gradients are wanted, and the
// numbers of this step.  Not here: ranks, groups, the model.
#pragma once
#include <cstdint>
#include <string_view>

#include "core/device/runtime.h"
#include "core/tensor/tensor.h"
#include "kernels/base/philox.h"
#include "kernels/base/step_state.h"

namespace nemo {

class Tape;
struct BlockHooks;
struct OpRecord;

// Where a random draw stands in the model: a hash of the path, stable across runs and meshes.
uint64_t random_site(std::string_view path);

class ExecContext {
 public:
  // state: this step's StepState on the device (core/optim/step_state.h); may be null where nothing needs it (inference).
  ExecContext(Runtime& runtime, DType compute_dtype, uint64_t seed = 0, kernels::StepState* state = nullptr)
      : runtime_(runtime), compute_dtype_(compute_dtype), seed_(seed), state_(state) {}

  Runtime& runtime() const { return runtime_; }
  Device device() const { return runtime_.device(); }
  Arena& arena() const { return runtime_.arena(); }
  cudaStream_t stream() const { return runtime_.stream().handle(); }
  DType compute_dtype() const { return compute_dtype_; }
  kernels::StepState* step_state() const { return state_; }
  void set_step_state(kernels::StepState* state) { state_ = state; }
  kernels::RandomKey random_key(uint64_t site) const { return {seed_, site}; }

  // Training: dropout acts. Off unless asked.
  bool training() const { return training_; }
  void set_training(bool training) { training_ = training; }
  bool deterministic() const { return deterministic_; }
  void set_deterministic(bool deterministic) { deterministic_ = deterministic; }

  // Ops whose results may be quantised take the magnitudes of what they write (Tensor::amax), where they can.
  bool takes_amax() const { return takes_amax_; }
  void set_takes_amax(bool takes_amax) { takes_amax_ = takes_amax; }

  // A new tensor with a value id of its own; contents undefined.
  Tensor empty(const Shape& shape, DType dtype, MemoryTag tag = MemoryTag::activations);
  uint64_t next_id() { return ++last_id_; }

  // The tape gradients are recorded on; null: none are wanted.
  Tape* tape() const { return tape_; }
  void set_tape(Tape* tape) { tape_ = tape; }
  void record(OpRecord record);

  // Called around blocks that run without a tape, which brings its own; null: none.
  const BlockHooks* block_hooks() const { return block_hooks_; }
  void set_block_hooks(const BlockHooks* hooks) { block_hooks_ = hooks; }

  void synchronize() { runtime_.stream().synchronize(); }

 private:
  Runtime& runtime_;
  DType compute_dtype_;
  uint64_t seed_;
  kernels::StepState* state_;
  bool training_ = false, deterministic_ = false, takes_amax_ = false;
  Tape* tape_ = nullptr;
  const BlockHooks* block_hooks_ = nullptr;
  uint64_t last_id_ = 0;
};

}  // namespace nemo
