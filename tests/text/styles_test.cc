#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/text/chat_template.h"
#include "engine/text/model_text.h"
#include "engine/text/tokenizer_config.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace weft::text {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using weft::testing::IsOk;
using weft::testing::StatusIs;
using weft::testing::TempFolder;

std::string Folder() { return WEFT_SOURCE_DIR "/tests/text/"; }

nlohmann::json ReadJson(const std::string& name) {
  std::ifstream file(Folder() + name);
  return nlohmann::json::parse(file);
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

absl::StatusOr<TokenizerConfig> ConfigOf(const std::string& model) {
  const std::string type = ReadJson("models/" + model + "/config.json")["model_type"];
  return TokenizerConfig::LoadTokenizerConfig(Folder() + "models/" + model, type);
}

absl::StatusOr<ModelText> TextOf(const std::string& model) {
  const std::string folder = Folder() + "models/" + model;
  const std::string type = ReadJson("models/" + model + "/config.json")["model_type"];
  return ModelText::LoadModelText(folder, folder + "/tokenizer.json", type, "");
}

std::string TextOf(const nlohmann::json& text) {
  if (text.is_string()) return text;
  std::string whole;
  for (int i = 0; i < text[1].get<int>(); ++i) whole += text[0].get<std::string>();
  return whole;
}

// Each kind of tokenizer, as transformers loads it of a model's folder.
class StylesTest : public ::testing::TestWithParam<const char*> {
 protected:
  static const nlohmann::json& Golden() {
    static const auto* const golden = new nlohmann::json(ReadJson("tokens.json"));
    return *golden;
  }
};

TEST_P(StylesTest, GivesTheIdsOfTransformers) {
  const auto text = TextOf(std::string(GetParam()));
  ASSERT_THAT(text, IsOk());
  const nlohmann::json& cases = Golden()[GetParam()]["cases"];
  ASSERT_GT(cases.size(), 40u);
  for (const nlohmann::json& row : cases) {
    const std::string whole = TextOf(row["text"]);
    EXPECT_EQ(text->tokenizer->Encode(whole, false).value(), row["ids"].get<std::vector<int64_t>>())
        << row["text"];
    EXPECT_EQ(text->tokenizer->Encode(whole, true).value(),
              row["special_ids"].get<std::vector<int64_t>>())
        << row["text"];
  }
}

TEST_P(StylesTest, DecodesAsTransformers) {
  const auto text = TextOf(std::string(GetParam()));
  ASSERT_THAT(text, IsOk());
  for (const nlohmann::json& row : Golden()[GetParam()]["cases"]) {
    if (!row.contains("decoded")) continue;
    const auto ids = row["special_ids"].get<std::vector<int64_t>>();
    EXPECT_EQ(text->tokenizer->Decode(ids).value(), row["decoded"].get<std::string>())
        << row["text"];
    EXPECT_EQ(text->tokenizer->Decode(ids, true).value(), row["without_special"].get<std::string>())
        << row["text"];
  }
}

TEST_P(StylesTest, HasTheSpecialTokensOfTransformers) {
  const auto config = ConfigOf(GetParam());
  ASSERT_THAT(config, IsOk());
  nlohmann::json tokens = nlohmann::json::object();
  for (const auto& [name, token] : config->special_tokens) tokens[name] = token;
  EXPECT_EQ(tokens, Golden()[GetParam()]["special_tokens"]);
}

INSTANTIATE_TEST_SUITE_P(Models, StylesTest,
                         ::testing::Values("bert", "gemma", "gpt2", "llama2", "llama2_legacy",
                                           "llama3", "mistral", "qwen2", "t5", "xlm_roberta"),
                         [](const auto& info) { return std::string(info.param); });

TEST(ModelTextTest, DecodersArePaddedOnTheLeftUnlessTheFolderSaysOtherwise) {
  for (const char* model : {"gemma", "gpt2", "llama2", "llama3", "qwen2"}) {
    EXPECT_NE(TextOf(std::string(model))->pad_left, false) << model;
  }
  for (const char* model : {"bert", "llama2_legacy", "t5", "xlm_roberta"}) {
    EXPECT_EQ(TextOf(std::string(model))->pad_left, false) << model;
  }
}

TEST(ModelTextTest, ThePadTokenPadsOrElseTheOneThatEndsATextDoes) {
  for (const auto& [model, token] : {std::pair("qwen2", "<|endoftext|>"),
                                     {"bert", "[PAD]"},
                                     {"llama2", "</s>"},
                                     {"llama3", "<|eot_id|>"}}) {
    const auto text = TextOf(std::string(model));
    ASSERT_THAT(text, IsOk());
    EXPECT_EQ(text->pad_id, text->tokenizer->TokenToId(token)) << model;
  }
}

TEST(ModelTextTest, AFolderWithATokenizerAloneIsEnough) {
  TempFolder folder;
  const std::string tokenizer =
      folder.Write("tokenizer.json", ReadFile(Folder() + "models/llama3/tokenizer.json"));
  const auto text = ModelText::LoadModelText(folder.path(), tokenizer, "mystery", "");
  ASSERT_THAT(text, IsOk());
  EXPECT_EQ(text->pad_id, -1);
  EXPECT_NE(text->pad_left, false);
  EXPECT_THAT(text->chat_template.status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("no chat template")));
}

