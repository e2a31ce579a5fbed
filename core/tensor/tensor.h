// A tensor: a value handle on shared storage with shape, strides and element type.
// Not here: arithmetic (core/ops), gradients (core/autograd), quantised payloads.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "core/device/arena.h"
#include "kernels/base/dtype.h"

namespace nemo {

// Up to six dimensions, sizes in elements.
class Shape {
 public:
  static constexpr int kMaxRank = 6;
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span<const int64_t>(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const int64_t> dims);

  int rank() const { return rank_; }
  int64_t operator[](int dim) const { return dims_[dim < 0 ? dim + rank_ : dim]; }
  int64_t& operator[](int dim) { return dims_[dim < 0 ? dim + rank_ : dim]; }
  int64_t numel() const;
  std::span<const int64_t> dims() const { return {dims_.data(), static_cast<size_t>(rank_)}; }
  bool operator==(const Shape& other) const;

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};
std::string to_string(const Shape& shape);  // "[2, 3]"

// One lease of memory that tensors share. `serial` is unique in the process: addresses are reused, serials are not.
struct Storage {
  Storage(Arena& arena, size_t bytes, MemoryTag tag);
  DeviceBuffer buffer;
  Device device;
  uint64_t serial;
};

class Tensor {
 public:
  Tensor() = default;
  Tensor(Arena& arena, const Shape& shape, DType dtype, MemoryTag tag);  // contiguous, contents undefined

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  int64_t dim(int index) const { return shape_[index]; }
  int64_t stride(int index) const { return strides_[index]; }  // elements
  int64_t numel() const { return shape_.numel(); }
  size_t bytes() const { return static_cast<size_t>(numel()) * size_bytes(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_->device; }
  bool is_contiguous() const;

  // T must be the element type. On meta the address is not readable.
  template <class T> T* data() const {
    check_dtype(dtype_of<T>);
    return static_cast<T*>(raw());
  }
  void* raw() const { return static_cast<char*>(storage_->buffer.data()) + offset_bytes_; }

  // The same elements under another shape (one entry may be -1); needs dims that merge without gaps. Keeps the value id.
  Tensor view(const Shape& shape) const;
  // Elements [start, start + length) of a dimension; shares storage.
  Tensor slice(int dim, int64_t start, int64_t length) const;
  // `count` elements from `first` of a contiguous tensor, under `shape`; shares storage.
  Tensor segment(int64_t first, const Shape& shape) const;

  // The [rows, sum of columns] tensor whose adjacent column slices these are, if they lie so in one storage.
  static std::optional<Tensor> join_columns(std::span<const Tensor> slices);

  // Autograd knows values by id; 0 means nobody asked. with_id gives the same memory a new identity (in-place ops, splits).
  uint64_t id() const { return id_; }
  Tensor with_id(uint64_t id) const;

  // Magnitudes that the op that made this value took on the way (kernels/quantise): the largest is the value's, so whoever
  // quantises it need not read it first. Null where none were taken; views keep them, slices and new identities do not.
  const Tensor* amax() const { return amax_.get(); }
  Tensor with_amax(const Tensor& parts) const;

  const std::shared_ptr<Storage>& storage() const { return storage_; }
  bool sole_owner() const { return storage_.use_count() == 1; }  // nobody else can read this memory
  // For keeping tensors elsewhere (core/autograd): all bytes of the storage as [n] uint8; this view's geometry without the
  // memory; and that geometry on a storage holding the same bytes.
  Tensor whole_storage() const;
  Tensor without_storage() const;
  Tensor on_storage(std::shared_ptr<Storage> storage) const;

 private:
  void check_dtype(DType asked) const;

  std::shared_ptr<Storage> storage_;
  size_t offset_bytes_ = 0;
  Shape shape_, strides_;
  DType dtype_ = DType::fp32;
  uint64_t id_ = 0;
  std::shared_ptr<const Tensor> amax_;
};

// Throws ShapeError "<op>: <what>: is [2, 3], expected [2, 4]".
void expect_shape(const std::string& op, const std::string& what, const Tensor& tensor, const Shape& expected);
void expect_dtype(const std::string& op, const std::string& what, const Tensor& tensor, DType expected);

}  // namespace nemo
