#include "core/autograd/saved_tensor.h"

#include <cassert>

#include "core/exec_context.h"

namespace nemo {

// One computation that makes one or several storages again.
struct Remaking {
  std::vector<SavedTensor> from;
  Recompute make;
  std::vector<std::weak_ptr<KeptStorage>> results;
};

struct KeptStorage {
  std::shared_ptr<void> packed;
  std::function<Tensor(ExecContext&, const std::shared_ptr<void>&)> unpack;
  std::weak_ptr<Storage> unpacked;  // while another reader still holds it
  std::shared_ptr<Remaking> remaking;
  std::shared_ptr<Storage> made;  // what remaking gave; goes with the last SavedTensor that names it
};

namespace {

void make_now(ExecContext& ctx, Remaking& remaking) {
  std::vector<Tensor> from;
  for (const SavedTensor& saved : remaking.from) from.push_back(SavedTensors::restore(ctx, saved));
  const std::vector<Tensor> values = remaking.make(ctx, from);
  assert(values.size() == remaking.results.size());
  for (size_t i = 0; i < values.size(); ++i)
    if (const auto result = remaking.results[i].lock()) result->made = values[i].storage();
  remaking.from.clear();  // may be read for the last time, and then overwritten, from here on
}

}  // namespace

void SavedTensors::make_again(ExecContext& ctx, const std::vector<Tensor>& values, const std::vector<Tensor>& from,
                              Recompute make) {
  auto remaking = std::make_shared<Remaking>();
  for (const Tensor& tensor : from) remaking->from.push_back(keep(ctx, tensor));
  remaking->make = std::move(make);
  for (const Tensor& value : values) {
    auto kept = std::make_shared<KeptStorage>();
    kept->remaking = remaking;
    remaking->results.push_back(kept);
    made_again_[value.storage()->serial] = std::move(kept);
  }
}

SavedTensor SavedTensors::keep(ExecContext& ctx, const Tensor& tensor) {
  if (!tensor.defined()) return {};
  if (const auto found = made_again_.find(tensor.storage()->serial); found != made_again_.end())
    return {found->second, tensor.without_storage()};
  if (!hooks_.pack) return {std::make_shared<KeptStorage>(), tensor};
  std::weak_ptr<KeptStorage>& known = packed_[tensor.storage()->serial];
  std::shared_ptr<KeptStorage> storage = known.lock();
  if (storage == nullptr) {
    storage = std::make_shared<KeptStorage>();
    storage->packed = hooks_.pack(ctx, tensor.whole_storage());
    storage->unpack = hooks_.unpack;
    known = storage;
  }
  return {std::move(storage), tensor.without_storage()};
}

Tensor SavedTensors::restore(ExecContext& ctx, const SavedTensor& saved) {
  if (saved.storage == nullptr) return {};
  KeptStorage& kept = *saved.storage;
  if (kept.remaking != nullptr) {
    if (kept.made == nullptr) make_now(ctx, *kept.remaking);
    return saved.view.on_storage(kept.made);
  }
  if (kept.packed == nullptr) return saved.view;
  std::shared_ptr<Storage> storage = kept.unpacked.lock();
  if (storage == nullptr) {
    storage = kept.unpack(ctx, kept.packed).storage();
    kept.unpacked = storage;
  }
  return saved.view.on_storage(std::move(storage));
}

}  // namespace nemo
