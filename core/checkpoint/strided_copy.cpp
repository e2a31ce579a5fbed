#include "core/checkpoint/strided_copy.h"

#include <algorithm>
#include <cstring>

namespace nemo {
namespace {

// Two innermost dimensions in tiles, so that a transposition reads and writes whole cache lines. The pointers may be
// odd (mapped files): memcpy of a constant size is a plain move on the hosts we build for.
template <size_t kBytes>
void copy_plane(const std::byte* from, std::byte* to, const StridedCopy::Dim& outer, const StridedCopy::Dim& inner) {
  constexpr int64_t kTile = 32;
  for (int64_t row0 = 0; row0 < outer.count; row0 += kTile) {
    for (int64_t col0 = 0; col0 < inner.count; col0 += kTile) {
      for (int64_t row = row0; row < std::min(row0 + kTile, outer.count); ++row) {
        const std::byte* source = from + row * outer.from_stride * static_cast<int64_t>(kBytes);
        std::byte* target = to + row * outer.to_stride * static_cast<int64_t>(kBytes);
        for (int64_t col = col0; col < std::min(col0 + kTile, inner.count); ++col) {
          std::memcpy(target + col * inner.to_stride * static_cast<int64_t>(kBytes),
                      source + col * inner.from_stride * static_cast<int64_t>(kBytes), kBytes);
        }
      }
    }
  }
}

void copy_plane(const std::byte* from, std::byte* to, const StridedCopy::Dim& outer, const StridedCopy::Dim& inner,
                size_t element_bytes) {
  switch (element_bytes) {
    case 1:
      return copy_plane<1>(from, to, outer, inner);
    case 2:
      return copy_plane<2>(from, to, outer, inner);
    case 4:
      return copy_plane<4>(from, to, outer, inner);
    default:
      return copy_plane<8>(from, to, outer, inner);
  }
}

void copy_dims(std::span<const StridedCopy::Dim> dims, const std::byte* from, std::byte* to, size_t element_bytes) {
  const int64_t bytes = static_cast<int64_t>(element_bytes);
  if (dims.empty()) {
    std::memcpy(to, from, element_bytes);
  } else if (dims.size() == 1 && dims[0].from_stride == 1 && dims[0].to_stride == 1) {
    std::memcpy(to, from, static_cast<size_t>(dims[0].count * bytes));
  } else if (dims.size() == 1) {
    copy_plane(from, to, {1, 0, 0}, dims[0], element_bytes);
  } else if (dims.size() == 2 && (dims[1].from_stride != 1 || dims[1].to_stride != 1)) {
    copy_plane(from, to, dims[0], dims[1], element_bytes);
  } else {
    for (int64_t i = 0; i < dims[0].count; ++i) {
      copy_dims(dims.subspan(1), from + i * dims[0].from_stride * bytes, to + i * dims[0].to_stride * bytes,
                element_bytes);
    }
  }
}

}  // namespace

int64_t StridedCopy::num_elements() const {
  int64_t elements = 1;
  for (const Dim& dim : dims) elements *= dim.count;
  return elements;
}

StridedCopy StridedCopy::reversed() const {
  StridedCopy other{.from_start = to_start, .to_start = from_start, .dims = dims};
  for (Dim& dim : other.dims) std::swap(dim.from_stride, dim.to_stride);
  return other;
}

void add_dim(StridedCopy& copy, StridedCopy::Dim dim) {
  if (dim.count == 1) return;
  if (!copy.dims.empty()) {
    StridedCopy::Dim& last = copy.dims.back();
    if (last.from_stride == dim.count * dim.from_stride && last.to_stride == dim.count * dim.to_stride) {
      last = {last.count * dim.count, dim.from_stride, dim.to_stride};
      return;
    }
  }
  copy.dims.push_back(dim);
}

void run_copy(const StridedCopy& copy, const std::byte* from, std::byte* to, size_t element_bytes) {
  if (copy.num_elements() == 0) return;
  const int64_t bytes = static_cast<int64_t>(element_bytes);
  copy_dims(copy.dims, from + copy.from_start * bytes, to + copy.to_start * bytes, element_bytes);
}

std::vector<int64_t> row_major_strides(std::span<const int64_t> shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t dim = shape.size(); dim-- > 1;) strides[dim - 1] = strides[dim] * shape[dim];
  return strides;
}

int64_t num_elements(std::span<const int64_t> shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

}  // namespace nemo
