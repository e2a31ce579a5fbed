#include "core/config/bind.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/config/nearest.h"
#include "core/config/print.h"
#include "core/error.h"

namespace nemo {
namespace {

std::string join_path(const std::string& prefix, std::string_view key) {
  return prefix.empty() ? std::string(key) : prefix + "." + std::string(key);
}

// ---- keys

const Field* find_field(std::span<const Field> fields, std::string_view key) {
  for (const Field& field : fields)
    if (field.key == key) return &field;
  return nullptr;
}

const Field* find_alias(std::span<const Field> fields, std::string_view key) {
  for (const Field& field : fields)
    if (std::find(field.aliases.begin(), field.aliases.end(), key) != field.aliases.end()) return &field;
  return nullptr;
}

void list_paths(std::span<const Field> fields, const std::string& prefix, std::vector<std::string>& paths) {
  for (const Field& field : fields) {
    const std::string path = join_path(prefix, field.key);
    paths.push_back(path);
    for (const std::string_view alias : field.aliases) paths.push_back(join_path(prefix, alias));
    list_paths(field.fields, path, paths);
  }
}

std::string last_word(const std::string& path) {
  return path.substr(path.rfind('.') + 1);
}

// What the person may have meant: this very key in another section, a near key here, a near key elsewhere, or the list.
std::string suggest_key(std::string_view key, std::span<const Field> siblings, std::span<const Field> root) {
  std::vector<std::string> paths, words, here;
  list_paths(root, "", paths);
  for (const std::string& path : paths) {
    words.push_back(last_word(path));
    if (words.back() == key) return path;
  }
  for (const Field& field : siblings) {
    here.emplace_back(field.key);
    here.insert(here.end(), field.aliases.begin(), field.aliases.end());
  }
  if (const auto near = find_nearest(key, here)) return *near;
  if (const auto near = find_nearest(key, words))
    return paths[std::find(words.begin(), words.end(), *near) - words.begin()];
  std::string list;
  for (const Field& field : siblings) list += (list.empty() ? "one of " : ", ") + std::string(field.key);
  return list;
}

class KeyChecker {
 public:
  KeyChecker(std::span<const Field> root, std::vector<std::string>& notices) : root_(root), notices_(notices) {}

  void check(ConfigNode& section, std::span<const Field> fields, const std::string& prefix) {
    for (ConfigEntry& entry : section.entries) {
      const Field* field = find_field(fields, entry.key);
      if (field == nullptr) field = rename(section, entry, fields, prefix);
      if (field->is_section() && entry.value.kind == ConfigNode::Kind::section)
        check(entry.value, field->fields, join_path(prefix, field->key));
    }
  }

 private:
  const Field* rename(const ConfigNode& section, ConfigEntry& entry, std::span<const Field> fields,
                      const std::string& prefix) {
    const std::string place = entry.value.origin.place(), path = join_path(prefix, entry.key);
    const Field* field = find_alias(fields, entry.key);
    if (field == nullptr) {
      const bool section_word = prefix.empty() && entry.value.kind == ConfigNode::Kind::section;
      const std::string reason = section_word ? "unknown section" : "unknown key";
      throw RecipeError{place, path, reason, suggest_key(entry.key, fields, root_)};
    }
    const std::string name = join_path(prefix, field->key);
    if (const ConfigNode* other = section.find(field->key))
      throw RecipeError{place, path, "another name of " + name + ", which is given at " + other->origin.place(),
                        "remove one of the two"};
    notices_.push_back(place + ": " + path + " is read as " + name);
    entry.key = field->key;
    return field;
  }

  std::span<const Field> root_;
  std::vector<std::string>& notices_;
};

// ---- values

// A value that is about to be written: knows how to complain.
struct Value {
  const ConfigNode& node;
  const Field& field;
  std::string path;

