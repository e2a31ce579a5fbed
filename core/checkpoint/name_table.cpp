#include "core/checkpoint/name_table.h"

#include <algorithm>
#include <optional>
#include <set>

#include "core/checkpoint/file.h"
#include "core/error.h"

namespace nemo {
namespace {

using Numbers = std::vector<int64_t>;

// The numbers that a rule's stars stand for in `name`; nothing when it does not match. No leading zeros: filling the
// pattern again must give the same name.
std::optional<Numbers> match_numbers(std::string_view pattern, std::string_view name) {
  Numbers numbers;
  size_t at = 0;
  for (const char c : pattern) {
    if (c != '*') {
      if (at == name.size() || name[at] != c) return std::nullopt;
      ++at;
      continue;
    }
    const size_t begin = at;
    int64_t number = 0;
    while (at < name.size() && at - begin < 9 && name[at] >= '0' && name[at] <= '9')
      number = number * 10 + (name[at++] - '0');
    if (at == begin || (name[begin] == '0' && at > begin + 1)) return std::nullopt;
    numbers.push_back(number);
  }
  if (at != name.size()) return std::nullopt;
  return numbers;
}

std::string fill(std::string_view pattern, const Numbers& numbers) {
  std::string name;
  size_t next = 0;
  for (const char c : pattern) {
    if (c == '*') {
      name += std::to_string(numbers[next++]);
    } else {
      name += c;
    }
  }
  return name;
}

// '*' stands for any text, none included.
bool matches_any_text(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return name.empty();
  if (pattern[0] != '*')
    return !name.empty() && name[0] == pattern[0] && matches_any_text(pattern.substr(1), name.substr(1));
  for (size_t skip = 0; skip <= name.size(); ++skip) {
    if (matches_any_text(pattern.substr(1), name.substr(skip))) return true;
  }
  return false;
}

std::string in_dialect(const NameTable& table, std::string_view name, Dialect dialect) {
  const bool strip = dialect == Dialect::bare_file && name.starts_with(table.prefix);
  return std::string(strip ? name.substr(table.prefix.size()) : name);
}

// A part of their tensor before it is placed: which of ours, which slice of our dim 0, where in theirs.
struct Piece {
  size_t ours;
  std::optional<int64_t> our_slice;    // our dim 0 is stacked from their tensors
  std::optional<int64_t> their_slice;  // their dim 0 is stacked from our tensors
  size_t rule;
};

struct Group {
  std::string name;
  bool transpose;
  std::vector<Piece> pieces;
};

std::vector<Group> group_by_theirs(const NameTable& table, std::span<const NamedShape> ours, Dialect dialect) {
  std::vector<Group> groups;
  std::map<std::string, size_t> group_of;
  const auto add = [&](const NameRule& rule, const Numbers& numbers, Piece piece) {
    const std::string_view pattern = dialect == Dialect::module && !rule.module.empty() ? rule.module : rule.file;
    const std::string name = in_dialect(table, fill(pattern, numbers), dialect);
    const auto [found, fresh] = group_of.emplace(name, groups.size());
    if (fresh) groups.push_back({name, rule.transpose, {}});
    groups[found->second].pieces.push_back(piece);
  };
  for (size_t i = 0; i < ours.size(); ++i) {
    std::optional<size_t> matched;
    std::optional<Numbers> numbers;
    for (size_t rule = 0; rule < table.rules.size(); ++rule) {
      std::optional<Numbers> found = match_numbers(table.rules[rule].ours, ours[i].name);
      if (!found) continue;
      if (matched) throw CheckpointError{"name table", ours[i].name, "matches two rules"};
      matched = rule;
      numbers = std::move(found);
    }
    if (!matched)
      throw CheckpointError{"name table", ours[i].name, "matches no rule, so it has no place in the other format"};
    const NameRule& rule = table.rules[*matched];
    const auto stars = static_cast<size_t>(std::count(rule.file.begin(), rule.file.end(), '*'));
    if (stars == numbers->size()) {
      add(rule, *numbers, {i, std::nullopt, std::nullopt, *matched});
    } else if (stars == numbers->size() + 1 && !ours[i].shape.empty()) {
      for (int64_t slice = 0; slice < ours[i].shape[0]; ++slice) {
        Numbers with_slice = *numbers;
        with_slice.push_back(slice);
        add(rule, with_slice, {i, slice, std::nullopt, *matched});
      }
    } else if (stars + 1 == numbers->size()) {
      const int64_t slice = numbers->back();
      numbers->pop_back();
      add(rule, *numbers, {i, std::nullopt, slice, *matched});
    } else {
      throw CheckpointError{"name table", ours[i].name, "matches a rule whose two sides do not fit it"};
    }
  }
  return groups;
}

// The shape of what a piece adds: our tensor, or one slice of it.
std::span<const int64_t> inner_shape(const Piece& piece, std::span<const NamedShape> ours) {
  return std::span(ours[piece.ours].shape).subspan(piece.our_slice ? 1 : 0);
}

// Joins the pieces: their shape is [slices if stacked, sum of dim 0, rest...], last two swapped where transposed.
TheirTensor place_pieces(Group& group, std::span<const NamedShape> ours) {
  const auto fail = [&](const std::string& reason) { throw CheckpointError{"name table", group.name, reason}; };
  std::stable_sort(group.pieces.begin(), group.pieces.end(), [](const Piece& a, const Piece& b) {
    return std::pair(a.their_slice.value_or(0), a.rule) < std::pair(b.their_slice.value_or(0), b.rule);
  });
  const bool stacked = group.pieces.front().their_slice.has_value();
  const std::span<const int64_t> first = inner_shape(group.pieces.front(), ours);
  if (group.transpose && first.size() != 2) fail("would be transposed but is not a matrix");
  std::vector<int64_t> joined(first.begin(), first.end());
  int64_t slice = -1, rows = 0, slice_rows = -1;
  std::vector<int64_t> row_of(group.pieces.size());
  const auto close_slice = [&] {
    if (slice_rows >= 0 && rows != slice_rows) fail("stacks tensors of different shapes");
    slice_rows = rows;
  };
  for (size_t i = 0; i < group.pieces.size(); ++i) {
    const int64_t piece_slice = group.pieces[i].their_slice.value_or(0);
    if (piece_slice != slice) {
      if (piece_slice != slice + 1) fail("stacks tensors of which number " + std::to_string(slice + 1) + " is missing");
      if (slice >= 0) close_slice();
      slice = piece_slice;
      rows = 0;
    }
    const std::span<const int64_t> shape = inner_shape(group.pieces[i], ours);
    const size_t fixed = first.empty() ? 0 : 1;  // dims before this one may differ: they are joined
    if (shape.size() != first.size() || !std::equal(shape.begin() + fixed, shape.end(), first.begin() + fixed)) {
      fail("joins tensors of different shapes");
    }
    if (shape.empty() && rows > 0) fail("joins tensors without dimensions");
    row_of[i] = rows;
    rows += shape.empty() ? 1 : shape[0];
  }
  close_slice();
  if (!joined.empty()) joined[0] = slice_rows;

  TheirTensor tensor{.name = group.name, .shape = {}, .parts = {}};
  if (stacked) tensor.shape.push_back(slice + 1);
  tensor.shape.insert(tensor.shape.end(), joined.begin(), joined.end());
  if (group.transpose) std::swap(tensor.shape.back(), tensor.shape[tensor.shape.size() - 2]);
  std::vector<int64_t> their_strides = row_major_strides(tensor.shape);
  if (group.transpose) std::swap(their_strides.back(), their_strides[their_strides.size() - 2]);
  const size_t skip = stacked ? 1 : 0;
  for (size_t i = 0; i < group.pieces.size(); ++i) {
    const Piece& piece = group.pieces[i];
    const std::span<const int64_t> shape = inner_shape(piece, ours);
    const std::vector<int64_t> our_strides = row_major_strides(shape);
    StridedCopy copy;
    copy.to_start = piece.our_slice.value_or(0) * (shape.empty() ? 1 : shape[0] * our_strides[0]);
    copy.from_start = stacked ? *piece.their_slice * their_strides[0] : 0;
    if (!shape.empty()) copy.from_start += row_of[i] * their_strides[skip];
    for (size_t dim = 0; dim < shape.size(); ++dim)
      add_dim(copy, {shape[dim], their_strides[skip + dim], our_strides[dim]});
    tensor.parts.push_back({piece.ours, std::move(copy)});
  }
  return tensor;
}

std::string list_text(const std::vector<std::string>& items) {
  constexpr size_t kShown = 8;
  std::string text;
  for (size_t i = 0; i < std::min(items.size(), kShown); ++i) text += (i ? ", " : "") + items[i];
  if (items.size() > kShown) text += " and " + std::to_string(items.size() - kShown) + " more";
  return text;
}

bool is_float(DType dtype) {
  return dtype == DType::fp32 || dtype == DType::bf16 || dtype == DType::fp16 || dtype == DType::fp64;
}

bool is_tied_copy(const NameTable& table, const SafetensorsSet& set, const std::string& name, Dialect dialect) {
  for (const TiedName& tied : table.tied) {
    if (in_dialect(table, tied.file, dialect) != name) continue;
    const std::string original = in_dialect(table, tied.same_as, dialect);
    const SafetensorsEntry *copy_entry = set.find(name), *original_entry = set.find(original);
    if (!original_entry || copy_entry->dtype != original_entry->dtype) return false;
    const std::span<const std::byte> copied = set.bytes(name), kept = set.bytes(original);
    return std::equal(copied.begin(), copied.end(), kept.begin(), kept.end());
  }
  return false;
}

}  // namespace

std::vector<TheirTensor> map_names(const NameTable& table, std::span<const NamedShape> ours, Dialect dialect) {
  std::vector<TheirTensor> tensors;
  for (Group& group : group_by_theirs(table, ours, dialect)) tensors.push_back(place_pieces(group, ours));
  return tensors;
}

ImportPlan plan_import(const NameTable& table, std::span<const NamedShape> ours, const SafetensorsSet& set) {
  const std::vector<std::string> names = set.names();
  const bool prefixed = table.prefix.empty() || std::any_of(names.begin(), names.end(), [&](const std::string& name) {
                          return name.starts_with(table.prefix);
                        });
  ImportPlan plan{.dialect = prefixed ? Dialect::file : Dialect::bare_file, .tensors = {}};
  plan.tensors = map_names(table, ours, plan.dialect);
  std::vector<std::string> missing, unexpected, wrong;
  std::set<std::string_view> used;
  for (const TheirTensor& tensor : plan.tensors) {
    const SafetensorsEntry* entry = set.find(tensor.name);
    used.insert(tensor.name);
    if (!entry) {
      missing.push_back(tensor.name);
    } else if (entry->shape != tensor.shape) {
      wrong.push_back(tensor.name + " is " + shape_text(entry->shape) + " where the model needs " +
                      shape_text(tensor.shape));
    } else if (!is_float(entry->dtype)) {
      wrong.push_back(tensor.name + " is " + std::string(name(entry->dtype)) + " where the model needs floating point");
    }
  }
  for (const std::string& name : names) {
    if (used.contains(name) || is_tied_copy(table, set, name, plan.dialect)) continue;
    const bool ignored = std::any_of(table.ignored.begin(), table.ignored.end(),
                                     [&](std::string_view pattern) { return matches_any_text(pattern, name); });
    if (!ignored) unexpected.push_back(name);
  }
  std::string reason;
  for (const auto& [what, list] :
       {std::pair{"missing", &missing}, {"unexpected", &unexpected}, {"mismatched", &wrong}}) {
    if (!list->empty()) reason += (reason.empty() ? "" : "; ") + std::string(what) + " tensors: " + list_text(*list);
  }
  if (!reason.empty()) throw CheckpointError{set.path(), "", reason, "check that config.json belongs to these weights"};
  return plan;
}

}  // namespace nemo
