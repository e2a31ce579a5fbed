#include "core/checkpoint/checkpoint_folder.h"

#include <fcntl.h>
#include <stdio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>
#include <unordered_map>

#include "core/checkpoint/convert_dtype.h"
#include "core/checkpoint/retention.h"
#include "core/checkpoint/safetensors.h"
#include "core/error.h"

namespace nemo {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifest = "manifest.json";

std::string without_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}
std::string partial_name(const std::string& path) {
  return without_slash(path) + ".partial";
}
std::string in_folder(const std::string& folder, const std::string& name) {
  return (fs::path(folder) / name).string();
}

std::string shard_name(int64_t shard_index, int64_t num_shards) {
  char name[64];
  std::snprintf(name, sizeof name, "shard-%05lld-of-%05lld.safetensors", static_cast<long long>(shard_index),
                static_cast<long long>(num_shards));
  return name;
}

// Runs a file-system step; its failure becomes a CheckpointError at path.
template <class Step>
void checked(const std::string& path, Step&& step) {
  try {
    step();
  } catch (const fs::filesystem_error& error) {
    throw CheckpointError{path, "", error.code().message()};
  }
}

FileRecord write_side_file(const std::string& folder, const std::string& name, const std::string& text) {
  OutputFile file(in_folder(folder, name));
  file.write(as_byte_span(text));
  file.finish();
  return {name, file.size(), file.checksum()};
}

// Puts the finished folder in its place. One already there is swapped out in the same step and then removed.
void put_in_place(const std::string& partial, const std::string& path) {
  if (!fs::exists(path)) {
    fs::rename(partial, path);
  } else if (::renameat2(AT_FDCWD, partial.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) == 0) {
    remove_checkpoint(partial);
  } else {  // a file system that cannot swap
    remove_checkpoint(path);
    fs::rename(partial, path);
  }
}

}  // namespace

void begin_checkpoint(const std::string& path) {
  checked(path, [&] {
    fs::remove_all(partial_name(path));  // of a save that was interrupted
    fs::create_directories(partial_name(path));
  });
}

ShardRecord write_shard(const std::string& path, int64_t shard_index, int64_t num_shards,
                        std::span<const BoxToSave> boxes) {
  ShardRecord record;
  record.file.name = shard_name(shard_index, num_shards);
  std::vector<SafetensorsEntry> entries;
  std::unordered_map<std::string, size_t> box_of;
  std::unordered_map<std::string, int> times;
  for (size_t i = 0; i < boxes.size(); ++i) {
    const BoxToSave& saved = boxes[i];
    const int time = times[saved.box.tensor]++;
    const std::string entry = time == 0 ? saved.box.tensor : saved.box.tensor + "#" + std::to_string(time);
    entries.push_back({entry, saved.dtype, saved.box.extent});
    if (!box_of.emplace(entry, i).second) throw CheckpointError{path, entry, "names two regions"};
  }
  SafetensorsWriter writer(in_folder(partial_name(path), record.file.name), std::move(entries), {{"format", "nemo"}},
                           TensorOrder::as_given);
  for (const SafetensorsEntry& entry : writer.entries()) {
    const BoxToSave& saved = boxes[box_of[entry.name]];
    if (saved.bytes.size() != entry.size_bytes()) {
      throw CheckpointError{
          path, entry.name,
          "has " + std::to_string(saved.bytes.size()) + " bytes for a region of " + std::to_string(entry.size_bytes())};
    }
    writer.append(entry.name, saved.bytes);
    record.boxes.push_back({saved.box, saved.dtype, record.file.name, entry.name, checksum(saved.bytes)});
  }
  writer.finish();
  record.file.size_bytes = writer.file_size();
  record.file.checksum = writer.checksum();
  return record;
}

void commit_checkpoint(const std::string& path, std::span<const ShardRecord> shards, const SideFiles& files) {
  const std::string partial = partial_name(path);
  Manifest manifest;
  for (const ShardRecord& shard : shards) {
    manifest.files.push_back(shard.file);
    manifest.boxes.insert(manifest.boxes.end(), shard.boxes.begin(), shard.boxes.end());
  }
  for (const auto& [name, text] : files) manifest.files.push_back(write_side_file(partial, name, text));
  write_side_file(partial, kManifest, to_text(manifest));
  sync_directory(partial);
  checked(path, [&] { put_in_place(partial, path); });
  const std::string parent = fs::path(without_slash(path)).parent_path().string();
  sync_directory(parent.empty() ? "." : parent);
}

void abandon_checkpoint(const std::string& path) noexcept {
  std::error_code ignored;
  fs::remove_all(partial_name(path), ignored);
}

void save_checkpoint(const std::string& path, std::span<const BoxToSave> boxes, const SideFiles& files) {
  try {
    begin_checkpoint(path);
    const ShardRecord shard = write_shard(path, 0, 1, boxes);
    commit_checkpoint(path, std::span(&shard, 1), files);
  } catch (...) {
    abandon_checkpoint(path);
    throw;
  }
}

