#include "core/error.h"

namespace nemo {
namespace {

std::string compose(const std::string& place, const std::string& subject, const std::string& reason, const std::string& suggestion) {
  std::string text;
  for (const std::string* part : {&place, &subject, &reason}) {
    if (part->empty()) continue;
    if (!text.empty()) text += ": ";
    text += *part;
  }
  if (!suggestion.empty()) text += "; try: " + suggestion;
  return text;
}

}  // namespace

Error::Error(const std::string& place, const std::string& subject, const std::string& reason, const std::string& suggestion)
    : std::runtime_error(compose(place, subject, reason, suggestion)) {}

}  // namespace nemo
