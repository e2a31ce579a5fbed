// A Hugging Face config.json read strictly: every key is taken by somebody or known to leave the arithmetic alone.
// Not here: what the keys of one family mean (models/<family>/hf_config.cpp).
#pragma once
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nemo {

// An object of the file. A key that is null counts as absent. Every error is a CheckpointError naming file and key.
class HfKeys {
 public:
  HfKeys(std::string place, const std::string& json_text);
  HfKeys(HfKeys&&) noexcept;
  ~HfKeys();

  bool has(std::string_view key) const;  // there, even if null
  std::optional<int64_t> integer(std::string_view key);
  std::optional<double> number(std::string_view key);
  std::optional<bool> flag(std::string_view key);
  std::optional<std::string> text(std::string_view key);
  std::optional<std::vector<std::string>> texts(std::string_view key);
  std::vector<int64_t> integers(std::string_view key);  // one number or a list of them
  std::optional<HfKeys> object(std::string_view key);

  int64_t required_size(std::string_view key);  // above zero
  double required_positive(std::string_view key);
  double probability(std::string_view key, double otherwise);            // in [0, 1)
  void require_flag(std::string_view key, bool wanted, bool otherwise);  // `otherwise`: what an absent key means
  void ignore(std::initializer_list<std::string_view> keys);             // known to leave the arithmetic alone
  void ignore_common();  // the bookkeeping that every family's file may hold
  void finish() const;   // refuses a key that nobody took

  [[noreturn]] void refuse(std::string_view key, const std::string& reason, const std::string& suggestion = "") const;

 private:
  struct Content;
  explicit HfKeys(std::unique_ptr<Content> content);
  std::unique_ptr<Content> content_;
};

}  // namespace nemo
