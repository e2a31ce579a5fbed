// The errors nemo throws: what is wrong, where, and what to try. cli/ catches them; nothing below it exits or prints.
#pragma once
#include <stdexcept>
#include <string>

namespace nemo {

// message reads "place: subject: reason; try: suggestion", each part only where given.
class Error : public std::runtime_error {
 public:
  Error(const std::string& place, const std::string& subject, const std::string& reason, const std::string& suggestion = "");
};

struct RecipeError : Error { using Error::Error; };      // a recipe or an override; place is file:line
struct PlanError : Error { using Error::Error; };        // a model that cannot be cut as asked
struct ShapeError : Error { using Error::Error; };       // an op or module given the wrong shapes or dtypes; place is the op
struct DeviceError : Error { using Error::Error; };      // no device, out of memory, a failed library call
struct CommError : Error { using Error::Error; };        // group, collective, peer
struct CheckpointError : Error { using Error::Error; };  // a checkpoint, safetensors file or Hugging Face folder
struct DataError : Error { using Error::Error; };        // text, tokenizer or indexed data
struct UsageError : Error { using Error::Error; };       // the command line

}  // namespace nemo
