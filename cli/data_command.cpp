#include "cli/data_command.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iomanip>
#include <iostream>
#include <memory>
#include <sstream>
#include <thread>

#include "core/data/indexed_dataset.h"
#include "core/data/tokenize_files.h"
#include "core/error.h"
#include "core/tokenizer/utf8.h"

namespace nemo {
namespace {

constexpr const char* kFooter = R"(Examples:
  nemo data tokenize --input book.txt --output data/book --tokenizer byte --append-eod
  nemo data inspect data/book --show 3 --tokenizer byte)";

constexpr const char* kTokenizeFooter = R"(Examples:
  nemo data tokenize --input book.txt --output data/book --tokenizer byte --append-eod
  nemo data tokenize --input part-*.jsonl --output data/web --tokenizer huggingface:tokenizers/gpt2 --append-eod --workers 8
  nemo data tokenize --input notes.txt --documents-by blank-line --output data/notes --tokenizer char:notes.txt

Then train on it with data.blend=[data/web].)";

constexpr const char* kInspectFooter = R"(Examples:
  nemo data inspect data/web
  nemo data inspect data/web --show 3 --tokenizer huggingface:tokenizers/gpt2)";

constexpr int64_t kShownTokens = 64;  // of a document

// "huggingface:PATH", "char:PATH" or "byte".
std::unique_ptr<Tokenizer> open_tokenizer(const std::string& choice) {
  const std::string type = choice.substr(0, choice.find(':'));
  const std::string model = type.size() == choice.size() ? "" : choice.substr(type.size() + 1);
  const auto names = enum_names(TokenizerType{});
  const auto name = std::find(names.begin(), names.end(), type);
  if (name == names.end()) {
    throw UsageError{"", "--tokenizer", "\"" + choice + "\" names no type of tokenizer", "byte, char:FILE or huggingface:FOLDER"};
  }
  return load_tokenizer(static_cast<TokenizerType>(name - names.begin()), model);
}

