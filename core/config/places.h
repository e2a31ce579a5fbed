// Where each key of a recipe was set, for errors and for `nemo explain`. Not here: the values themselves.
#pragma once
#include <map>
#include <string>
#include <string_view>

namespace nemo {

// Where a value comes from. file is the recipe's path, or says which preset ("preset gpt2_124m", "family llama"); line
// counts from 1, 0 where there is none.
struct Origin {
  enum class Kind { default_value, derived, preset, base, recipe, command_line };
  Kind kind = Kind::default_value;
  std::string file;
  int line = 0;

  std::string place() const;     // "path/file:line" or "command line" for errors; empty for a default
  std::string describe() const;  // "default", "preset gpt2_124m", "base gpt.yaml:3", "recipe my.yaml:4", "command line"
};

// The origins of one section's keys, or of a whole recipe's; keys are relative to the section.
class FieldPlaces {
 public:
  FieldPlaces() = default;
  // A config that was not read from a recipe, e.g. a config.json: every key stands in that file.
  explicit FieldPlaces(std::string file);

  void set(const std::string& path, Origin origin) { origins_[path] = std::move(origin); }
  FieldPlaces section(std::string_view name) const;

  Origin origin(std::string_view key) const;
  std::string where(std::string_view key) const;    // for errors: the key's place, else its section's file
  std::string subject(std::string_view key) const;  // the full path, e.g. "model.num_layers"
  const std::string& file() const { return file_; }

  // Written by a person: in a recipe, a base or an override, rather than by default or by a preset.
  bool is_written(std::string_view key) const;

 private:
  std::map<std::string, Origin, std::less<>> origins_;  // by key relative to this section, dotted where nested
  std::string prefix_;                                  // "model." for the section `model`
  std::string file_;                                    // named where a key has no place of its own
};

}  // namespace nemo
