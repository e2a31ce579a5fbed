// Before anything else all ranks find out whether they are the same program with the same recipe. Not here: what a rank
// says of itself (cli).
#pragma once
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "parallel/store/store_client.h"

namespace nemo {

using Facts = std::vector<std::pair<std::string, std::string>>;  // what must be alike, by name: {"optim.lr", "0.0003"}

// me: where this rank runs ("host:pid"), to tell two that both believe to be `rank`. On rank 0 the CommError says which
// rank differs in what, or is missing; on the others it only says that rank 0 knows.
void agree_on_start(StoreClient& store, int rank, int world_size, const std::string& me, const Facts& facts,
                    std::chrono::milliseconds deadline);

}  // namespace nemo
