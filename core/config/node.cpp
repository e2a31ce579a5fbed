#include "core/config/node.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>

#include "core/error.h"

namespace nemo {
namespace {

constexpr size_t kMaxBytes = size_t{4} << 20;  // far above any recipe; bounds what a hostile file can cost
constexpr int kMaxNodes = 20'000;              // YAML aliases can multiply a small file without end
constexpr int kMaxDepth = 32;

// Converts yaml-cpp's nodes, checking what yaml-cpp lets pass.
class Converter {
 public:
  explicit Converter(const Origin& origin) : origin_(origin) {}

  ConfigNode convert(const YAML::Node& yaml, int line, int depth) {
    const Origin here = at(line);
    if (++num_nodes_ > kMaxNodes || depth > kMaxDepth)
      throw RecipeError{here.place(), "", "too many or too deeply nested values for a recipe", "remove YAML anchors"};
    ConfigNode node;
    node.origin = here;
    switch (yaml.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null:
        break;
      case YAML::NodeType::Scalar:
        node.kind = ConfigNode::Kind::scalar;
        node.text = yaml.Scalar();
        node.quoted = yaml.Tag() == "!";  // yaml-cpp's mark of a quoted scalar
        break;
      case YAML::NodeType::Sequence:
        node.kind = ConfigNode::Kind::list;
        for (const YAML::Node& item : yaml) node.items.push_back(convert(item, line_of(item, line), depth + 1));
        break;
      case YAML::NodeType::Map:
        node.kind = ConfigNode::Kind::section;
        for (const auto& entry : yaml) add_entry(node, entry.first, entry.second, line, depth);
        break;
    }
    return node;
  }

 private:
  Origin at(int line) const {
    Origin here = origin_;
    if (here.kind != Origin::Kind::command_line) here.line += line;
    return here;
  }

  static int line_of(const YAML::Node& yaml, int otherwise) {
    return yaml.Mark().is_null() ? otherwise : yaml.Mark().line + 1;
  }

  void add_entry(ConfigNode& section, const YAML::Node& key, const YAML::Node& value, int line, int depth) {
    const int key_line = line_of(key, line);
    if (!key.IsScalar()) throw RecipeError{at(key_line).place(), "", "a key must be a word", ""};
    const std::string& name = key.Scalar();
    if (name == "<<")
      throw RecipeError{at(key_line).place(), "<<", "merge keys are not supported", "inherit with base: RECIPE"};
    if (const ConfigNode* before = section.find(name))
      throw RecipeError{at(key_line).place(), name, "given twice, first at " + before->origin.place(),
                        "remove one of the two"};
    ConfigNode node = convert(value, key_line, depth + 1);
    node.origin = at(key_line);
    section.entries.push_back({name, std::move(node)});
  }

  Origin origin_;
  int num_nodes_ = 0;
};

bool is_key_path(std::string_view path) {
  const bool words = std::all_of(path.begin(), path.end(),
                                 [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '.' || c == '-'; });
  return !path.empty() && words && path.front() != '.' && path.back() != '.' && path.find("..") == path.npos;
}

}  // namespace

const ConfigNode* ConfigNode::find(std::string_view key) const {
  for (const ConfigEntry& entry : entries)
    if (entry.key == key) return &entry.value;
  return nullptr;
}

ConfigNode* ConfigNode::find(std::string_view key) {
  return const_cast<ConfigNode*>(static_cast<const ConfigNode*>(this)->find(key));
}

std::string ConfigNode::describe() const {
  switch (kind) {
    case Kind::null:
      return "null";
    case Kind::list:
      return "a list";
    case Kind::section:
      return "a section";
    case Kind::scalar:
      break;
  }
  const std::string shown = text.size() > 60 ? text.substr(0, 57) + "..." : text;
  const bool number = !shown.empty() && shown.find_first_not_of("+-.eE0123456789_") == shown.npos;
  return number && !quoted ? shown : '"' + shown + '"';
}

ConfigNode parse_yaml(const std::string& text, const Origin& origin) {
  if (text.size() > kMaxBytes)
    throw RecipeError{origin.place(), "", "too large for a recipe (" + std::to_string(text.size()) + " bytes)", ""};
  YAML::Node yaml;
  try {
    yaml = YAML::Load(text);
  } catch (const YAML::Exception& error) {
    Origin here = origin;
    if (here.kind != Origin::Kind::command_line) here.line += error.mark.is_null() ? 1 : error.mark.line + 1;
    throw RecipeError{here.place(), "", "not valid YAML: " + error.msg, "check indentation, colons and brackets"};
  }
  return Converter(origin).convert(yaml, 1, 0);
}

ConfigNode parse_override(const std::string& assignment) {
  const Origin origin{.kind = Origin::Kind::command_line, .file = "", .line = 0};
  const size_t equals = assignment.find('=');
  const std::string path = assignment.substr(0, equals);
  if (equals == assignment.npos || !is_key_path(path))
    throw RecipeError{origin.place(), assignment, "not an override", "write key.path=value, e.g. optim.lr=1e-4"};
  ConfigNode node;
  try {
    node = parse_yaml(assignment.substr(equals + 1), origin);
  } catch (const RecipeError&) {
    throw RecipeError{origin.place(), path, "the value is not valid YAML: " + assignment.substr(equals + 1),
                      "quote it for YAML and the shell: '" + path + "=\"...\"'"};
  }
  for (size_t end = path.size(); end > 0;) {  // wrap from the last word of the path outwards
    const size_t dot = path.rfind('.', end - 1);
    const size_t start = dot == path.npos ? 0 : dot + 1;
    ConfigNode section;
    section.kind = ConfigNode::Kind::section;
    section.origin = origin;
    section.entries.push_back({path.substr(start, end - start), std::move(node)});
    node = std::move(section);
    end = dot == path.npos ? 0 : dot;
  }
  return node;
}

void merge_over(ConfigNode& base, const ConfigNode& over) {
  if (base.kind == ConfigNode::Kind::section && over.kind == ConfigNode::Kind::null)
    return;  // `model:` with nothing in it
  if (base.kind != ConfigNode::Kind::section || over.kind != ConfigNode::Kind::section) {
    base = over;
    return;
  }
  for (const ConfigEntry& entry : over.entries) {
    if (ConfigNode* below = base.find(entry.key))
      merge_over(*below, entry.value);
    else
      base.entries.push_back(entry);
  }
}

}  // namespace nemo
