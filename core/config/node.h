// A recipe as written: scalars, lists and sections that each know their file and line. Read from YAML, merged, looked
// up. Not here: what keys mean (core/config/bind.h), files and inheritance (core/config/source.h).
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "core/config/places.h"

namespace nemo {

struct ConfigEntry;

struct ConfigNode {
  enum class Kind { null, scalar, list, section };
  Kind kind = Kind::null;
  std::string text;     // scalar, without quotes
  bool quoted = false;  // scalar: quoted text is text, whatever it looks like
  std::vector<ConfigNode> items;
  std::vector<ConfigEntry> entries;  // section, in the order written; keys are distinct
  Origin origin;

  const ConfigNode* find(std::string_view key) const;
  ConfigNode* find(std::string_view key);
  std::string describe() const;  // for errors: `"fast"`, `12`, `a list`, `a section`, `null`
};

struct ConfigEntry {
  std::string key;
  ConfigNode value;  // value.origin is where the key stands
};

// Parses one YAML document whose top level is a section (or empty). RecipeError with file:line on bad syntax, a key
// given twice, a key that is not a plain word, or a document too large to be a recipe. origin.line is added to each
// line found.
ConfigNode parse_yaml(const std::string& text, const Origin& origin);

// "data.seq_length=128" as a tree that holds that one key. RecipeError unless it has a key path, '=' and a YAML value.
ConfigNode parse_override(const std::string& assignment);

// Puts over's values above base's: sections join key by key, all else is replaced.
void merge_over(ConfigNode& base, const ConfigNode& over);

}  // namespace nemo
