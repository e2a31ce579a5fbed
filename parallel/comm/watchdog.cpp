#include "parallel/comm/watchdog.h"

#include <algorithm>
#include <map>
#include <optional>

#include "core/error.h"

namespace nemo {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kGrace{2000};  // for the other ranks to say where they stand

struct Sighting {
  uint64_t sequence = 0;
  Clock::time_point since = {};
};

class Watch {
 public:
  Watch(StoreClient& store, CallLog& log, const WatchdogOptions& options, const std::atomic<bool>& closing)
      : store_(store), log_(log), options_(options), closing_(closing) {}

  void go() {
    const milliseconds interval = std::clamp(options_.deadline / 10, milliseconds(10), milliseconds(250));
    while (!closing_) {
      if (store_.wait("hang/asked", interval)) return answer();
      look();
      if (stuck_) return ask();
    }
  }

 private:
  // Finds the call that has been in flight the longest, if one is past its deadline.
  void look() {
    const Clock::time_point now = Clock::now();
    std::map<std::string, Sighting> seen;
    size_t index = 0;
    for (CallPosition& position : log_.positions()) {
      const std::string key = std::to_string(index++) + position.group;
      if (!position.in_flight) continue;
      const auto before = seen_.find(key);
      const bool same = before != seen_.end() && before->second.sequence == position.sequence;
      const Sighting sighting{position.sequence, same ? before->second.since : now};
      seen[key] = sighting;
      if (now - sighting.since < options_.deadline || (stuck_ && since_ <= sighting.since)) continue;
      stuck_ = std::move(position);
      since_ = sighting.since;
    }
    seen_ = std::move(seen);
  }

  static std::string key_of(int rank) { return "hang/at/" + std::to_string(rank); }

  void publish() {
    store_.set(key_of(options_.rank),
               write_positions({.answered = true, .step = log_.step(), .groups = log_.positions()}));
  }

  // Of several ranks that notice at once, the first writes the report.
  void ask() {
    publish();
    const std::string me = std::to_string(options_.rank);
    if (store_.compare_set("hang/asked", std::nullopt, me) != me) return answer();
    const Clock::time_point deadline = Clock::now() + kGrace;
    std::vector<RankPositions> ranks(static_cast<size_t>(options_.world_size));
    for (int rank = 0; rank < options_.world_size; ++rank) {
      const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
      if (const auto text = store_.wait(key_of(rank), std::max(left, milliseconds(0))))
        ranks[static_cast<size_t>(rank)] = read_positions(*text);
    }
    const double waited_s = std::chrono::duration<double>(Clock::now() - since_).count();
    const std::string report = describe_hang(options_.rank, *stuck_, waited_s, ranks);
    store_.set("hang/reported", report);
    // The others go first: the end of this process would look to them like one more failure.
    const auto num_others =
        std::count_if(ranks.begin(), ranks.end(), [](const RankPositions& each) { return each.answered; }) - 1;
    for (int i = 0; i < 50 && store_.add("hang/left", 0) < num_others; ++i)
      std::this_thread::sleep_for(milliseconds(20));
    options_.on_hang(report);
  }

  void answer() {
    publish();
    store_.wait("hang/reported", 2 * kGrace);
    store_.add("hang/left", 1);
    options_.on_hang("");
  }

  StoreClient& store_;
  CallLog& log_;
  const WatchdogOptions& options_;
  const std::atomic<bool>& closing_;
  std::map<std::string, Sighting> seen_;
  std::optional<CallPosition> stuck_;
  Clock::time_point since_;
};

}  // namespace

Watchdog::Watchdog(const StoreClient& store, std::shared_ptr<CallLog> log, WatchdogOptions options) {
  thread_ = std::thread([this, &store, log = std::move(log), options = std::move(options)] {
    try {
      StoreClient own = store.another();
      Watch(own, *log, options, closing_).go();
    } catch (const CommError& error) {
      if (!closing_)
        options.on_hang(std::string("the run cannot be watched any more: ").append(error.what()).append("\n"));
    }
  });
}

Watchdog::~Watchdog() {
  closing_ = true;
  thread_.join();
}

}  // namespace nemo