  [[noreturn]] void fail(const std::string& reason, const std::string& suggestion = "") const {
    throw RecipeError{node.origin.place(), path, reason, suggestion};
  }
  [[noreturn]] void wrong_type(const std::string& wanted, const std::string& suggestion = "") const {
    fail("needs " + wanted + ", found " + node.describe(), suggestion);
  }
};

void check_range(const Value& value, double number) {
  const Field& field = value.field;
  const bool low = field.above_lower ? !(number > field.lower) : number < field.lower;
  const bool high = field.below_upper ? !(number < field.upper) : number > field.upper;
  if (low || high) value.fail("must be " + range_text(field) + ", found " + value.node.text);
}

template <class Number>
bool parse_number(std::string_view text, Number& number) {
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

bool is_plain(const ConfigNode& node) {
  return node.kind == ConfigNode::Kind::scalar && !node.quoted;
}

std::string unquoted_hint(const ConfigNode& node) {
  return node.kind == ConfigNode::Kind::scalar && node.quoted ? "remove the quotes" : "";
}

int64_t read_integer(const Value& value) {
  int64_t number = 0;
  if (!is_plain(value.node) || !parse_number(value.node.text, number)) {
    double real = 0;
    const bool whole = is_plain(value.node) && parse_number(value.node.text, real) && std::abs(real) < 9e15 &&
                       real == std::floor(real);
    value.wrong_type("an integer",
                     whole ? "write " + std::to_string(static_cast<int64_t>(real)) : unquoted_hint(value.node));
  }
  check_range(value, static_cast<double>(number));
  return number;
}

double read_number(const Value& value) {
  double number = 0;
  if (!is_plain(value.node) || !parse_number(value.node.text, number) || !std::isfinite(number))
    value.wrong_type("a number", unquoted_hint(value.node));
  check_range(value, number);
  return number;
}

bool read_bool(const Value& value) {
  const std::string& text = value.node.text;
  if (is_plain(value.node)) {
    if (text == "true" || text == "True" || text == "TRUE") return true;
    if (text == "false" || text == "False" || text == "FALSE") return false;
  }
  const bool yes = text == "yes" || text == "on" || text == "1", no = text == "no" || text == "off" || text == "0";
  value.wrong_type("true or false", yes ? "write true" : no ? "write false" : unquoted_hint(value.node));
}

std::string choice_list(std::span<const std::string_view> choices) {
  std::string list;
  for (const std::string_view choice : choices) list += (list.empty() ? "" : ", ") + std::string(choice);
  return list;
}

// Checks that the value is one of the choices, and returns which.
size_t read_choice(const Value& value, std::span<const std::string_view> choices) {
  if (value.node.kind != ConfigNode::Kind::scalar) value.wrong_type("one of " + choice_list(choices));
  const auto found = std::find(choices.begin(), choices.end(), value.node.text);
  if (found == choices.end()) {
    const std::vector<std::string> words(choices.begin(), choices.end());
    const auto near = find_nearest(value.node.text, words);
    value.fail("needs one of " + choice_list(choices) + ", found " + value.node.describe(), near.value_or(""));
  }
  return found - choices.begin();
}

std::string read_text(const Value& value) {
  if (value.node.kind != ConfigNode::Kind::scalar) value.wrong_type("text");
  if (!value.field.choices.empty()) read_choice(value, value.field.choices);
  return value.node.text;
}

double read_seconds(const Value& value) {
  if (value.node.kind != ConfigNode::Kind::scalar) value.wrong_type("a time", "write HH:MM:SS, DD:HH:MM:SS or seconds");
  double total = 0;
  int parts = 0;
  constexpr double kScale[] = {60, 60, 24};  // seconds to a minute, minutes to an hour, hours to a day
  double unit = 1;
  for (size_t end = value.node.text.size() + 1; end > 0; ++parts) {
    const size_t colon = end == 1 ? std::string::npos : value.node.text.rfind(':', end - 2);
    const size_t start = colon == std::string::npos ? 0 : colon + 1;
    double number = 0;
    const std::string_view part = std::string_view(value.node.text).substr(start, end - 1 - start);
    if (parts > 3 || !parse_number(part, number) || !std::isfinite(number) || number < 0)
      value.wrong_type("a time", "write HH:MM:SS, DD:HH:MM:SS or seconds");
    total += number * unit;
    if (parts < 3) unit *= kScale[parts];
    end = start;
  }
  check_range(value, total);
  return total;
}

template <class Read>
auto read_list(const Value& value, const std::string& wanted, Read&& read) {
  std::vector<decltype(read(value))> list;
  if (value.node.kind != ConfigNode::Kind::list)
    value.wrong_type(wanted, value.node.kind == ConfigNode::Kind::scalar ? "write [" + value.node.text + "]" : "");
  for (size_t i = 0; i < value.node.items.size(); ++i)
    list.push_back(read(Value{value.node.items[i], value.field, value.path + "[" + std::to_string(i) + "]"}));
  return list;
}

struct Writer {
  const Value& value;

  void operator()(std::monostate) const {}
  void operator()(bool* out) const { *out = read_bool(value); }
  void operator()(int64_t* out) const { *out = read_integer(value); }
  void operator()(double* out) const { *out = read_number(value); }
  void operator()(std::string* out) const { *out = read_text(value); }
  void operator()(Seconds* out) const { out->value = read_seconds(value); }
  void operator()(std::array<double, 2>* out) const {
    const auto list = read_list(value, "a list of two numbers", read_number);
    if (list.size() != 2) value.fail("needs two numbers, found " + std::to_string(list.size()));
    *out = {list[0], list[1]};
  }
  void operator()(std::vector<int64_t>* out) const { *out = read_list(value, "a list of integers", read_integer); }
  void operator()(std::vector<std::string>* out) const { *out = read_list(value, "a list", read_text); }
  void operator()(std::map<std::string, std::string>* out) const {
    if (value.node.kind != ConfigNode::Kind::section) value.wrong_type("NAME: value pairs");
    out->clear();
    for (const ConfigEntry& entry : value.node.entries)
      (*out)[entry.key] = read_text(Value{entry.value, value.field, value.path + "." + entry.key});
  }
  void operator()(const EnumPointer& out) const {
    if (value.field.choices.empty()) return out.set(out.value, static_cast<int64_t>(read_choice(value, out.names)));
    read_choice(value, value.field.choices);  // fewer than the enum has
    out.set(out.value, std::find(out.names.begin(), out.names.end(), value.node.text) - out.names.begin());
  }
};

// Null: the type's empty value.
struct Clearer {
  void operator()(std::monostate) const {}
  template <class T>
  void operator()(T* out) const {
    *out = T{};
  }
  void operator()(const EnumPointer& out) const { out.set(out.value, 0); }
};

void bind_section(const ConfigNode& tree, std::span<const Field> fields, const std::string& prefix,
                  FieldPlaces& places) {
  for (const ConfigEntry& entry : tree.entries) {
    const Field* field = find_field(fields, entry.key);
    if (field == nullptr) continue;  // check_keys has seen every key; this one belongs to another reader (base)
    const Value value{entry.value, *field, join_path(prefix, field->key)};
    places.set(value.path, entry.value.origin);
    const bool null = entry.value.kind == ConfigNode::Kind::null;
    if (field->is_section()) {
      if (null) continue;
      if (entry.value.kind != ConfigNode::Kind::section) value.wrong_type("a section");
      bind_section(entry.value, field->fields, value.path, places);
    } else if (null && field->optional) {
      std::visit(Clearer{}, field->value);
    } else {
      std::visit(Writer{value}, field->value);
    }
  }
}

}  // namespace

void check_keys(ConfigNode& tree, std::span<const Field> fields, std::vector<std::string>& notices) {
  if (tree.kind == ConfigNode::Kind::null) tree.kind = ConfigNode::Kind::section;  // an empty file
  if (tree.kind != ConfigNode::Kind::section)
    throw RecipeError{tree.origin.place(), "", "a recipe needs sections, found " + tree.describe(),
                      "start with `model:`"};
  KeyChecker(fields, notices).check(tree, fields, "");
}

void bind_fields(const ConfigNode& tree, std::span<const Field> fields, FieldPlaces& places) {
  bind_section(tree, fields, "", places);
}

}  // namespace nemo