TEST(ModelTextTest, AddsSpecialTokensThatTheFileLacksAsTransformersDoes) {
  TempFolder folder;
  const std::string tokenizer =
      folder.Write("tokenizer.json", ReadFile(Folder() + "models/llama3/tokenizer.json"));
  folder.Write("tokenizer_config.json", R"({"pad_token": {"content": "<pad>", "lstrip": false},
      "extra_special_tokens": ["<tool>"], "eos_token": "the"})");
  const auto text = ModelText::LoadModelText(folder.path(), tokenizer, "mystery", "");
  ASSERT_THAT(text, IsOk());
  EXPECT_EQ(text->tokenizer->Encode("<pad>", false)->size(), 1u);
  EXPECT_EQ(text->tokenizer->Encode("<tool><tool>", false)->size(), 2u);
  EXPECT_EQ(text->tokenizer->Decode(*text->tokenizer->Encode("a<pad>b"), true).value(), "ab");
}

TEST(ModelTextTest, OlderFoldersNameTheirTokensInAFileOfTheirOwn) {
  TempFolder folder;
  folder.Write("tokenizer_config.json", R"({"bos_token": "<a>", "eos_token": "<b>"})");
  folder.Write("special_tokens_map.json", R"({"eos_token": {"content": "<c>"}})");
  auto config = TokenizerConfig::LoadTokenizerConfig(folder.path(), "mystery");
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(*config->FindSpecialToken("bos_token"), "<a>");
  EXPECT_EQ(*config->FindSpecialToken("eos_token"), "<c>");
  EXPECT_EQ(config->FindSpecialToken("pad_token"), nullptr);
  // Where all added tokens are listed it does not count.
  folder.Write("tokenizer_config.json", R"({"eos_token": "<b>", "added_tokens_decoder": {}})");
  config = TokenizerConfig::LoadTokenizerConfig(folder.path(), "mystery");
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(*config->FindSpecialToken("eos_token"), "<b>");
}

TEST(ModelTextTest, FilesThatCannotBeUnderstoodAreNamed) {
  for (const auto& [name, content, message] : std::vector<std::array<std::string, 3>>{
           {"tokenizer_config.json", "[]", "no JSON object"},
           {"tokenizer_config.json", "{", "no JSON object"},
           {"tokenizer_config.json", std::string(5000, '['), "nested too deeply"},
           {"tokenizer_config.json", R"({"padding_side": 1})", "`padding_side` is no string"},
           {"tokenizer_config.json", R"({"bos_token": 1})", "neither a string nor an object"},
           {"tokenizer_config.json", R"({"bos_token": {}})", "has no `content`"},
           {"tokenizer_config.json", R"({"added_tokens_decoder": []})", "is no object"},
           {"tokenizer_config.json", R"({"added_tokens_decoder": {"x": "a"}})", "what is no id"},
           {"tokenizer_config.json", R"({"chat_template": 1})", "neither a string nor a list"},
           {"tokenizer_config.json", R"({"chat_template": [{"name": "a"}]})", "lacks its `name`"},
           {"tokenizer_config.json", R"({"extra_special_tokens": [1]})", "neither a string"},
           {"special_tokens_map.json", "1", "no JSON object"},
           {"chat_template.json", R"({"chat_template": {}})", "neither a string nor a list"}}) {
    TempFolder folder;
    const std::string path = folder.Write(name, content);
    EXPECT_THAT(
        TokenizerConfig::LoadTokenizerConfig(folder.path(), "llama").status(),
        StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr(path), HasSubstr(message))));
  }
}

// --- chats --------------------------------------------------------------------------------------

const nlohmann::json& Chats() {
  static const auto* const chats = new nlohmann::json(ReadJson("chats.json"));
  return *chats;
}

std::vector<ChatMessage> MessagesOf(const nlohmann::json& chat) {
  std::vector<ChatMessage> messages;
  for (const nlohmann::json& said : chat) messages.push_back({said["role"], said["content"]});
  return messages;
}

