#include "core/checkpoint/manifest.h"

#include <nlohmann/json.hpp>

#include "core/checkpoint/file.h"
#include "core/checkpoint/safetensors.h"
#include "core/error.h"

namespace nemo {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "nemo-checkpoint";
constexpr int kVersion = 1;

json to_json(const FileRecord& file) {
  return {{"name", file.name}, {"size_bytes", file.size_bytes}, {"xxh3_128", file.checksum}};
}

json to_json(const StoredBox& stored) {
  return {{"tensor", stored.box.tensor},
          {"shape", stored.box.shape},
          {"offset", stored.box.offset},
          {"extent", stored.box.extent},
          {"dtype", safetensors_dtype(stored.dtype)},
          {"file", stored.file},
          {"entry", stored.entry},
          {"xxh3_128", stored.checksum}};
}

FileRecord file_from(const json& value) {
  FileRecord file{value.at("name"), value.at("size_bytes"), value.at("xxh3_128")};
  // The names become paths: a manifest must not reach out of its folder.
  if (file.name.empty() || file.name.front() == '.' || file.name.find('/') != std::string::npos)
    throw std::invalid_argument("file name '" + file.name + "'");
  return file;
}

StoredBox box_from(const json& value) {
  StoredBox stored;
  stored.box = {value.at("tensor"), value.at("shape"), value.at("offset"), value.at("extent")};
  const std::optional<DType> dtype = dtype_named(value.at("dtype").get_ref<const std::string&>());
  if (!dtype) throw std::invalid_argument("dtype " + value.at("dtype").dump());
  stored.dtype = *dtype;
  stored.file = value.at("file");
  stored.entry = value.at("entry");
  stored.checksum = value.at("xxh3_128");
  return stored;
}

// Runs a reader; whatever is wrong with the text becomes a CheckpointError at place.
template <class Read>
auto reading(const std::string& place, Read&& read) {
  try {
    return read();
  } catch (const json::exception& error) {
    throw CheckpointError{place, "", std::string("is damaged (") + error.what() + ")"};
  } catch (const std::invalid_argument& error) {
    throw CheckpointError{place, "", std::string("is damaged (") + error.what() + ")"};
  }
}

}  // namespace

std::string to_text(const ShardRecord& record) {
  json boxes = json::array();
  for (const StoredBox& stored : record.boxes) boxes.push_back(to_json(stored));
  return json{{"file", to_json(record.file)}, {"boxes", boxes}}.dump();
}

ShardRecord shard_record_from_text(const std::string& text, const std::string& place) {
  return reading(place, [&] {
    const json value = json::parse(text);
    ShardRecord record{.file = file_from(value.at("file")), .boxes = {}};
    for (const json& stored : value.at("boxes")) record.boxes.push_back(box_from(stored));
    return record;
  });
}

const FileRecord* Manifest::find_file(std::string_view name) const {
  for (const FileRecord& file : files) {
    if (file.name == name) return &file;
  }
  return nullptr;
}

std::string to_text(const Manifest& manifest) {
  json files = json::array(), boxes = json::array();
  for (const FileRecord& file : manifest.files) files.push_back(to_json(file));
  for (const StoredBox& stored : manifest.boxes) boxes.push_back(to_json(stored));
  const json content = {{"format", kFormat}, {"version", kVersion}, {"files", files}, {"boxes", boxes}};
  return json{{"content", content}, {"xxh3_128", checksum(as_byte_span(content.dump()))}}.dump(1) + "\n";
}

Manifest manifest_from_text(const std::string& text, const std::string& place) {
  return reading(place, [&] {
    const json value = json::parse(text);
    const json& content = value.at("content");
    if (value.at("xxh3_128") != checksum(as_byte_span(content.dump())))
      throw std::invalid_argument("its checksum does not match");
    if (content.at("format") != kFormat) throw std::invalid_argument("format " + content.at("format").dump());
    if (content.at("version") != kVersion) {
      throw CheckpointError{
          place, "",
          "has version " + content.at("version").dump() + ", and this nemo reads version " + std::to_string(kVersion),
          "the version of nemo that wrote it"};
    }
    Manifest manifest;
    for (const json& file : content.at("files")) manifest.files.push_back(file_from(file));
    for (const json& stored : content.at("boxes")) manifest.boxes.push_back(box_from(stored));
    for (const StoredBox& stored : manifest.boxes) {
      if (!manifest.find_file(stored.file))
        throw std::invalid_argument(stored.box.tensor + " is in '" + stored.file + "', which it does not list");
    }
    return manifest;
  });
}

}  // namespace nemo
