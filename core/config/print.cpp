#include "core/config/print.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace nemo {
namespace {

std::string number_text(double number) {  // the shortest text that reads back to the same bits
  char buffer[40];
  return std::string(buffer, std::to_chars(buffer, buffer + sizeof buffer, number).ptr);
}

// Letters and digits with a few marks, not to be taken for null, a bool or a number: everything else is quoted.
bool needs_quotes(std::string_view text) {
  if (text.empty() ||
      !(std::isalpha(static_cast<unsigned char>(text[0])) || text[0] == '/' || text[0] == '_' || text[0] == '.'))
    return true;
  const auto safe = [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '-' || c == '.' || c == '/' || c == '+';
  };
  if (!std::all_of(text.begin(), text.end(), safe)) return true;
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const std::string_view word :
       {"null", "true", "false", "yes", "no", "on", "off", "y", "n", "inf", "nan", ".inf", ".nan"})
    if (lower == word) return true;
  return text[0] == '.' && text.size() > 1 && std::isdigit(static_cast<unsigned char>(text[1]));
}

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (const unsigned char c : text) {
    constexpr char kHex[] = "0123456789abcdef";
    if (c == '"' || c == '\\')
      out += '\\', out += static_cast<char>(c);
    else if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (c < 0x20 || c == 0x7f)
      out += "\\x", out += kHex[c >> 4], out += kHex[c & 15];
    else
      out += static_cast<char>(c);
  }
  return out + '"';
}

std::string string_text(std::string_view text) {
  return needs_quotes(text) ? quote(text) : std::string(text);
}

template <class List, class Text>
std::string list_text(const List& list, Text&& text) {
  std::string out = "[";
  for (const auto& item : list) out += (out.size() > 1 ? ", " : "") + text(item);
  return out + "]";
}

std::string seconds_text(double seconds) {
  if (seconds != std::floor(seconds) || seconds >= 1e9) return number_text(seconds);
  const auto total = static_cast<int64_t>(seconds);
  const auto two = [](int64_t n) { return (n < 10 ? "0" : "") + std::to_string(n); };
  return '"' + two(total / 3600) + ":" + two(total / 60 % 60) + ":" + two(total % 60) + '"';
}

struct ValueText {
  bool optional;

  std::string operator()(std::monostate) const { return ""; }
  std::string operator()(const bool* v) const { return *v ? "true" : "false"; }
  std::string operator()(const int64_t* v) const { return optional && *v == 0 ? "null" : std::to_string(*v); }
  std::string operator()(const double* v) const { return number_text(*v); }
  std::string operator()(const std::string* v) const { return optional && v->empty() ? "null" : string_text(*v); }
  std::string operator()(const Seconds* v) const { return optional && v->value == 0 ? "null" : seconds_text(v->value); }
  std::string operator()(const std::array<double, 2>* v) const { return list_text(*v, number_text); }
  std::string operator()(const std::vector<int64_t>* v) const {
    return list_text(*v, [](int64_t item) { return std::to_string(item); });
  }
  std::string operator()(const std::vector<std::string>* v) const { return list_text(*v, string_text); }
  std::string operator()(const std::map<std::string, std::string>* v) const {
    std::string out = "{";
    for (const auto& [key, value] : *v)
      out += (out.size() > 1 ? ", " : "") + string_text(key) + ": " + string_text(value);
    return out + "}";
  }
  std::string operator()(const EnumPointer& v) const { return std::string(v.names[v.get(v.value)]); }
};

struct TypeText {
  std::string operator()(std::monostate) const { return "section"; }
  std::string operator()(const bool*) const { return "true or false"; }
  std::string operator()(const int64_t*) const { return "integer"; }
  std::string operator()(const double*) const { return "number"; }
  std::string operator()(const std::string*) const { return "text"; }
  std::string operator()(const Seconds*) const { return "time"; }
  std::string operator()(const std::array<double, 2>*) const { return "two numbers"; }
  std::string operator()(const std::vector<int64_t>*) const { return "list of integers"; }
  std::string operator()(const std::vector<std::string>*) const { return "list"; }
  std::string operator()(const std::map<std::string, std::string>*) const { return "NAME: value pairs"; }
  std::string operator()(const EnumPointer& v) const { return choice_text(v.names); }

  template <class Choices>
  static std::string choice_text(const Choices& choices) {
    std::string out;
    for (const std::string_view choice : choices) out += (out.empty() ? "" : " | ") + std::string(choice);
    return out;
  }
};

void print_section(std::span<const Field> fields, const std::string& indent, std::string& out) {
  for (const Field& field : fields) {
    out += indent + std::string(field.key) + ":";
    if (field.is_section()) {
      out += '\n';
      print_section(field.fields, indent + "  ", out);
    } else {
      out += ' ' + value_text(field) + '\n';
    }
  }
}

void collect_leaves(std::span<const Field> fields, const std::string& prefix, std::vector<LeafField>& leaves) {
  for (const Field& field : fields) {
    const std::string path = prefix + std::string(field.key);
    if (field.is_section())
      collect_leaves(field.fields, path + ".", leaves);
    else
      leaves.push_back({path, &field});
  }
}

}  // namespace

std::string print_yaml(std::span<const Field> fields) {
  std::string out;
  print_section(fields, "", out);
  return out;
}

std::string value_text(const Field& field) {
  return std::visit(ValueText{field.optional}, field.value);
}

std::vector<LeafField> list_leaves(std::span<const Field> fields) {
  std::vector<LeafField> leaves;
  collect_leaves(fields, "", leaves);
  return leaves;
}

std::vector<FieldDifference> diff_fields(std::span<const Field> left, std::span<const Field> right) {
  std::vector<FieldDifference> differences;
  const std::vector<LeafField> left_leaves = list_leaves(left), right_leaves = list_leaves(right);
  for (size_t i = 0; i < left_leaves.size(); ++i) {
    const std::string a = value_text(*left_leaves[i].field), b = value_text(*right_leaves[i].field);
    if (a != b) differences.push_back({left_leaves[i].path, a, b});
  }
  return differences;
}

std::string type_text(const Field& field) {
  return field.choices.empty() ? std::visit(TypeText{}, field.value) : TypeText::choice_text(field.choices);
}

std::string range_text(const Field& field) {
  const bool low = std::isfinite(field.lower), high = std::isfinite(field.upper);
  const std::string lower = (field.above_lower ? "above " : "at least ") + number_text(field.lower);
  const std::string upper = (field.below_upper ? "below " : "at most ") + number_text(field.upper);
  return low && high ? lower + " and " + upper : low ? lower : high ? upper : "";
}

}  // namespace nemo
