// Tensors between forward and backward: kept as they are, packed by hooks, or made again from others when first read.
// Not here: which op saves what (core/ops), the walk that reads them (core/autograd/tape.h).
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/tensor/tensor.h"

namespace nemo {

class ExecContext;

// How saved tensors are kept: moved to the host, compressed, ... pack is called once per storage. The packed object
// must own all it needs; unpack may be called once or more and gives the storage's bytes back.
struct SavedTensorHooks {
  std::function<std::shared_ptr<void>(ExecContext&, const Tensor& whole)>
      pack;                                                                  // whole: the storage as bytes [n] uint8
  std::function<Tensor(ExecContext&, const std::shared_ptr<void>&)> unpack;  // the same bytes, any storage
};

// A computation that may run a second time, in the backward, and then gives the same bits: what it draws is keyed by
// (site, step, token), and it writes nothing but its results. Captures no tensor but the token layout's.
using Recompute = std::function<std::vector<Tensor>(ExecContext&, const std::vector<Tensor>& from)>;

struct KeptStorage;

// What a reader needs to see its view of a storage again.
struct SavedTensor {
  std::shared_ptr<KeptStorage> storage;  // null: the tensor was undefined
  Tensor view;                           // the tensor, or its geometry alone where the storage is kept in another form
};

class SavedTensors {
 public:
  void set_hooks(SavedTensorHooks hooks) { hooks_ = std::move(hooks); }

  // Values, each the whole of its storage, that keep() shall not hold from now on: the first reader has `make` run on
  // `from`, which is kept instead, and the result stays until the last reader is gone.
  void make_again(ExecContext& ctx, const std::vector<Tensor>& values, const std::vector<Tensor>& from, Recompute make);

  SavedTensor keep(ExecContext& ctx, const Tensor& tensor);
  static Tensor restore(ExecContext& ctx, const SavedTensor& saved);
  void forget_values() { made_again_.clear(); }  // the forward is over: no tensor will be saved any more
  void clear() { packed_.clear(), made_again_.clear(); }

 private:
  SavedTensorHooks hooks_;
  std::unordered_map<uint64_t, std::weak_ptr<KeptStorage>> packed_;        // by storage serial
  std::unordered_map<uint64_t, std::shared_ptr<KeptStorage>> made_again_;  // by storage serial
};

}  // namespace nemo
