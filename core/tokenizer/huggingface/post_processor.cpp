#include "core/tokenizer/huggingface/post_processor.h"

namespace nemo::huggingface {
namespace {

SpecialTokensAround read_template(const JsonField& field) {
  SpecialTokensAround around;
  bool text_seen = false;
  for (const JsonField& piece : field["single"].elements()) {
    if (const auto sequence = piece.find("Sequence")) {
      if (text_seen || (*sequence)["id"].text() != "A") throw piece.error("the text \"A\" is expected once");
      text_seen = true;
      continue;
    }
    const JsonField name = piece["SpecialToken"]["id"];
    const JsonField token = field["special_tokens"][name.text().c_str()];
    for (const JsonField& id : token["ids"].elements()) {
      (text_seen ? around.after : around.before).push_back(static_cast<int32_t>(id.integer(0, kMaxTokenId)));
    }
  }
  if (!text_seen) throw field["single"].error("the text \"A\" is expected once");
  return around;
}

int32_t id_in_pair(const JsonField& field) {  // ["[SEP]", 102]
  const std::vector<JsonField> pair = field.elements();
  if (pair.size() != 2) throw field.error("a token and its id are expected here");
  return static_cast<int32_t>(pair[1].integer(0, kMaxTokenId));
}

}  // namespace

SpecialTokensAround read_post_processor(const JsonField& field) {
  const std::string& type = field["type"].text();
  if (type == "ByteLevel") return {};  // changes offsets alone
  if (type == "TemplateProcessing") return read_template(field);
  if (type == "BertProcessing" || type == "RobertaProcessing") return {{id_in_pair(field["cls"])}, {id_in_pair(field["sep"])}};
  if (type == "Sequence") {
    SpecialTokensAround all;
    for (const JsonField& step : field["processors"].elements()) {
      const SpecialTokensAround around = read_post_processor(step);
      all.before.insert(all.before.begin(), around.before.begin(), around.before.end());
      all.after.insert(all.after.end(), around.after.begin(), around.after.end());
    }
    return all;
  }
  throw field.unsupported();
}

}  // namespace nemo::huggingface
