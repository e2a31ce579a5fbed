#include "parallel/comm/counting_group.h"

#include "core/error.h"
#include "parallel/comm/communicator.h"
#include "parallel/comm/group_identity.h"

namespace nemo {
namespace {

class CountingCommunicator final : public Communicator {
 public:
  CountingCommunicator(GroupMembers members, std::shared_ptr<CommCounts> counts)
      : Communicator(std::move(members)), counts_(std::move(counts)) {}

  Work start(ExecContext& ctx, CommCall call) override {
    if (!ctx.device().is_meta())
      throw CommError{"group " + members().name, call.label, "only counts, and there is data to move",
                      "the meta device"};
    CommCount& count = (*counts_)[{members().name, std::string(name(call.collective))}];
    ++count.calls;
    count.sent_bytes += sent_bytes(call, members().rank, members().size());
    return {};
  }

 private:
  std::shared_ptr<CommCounts> counts_;
};

}  // namespace

ProcessGroup CountingGroups::make(const std::string& name, std::vector<int> ranks) {
  GroupMembers members = make_members(name, std::move(ranks), rank_, world_size_);
  if (members.size() == 1) return {};
  return ProcessGroup(std::make_shared<CountingCommunicator>(std::move(members), counts_));
}

}  // namespace nemo
