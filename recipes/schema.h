// The typed recipe: every section in one struct, read strictly from YAML and overrides, printed back without loss.
// Not here: what follows from it (recipes/plan.h), what this build cannot do yet (recipes/availability.h).
#pragma once
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/config/field.h"
#include "core/config/places.h"
#include "core/config/source.h"
#include "core/data/config.h"
#include "core/optim/config.h"
#include "core/tokenizer/config.h"
#include "models/decoder/config.h"
#include "parallel/config.h"
#include "recipes/cluster_config.h"
#include "recipes/peft_config.h"
#include "recipes/run_config.h"

namespace nemo {

struct Recipe {
  RunConfig run;
  ClusterConfig cluster;
  TrainerConfig trainer;
  DecoderConfig model;
  ParallelismConfig parallelism;
  DataConfig data;
  TokenizerConfig tokenizer;
  OptimizerConfig optim;
  CheckpointConfig checkpoint;
  PeftConfig peft;
  LoggerConfig logger;

  FieldPlaces places;                // where each key was set
  std::vector<std::string> notices;  // aliases that were read, settings without effect: to be shown once

  template <class Visit>
  void fields(Visit&& visit) {
    visit("run", run, "what the run is called and where it is kept");
    visit("cluster", cluster, "where it runs");
    visit("trainer", trainer, "how long it trains, in which precision, and what it shows");
    visit("model", model, "the architecture");
    visit("parallelism", parallelism, "how ranks share the work");
    visit("data", data, "what it trains on");
    visit("tokenizer", tokenizer, "how text becomes token ids");
    visit("optim", optim, "optimizer and learning rate");
    visit("checkpoint", checkpoint, "what is saved and where a run starts from");
    visit("peft", peft, "training a small part of the weights");
    visit("logger", logger, "records of the run");
  }
};

// Reads a recipe by name or path with its bases, puts the overrides above it, fills derived fields and checks that the
// sections agree with themselves. RecipeError says where. Everything that needs a world size is recipes/plan.h's.
Recipe load_recipe(const std::string& name_or_path, std::span<const std::string> overrides,
                   const RecipeFolders& folders);

// The same from text; file names it in errors. For recipes saved in checkpoints.
Recipe parse_recipe(const std::string& yaml, const std::string& file, std::span<const std::string> overrides,
                    const RecipeFolders& folders);

// Every key with its resolved value, in schema order; parse_recipe reads it back to the same bits.
std::string print_recipe(const Recipe& recipe);

}  // namespace nemo
