// The one main: builds the command tree, runs the command asked for, and turns errors into a line on stderr and an exit
// code. Not here: what commands do (cli/*_command.cpp).
#include <CLI/CLI.hpp>
#include <iostream>

#include "cli/bench_command.h"
#include "cli/build_info.h"
#include "cli/command_error.h"
#include "cli/convert_command.h"
#include "cli/cpu_support.h"
#include "cli/data_command.h"
#include "cli/doctor_command.h"
#include "cli/explain_command.h"
#include "cli/generate_command.h"
#include "cli/launch_command.h"
#include "cli/pretrain_command.h"
#include "cli/recipes_command.h"
#include "cli/version_command.h"
#include "core/error.h"
#include "recipes/dry_run.h"

namespace {

constexpr const char* kHelpFooter = R"(Examples:
  nemo pretrain char_gpt_cpu data.text=book.txt
                                  train a small model on any text
  nemo recipes ls                 the shipped recipes
  nemo explain gpt2_124m          every setting, where it came from and what it costs
  nemo generate FOLDER --prompt "Once upon a time"
                                  continue a text with a trained model
  nemo bench train llama3_2_1b    how fast this machine trains
  nemo doctor                     check this machine: CPU, GPU, libraries, disk, limits
  nemo version --json             what this binary was built from
  nemo COMMAND --help             options and examples of one command

Exit codes: 0 ok, 2 bad usage or recipe, 1 failure, 130 and 143 when stopped by SIGINT and SIGTERM.)";

void add_commands(CLI::App& app) {
  nemo::add_pretrain_command(app);
  nemo::add_launch_command(app);
  nemo::add_generate_command(app);
  nemo::add_recipes_command(app);
  nemo::add_explain_command(app, [](const nemo::Recipe& recipe, const nemo::Plan& plan) { return nemo::estimate_memory(recipe, plan, nemo::DeviceType::cuda); });
  nemo::add_data_command(app);
  nemo::add_convert_command(app);
  nemo::add_bench_command(app);
  nemo::add_doctor_command(app);
  nemo::add_version_command(app);
}

int run(int argc, char** argv) {
  CLI::App app{"nemo trains large language models from YAML recipes, on CPUs and NVIDIA GPUs.", "nemo"};
  app.footer(kHelpFooter);
  app.set_version_flag("--version", nemo::build_info().summary(), "Print the version in one line and exit");
  app.get_formatter()->column_width(34);
  add_commands(app);
  try {
    if (argc > 1) nemo::expect_known_command(app, argv[1]);
    app.parse(argc, argv);
    if (app.get_subcommands().empty()) {
      std::cerr << app.help();
      return nemo::kExitUsage;
    }
  } catch (
      const CLI::RuntimeError& finished) {  // how a command ends with a code of its own, its report already printed
    return finished.get_exit_code();
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help and --version
    throw nemo::usage_error(app, error.what());
  }
  return nemo::kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    nemo::expect_supported_cpu();
    int code = run(argc, argv);
    if (!std::cout.flush())
      throw nemo::Error("", "standard output", "could not be written", "free disk space, or a pipe that stays open");
    return code;
  } catch (const std::exception& error) {
    return nemo::report(error);
  }
}