std::vector<std::pair<std::string, std::string>> SpecialTokens() {
  std::vector<std::pair<std::string, std::string>> tokens;
  for (const auto& [name, token] : Chats()["special_tokens"].items()) {
    tokens.emplace_back(name, token);
  }
  return tokens;
}

absl::StatusOr<std::string> Rendered(const std::string& source,
                                     const std::vector<ChatMessage>& messages,
                                     const ChatOptions& options = {}) {
  auto parsed = ChatTemplate::ParseChatTemplate(source, SpecialTokens());
  if (!parsed.ok()) return parsed.status();
  return (*parsed)->Render(messages, options);
}

void ExpectAsGolden(const absl::StatusOr<std::string>& text, const nlohmann::json& golden) {
  if (golden.contains("text")) {
    ASSERT_THAT(text, IsOk());
    EXPECT_EQ(*text, golden["text"].get<std::string>());
  } else {
    EXPECT_THAT(text, StatusIs(absl::StatusCode::kInvalidArgument,
                               HasSubstr(golden["error"].get<std::string>())));
  }
}

TEST(ChatTemplateTest, RendersChatsAsTransformersDoes) {
  ASSERT_GT(Chats()["rendered"].size(), 200u);
  for (const nlohmann::json& row : Chats()["rendered"]) {
    const std::string name = row["template"];
    SCOPED_TRACE(row.dump());
    ChatOptions options;
    options.add_generation_prompt = row["end"] == "prompt";
    options.continue_final_message = row["end"] == "open";
    const std::string chat = row["chat"];
    ExpectAsGolden(Rendered(ReadFile(Folder() + "templates/" + name + ".jinja"),
                            MessagesOf(Chats()["chats"][chat]), options),
                   row);
  }
}

TEST(ChatTemplateTest, DoesWhatTemplatesDoInPython) {
  ASSERT_GT(Chats()["expressions"].size(), 50u);
  for (const nlohmann::json& row : Chats()["expressions"]) {
    SCOPED_TRACE(row["template"]);
    ExpectAsGolden(Rendered(row["template"], MessagesOf(Chats()["chats"]["system_three"])), row);
  }
}

TEST(ChatTemplateTest, RenderedChatsHaveTheIdsOfTransformers) {
  for (const nlohmann::json& row : Chats()["ids"]) {
    const std::string model = row["model"];
    const std::string name = row["template"];
    const auto config = ConfigOf(model);
    const auto text = TextOf(model);
    ASSERT_THAT(config, IsOk());
    ASSERT_THAT(text, IsOk());
    const auto parsed = ChatTemplate::ParseChatTemplate(
        ReadFile(Folder() + "templates/" + name + ".jinja"), config->special_tokens);
    ASSERT_THAT(parsed, IsOk());
    ChatOptions options;
    options.add_generation_prompt = true;
    for (const auto& [chat, ids] : row["ids"].items()) {
      const auto rendered = (*parsed)->Render(MessagesOf(Chats()["chats"][chat]), options);
      ASSERT_THAT(rendered, IsOk());
      EXPECT_EQ(text->tokenizer->Encode(*rendered, false).value(), ids.get<std::vector<int64_t>>())
          << model << " " << chat;
    }
  }
}