// How far it is, at most once a second: over itself on a terminal, line by line elsewhere.
class ProgressLine {
 public:
  void show(const TokenizeProgress& progress, bool last) {
    const auto now = Clock::now();
    const double interval = on_terminal_ ? 1 : 10;
    if (!last && seconds(now - shown_) < interval) return;
    shown_ = now;
    const double elapsed = std::max(seconds(now - start_), 1e-6);
    const double left = static_cast<double>(progress.total_bytes - progress.bytes_read) * elapsed /
                        static_cast<double>(std::max<int64_t>(progress.bytes_read, 1));
    std::ostringstream line;
    line << std::fixed << std::setprecision(1) << progress.num_documents << " documents, " << progress.num_tokens << " tokens, "
         << 100.0 * static_cast<double>(progress.bytes_read) / static_cast<double>(std::max<int64_t>(progress.total_bytes, 1))
         << " % of " << static_cast<double>(progress.total_bytes) / 1e6 << " MB, " << static_cast<double>(progress.num_documents) / elapsed
         << " documents/s, " << static_cast<double>(progress.bytes_read) / 1e6 / elapsed << " MB/s";
    if (!last) line << ", " << std::setprecision(0) << left << " s left";
    std::cerr << (on_terminal_ ? "\r\x1b[K" : "") << line.str() << (on_terminal_ && !last ? "" : "\n") << std::flush;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

  bool on_terminal_ = ::isatty(STDERR_FILENO) != 0;
  Clock::time_point start_ = Clock::now(), shown_ = start_;
};

void tokenize(const TokenizeRequest& request, const std::string& tokenizer_choice) {
  const std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(tokenizer_choice);
  ProgressLine line;
  const TokenizeProgress done =
      tokenize_files(request, *tokenizer,
                     {.progress = [&](const TokenizeProgress& progress) { line.show(progress, false); },
                      .skipped_bad = [](const std::string& message) { std::cerr << "nemo: left out: " << message << '\n'; }});
  line.show(done, true);
  std::cout << "wrote " << request.output.string() << ".bin and .idx: " << done.num_documents << " documents, " << done.num_tokens
            << " tokens";
  if (done.num_empty > 0) std::cout << "; left out " << done.num_empty << " empty documents";
  if (done.num_bad > 0) std::cout << "; left out " << done.num_bad << " bad lines";
  std::cout << '\n';
}

void inspect(const std::string& prefix, int64_t num_shown, const std::string& tokenizer_choice) {
  const IndexedDataset data(prefix);
  std::unique_ptr<Tokenizer> tokenizer;
  if (!tokenizer_choice.empty()) tokenizer = open_tokenizer(tokenizer_choice);
  const auto lengths = data.lengths();
  std::cout << prefix << "\n  token type  " << token_type_name(data.token_type()) << "\n  documents   " << data.num_documents()
            << "\n  sequences   " << data.num_sequences() << "\n  tokens      " << data.num_tokens() << "\n  largest id  "
            << data.max_token_id() << '\n';
  if (!lengths.empty()) {
    const auto [shortest, longest] = std::minmax_element(lengths.begin(), lengths.end());
    std::cout << "  lengths     " << *shortest << " to " << *longest << ", mean " << data.num_tokens() / data.num_sequences() << '\n';
  }
  for (int64_t i = 0; i < std::min(num_shown, data.num_sequences()); ++i) {
    std::vector<int32_t> ids(std::min<int64_t>(lengths[i], kShownTokens));
    data.read(i, 0, ids);
    std::cout << "sequence " << i << " (" << lengths[i] << " tokens):";
    if (tokenizer) {
      std::cout << ' ' << valid_utf8(tokenizer->decode(ids, false));
    } else {
      for (const int32_t id : ids) std::cout << ' ' << id;
    }
    std::cout << (static_cast<int64_t>(ids.size()) < lengths[i] ? " ...\n" : "\n");
  }
}

void add_tokenize(CLI::App& data) {
  CLI::App* command = data.add_subcommand("tokenize", "Turn text and JSONL files into indexed training data (.bin and .idx)");
  struct Options {
    TokenizeRequest request;
    std::string tokenizer;
  };
  auto options = std::make_shared<Options>();
  TokenizeRequest& request = options->request;
  request.num_workers = std::max(1u, std::thread::hardware_concurrency());
  command->add_option("--input", request.inputs, "files: .jsonl and .json hold one object a line, all others plain text")->required();
  command->add_option("--output", request.output, "prefix of the files to write")->required();
  command->add_option("--tokenizer", options->tokenizer, "byte, char:FILE or huggingface:FOLDER")->required();
  command->add_option("--json-key", request.json_key, "the member of each JSON line that holds the text")->capture_default_str();
  static const std::map<std::string, DocumentsBy> kDocumentsBy = {{"file", DocumentsBy::file}, {"blank-line", DocumentsBy::blank_line}};
  command->add_option("--documents-by", request.documents_by, "where documents of plain text end: file or blank-line")
      ->transform(CLI::CheckedTransformer(kDocumentsBy).description(""))
      ->type_name("WORD");
  command->add_flag("--append-eod", request.append_end_of_document, "end each document with the tokenizer's end-of-document token");
  command->add_option("--workers", request.num_workers, "threads; the output is the same for any number")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
  command->add_flag("--skip-bad", request.skip_bad, "report lines that cannot be read and go on, instead of stopping");
  command->footer(kTokenizeFooter);
  command->callback([options] { tokenize(options->request, options->tokenizer); });
}

void add_inspect(CLI::App& data) {
  CLI::App* command = data.add_subcommand("inspect", "Check indexed data and say what is in it");
  struct Options {
    std::string prefix, tokenizer;
    int64_t num_shown = 0;
  };
  auto options = std::make_shared<Options>();
  command->add_option("prefix", options->prefix, "path of the files without .bin and .idx")->required();
  command->add_option("--show", options->num_shown, "also print the beginning of so many sequences")->check(CLI::NonNegativeNumber)->type_name("N");
  command->add_option("--tokenizer", options->tokenizer, "show text instead of ids: byte, char:FILE or huggingface:FOLDER");
  command->footer(kInspectFooter);
  command->callback([options] { inspect(options->prefix, options->num_shown, options->tokenizer); });
}

}  // namespace

void add_data_command(CLI::App& app) {
  CLI::App* data = app.add_subcommand("data", "Prepare and look at training data");
  data->require_subcommand(1);
  data->footer(kFooter);
  add_tokenize(*data);
  add_inspect(*data);
}

}  // namespace nemo
