// Words for a run that hangs. Not here: noticing it (watchdog.cpp).
#include <algorithm>
#include <iomanip>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "parallel/comm/watchdog.h"

namespace nemo {
namespace {

using Json = nlohmann::json;

const CallPosition* find_group(const RankPositions& positions, const CallPosition& group) {
  const auto found = std::find_if(positions.groups.begin(), positions.groups.end(), [&](const CallPosition& each) {
    return each.group == group.group && each.ranks == group.ranks;
  });
  return found == positions.groups.end() ? nullptr : &*found;
}

std::string describe(const CallPosition& position) {
  if (position.sequence == 0) return position.group + ": no call yet";
  std::ostringstream out;
  out << position.group << ": " << position.call << " (call " << position.sequence << ", step " << position.step << ") "
      << (position.in_flight ? "in flight" : "ended");
  return out.str();
}

std::string describe(const RankPositions& positions) {
  if (!positions.answered) return "no answer: stopped, ended, or its machine is cut off";
  std::string out = "step " + std::to_string(positions.step);
  for (const CallPosition& position : positions.groups) out.append("; ").append(describe(position));
  return out;
}

// {0, 1, 2, 5} -> "0-2, 5"
std::string list_ranks(const std::vector<int>& ranks) {
  std::string out;
  for (size_t first = 0, end; first < ranks.size(); first = end) {
    for (end = first + 1; end < ranks.size() && ranks[end] == ranks[end - 1] + 1;) ++end;
    out.append(out.empty() ? "" : ", ").append(std::to_string(ranks[first]));
    if (end > first + 1) out.append("-").append(std::to_string(ranks[end - 1]));
  }
  return out;
}

std::string plural(const std::vector<int>& ranks) {
  return std::string(ranks.size() == 1 ? "rank " : "ranks ").append(list_ranks(ranks));
}

}  // namespace

std::string write_positions(const RankPositions& positions) {
  Json json{{"step", positions.step}, {"groups", Json::array()}};
  for (const CallPosition& each : positions.groups)
    json["groups"].push_back({{"group", each.group},
                              {"ranks", each.ranks},
                              {"sequence", each.sequence},
                              {"in_flight", each.in_flight},
                              {"call", each.call},
                              {"step", each.step}});
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

RankPositions read_positions(const std::string& text) {
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) return {};
  RankPositions positions{.answered = true, .step = json.value("step", int64_t{0}), .groups = {}};
  for (const Json& each : json.value("groups", Json::array()))
    positions.groups.push_back({.group = each.value("group", ""),
                                .ranks = each.value("ranks", std::vector<int>()),
                                .sequence = each.value("sequence", uint64_t{0}),
                                .in_flight = each.value("in_flight", false),
                                .call = each.value("call", ""),
                                .step = each.value("step", int64_t{0})});
  return positions;
}

std::string describe_hang(int rank, const CallPosition& stuck, double waited_s,
                          const std::vector<RankPositions>& ranks) {
  std::ostringstream out;
  out << "rank " << rank << " has waited " << std::fixed << std::setprecision(1) << waited_s << " s in group "
      << stuck.group << " for " << stuck.call << " (call " << stuck.sequence << ") at step " << stuck.step << "\n";
  std::vector<int> silent, behind, there;
  for (const int member : stuck.ranks) {
    const RankPositions& theirs = ranks[static_cast<size_t>(member)];
    const CallPosition* position = find_group(theirs, stuck);
    if (!theirs.answered)
      silent.push_back(member);
    else if (position == nullptr || position->sequence < stuck.sequence)
      behind.push_back(member);
    else
      there.push_back(member);
  }
  if (!silent.empty()) out << "  does not answer: " << plural(silent) << "\n";
  if (!behind.empty()) out << "  has not come to it: " << plural(behind) << "\n";
  if (silent.empty() && behind.empty())
    out << "  every member has come to it: the network or the library is stuck, or they disagree about what it is\n";
  out << "  has come to it: " << plural(there) << "\nwhere the ranks stand:\n";
  std::map<std::string, std::vector<int>> alike;
  for (size_t each = 0; each < ranks.size(); ++each) alike[describe(ranks[each])].push_back(static_cast<int>(each));
  std::vector<std::pair<std::vector<int>, std::string>> lines;
  for (const auto& [text, members] : alike) lines.emplace_back(members, text);
  std::sort(lines.begin(), lines.end());
  for (const auto& [members, text] : lines) out << "  " << plural(members) << ": " << text << "\n";
  return out.str();
}

}  // namespace nemo
