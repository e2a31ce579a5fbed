#include "cli/data_command.h"

#include <catch2/catch.hpp>

#include "tests/cli/nemo_process.h"
#include "tests/temporary_folder.h"

namespace nemo {
namespace {

using Catch::Matchers::Contains;
using testing::run_nemo;

}  // namespace

TEST_CASE("nemo data tokenize writes what nemo data inspect shows", "[cli][data]") {
  const test::TemporaryFolder folder;
  const std::string input = folder.write("in.jsonl", "{\"text\": \"hello\"}\n{\"text\": \"world!\"}\n").string();
  const std::string output = folder / "out";
  const auto done = run_nemo({"data", "tokenize", "--input", input, "--output", output, "--tokenizer", "byte", "--append-eod"});
  CHECK(done.exit_code == 0);
  CHECK(done.out == "wrote " + output + ".bin and .idx: 2 documents, 13 tokens\n");
  CHECK_THAT(done.err, Contains("2 documents, 13 tokens, 100.0 % of 0.0 MB"));

  const auto shown = run_nemo({"data", "inspect", output, "--show", "1", "--tokenizer", "byte"});
  CHECK(shown.exit_code == 0);
  CHECK(shown.out == output + "\n  token type  u16\n  documents   2\n  sequences   2\n  tokens      13\n  largest id  256\n"
                              "  lengths     6 to 7, mean 6\nsequence 0 (6 tokens): hello<|endoftext|>\n");
  CHECK_THAT(run_nemo({"data", "inspect", output, "--show", "1"}).out, Contains("sequence 0 (6 tokens): 104 101 108 108 111 256\n"));
}

TEST_CASE("nemo data says what is wrong", "[cli][data]") {
  const test::TemporaryFolder folder;
  const std::string input = folder.write("in.jsonl", "{bad\n").string(), output = folder / "out";
  const auto bad_line = run_nemo({"data", "tokenize", "--input", input, "--output", output, "--tokenizer", "byte"});
  CHECK(bad_line.exit_code == 1);
  CHECK_THAT(bad_line.err, Contains(input + ":1: not JSON: {bad"));
  const auto bad_type = run_nemo({"data", "tokenize", "--input", input, "--output", output, "--tokenizer", "bite"});
  CHECK(bad_type.exit_code == 2);
  CHECK_THAT(bad_type.err, Contains("--tokenizer: \"bite\" names no type of tokenizer; try: byte, char:FILE or huggingface:FOLDER"));
  CHECK(run_nemo({"data", "tokenize", "--input", input}).exit_code == 2);
  CHECK(run_nemo({"data"}).exit_code == 2);
  const auto missing = run_nemo({"data", "inspect", output});
  CHECK(missing.exit_code == 1);
  CHECK_THAT(missing.err, Contains(output + ".idx: cannot open: No such file or directory"));
}

}  // namespace nemo
