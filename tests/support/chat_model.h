#pragma once

#include <filesystem>
#include <string>

#include "tests/support/temp_folder.h"

namespace weft::testing {

/// A folder with the tiny model and a chat template: a message is `<role>content|`, and
/// `<assistant>` begins an answer. The tokenizer puts a special token before each text, and so does
/// the template.
class ChatModel {
 public:
  explicit ChatModel(const std::string& chat_template = kTemplate) {
    const std::filesystem::path tiny = WEFT_SOURCE_DIR "/tests/parity/gpt2-tiny";
    for (const char* name : {"config.json", "model.safetensors", "tokenizer.json"}) {
      std::filesystem::copy_file(tiny / name, folder_.File(name));
    }
    std::ifstream file(folder_.File("tokenizer.json"));
    std::string tokenizer{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    const std::string none = "\"post_processor\": null";
    std::string bos =
        R"("post_processor":{"type":"TemplateProcessing","single":[
        {"SpecialToken":{"id":"<|endoftext|>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
        "pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":0}}],
        "special_tokens":{"<|endoftext|>":{"id":"<|endoftext|>","ids":[96],
        "tokens":["<|endoftext|>"]}}})";
    size_t at = tokenizer.find(none);
    if (at == std::string::npos) std::abort();
    tokenizer.replace(at, none.size(), bos);
    folder_.Write("tokenizer.json", tokenizer);
    folder_.Write("tokenizer_config.json", R"({"bos_token": "<|endoftext|>"})");
    if (!chat_template.empty()) folder_.Write("chat_template.jinja", chat_template);
  }

  const std::string& path() const { return folder_.path(); }

  static constexpr char kTemplate[] =
      "{{ bos_token }}{% for message in messages %}"
      "{% if message.role == 'critic' %}{{ raise_exception('no critics') }}{% endif %}"
      "{{ '<' ~ message.role ~ '>' ~ message.content ~ '|' }}{% endfor %}"
      "{% if add_generation_prompt %}<assistant>{% endif %}";

 private:
  TempFolder folder_;
};

}  // namespace weft::testing
