#include "parallel/store/store_protocol.h"

#include <charconv>

namespace nemo::store_protocol {
namespace {

void put_length(std::string& out, size_t length) {
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(length >> shift & 0xFF));
}

size_t get_length(std::string_view bytes) {
  size_t length = 0;
  for (size_t i = 0; i < 4; ++i) length |= static_cast<size_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  return length;
}

}  // namespace

std::string make_frame(std::span<const std::string> fields) {
  std::string body;
  for (const std::string& field : fields) {
    put_length(body, field.size());
    body += field;
  }
  std::string frame;
  put_length(frame, body.size());
  return frame + body;
}

ReadFrame take_frame(std::string& bytes) {
  if (bytes.size() < 4) return {};
  const size_t length = get_length(bytes);
  if (length > kMaxFrameBytes) return {.fields = {}, .malformed = true};
  if (bytes.size() < 4 + length) return {};
  std::string_view body = std::string_view(bytes).substr(4, length);
  std::vector<std::string> fields;
  while (!body.empty()) {
    if (body.size() < 4 || body.size() - 4 < get_length(body)) return {.fields = {}, .malformed = true};
    const size_t field = get_length(body);
    fields.emplace_back(body.substr(4, field));
    body.remove_prefix(4 + field);
  }
  bytes.erase(0, 4 + length);
  return {.fields = std::move(fields), .malformed = false};
}

std::optional<int64_t> parse_number(const std::string& text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace nemo::store_protocol
