// Bytes of the store's protocol: a greeting, then frames (length, fields) each way. Not here: who answers
// (store_server.h).
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nemo::store_protocol {

inline constexpr std::string_view kGreeting = "nemo-kv1";  // sent by a client when it connects
inline constexpr size_t kMaxFrameBytes = size_t{64} << 20;

// Requests are {operation, key, ...}: set value; get; wait milliseconds; add number; compare_set "+expected" or "-",
// desired. Replies are {"+", value} or {"-"} (absent, timed out, not swapped: then with the current value where there
// is one).
inline constexpr std::string_view kSet = "set", kGet = "get", kWait = "wait", kAdd = "add", kCompareSet = "cas";

std::string make_frame(std::span<const std::string> fields);  // u32 length, then u32 length and bytes of each field

// Takes the first frame off `bytes`, if it is complete. malformed: whoever sent this does not speak the protocol.
struct ReadFrame {
  std::optional<std::vector<std::string>> fields;
  bool malformed = false;
};
ReadFrame take_frame(std::string& bytes);

std::optional<int64_t> parse_number(const std::string& text);

}  // namespace nemo::store_protocol
