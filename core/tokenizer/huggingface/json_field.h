// A value in a JSON file that knows its place there, so that whatever is wrong with it can be said with file and path.
// Parsing text is the caller's matter.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>  // declarations alone, as all of this folder's headers
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"

namespace nemo::huggingface {

// Points into a document that must outlive it. Every accessor throws DataError when the value is of another type.
class JsonField {
 public:
  JsonField(const nlohmann::json& value, std::string file, std::string path)
      : value_(&value), file_(std::move(file)), path_(std::move(path)) {}

  JsonField operator[](const char* key) const;           // throws DataError when missing or null
  std::optional<JsonField> find(const char* key) const;  // none when missing or null
  std::vector<JsonField> elements() const;

  const std::string& text() const;
  bool flag() const;
  int64_t integer(int64_t least, int64_t largest) const;
  bool flag(const char* key, bool otherwise) const;                       // of a member that may be missing
  std::string text(const char* key, const std::string& otherwise) const;  // likewise

  const nlohmann::json& value() const { return *value_; }
  DataError error(const std::string& reason, const std::string& suggestion = "") const {
    return DataError{file_, path_, reason, suggestion};
  }
  // For a "type" that is not known here.
  DataError unsupported() const { return error("type \"" + (*this)["type"].text() + "\" is not supported"); }

 private:
  const nlohmann::json* value_;
  std::string file_, path_;
};

}  // namespace nemo::huggingface
