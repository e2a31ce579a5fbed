#include "core/config/places.h"

#include <filesystem>

namespace nemo {

std::string Origin::place() const {
  switch (kind) {
    case Kind::default_value:
    case Kind::derived:
      return "";
    case Kind::preset:
      return file;
    case Kind::command_line:
      return "command line";
    case Kind::base:
    case Kind::recipe:
      break;
  }
  return line > 0 ? file + ":" + std::to_string(line) : file;
}

std::string Origin::describe() const {
  const std::string short_place = std::filesystem::path(file).filename().string() + ":" + std::to_string(line);
  switch (kind) {
    case Kind::default_value:
      return "default";
    case Kind::derived:
      return "derived";
    case Kind::base:
      return "base " + short_place;
    case Kind::recipe:
      return "recipe " + short_place;
    case Kind::preset:
    case Kind::command_line:
      break;
  }
  return place();
}

FieldPlaces::FieldPlaces(std::string file) : file_(std::move(file)) {}

FieldPlaces FieldPlaces::section(std::string_view name) const {
  FieldPlaces part(file_);
  const std::string start = std::string(name) + ".";
  part.prefix_ = prefix_ + start;
  for (auto it = origins_.lower_bound(start); it != origins_.end() && it->first.starts_with(start); ++it)
    part.origins_.emplace(it->first.substr(start.size()), it->second);
  return part;
}

Origin FieldPlaces::origin(std::string_view key) const {
  const auto it = origins_.find(key);
  return it == origins_.end() ? Origin{} : it->second;
}

std::string FieldPlaces::where(std::string_view key) const {
  const std::string place = origin(key).place();
  return place.empty() ? file_ : place;
}

std::string FieldPlaces::subject(std::string_view key) const {
  return prefix_ + std::string(key);
}

bool FieldPlaces::is_written(std::string_view key) const {
  const Origin::Kind kind = origin(key).kind;
  return kind == Origin::Kind::base || kind == Origin::Kind::recipe || kind == Origin::Kind::command_line;
}

}  // namespace nemo
