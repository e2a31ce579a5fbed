#include "core/device/plan_cache.h"

#include <unistd.h>

#include <cctype>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

namespace nemo {
namespace {

using kernels::PlanBook;
using nlohmann::json;

constexpr int kFormat = 1;

struct Saved {
  std::string device;
  PlanBook::Libraries libraries;
};

std::string to_text(const Saved& saved) {
  json libraries = json::object();
  for (const auto& [name, library] : saved.libraries)
    libraries[name] = {{"version", library.version}, {"plans", library.plans}};
  return json{{"format", kFormat}, {"device", saved.device}, {"libraries", libraries}}.dump(1) + "\n";
}

std::optional<Saved> from_text(const std::string& text) {
  try {
    const json value = json::parse(text);
    if (value.at("format") != kFormat) return std::nullopt;
    Saved saved{.device = value.at("device"), .libraries = {}};
    for (const auto& [name, library] : value.at("libraries").items())
      saved.libraries[name] = {library.at("version").get<int64_t>(),
                               library.at("plans").get<std::map<std::string, std::string>>()};
    return saved;
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

std::optional<std::string> contents(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return std::nullopt;
  return std::string{std::istreambuf_iterator<char>(in), {}};
}

std::filesystem::path file_of(const std::filesystem::path& folder, const std::string& device) {
  if (folder.empty()) return {};
  std::string name = device;
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return folder / ("plans_" + name + ".json");
}

}  // namespace

PlanCache::PlanCache(std::string device, const std::filesystem::path& folder)
    : device_(std::move(device)), file_(file_of(folder, device_)) {
  if (file_.empty()) return;
  if (const std::optional<std::string> text = contents(file_)) add(file_.string(), *text);
}

std::string PlanCache::text() const {
  for (const auto& [name, library] : book_.opened())
    if (!library.plans.empty()) return to_text({device_, book_.opened()});
  return "";
}

void PlanCache::add(const std::string& source, const std::string& text) {
  std::optional<Saved> saved = from_text(text);
  if (!saved) {
    notices_.push_back("plans of " + source + " are damaged: chosen again");
  } else if (saved->device != device_) {
    notices_.push_back("plans of " + source + " were chosen on " + saved->device + ", this is " + device_ +
                       ": chosen again, results may differ in their last bits");
  } else {
    book_.add(source, std::move(saved->libraries));
  }
}

void PlanCache::write() noexcept {
  if (!book_.take_changed() || file_.empty()) return;
  try {
    Saved merged{.device = device_, .libraries = book_.opened()};
    if (const std::optional<std::string> text = contents(file_)) {
      std::optional<Saved> there = from_text(*text);
      if (there && there->device == device_) {
        for (auto& [name, library] : there->libraries) {
          const auto [ours, added] = merged.libraries.try_emplace(name, library);
          if (!added && ours->second.version == library.version) ours->second.plans.merge(library.plans);
        }
      }
    }
    std::filesystem::create_directories(file_.parent_path());
    const std::filesystem::path partial = file_.string() + "." + std::to_string(::getpid()) + ".partial";
    std::ofstream out(partial, std::ios::binary);
    out << to_text(merged);
    out.close();
    if (!out)
      throw std::filesystem::filesystem_error("cannot write", partial, std::make_error_code(std::errc::io_error));
    std::filesystem::rename(partial, file_);
  } catch (const std::exception& error) {
    notices_.push_back("plans were not kept for later runs: " + std::string(error.what()));
  }
}

std::vector<std::string> PlanCache::take_notices() {
  std::vector<std::string> all = std::exchange(notices_, {});
  for (std::string& notice : book_.take_notices()) all.push_back(std::move(notice));
  return all;
}

}  // namespace nemo
