#include "parallel/mesh.h"

#include <catch2/catch.hpp>
#include <set>

#include "core/error.h"
#include "parallel/config.h"
#include "parallel/mesh_groups.h"
#include "tests/parallel/ranks.h"

using namespace nemo;

namespace {

ParallelismConfig config_of(int64_t tp, int64_t cp, int64_t pp, int64_t ep = 1, int64_t etp = 1,
                            int64_t instances = 1) {
  ParallelismConfig config;
  config.tensor_model_parallel_size = tp;
  config.context_parallel_size = cp;
  config.pipeline_model_parallel_size = pp;
  config.expert_model_parallel_size = ep;
  config.expert_tensor_parallel_size = etp;
  config.num_distributed_optimizer_instances = instances;
  return config;
}

}  // namespace

TEST_CASE("ranks of tp 2 x cp 2 x dp 2 x pp 2 lie where the order says", "[mesh]") {
  const MeshSizes sizes(config_of(2, 2, 2), 16);
  CHECK(sizes[Axis::data] == 2);
  const Mesh mesh(sizes, 13);  // 1 + 2 * (0 + 2 * (1 + 2 * 1))
  CHECK(mesh.coordinate(Axis::tensor) == 1);
  CHECK(mesh.coordinate(Axis::context) == 0);
  CHECK(mesh.coordinate(Axis::data) == 1);
  CHECK(mesh.coordinate(Axis::pipeline) == 1);
  CHECK(mesh.members({Axis::tensor}) == std::vector{12, 13});
  CHECK(mesh.members({Axis::context}) == std::vector{13, 15});
  CHECK(mesh.members({Axis::data}) == std::vector{9, 13});
  CHECK(mesh.members({Axis::pipeline}) == std::vector{5, 13});
  CHECK(mesh.members({Axis::data, Axis::context}) == std::vector{9, 11, 13, 15});
  CHECK(mesh.members({Axis::tensor, Axis::pipeline}) == std::vector{4, 5, 12, 13});
  CHECK(mesh.members(Axes{}) == std::vector{13});
  CHECK(mesh.size({Axis::tensor, Axis::pipeline}) == 4);
}

TEST_CASE("the expert grid lies over the same ranks, stages coincide", "[mesh]") {
  const MeshSizes sizes(config_of(2, 1, 2, 4), 16);  // dense 2 x 1 x 4 x 2, expert 1 x 4 x 2 x 2
  CHECK(sizes[Axis::data] == 4);
  CHECK(sizes[Axis::expert_data] == 2);
  const Mesh mesh(sizes, 14);  // expert 2, expert_data 1, stage 1
  CHECK(mesh.members({Axis::expert}) == std::vector{12, 13, 14, 15});
  CHECK(mesh.members({Axis::expert_data}) == std::vector{10, 14});
  CHECK(mesh.members({Axis::pipeline}) == std::vector{6, 14});
  CHECK_THROWS_WITH(mesh.members({Axis::data, Axis::expert}),
                    "mesh: dp_ep: mixes axes of the dense and the expert grid");
}

TEST_CASE("every plane of every mesh parts the world into equal groups", "[mesh]") {
  const ParallelismConfig config = GENERATE(config_of(1, 1, 1), config_of(2, 3, 2), config_of(4, 1, 3, 2, 2),
                                            config_of(1, 2, 2, 6, 1, 3), config_of(3, 2, 1, 1, 1, 4));
  const MeshSizes sizes(config, 24);
  const std::vector<std::vector<Axis>> planes = {{},
                                                 {Axis::tensor},
                                                 {Axis::context},
                                                 {Axis::data},
                                                 {Axis::pipeline},
                                                 {Axis::data, Axis::context},
                                                 {Axis::tensor, Axis::pipeline},
                                                 {Axis::tensor, Axis::context, Axis::data, Axis::pipeline},
                                                 {Axis::expert},
                                                 {Axis::expert_data},
                                                 {Axis::expert_tensor, Axis::expert}};
  for (const auto& plane : planes) {
    std::set<std::vector<int>> groups;
    for (int rank = 0; rank < 24; ++rank) {
      const Mesh mesh(sizes, rank);
      const std::vector<int> members = mesh.members(plane);
      CHECK(std::is_sorted(members.begin(), members.end()));
      CHECK(std::count(members.begin(), members.end(), rank) == 1);
      for (const int other : members) {
        CHECK(Mesh(sizes, other).members(plane) == members);
        for (const Axis axis : {Axis::tensor, Axis::context, Axis::data, Axis::pipeline})
          if (!plane.empty() && plane[0] < Axis::expert_tensor && std::count(plane.begin(), plane.end(), axis) == 0)
            CHECK(Mesh(sizes, other).coordinate(axis) == mesh.coordinate(axis));
      }
      groups.insert(members);
    }
    CHECK(groups.size() * groups.begin()->size() == 24);
  }
  for (int rank = 0; rank < 24; ++rank) {  // shards x replicas = data x context, and they cross at one rank
    const Mesh mesh(sizes, rank);
    const std::vector<int> shard = mesh.shard_members(), replica = mesh.replica_members();
    CHECK(static_cast<int64_t>(shard.size() * replica.size()) == mesh.size({Axis::data, Axis::context}));
    CHECK(static_cast<int64_t>(replica.size()) == config.num_distributed_optimizer_instances);
    std::vector<int> both;
    std::set_intersection(shard.begin(), shard.end(), replica.begin(), replica.end(), std::back_inserter(both));
    CHECK(both == std::vector{rank});
  }
}

