// The folder of all checkpoints of a run, <results_dir>/<run>/checkpoints/step_000000100: which is the newest good one,
// and which go. Not here: what is in one of them (checkpoint_folder.h).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nemo {

std::string checkpoint_name(int64_t step);                           // "step_000000100"
std::optional<int64_t> step_of_checkpoint(const std::string& name);  // nothing for other names

struct LatestCheckpoint {
  struct Skipped {
    std::string path, reason;
  };
  std::optional<std::string> path;  // the newest good one
  std::vector<Skipped> skipped;     // newer ones that are partial or damaged, for the log
};
enum class CheckDepth { sizes, checksums };

// Nothing at all is no error: a run that starts has none.
LatestCheckpoint latest_checkpoint(const std::string& folder, CheckDepth depth = CheckDepth::sizes);

// The manifest goes first: an interrupted removal leaves a folder that nobody takes for a checkpoint.
void remove_checkpoint(const std::string& path);

// Keeps the keep_last newest of `just_written` and those before it, and removes the others before it, remains of
// interrupted removals and saves included. Returns what it removed. keep_last 0: keep all.
std::vector<std::string> prune_checkpoints(const std::string& folder, int64_t keep_last,
                                           const std::string& just_written);

}  // namespace nemo