CheckpointFolder::CheckpointFolder(const std::string& path) : path_(path) {
  if (!fs::is_directory(path))
    throw CheckpointError{path, "", "is not a checkpoint folder", "the path of a step_... folder"};
  const std::string manifest = in_folder(path, kManifest);
  if (!fs::exists(manifest)) {
    throw CheckpointError{path, kManifest, "is missing: the save or the removal of this checkpoint was interrupted",
                          "an earlier checkpoint"};
  }
  manifest_ = manifest_from_text(read_text_file(manifest), manifest);
  for (const FileRecord& file : manifest_.files) {
    std::error_code error;
    const uint64_t size = fs::file_size(in_folder(path, file.name), error);
    if (error) throw CheckpointError{path, file.name, "is missing", "an earlier checkpoint"};
    if (size != file.size_bytes) {
      throw CheckpointError{path, file.name,
                            "has " + std::to_string(size) + " bytes and should have " + std::to_string(file.size_bytes),
                            "an earlier checkpoint"};
    }
  }
}

CheckpointFolder::CheckpointFolder(CheckpointFolder&&) noexcept = default;
CheckpointFolder::~CheckpointFolder() = default;

bool CheckpointFolder::has_tensor(std::string_view tensor) const {
  return std::any_of(manifest_.boxes.begin(), manifest_.boxes.end(),
                     [&](const StoredBox& stored) { return stored.box.tensor == tensor; });
}

std::string CheckpointFolder::read_side_file(const std::string& name) const {
  const FileRecord* record = manifest_.find_file(name);
  if (!record) throw CheckpointError{path_, name, "is not in this checkpoint"};
  const std::string text = read_text_file(in_folder(path_, name));
  if (checksum(as_byte_span(text)) != record->checksum)
    throw CheckpointError{path_, name, "is damaged: its checksum does not match", "an earlier checkpoint"};
  return text;
}

const SafetensorsFile& CheckpointFolder::shard(const std::string& name) {
  std::unique_ptr<SafetensorsFile>& file = shards_[name];
  if (!file) file = std::make_unique<SafetensorsFile>(in_folder(path_, name));
  return *file;
}

void CheckpointFolder::load(std::span<const BoxToLoad> boxes, Conversion conversion) {
  std::set<std::string_view> wanted;
  for (const BoxToLoad& target : boxes) wanted.insert(target.box.tensor);
  std::vector<const StoredBox*> stored;
  std::vector<PlacedBox> from, to;
  for (const StoredBox& box : manifest_.boxes) {
    if (!wanted.contains(box.box.tensor)) continue;
    stored.push_back(&box);
    from.push_back({box.box, 0});
  }
  for (const BoxToLoad& target : boxes) {
    to.push_back({target.box, 0});
    if (target.bytes.size() != static_cast<size_t>(target.box.num_elements()) * size_bytes(target.dtype)) {
      throw CheckpointError{path_, target.box.tensor,
                            "is to be loaded into " + std::to_string(target.bytes.size()) +
                                " bytes, which do not fit " + region_text(target.box)};
    }
  }
  std::vector<BoxCopy> copies = plan_copies(path_, from, to);
  // By source, so that a region's pages are checked, copied and converted while they are at hand, and once.
  std::stable_sort(copies.begin(), copies.end(), [](const BoxCopy& a, const BoxCopy& b) { return a.from < b.from; });
  std::vector<std::byte> converted;
  for (size_t i = 0; i < copies.size(); ++i) {
    const StoredBox& source = *stored[copies[i].from];
    const BoxToLoad& target = boxes[copies[i].to];
    const SafetensorsFile& file = shard(source.file);
    const SafetensorsEntry* entry = file.find(source.entry);
    if (!entry || entry->dtype != source.dtype || entry->shape != source.box.extent) {
      throw CheckpointError{path_, source.box.tensor, "is not in " + source.file + " as the manifest says",
                            "an earlier checkpoint"};
    }
    std::span<const std::byte> bytes = file.bytes(*entry);
    if ((i == 0 || copies[i - 1].from != copies[i].from) && checksum(bytes) != source.checksum) {
      throw CheckpointError{path_, source.box.tensor, "is damaged in " + source.file + ": its checksum does not match",
                            "an earlier checkpoint"};
    }
    if (source.dtype != target.dtype) {
      if (conversion == Conversion::none) {
        throw CheckpointError{path_, source.box.tensor,
                              "is stored as " + std::string(name(source.dtype)) + ", but " +
                                  std::string(name(target.dtype)) + " is needed"};
      }
      converted.resize(bytes.size() / size_bytes(source.dtype) * size_bytes(target.dtype));
      convert_dtype(bytes, source.dtype, converted, target.dtype);
      bytes = converted;
    }
    run_copy(copies[i].copy, bytes.data(), target.bytes.data(), size_bytes(target.dtype));
  }
}

void CheckpointFolder::verify() const {
  for (const FileRecord& record : manifest_.files) {
    const MappedFile file = map_file(in_folder(path_, record.name));
    if (file.bytes().size() != record.size_bytes || checksum(file.bytes()) != record.checksum) {
      throw CheckpointError{path_, record.name, "is damaged: its checksum does not match", "an earlier checkpoint"};
    }
  }
}

}  // namespace nemo
