#include "core/data/tokenize_files.h"

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/data/indexed_dataset.h"
#include "core/error.h"
#include "core/tokenizer/utf8.h"

namespace nemo {
namespace {

constexpr size_t kChunkBytes = 256 << 10;  // text encoded at a time: much for a queue's lock, little for memory
constexpr int64_t kChunksPerWorker = 4;    // read ahead

struct EncodedDocument {
  std::vector<int32_t> ids;
  std::string problem;  // not empty: it could not be read
};

struct Chunk {
  std::vector<RawDocument> documents;
  std::vector<EncodedDocument> encoded;
  std::exception_ptr failure;
  bool done = false;
  int64_t bytes_read = 0;  // of the inputs, once this chunk was read
};

// Calls work(chunk) on its threads. Chunks are waited for in any order by whoever added them.
class ChunkWorkers {
 public:
  ChunkWorkers(int64_t num_workers, std::function<void(Chunk&)> work) : work_(std::move(work)) {
    for (int64_t i = 0; i < num_workers; ++i) threads_.emplace_back([this] { run(); });
  }
  ~ChunkWorkers() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void add(std::shared_ptr<Chunk> chunk) {
    {
      std::lock_guard lock(mutex_);
      waiting_.push_back(std::move(chunk));
    }
    changed_.notify_all();
  }

  void wait(const Chunk& chunk) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return chunk.done; });
    if (chunk.failure) std::rethrow_exception(chunk.failure);
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return stopping_ || !waiting_.empty(); });
      if (stopping_) return;
      const std::shared_ptr<Chunk> chunk = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      std::exception_ptr failure;
      try {
        work_(*chunk);
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      chunk->failure = failure;
      chunk->done = true;
      changed_.notify_all();
    }
  }

  std::function<void(Chunk&)> work_;
  std::mutex mutex_;  // guards what follows, and every chunk's done and failure
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Chunk>> waiting_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

EncodedDocument encode(const RawDocument& document, const TokenizeRequest& request, const Tokenizer& tokenizer) {
  EncodedDocument encoded;
  std::string text;
  if (document.is_json) {
    const nlohmann::json line = nlohmann::json::parse(document.text, nullptr, /*allow_exceptions=*/false);
    if (line.is_discarded()) {
      encoded.problem = "not JSON: " + valid_utf8(document.text.substr(0, 60)) + (document.text.size() > 60 ? "..." : "");
    } else if (!line.is_object() || !line.contains(request.json_key)) {
      encoded.problem = "no \"" + request.json_key + "\" in this line";
    } else if (!line[request.json_key].is_string()) {
      encoded.problem = "\"" + request.json_key + "\" is not a string";
    } else {
      text = line[request.json_key].get<std::string>();
    }
    if (!encoded.problem.empty()) return encoded;
  }
  encoded.ids = tokenizer.encode(document.is_json ? text : document.text, false);
  if (request.append_end_of_document && !encoded.ids.empty()) encoded.ids.push_back(*tokenizer.eos());
  return encoded;
}

std::shared_ptr<Chunk> read_chunk(DocumentReader& reader) {  // null at the end
  auto chunk = std::make_shared<Chunk>();
  for (size_t bytes = 0; bytes < kChunkBytes;) {
    std::optional<RawDocument> document = reader.next();
    if (!document) break;
    bytes += document->text.size() + 1;
    chunk->documents.push_back(std::move(*document));
  }
  chunk->bytes_read = reader.bytes_read();
  return chunk->documents.empty() ? nullptr : chunk;
}

}  // namespace

TokenizeProgress tokenize_files(const TokenizeRequest& request, const Tokenizer& tokenizer, const TokenizeObserver& observer) {
  if (request.append_end_of_document && !tokenizer.eos()) {
    throw DataError{"", "tokenizer", "has no token for the end of a document", "no --append-eod, or another tokenizer"};
  }
  DocumentReader reader(request.inputs, request.documents_by);
  IndexedDatasetWriter writer(request.output, tokenizer.vocab_size());
  TokenizeProgress progress{.total_bytes = reader.total_bytes()};

  const auto write = [&](const Chunk& chunk) {
    for (size_t i = 0; i < chunk.documents.size(); ++i) {
      const EncodedDocument& encoded = chunk.encoded[i];
      if (!encoded.problem.empty()) {
        const RawDocument& document = chunk.documents[i];
        const DataError bad{reader.file_name(document.file).string() + ":" + std::to_string(document.line), "", encoded.problem,
                            request.skip_bad ? "" : "mending the line, --json-key, or --skip-bad to leave such lines out"};
        if (!request.skip_bad) throw bad;
        if (observer.skipped_bad) observer.skipped_bad(bad.what());
        ++progress.num_bad;
      } else if (encoded.ids.empty()) {
        ++progress.num_empty;
      } else {
        writer.add_document(encoded.ids);
      }
    }
    progress.num_documents = writer.num_documents();
    progress.num_tokens = writer.num_tokens();
    progress.bytes_read = chunk.bytes_read;
    if (observer.progress) observer.progress(progress);
  };

  {
    ChunkWorkers workers(std::max<int64_t>(request.num_workers, 1), [&](Chunk& chunk) {
      for (const RawDocument& document : chunk.documents) chunk.encoded.push_back(encode(document, request, tokenizer));
    });
    std::deque<std::shared_ptr<Chunk>> in_order;
    const auto write_oldest = [&] {
      workers.wait(*in_order.front());
      write(*in_order.front());
      in_order.pop_front();
    };
    while (std::shared_ptr<Chunk> chunk = read_chunk(reader)) {
      workers.add(chunk);
      in_order.push_back(std::move(chunk));
      if (static_cast<int64_t>(in_order.size()) >= kChunksPerWorker * std::max<int64_t>(request.num_workers, 1)) write_oldest();
    }
    while (!in_order.empty()) write_oldest();
  }
  if (writer.num_documents() == 0) {
    throw DataError{request.inputs.empty() ? "" : request.inputs.front().string(), "", "no document with any text in it, nor in the other inputs"};
  }
  writer.finish();
  return progress;
}

}  // namespace nemo
