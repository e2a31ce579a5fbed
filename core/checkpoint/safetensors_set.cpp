#include "core/checkpoint/safetensors_set.h"

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace nemo {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

std::map<std::string, std::string> read_weight_map(const std::string& path) {
  json index;
  try {
    index = json::parse(read_text_file(path));
  } catch (const json::exception& error) {
    throw CheckpointError{path, "", std::string("is not valid JSON (") + error.what() + ")"};
  }
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    throw CheckpointError{path, "weight_map", "is missing or not an object"};
  }
  std::map<std::string, std::string> files;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
      throw CheckpointError{path, tensor, "is said to be in " + file.dump() + ", which is not a file name"};
    }
    files[tensor] = name;
  }
  if (files.empty()) throw CheckpointError{path, "weight_map", "is empty"};
  return files;
}

std::string numbered(size_t shard, size_t num_shards) {
  char name[64];
  std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", shard + 1, num_shards);
  return name;
}

}  // namespace

SafetensorsSet::SafetensorsSet(const std::string& path) : path_(path) {
  const fs::path folder(path);
  if (!fs::is_directory(path) || fs::exists(folder / kSingleFile)) {
    add(files_.emplace_back(fs::is_directory(path) ? (folder / kSingleFile).string() : path));
    return;
  }
  const std::string index = (folder / kIndexFile).string();
  if (!fs::exists(index)) {
    throw CheckpointError{path, "", std::string("has neither ") + kSingleFile + " nor " + kIndexFile,
                          "a Hugging Face folder with safetensors weights"};
  }
  const std::map<std::string, std::string> weight_map = read_weight_map(index);
  std::map<std::string, const SafetensorsFile*> opened;
  for (const auto& [tensor, file] : weight_map) {
    if (opened.contains(file)) continue;
    const SafetensorsFile& shard = files_.emplace_back((folder / file).string());
    opened[file] = &shard;
    add(shard);
  }
  for (const auto& [tensor, file] : weight_map) {
    if (!opened[file]->find(tensor))
      throw CheckpointError{index, tensor, "is said to be in " + file + " but is not there"};
  }
  for (const auto& [tensor, where] : tensors_) {
    if (!weight_map.contains(std::string(tensor))) {
      throw CheckpointError{index, std::string(tensor),
                            "is in " + fs::path(where.file->path()).filename().string() + " but not in weight_map"};
    }
  }
}

void SafetensorsSet::add(const SafetensorsFile& file) {
  for (const SafetensorsEntry& entry : file.entries()) {
    const auto [other, fresh] = tensors_.emplace(entry.name, Located{&file, &entry});
    if (!fresh) {
      throw CheckpointError{path_, entry.name,
                            "is in both " + fs::path(other->second.file->path()).filename().string() + " and " +
                                fs::path(file.path()).filename().string()};
    }
  }
}

std::vector<std::string> SafetensorsSet::names() const {
  std::vector<std::string> names;
  names.reserve(tensors_.size());
  for (const auto& [name, unused] : tensors_) names.emplace_back(name);
  return names;
}

const SafetensorsEntry* SafetensorsSet::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : found->second.entry;
}

std::span<const std::byte> SafetensorsSet::bytes(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) throw CheckpointError{path_, std::string(name), "is missing"};
  return found->second.file->bytes(*found->second.entry);
}

SafetensorsSetWriter::SafetensorsSetWriter(const std::string& folder, const std::vector<SafetensorsEntry>& tensors,
                                           uint64_t max_shard_bytes, const SafetensorsMetadata& metadata)
    : folder_(folder), metadata_(metadata), shards_(1) {
  uint64_t filled = 0;
  for (const SafetensorsEntry& tensor : tensors) {
    const uint64_t bytes = declared_bytes(folder, tensor);
    if (!shards_.back().tensors.empty() && filled + bytes > max_shard_bytes) {
      shards_.emplace_back();
      filled = 0;
    }
    shards_.back().tensors.push_back(tensor);
    filled += bytes;
    if (!shard_of_.emplace(tensor.name, shards_.size() - 1).second)
      throw CheckpointError{folder, tensor.name, "is declared twice"};
  }
  fs::create_directories(folder);
  for (size_t shard = 0; shard < shards_.size(); ++shard) {
    shards_[shard].file = shards_.size() == 1 ? kSingleFile : numbered(shard, shards_.size());
    sort_for_file(shards_[shard].tensors, TensorOrder::by_name);
    order_.insert(order_.end(), shards_[shard].tensors.begin(), shards_[shard].tensors.end());
  }
  open_next();
}

void SafetensorsSetWriter::open_next() {
  if (!open_.empty()) {
    open_.front().finish();
    open_.pop_front();
    ++current_;
  }
  open_.emplace_back((fs::path(folder_) / shards_[current_].file).string(), shards_[current_].tensors, metadata_,
                     TensorOrder::as_given);
}

void SafetensorsSetWriter::append(std::string_view name, std::span<const std::byte> piece) {
  const auto shard = shard_of_.find(name);
  if (shard == shard_of_.end()) throw CheckpointError{folder_, std::string(name), "was not declared"};
  if (shard->second == current_ + 1) open_next();
  open_.front().append(name, piece);
}

void SafetensorsSetWriter::finish() {
  while (current_ + 1 < shards_.size()) open_next();
  open_.front().finish();
  if (shards_.size() > 1) {
    json index;
    uint64_t total = 0;
    for (const SafetensorsEntry& tensor : order_) {
      total += declared_bytes(folder_, tensor);
      index["weight_map"][tensor.name] = shards_[shard_of_.find(tensor.name)->second].file;
    }
    index["metadata"]["total_size"] = total;
    OutputFile file((fs::path(folder_) / kIndexFile).string());
    file.write(as_byte_span(index.dump(2) + "\n"));
    file.finish();
  }
  sync_directory(folder_);
}

}  // namespace nemo