TEST_CASE("layouts that do not fit are refused", "[mesh]") {
  CHECK_THROWS_WITH(MeshSizes(config_of(2, 1, 3), 8),
                    "parallelism.tensor_model_parallel_size: tensor x pipeline x context = 2 x 3 x 1 does not divide "
                    "the 8 ranks; try: start a multiple of 6 ranks, or lower one of the sizes");
  CHECK_THROWS_WITH(MeshSizes(config_of(1, 1, 1, 1, 1, 3), 8),
                    "parallelism.num_distributed_optimizer_instances: 3 does not divide the 8 ranks that share the "
                    "state; try: use 1, 2, 4 or 8");
  CHECK_THROWS_AS(Mesh(MeshSizes(config_of(1, 1, 1), 2), 2), PlanError);
}

TEST_CASE("a mesh is drawn with each rank in its place", "[mesh]") {
  CHECK(draw_mesh(MeshSizes(config_of(2, 1, 2), 8)) ==
        "tp 2 x cp 1 x dp 2 x pp 2: each cell holds the ranks of one tensor group\n"
        "        pp 0  pp 1\n"
        "  dp 0  0-1   4-5\n"
        "  dp 1  2-3   6-7\n");
  CHECK(draw_mesh(MeshSizes(config_of(1, 2, 1, 1, 1, 2), 4)) ==
        "tp 1 x cp 2 x dp 2 x pp 1: each cell holds the ranks of one tensor group\n"
        "             pp 0\n"
        "  dp 0 cp 0  0\n"
        "  dp 0 cp 1  1\n"
        "  dp 1 cp 0  2\n"
        "  dp 1 cp 1  3\n"
        "sharded state: 2 copies; rank 0 shares one with 0 1 and holds the same share as 0 2\n");
}

TEST_CASE("1024 ranks are drawn on one screen", "[mesh]") {
  const std::string drawing = draw_mesh(MeshSizes(config_of(8, 1, 16, 8), 1024));
  CHECK(std::count(drawing.begin(), drawing.end(), '\n') <= 20);
  CHECK_THAT(drawing, Catch::Matchers::Contains("1016-1023") &&
                          Catch::Matchers::Contains("experts: etp 1 x ep 8 x edp 8 x pp 16"));
}

TEST_CASE("mesh groups: sums along each axis see the right ranks", "[mesh][comm]") {
  using namespace nemo::test;
  const MeshSizes sizes(config_of(2, 1, 2, 1, 1, 2), 8);
  run_ranks(8, [&](Rank& rank) {
    MeshGroups groups(Mesh(sizes, rank.rank), rank.groups);
    const auto sum = [&](const ProcessGroup& group) {
      const Tensor tensor = rank.ctx.empty({1}, DType::int64);
      *tensor.data<int64_t>() = int64_t{1} << rank.rank;
      group.all_reduce(rank.ctx, tensor, Reduction::sum, "who").wait(rank.ctx);
      return *tensor.data<int64_t>();
    };
    const auto mask = [](const std::vector<int>& ranks) {
      int64_t bits = 0;
      for (const int each : ranks) bits |= int64_t{1} << each;
      return bits;
    };
    const Mesh& mesh = groups.mesh();
    expect_equal(sum(groups.world()), int64_t{255}, "world");
    expect_equal(sum(groups.group({Axis::tensor})), mask(mesh.members({Axis::tensor})), "tp");
    expect_equal(sum(groups.group({Axis::data, Axis::context})), mask(mesh.members({Axis::data, Axis::context})),
                 "dp_cp");
    expect_equal(sum(groups.group({Axis::tensor, Axis::pipeline})), mask(mesh.members({Axis::tensor, Axis::pipeline})),
                 "tp_pp");
    expect_equal(sum(groups.shard()), int64_t{1} << rank.rank, "shard");
    expect_equal(sum(groups.replica()), mask(mesh.members({Axis::data})), "replica");
    expect_equal(groups.group({Axis::data, Axis::context}).name(), std::string("dp_cp"), "name");
  });
}
