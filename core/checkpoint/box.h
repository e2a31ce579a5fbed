// Boxes: rectangular regions of named global tensors, the words in which every layout of a checkpoint is written, and
// the planner that maps boxes to boxes. Save, load, export and resharding use it. Not here: files, ranks.
#pragma once
#include <string>

#include "core/checkpoint/strided_copy.h"

namespace nemo {

struct Box {
  std::string tensor;                   // global name
  std::vector<int64_t> shape;           // of the whole tensor
  std::vector<int64_t> offset, extent;  // of the region; one entry per dim

  int64_t num_elements() const;
  bool operator==(const Box&) const = default;
};

Box whole_box(std::string tensor, std::vector<int64_t> shape);
std::string region_text(const Box& box);  // "[0:4, 8:16]"

// A box lying row-major and unpadded at an element offset in a buffer. A flat shard is a list of these.
struct PlacedBox {
  Box box;
  int64_t flat_offset = 0;
};

struct BoxCopy {
  size_t from, to;   // places in the two lists
  StridedCopy copy;  // starts are flat offsets in the buffers of the two lists' boxes
};

// The copies that fill every box of `to` from boxes of `from`. CheckpointError naming place, tensor and region where a
// part is in no box of `from` or in two of them, where global shapes differ, or where a box leaves its tensor. Boxes of
// `from` that nothing asks for are fine: a rank loads its share.
std::vector<BoxCopy> plan_copies(const std::string& place, std::span<const PlacedBox> from,
                                 std::span<const PlacedBox> to);

// Elements [begin, end) of a tensor's row-major order as boxes, in that order: how a cut by element, which knows no
// rows, is written. At most 2 * rank - 1 boxes.
std::vector<Box> boxes_of_range(const std::string& tensor, const std::vector<int64_t>& shape, int64_t begin,
                                int64_t end);

}  // namespace nemo
