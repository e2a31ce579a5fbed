#include "core/checkpoint/box.h"

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "core/checkpoint/file.h"
#include "core/error.h"

namespace nemo {
namespace {

// The common region of two boxes of one tensor, if it has any element.
std::optional<Box> intersection(const Box& a, const Box& b) {
  Box common{.tensor = a.tensor, .shape = a.shape, .offset = a.offset, .extent = a.extent};
  for (size_t dim = 0; dim < a.shape.size(); ++dim) {
    const int64_t begin = std::max(a.offset[dim], b.offset[dim]);
    const int64_t end = std::min(a.offset[dim] + a.extent[dim], b.offset[dim] + b.extent[dim]);
    if (begin >= end) return std::nullopt;
    common.offset[dim] = begin;
    common.extent[dim] = end - begin;
  }
  return common;
}

// What is left of `box` without `hole`, which lies inside it: a slab before and one after it in each dim.
void subtract(const Box& box, const Box& hole, std::vector<Box>& rest) {
  Box core = box;
  for (size_t dim = 0; dim < box.shape.size(); ++dim) {
    const int64_t begin = core.offset[dim], end = begin + core.extent[dim];
    const int64_t hole_begin = hole.offset[dim], hole_end = hole_begin + hole.extent[dim];
    for (const auto& [from, to] : {std::pair{begin, hole_begin}, std::pair{hole_end, end}}) {
      if (from >= to) continue;
      Box slab = core;
      slab.offset[dim] = from;
      slab.extent[dim] = to - from;
      rest.push_back(std::move(slab));
    }
    core.offset[dim] = hole_begin;
    core.extent[dim] = hole_end - hole_begin;
  }
}

void check_box(const std::string& place, const Box& box) {
  const size_t rank = box.shape.size();
  bool inside = box.offset.size() == rank && box.extent.size() == rank;
  for (size_t dim = 0; inside && dim < rank; ++dim) {
    inside = box.offset[dim] >= 0 && box.extent[dim] >= 0 && box.extent[dim] <= box.shape[dim] &&
             box.offset[dim] <= box.shape[dim] - box.extent[dim];
  }
  if (!inside)
    throw CheckpointError{place, box.tensor, "region " + region_text(box) + " is not inside " + shape_text(box.shape)};
}

StridedCopy copy_of(const PlacedBox& from, const PlacedBox& to, const Box& common) {
  const std::vector<int64_t> from_strides = row_major_strides(from.box.extent),
                             to_strides = row_major_strides(to.box.extent);
  StridedCopy copy{.from_start = from.flat_offset, .to_start = to.flat_offset, .dims = {}};
  for (size_t dim = 0; dim < common.shape.size(); ++dim) {
    copy.from_start += (common.offset[dim] - from.box.offset[dim]) * from_strides[dim];
    copy.to_start += (common.offset[dim] - to.box.offset[dim]) * to_strides[dim];
    add_dim(copy, {common.extent[dim], from_strides[dim], to_strides[dim]});
  }
  return copy;
}

}  // namespace

int64_t Box::num_elements() const {
  int64_t elements = 1;
  for (const int64_t size : extent) elements *= size;
  return elements;
}

Box whole_box(std::string tensor, std::vector<int64_t> shape) {
  Box box{.tensor = std::move(tensor), .shape = shape, .offset = std::vector<int64_t>(shape.size(), 0), .extent = {}};
  box.extent = std::move(shape);
  return box;
}

std::string region_text(const Box& box) {
  std::string text = "[";
  for (size_t dim = 0; dim < std::min(box.offset.size(), box.extent.size()); ++dim) {
    text +=
        (dim ? ", " : "") + std::to_string(box.offset[dim]) + ":" + std::to_string(box.offset[dim] + box.extent[dim]);
  }
  return text + "]";
}

std::vector<BoxCopy> plan_copies(const std::string& place, std::span<const PlacedBox> from,
                                 std::span<const PlacedBox> to) {
  std::unordered_map<std::string_view, std::vector<size_t>> sources;
  for (size_t i = 0; i < from.size(); ++i) {
    check_box(place, from[i].box);
    sources[from[i].box.tensor].push_back(i);
  }
  std::vector<BoxCopy> copies;
  for (size_t target = 0; target < to.size(); ++target) {
    const Box& wanted = to[target].box;
    check_box(place, wanted);
    if (wanted.num_elements() == 0) continue;
    const auto candidates = sources.find(wanted.tensor);
    if (candidates == sources.end()) throw CheckpointError{place, wanted.tensor, "is missing"};
    std::vector<Box> missing{wanted};
    for (const size_t source : candidates->second) {
      const Box& held = from[source].box;
      if (held.shape != wanted.shape) {
        throw CheckpointError{
            place, wanted.tensor,
            "has shape " + shape_text(held.shape) + ", but " + shape_text(wanted.shape) + " is needed"};
      }
      const std::optional<Box> common = intersection(held, wanted);
      if (!common) continue;
      int64_t newly_covered = 0;
      std::vector<Box> rest;
      for (Box& part : missing) {
        const std::optional<Box> hole = intersection(part, *common);
        if (!hole) {
          rest.push_back(std::move(part));
          continue;
        }
        newly_covered += hole->num_elements();
        subtract(part, *hole, rest);
      }
      if (newly_covered != common->num_elements()) {
        throw CheckpointError{place, wanted.tensor,
                              "region " + region_text(*common) + " overlaps another stored region"};
      }
      missing = std::move(rest);
      copies.push_back({.from = source, .to = target, .copy = copy_of(from[source], to[target], *common)});
    }
    if (!missing.empty())
      throw CheckpointError{place, wanted.tensor, "region " + region_text(missing.front()) + " is missing"};
  }
  return copies;
}

std::vector<Box> boxes_of_range(const std::string& tensor, const std::vector<int64_t>& shape, int64_t begin,
                                int64_t end) {
  const std::vector<int64_t> strides = row_major_strides(shape);
  const Box whole = whole_box(tensor, shape);
  std::vector<Box> boxes;
  while (begin < end) {
    // The widest run of whole slices that starts at begin: the outermost dim whose slices begin and fit here.
    size_t dim = 0;
    while (dim + 1 < shape.size() && (begin % strides[dim] != 0 || end - begin < strides[dim])) ++dim;
    Box box = whole;
    int64_t rest = begin;
    for (size_t outer = 0; outer <= dim && outer < shape.size(); ++outer) {
      box.offset[outer] = rest / strides[outer];
      box.extent[outer] = 1;
      rest %= strides[outer];
    }
    if (!shape.empty()) box.extent[dim] = std::min(shape[dim] - box.offset[dim], (end - begin) / strides[dim]);
    begin += box.num_elements();
    boxes.push_back(std::move(box));
  }
  return boxes;
}

}  // namespace nemo
