#include "core/checkpoint/retention.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "core/checkpoint/checkpoint_folder.h"
#include "core/error.h"

namespace nemo {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step_", kPartial = ".partial";

struct Found {
  int64_t step;
  bool partial;
  std::string path;
};

// Newest first; a partial one before a whole one of the same step.
std::vector<Found> list_checkpoints(const std::string& folder) {
  std::vector<Found> found;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    std::string name = entry.path().filename().string();
    const bool partial = name.ends_with(kPartial);
    if (partial) name.resize(name.size() - kPartial.size());
    if (const std::optional<int64_t> step = step_of_checkpoint(name))
      found.push_back({*step, partial, entry.path().string()});
  }
  std::sort(found.begin(), found.end(),
            [](const Found& a, const Found& b) { return std::pair(a.step, a.partial) > std::pair(b.step, b.partial); });
  return found;
}

}  // namespace

std::string checkpoint_name(int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step_%09lld", static_cast<long long>(step));
  return name;
}

std::optional<int64_t> step_of_checkpoint(const std::string& name) {
  if (!name.starts_with(kPrefix) || name.size() < kPrefix.size() + 9 || name.size() > kPrefix.size() + 18)
    return std::nullopt;
  int64_t step = 0;
  for (const char c : name.substr(kPrefix.size())) {
    if (c < '0' || c > '9') return std::nullopt;
    step = step * 10 + (c - '0');
  }
  return step;
}

LatestCheckpoint latest_checkpoint(const std::string& folder, CheckDepth depth) {
  LatestCheckpoint latest;
  for (const Found& found : list_checkpoints(folder)) {
    if (found.partial) {
      latest.skipped.push_back({found.path, "its save was interrupted"});
      continue;
    }
    try {
      const CheckpointFolder checkpoint(found.path);
      if (depth == CheckDepth::checksums) checkpoint.verify();
      latest.path = found.path;
      break;
    } catch (const CheckpointError& error) {
      latest.skipped.push_back({found.path, error.what()});
    }
  }
  return latest;
}

void remove_checkpoint(const std::string& path) {
  try {
    fs::remove(fs::path(path) / "manifest.json");
    sync_directory(path);
    fs::remove_all(path);
  } catch (const fs::filesystem_error& error) {
    throw CheckpointError{path, "", "cannot be removed: " + error.code().message()};
  }
}

std::vector<std::string> prune_checkpoints(const std::string& folder, int64_t keep_last,
                                           const std::string& just_written) {
  std::vector<std::string> removed;
  if (keep_last <= 0) return removed;
  const std::string newest = fs::path(just_written).filename().string();
  int64_t kept = 1;  // just_written
  for (const Found& found : list_checkpoints(folder)) {
    // Newer ones are of a run that went further before this one was resumed behind it: not ours to judge.
    if (found.step > step_of_checkpoint(newest).value_or(0) || fs::path(found.path).filename() == newest) continue;
    const bool whole = !found.partial && fs::exists(fs::path(found.path) / "manifest.json");
    if (whole && kept < keep_last) {
      ++kept;
      continue;
    }
    remove_checkpoint(found.path);
    removed.push_back(found.path);
  }
  return removed;
}

}  // namespace nemo
