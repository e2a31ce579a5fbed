#include "core/tokenizer/huggingface/json_field.h"

#include <nlohmann/json.hpp>

namespace nemo::huggingface {

JsonField JsonField::operator[](const char* key) const {
  std::optional<JsonField> member = find(key);
  if (!member) throw error("\"" + std::string(key) + "\" is missing");
  return *member;
}

std::optional<JsonField> JsonField::find(const char* key) const {
  if (!value_->is_object()) throw error("an object is expected here");
  const auto member = value_->find(key);
  if (member == value_->end() || member->is_null()) return std::nullopt;
  return JsonField(*member, file_, path_.empty() ? key : path_ + "." + key);
}

std::vector<JsonField> JsonField::elements() const {
  if (!value_->is_array()) throw error("a list is expected here");
  std::vector<JsonField> fields;
  for (size_t i = 0; i < value_->size(); ++i) fields.emplace_back((*value_)[i], file_, path_ + "[" + std::to_string(i) + "]");
  return fields;
}

const std::string& JsonField::text() const {
  if (!value_->is_string()) throw error("a string is expected here");
  return value_->get_ref<const std::string&>();
}

bool JsonField::flag() const {
  if (!value_->is_boolean()) throw error("true or false is expected here");
  return value_->get<bool>();
}

int64_t JsonField::integer(int64_t least, int64_t largest) const {
  const bool in_range = value_->is_number_integer() && (!value_->is_number_unsigned() || value_->get<uint64_t>() <= uint64_t(INT64_MAX)) &&
                        value_->get<int64_t>() >= least && value_->get<int64_t>() <= largest;
  if (!in_range) throw error("a whole number from " + std::to_string(least) + " to " + std::to_string(largest) + " is expected here");
  return value_->get<int64_t>();
}

bool JsonField::flag(const char* key, bool otherwise) const {
  const auto member = find(key);
  return member ? member->flag() : otherwise;
}

std::string JsonField::text(const char* key, const std::string& otherwise) const {
  const auto member = find(key);
  return member ? member->text() : otherwise;
}

}  // namespace nemo::huggingface
