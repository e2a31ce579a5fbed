#include "kernels/base/plan_book.h"

namespace nemo::kernels {

void PlanBook::add(const std::string& source, Libraries libraries) {
  for (const auto& [library, opened] : opened_) {
    const auto it = libraries.find(library);
    if (it == libraries.end()) continue;
    join(source, library, std::move(it->second));
    libraries.erase(it);
  }
  waiting_.push_back({source, std::move(libraries)});
}

void PlanBook::open(const std::string& library, int64_t version) {
  opened_[library].version = version;
  for (Waiting& each : waiting_) {
    const auto it = each.libraries.find(library);
    if (it == each.libraries.end()) continue;
    join(each.source, library, std::move(it->second));
    each.libraries.erase(it);
  }
}

void PlanBook::join(const std::string& source, const std::string& library, Library&& plans) {
  Library& ours = opened_.at(library);
  if (plans.version != ours.version) {
    notices_.push_back("plans of " + source + " were chosen for " + library + " " + std::to_string(plans.version) +
                       ", this is " + std::to_string(ours.version) +
                       ": chosen again, results may differ in their last bits");
    return;
  }
  for (auto& [product, plan] : plans.plans) ours.plans[product] = std::move(plan);
}

const std::string* PlanBook::find(const std::string& library, const std::string& product) const {
  const auto opened = opened_.find(library);
  if (opened == opened_.end()) return nullptr;
  const auto plan = opened->second.plans.find(product);
  return plan == opened->second.plans.end() ? nullptr : &plan->second;
}

void PlanBook::keep(const std::string& library, const std::string& product, std::string plan) {
  opened_.at(library).plans[product] = std::move(plan);
  changed_ = true;
}

}  // namespace nemo::kernels
