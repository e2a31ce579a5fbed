// The recipe's `peft` section: which small set of weights is trained instead of all. Not here: the adapters.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/field.h"

namespace nemo {

enum class PeftScheme : uint8_t { none, lora, dora, ptuning };

std::span<const std::string_view> enum_names(PeftScheme);

struct PeftConfig {
  PeftScheme scheme = PeftScheme::none;
  std::vector<std::string> target_modules;
  int64_t dim = 16, alpha = 32;
  double dropout = 0;

  template <class Visit>
  void fields(Visit&& visit) {
    visit("scheme", scheme,
          "none trains every weight; LoRA: Hu et al. 2021, arXiv:2106.09685; DoRA: Liu et al. 2024, arXiv:2402.09353");
    visit("target_modules", target_modules, "linears that get an adapter", Optional{});
    visit("dim", dim, "rank of the adapter", Positive{});
    visit("alpha", alpha, "the adapter's output is scaled by alpha / dim", Positive{});
    visit("dropout", dropout, "dropout of the adapter's input", AtLeast{0}, Below{1});
  }
};

}  // namespace nemo