TEST(ChatTemplateTest, TellsTheTime) {
  ChatOptions options;
  options.now = absl::FromUnixSeconds(1'700'000'000);
  const auto text =
      Rendered("{{ strftime_now('%d %b %Y') }}|{{ strftime_now('') }}|", {{"a", "b"}}, options);
  ASSERT_THAT(text, IsOk());
  EXPECT_EQ(*text, absl::FormatTime("%d %b %Y", options.now, absl::LocalTimeZone()) + "||");
  EXPECT_THAT(Rendered("{{ strftime_now('" + std::string(3000, '-') + "') }}", {{"a", "b"}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("too long")));
}

TEST(ChatTemplateTest, NamesTheLineOfATemplateThatCannotBeUsed) {
  EXPECT_THAT(ChatTemplate::ParseChatTemplate("a\nb {% iff x %}", {}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("cannot be used"), HasSubstr(":2"))));
  EXPECT_THAT(ChatTemplate::ParseChatTemplate("\xFF", {}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("utf-8")));
  EXPECT_THAT(ChatTemplate::ParseChatTemplate(std::string(2 << 20, 'a'), {}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("more than")));
  std::string deep;
  for (int i = 0; i < 20'000; ++i) deep += "(";
  EXPECT_FALSE(ChatTemplate::ParseChatTemplate("{{ " + deep, {}).ok());
}

TEST(ChatTemplateTest, WhatARenderingTakesIsBounded) {
  const std::vector<ChatMessage> chat = {{"user", "Hi"}};
  for (const char* source :
       {"{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(x='aaaaaaaa') %}{% for a in range(60) %}{% set ns.x = ns.x ~ ns.x %}"
        "{% endfor %}",
        "{{ 'a' * 1000000000 }}", "{{ ('a' * 10000).replace('a', 'a' * 1000000)|length }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% for a in range(100000) %}{{ ('a' * 10000)|tojson|length }}{% endfor %}"}) {
    EXPECT_THAT(Rendered(source, chat),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("does not take")))
        << source;
  }
  ChatOptions options;
  options.max_bytes = 100;
  EXPECT_THAT(Rendered("{{ messages[0].content }}", {{"user", std::string(100, 'a')}}, options),
              IsOk());
  EXPECT_THAT(Rendered("{{ messages[0].content }}", {{"user", std::string(101, 'a')}}, options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("more than 100 bytes")));
}

TEST(ChatTemplateTest, ManyAndLongMessagesFit) {
  std::vector<ChatMessage> chat;
  for (int i = 0; i < 2048; ++i) {
    chat.push_back({"user", "Hi"});
    chat.push_back({"assistant", "Hello"});
  }
  chat.push_back({"user", std::string(1 << 20, 'a')});
  for (const char* name : {"chatml", "llama2", "mistral", "qwen3"}) {
    EXPECT_THAT(Rendered(ReadFile(Folder() + "templates/" + std::string(name) + ".jinja"), chat),
                IsOk())
        << name;
  }
}

TEST(ChatTemplateTest, AMessageToGoOnWithMustBeThere) {
  ChatOptions options;
  options.continue_final_message = true;
  const std::vector<ChatMessage> chat = {{"user", "Hi"}, {"assistant", "Hel "}};
  EXPECT_EQ(Rendered("{{ messages[-1].content }}END", chat, options).value(), "Hel ");
  EXPECT_EQ(Rendered("{{ messages[-1].content|trim }}END", chat, options).value(), "Hel");
  EXPECT_THAT(Rendered("{{ messages[0].content }}", chat, options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("to go on with")));
  EXPECT_THAT(Rendered("fixed", chat, options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("what messages say")));
  options.add_generation_prompt = true;
  EXPECT_THAT(Rendered("{{ messages[-1].content }}", chat, options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("generation prompt")));
}

TEST(ChatTemplateTest, RefusesNoMessagesAndBytesThatAreNoText) {
  EXPECT_THAT(Rendered("a", {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("without messages")));
  EXPECT_THAT(
      Rendered("a", {{"user", "b"}, {"user", "Par\xC3is"}}),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("message 1 is not UTF-8 at byte 3")));
}

TEST(ChatTemplateTest, IsFoundWhereTransformersFindsIt) {
  const auto find = [](const TempFolder& folder) -> absl::StatusOr<std::string> {
    auto config = TokenizerConfig::LoadTokenizerConfig(folder.path(), "llama");
    if (!config.ok()) return config.status();
    auto found = ChatTemplate::FindChatTemplate(*config);
    if (!found.ok()) return found.status();
    return (*found)->Render(std::vector<ChatMessage>{{"user", "Hi"}});
  };
  TempFolder folder;
  EXPECT_THAT(find(folder), StatusIs(absl::StatusCode::kFailedPrecondition,
                                     HasSubstr("this model has no chat template")));
  folder.Write("chat_template.json", R"({"chat_template": "processor"})");
  EXPECT_EQ(find(folder).value(), "processor");
  folder.Write("tokenizer_config.json", R"({"bos_token": {"content": "<b>"},
      "chat_template": "{{ bos_token }}{{ eos_token }}{{ pad_token is defined }}"})");
  EXPECT_EQ(find(folder).value(), "<b>False");
  folder.Write("tokenizer_config.json", R"({"chat_template": [
      {"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]})");
  EXPECT_EQ(find(folder).value(), "plain");
  folder.Write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "a"}]})");
  EXPECT_THAT(find(folder), StatusIs(absl::StatusCode::kFailedPrecondition,
                                     AllOf(HasSubstr("`default`"), HasSubstr("`rag`"))));
  folder.Write("chat_template.jinja", "file");
  EXPECT_EQ(find(folder).value(), "file");
  std::filesystem::create_directory(folder.File("chat_templates"));
  folder.Write("chat_templates/tool_use.jinja", "tools");
  EXPECT_EQ(find(folder).value(), "file");
}

}  // namespace
}  // namespace weft::text
