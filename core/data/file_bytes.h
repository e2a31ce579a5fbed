// Files of data: read whole, or mapped. What the bytes mean is said by those who call this.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "core/file/mapped_file.h"

namespace nemo {

// The whole file. Throws DataError with the path when it cannot be read, or is over max_bytes.
std::string read_file_bytes(const std::filesystem::path& path, const std::string& suggestion = "",
                            uint64_t max_bytes = uint64_t{1} << 36);

// Throws DataError with the path when it cannot be mapped.
MappedFile map_data_file(const std::filesystem::path& path);

}  // namespace nemo
