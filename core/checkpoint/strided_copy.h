// A copy of an n-dimensional region between two row-major buffers that differ in shape, order or both.
// Not here: which regions to copy (box.h for resharding, name_table.h for other formats).
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace nemo {

// All in elements, outermost dimension first. A dimension of count 1 is never kept.
struct StridedCopy {
  struct Dim {
    int64_t count, from_stride, to_stride;
  };
  int64_t from_start = 0, to_start = 0;
  std::vector<Dim> dims;

  int64_t num_elements() const;
  StridedCopy reversed() const;  // the same region, the other way
};

// Adds a dimension inside the last; joins the two where both sides walk them as one.
void add_dim(StridedCopy& copy, StridedCopy::Dim dim);

// Moves whole elements of element_bytes (1, 2, 4 or 8). The buffers must hold the region and not overlap.
void run_copy(const StridedCopy& copy, const std::byte* from, std::byte* to, size_t element_bytes);

std::vector<int64_t> row_major_strides(std::span<const int64_t> shape);
int64_t num_elements(std::span<const int64_t> shape);

}  // namespace nemo
