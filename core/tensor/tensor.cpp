#include "core/tensor/tensor.h"

#include <algorithm>
#include <atomic>

#include "core/error.h"

namespace nemo {
namespace {

uint64_t next_serial() {
  static std::atomic<uint64_t> serial{0};  // identity only: no behaviour depends on its value
  return ++serial;
}

Shape contiguous_strides(const Shape& shape) {
  Shape strides = shape;
  int64_t stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = stride;
    stride *= shape[i];
  }
  return strides;
}

}  // namespace

Shape::Shape(std::span<const int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  if (rank_ > kMaxRank) throw ShapeError{"Shape", "", std::to_string(rank_) + " dimensions; at most 6 are supported"};
  std::copy(dims.begin(), dims.end(), dims_.begin());
}
int64_t Shape::numel() const {
  int64_t count = 1;
  for (int i = 0; i < rank_; ++i) count *= dims_[i];
  return count;
}
bool Shape::operator==(const Shape& other) const { return std::ranges::equal(dims(), other.dims()); }

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (int i = 0; i < shape.rank(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

Storage::Storage(Arena& arena, size_t bytes, MemoryTag tag) : buffer(arena, bytes, tag), device(arena.device()), serial(next_serial()) {}

Tensor::Tensor(Arena& arena, const Shape& shape, DType dtype, MemoryTag tag)
    : storage_(std::make_shared<Storage>(arena, static_cast<size_t>(shape.numel()) * size_bytes(dtype), tag)),
      shape_(shape), strides_(contiguous_strides(shape)), dtype_(dtype) {}

bool Tensor::is_contiguous() const {
  int64_t stride = 1;
  for (int i = rank() - 1; i >= 0; --i) {
    if (shape_[i] != 1 && strides_[i] != stride) return false;
    stride *= shape_[i];
  }
  return true;
}

Tensor Tensor::view(const Shape& asked) const {
  Shape shape = asked;
  int64_t known = 1;
  int wildcard = -1;
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] == -1) wildcard = i; else known *= shape[i];
  }
  if (wildcard >= 0 && known > 0) shape[wildcard] = numel() / known;
  if (shape.numel() != numel()) throw ShapeError{"view", to_string(shape_), "cannot be seen as " + to_string(asked)};
  Tensor result = *this;
  result.shape_ = shape;
  result.strides_ = contiguous_strides(shape);
  if (is_contiguous()) return result;
  // Row-strided tensors: the leading dimension keeps its stride, the rest must be dense and split or merge freely.
  int64_t inner = 1;
  for (int i = rank() - 1; i > 0; --i) {
    if (strides_[i] != inner) throw ShapeError{"view", to_string(shape_), "has gaps inside its rows and cannot be seen as " + to_string(asked)};
    inner *= shape_[i];
  }
  if (shape.rank() == 0 || shape[0] != shape_[0])
    throw ShapeError{"view", to_string(shape_), "has gaps between its rows and cannot be seen as " + to_string(asked)};
  result.strides_[0] = strides_[0];
  return result;
}

Tensor Tensor::slice(int dim, int64_t start, int64_t length) const {
  if (dim < 0) dim += rank();
  if (start < 0 || length < 0 || start + length > shape_[dim])
    throw ShapeError{"slice", to_string(shape_), std::to_string(start) + " + " + std::to_string(length) + " is outside dimension " + std::to_string(dim)};
  Tensor result = *this;
  result.offset_bytes_ += static_cast<size_t>(start * strides_[dim]) * size_bytes(dtype_);
  result.shape_[dim] = length;
  result.id_ = 0;
  result.amax_ = nullptr;
  return result;
}

Tensor Tensor::segment(int64_t first, const Shape& shape) const {
  if (!is_contiguous() || first < 0 || first + shape.numel() > numel())
    throw ShapeError{"segment", to_string(shape_), "has no " + to_string(shape) + " at element " + std::to_string(first)};
  Tensor result = *this;
  result.offset_bytes_ += static_cast<size_t>(first) * size_bytes(dtype_);
  result.shape_ = shape;
  result.strides_ = contiguous_strides(shape);
  result.id_ = 0;
  result.amax_ = nullptr;
  return result;
}

std::optional<Tensor> Tensor::join_columns(std::span<const Tensor> slices) {
  int64_t columns = 0;
  const Tensor& first = slices.front();
  if (!first.defined()) return std::nullopt;
  for (const Tensor& slice : slices) {
    if (!slice.defined() || slice.storage_ != first.storage_ || slice.dtype_ != first.dtype_ || slice.rank() != 2 ||
        slice.dim(0) != first.dim(0) || slice.strides_[0] != first.strides_[0] || slice.strides_[1] != 1 ||
        slice.offset_bytes_ != first.offset_bytes_ + static_cast<size_t>(columns) * size_bytes(first.dtype_))
      return std::nullopt;
    columns += slice.dim(1);
  }
  if (columns > first.strides_[0]) return std::nullopt;
  Tensor joined = first;
  joined.shape_[1] = columns;
  joined.amax_ = nullptr;
  return joined;
}

Tensor Tensor::with_id(uint64_t id) const {
  Tensor result = *this;
  result.id_ = id;
  result.amax_ = nullptr;
  return result;
}

Tensor Tensor::with_amax(const Tensor& parts) const {
  Tensor result = *this;
  result.amax_ = std::make_shared<const Tensor>(parts);
  return result;
}

Tensor Tensor::whole_storage() const {
  Tensor result;
  result.storage_ = storage_;
  result.shape_ = {static_cast<int64_t>(storage_->buffer.bytes())};
  result.strides_ = {1};
  result.dtype_ = DType::uint8;
  return result;
}

Tensor Tensor::without_storage() const {
  Tensor result = *this;
  result.storage_ = nullptr;
  result.amax_ = nullptr;
  return result;
}

Tensor Tensor::on_storage(std::shared_ptr<Storage> storage) const {
  Tensor result = *this;
  result.storage_ = std::move(storage);
  return result;
}

void Tensor::check_dtype(DType asked) const {
  if (asked != dtype_) throw ShapeError{"Tensor", to_string(shape_), "holds " + std::string(name(dtype_)) + ", read as " + std::string(name(asked))};
}

void expect_shape(const std::string& op, const std::string& what, const Tensor& tensor, const Shape& expected) {
  if (!(tensor.shape() == expected)) throw ShapeError{op, what, "is " + to_string(tensor.shape()) + ", expected " + to_string(expected)};
}
void expect_dtype(const std::string& op, const std::string& what, const Tensor& tensor, DType expected) {
  if (tensor.dtype() != expected)
    throw ShapeError{op, what, "is " + std::string(name(tensor.dtype())) + ", expected " + std::string(name(expected))};
}

}  // namespace nemo
