// Fields of typed recipe sections: constraints, and the list that a section's fields(visit) fills, with types erased at
// once. Not here: YAML, files and origins (core/config/node.h, source.h), binding and printing (bind.h, print.h).
#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace nemo {

// A length of time; recipes write [DD:]HH:MM:SS or seconds.
struct Seconds {
  double value = 0;
};

// Constraints and notes that follow a field's description. All bounds include their end except Below and Positive.
struct Positive {};
struct AtLeast {
  double bound;
};
struct AtMost {
  double bound;
};
struct Below {
  double bound;
};
struct Between {
  double lower, upper;
};
struct OneOf {
  OneOf(std::initializer_list<std::string_view> list) : choices(list) {}
  std::vector<std::string_view> choices;
};
struct Optional {};  // null stands for the type's empty value (0, "", [])
struct Alias {
  std::string_view key;
};  // another project's spelling: accepted, and reported once

// An enum is a field when `std::span<const std::string_view> enum_names(E)` names its values 0, 1, ... in order.
struct EnumPointer {
  void* value;
  std::span<const std::string_view> names;
  int64_t (*get)(const void* value);
  void (*set)(void* value, int64_t index);
};

using FieldPointer =
    std::variant<std::monostate, bool*, int64_t*, double*, std::string*, Seconds*, std::array<double, 2>*,
                 std::vector<int64_t>*, std::vector<std::string>*, std::map<std::string, std::string>*, EnumPointer>;

// One key of a section, or (value is monostate) a section with its own fields. Points into the struct it was made from;
// keys and texts are literals.
struct Field {
  std::string_view key, doc;
  FieldPointer value;
  std::vector<Field> fields;
  std::vector<std::string_view> aliases, choices;
  double lower = -std::numeric_limits<double>::infinity(), upper = std::numeric_limits<double>::infinity();
  bool above_lower = false, below_upper = false;  // the bound itself is excluded
  bool optional = false;

  bool is_section() const { return std::holds_alternative<std::monostate>(value); }
  void note(Positive) { lower = 0, above_lower = true; }
  void note(AtLeast c) { lower = c.bound; }
  void note(AtMost c) { upper = c.bound; }
  void note(Below c) { upper = c.bound, below_upper = true; }
  void note(Between c) { lower = c.lower, upper = c.upper; }
  void note(OneOf c) { choices = std::move(c.choices); }
  void note(Optional) { optional = true; }
  void note(Alias c) { aliases.push_back(c.key); }
};

template <class Section>
std::vector<Field> list_fields(Section& section);

// What a section's fields(visit) is called with.
class FieldLister {
 public:
  explicit FieldLister(std::vector<Field>& list) : list_(list) {}

  template <class T, class... Notes>
  void operator()(std::string_view key, T& member, std::string_view doc, const Notes&... notes) {
    Field field{.key = key, .doc = doc, .value = {}, .fields = {}, .aliases = {}, .choices = {}};
    if constexpr (requires { member.fields(*this); }) {
      field.fields = list_fields(member);
    } else if constexpr (std::is_enum_v<T>) {
      field.value = EnumPointer{&member, enum_names(T{}),
                                [](const void* v) { return static_cast<int64_t>(*static_cast<const T*>(v)); },
                                [](void* v, int64_t index) { *static_cast<T*>(v) = static_cast<T>(index); }};
    } else {
      field.value = &member;
    }
    (field.note(notes), ...);
    list_.push_back(std::move(field));
  }

 private:
  std::vector<Field>& list_;
};

template <class Section>
std::vector<Field> list_fields(Section& section) {
  std::vector<Field> list;
  FieldLister lister(list);
  section.fields(lister);
  return list;
}

}  // namespace nemo
