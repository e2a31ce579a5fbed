// `nemo data tokenize` and `nemo data inspect`: text to indexed data, and a look at such data.
// Not here: reading, encoding and writing (core/data/tokenize_files.h, indexed_dataset.h).
#pragma once

namespace CLI {
class App;
}

namespace nemo {

void add_data_command(CLI::App& app);

}  // namespace nemo
