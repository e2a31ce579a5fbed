// Draws a mesh as text, for people. Not here: its arithmetic (mesh.cpp).
#include <algorithm>
#include <functional>

#include "parallel/mesh.h"

namespace nemo {
namespace {

constexpr int64_t kMaxLines = 8;  // rows or columns shown in full; of more, the first ones and the last

// What a folded list shows: indices, -1 for the gap.
std::vector<int64_t> folded(int64_t count) {
  std::vector<int64_t> shown;
  for (int64_t i = 0; i < count; ++i)
    if (count <= kMaxLines || i < kMaxLines / 2 || i == count - 1) shown.push_back(i);
  if (count > kMaxLines) shown.insert(shown.end() - 1, -1);
  return shown;
}

std::string range(int64_t first, int64_t count) {
  return count == 1 ? std::to_string(first) : std::to_string(first) + "-" + std::to_string(first + count - 1);
}

std::string with_index(Axis axis, int64_t index) {
  return std::string(name(axis)).append(" ").append(std::to_string(index));
}

// One grid: each cell holds the `inner` neighbouring ranks of a row and a stage.
std::string draw_grid(const MeshSizes& sizes, Axis inner, Axis middle, Axis outer) {
  const int64_t width = sizes[inner], num_middle = sizes[middle], num_rows = num_middle * sizes[outer],
                num_stages = sizes[Axis::pipeline];
  std::vector<std::vector<std::string>> table(1, {""});
  for (const int64_t stage : folded(num_stages))
    table[0].push_back(stage < 0 ? "..." : with_index(Axis::pipeline, stage));
  for (const int64_t row : folded(num_rows)) {
    std::string label = "...";
    if (row >= 0) label = with_index(outer, row / num_middle);
    if (row >= 0 && num_middle > 1) label.append(" ").append(with_index(middle, row % num_middle));
    table.push_back({label});
    for (const int64_t stage : folded(num_stages))
      table.back().push_back(row < 0 || stage < 0 ? "..." : range((stage * num_rows + row) * width, width));
  }
  std::vector<size_t> widths(table[0].size());
  for (const auto& row : table)
    for (size_t column = 0; column < row.size(); ++column)
      widths[column] = std::max(widths[column], row[column].size());
  std::string out;
  for (const auto& row : table) {
    std::string line(1, ' ');
    for (size_t column = 0; column < row.size(); ++column)
      line.append(" ").append(row[column]).append(widths[column] - row[column].size() + 1, ' ');
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return out;
}

std::string title(const MeshSizes& sizes, std::initializer_list<Axis> axes) {
  std::string out;
  for (const Axis axis : axes)
    out += (out.empty() ? "" : " x ") + std::string(name(axis)) + " " + std::to_string(sizes[axis]);
  return out;
}

std::string list_ranks(const std::vector<int>& ranks) {
  std::string out;
  for (const int64_t index : folded(static_cast<int64_t>(ranks.size())))
    out.append(out.empty() ? "" : " ").append(index < 0 ? "..." : std::to_string(ranks[static_cast<size_t>(index)]));
  return out;
}

}  // namespace

std::string draw_mesh(const MeshSizes& sizes) {
  std::string out = title(sizes, {Axis::tensor, Axis::context, Axis::data, Axis::pipeline}) +
                    ": each cell holds the ranks of one tensor group\n" +
                    draw_grid(sizes, Axis::tensor, Axis::context, Axis::data);
  if (sizes[Axis::expert] > 1 || sizes[Axis::expert_tensor] > 1)
    out += "experts: " + title(sizes, {Axis::expert_tensor, Axis::expert, Axis::expert_data, Axis::pipeline}) + "\n" +
           draw_grid(sizes, Axis::expert_tensor, Axis::expert, Axis::expert_data);
  if (sizes.num_distributed_optimizer_instances() > 1) {
    const Mesh mesh(sizes, 0);
    out += "sharded state: " + std::to_string(sizes.num_distributed_optimizer_instances()) +
           " copies; rank 0 shares one with " + list_ranks(mesh.shard_members()) + " and holds the same share as " +
           list_ranks(mesh.replica_members()) + "\n";
  }
  return out;
}

}  // namespace nemo
