#include "parallel/comm/call_log.h"

#include <algorithm>

namespace nemo {

std::vector<CallPosition> CallLog::positions() const {
  std::lock_guard lock(mutex_);
  std::vector<CallPosition> positions;
  for (const CallSource* source : sources_) positions.push_back(source->position());
  return positions;
}

void CallLog::add(const CallSource& source) {
  std::lock_guard lock(mutex_);
  sources_.push_back(&source);
}

void CallLog::remove(const CallSource& source) {
  std::lock_guard lock(mutex_);
  std::erase(sources_, &source);
}

}  // namespace nemo
