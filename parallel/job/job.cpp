#include "parallel/job/job.h"

#include <exception>
#include <thread>

#include "core/error.h"
#include "parallel/comm/gloo_group.h"
#include "parallel/comm/nccl_group.h"

namespace nemo {

Job::Job(JobOptions options) : options_(std::move(options)) {
  if (options_.serves_store) {
    const std::string& host = options_.store.host;
    const bool local = host == "localhost" || host == "::1" || host.starts_with("127.");
    // By a name this machine may know itself only as a loopback address, which the others cannot reach.
    server_.emplace(Endpoint{.host = local ? host : "", .port = options_.store.port});
  }
  store_.emplace(options_.store, options_.store_prefix, options_.start_timeout);
  agree_on_start(*store_, options_.rank, options_.world_size, options_.place, options_.facts, options_.start_timeout);
  stop_.emplace(*store_, options_.rank, options_.world_size, options_.deadline);
  watchdog_.emplace(*store_, log_,
                    WatchdogOptions{.rank = options_.rank,
                                    .world_size = options_.world_size,
                                    .deadline = options_.deadline,
                                    .on_hang = options_.on_hang});
}

Job::~Job() {
  groups_.reset();
  try {
    if (store_ && stop_ && std::uncaught_exceptions() == 0) {
      if (store_->add("end/count", 1) == options_.world_size) store_->set("end/all", "1");
      store_->wait("end/all", options_.deadline);
      watchdog_.reset();
      stop_.reset();
      // Who serves the store leaves last, so that nobody's wait is cut off.
      if (store_->add("end/seen", 1) == options_.world_size) store_->set("end/last", "1");
      if (options_.serves_store) store_->wait("end/last", std::chrono::seconds(5));
    }
  } catch (const CommError&) {
    // The store is gone: there is nobody left to wait for.
  }
}

GroupFactory& Job::groups(Device device) {
  if (groups_) return *groups_;
  // The watchdog is to come first, since it can say more than a transport that gives up.
  const auto deadline = 2 * options_.deadline + std::chrono::seconds(5);
  if (device.is_cuda())
    groups_ = std::make_unique<NcclGroups>(*store_, options_.rank, options_.world_size, device, deadline, log_);
  else
    groups_ = std::make_unique<GlooGroups>(*store_, options_.rank, options_.world_size, deadline, log_);
  return *groups_;
}

}  // namespace nemo
