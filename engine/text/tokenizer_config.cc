#include "engine/text/tokenizer_config.h"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace weft::text {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kMaxFileBytes = size_t{64} << 20;
constexpr size_t kMaxTemplates = 64;

constexpr const char* kNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                  "pad_token", "cls_token", "mask_token"};

/// A class of transformers that makes the tokenizer itself, and what it takes for special tokens
/// where the folder says nothing.
struct Class {
  const char* name;
  std::vector<std::pair<std::string, std::string>> special_tokens;
  bool pad_left = true;
};

/// Of RoBERTa, and of what follows it.
std::vector<std::pair<std::string, std::string>> RobertaTokens() {
  return {{"bos_token", "<s>"},    {"eos_token", "</s>"},  {"unk_token", "<unk>"},
          {"sep_token", "</s>"},   {"pad_token", "<pad>"}, {"cls_token", "<s>"},
          {"mask_token", "<mask>"}};
}

const std::vector<Class>& Classes() {
  static const auto* const kClasses = new std::vector<Class>{
      {"LlamaTokenizer", {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"unk_token", "<unk>"}}},
      {"GemmaTokenizer",
       {{"bos_token", "<bos>"},
        {"eos_token", "<eos>"},
        {"unk_token", "<unk>"},
        {"pad_token", "<pad>"},
        {"mask_token", "<mask>"}}},
      {"Qwen2Tokenizer",
       {{"eos_token", "<|endoftext|>"},
        {"unk_token", "<|endoftext|>"},
        {"pad_token", "<|endoftext|>"}}},
      {"GPT2Tokenizer",
       {{"bos_token", "<|endoftext|>"},
        {"eos_token", "<|endoftext|>"},
        {"unk_token", "<|endoftext|>"}}},
      {"GPTNeoXTokenizer",
       {{"bos_token", "<|endoftext|>"},
        {"eos_token", "<|endoftext|>"},
        {"unk_token", "<|endoftext|>"},
        {"pad_token", "<|padding|>"}}},
      {"CohereTokenizer",
       {{"bos_token", "<BOS_TOKEN>"},
        {"eos_token", "<|END_OF_TURN_TOKEN|>"},
        {"unk_token", "<UNK>"},
        {"sep_token", "<SEP>"},
        {"pad_token", "<PAD>"},
        {"cls_token", "<CLS>"},
        {"mask_token", "<MASK_TOKEN>"}}},
      {"BertTokenizer",
       {{"unk_token", "[UNK]"},
        {"sep_token", "[SEP]"},
        {"pad_token", "[PAD]"},
        {"cls_token", "[CLS]"},
        {"mask_token", "[MASK]"}},
       false},
      {"RobertaTokenizer", RobertaTokens(), false},
      {"XLMRobertaTokenizer", RobertaTokens(), false},
      {"T5Tokenizer",
       {{"eos_token", "</s>"}, {"unk_token", "<unk>"}, {"pad_token", "<pad>"}},
       false},
  };
  return *kClasses;
}

/// The class that transformers has for a family, where it matters; any other takes `tokenizer.json`
/// as it is.
std::string ClassOfFamily(const std::string& model_type) {
  static const auto* const kFamilies = new std::map<std::string, std::string>{
      {"bert", "BertTokenizer"},
      {"cohere", "CohereTokenizer"},
      {"cohere2", "CohereTokenizer"},
      {"gemma", "GemmaTokenizer"},
      {"gemma2", "GemmaTokenizer"},
      {"gemma3_text", "GemmaTokenizer"},
      {"gpt2", "GPT2Tokenizer"},
      {"gpt_neo", "GPT2Tokenizer"},
      {"gpt_neox", "GPTNeoXTokenizer"},
      {"gptj", "GPT2Tokenizer"},
      {"opt", "GPT2Tokenizer"},
      {"phi", "GPT2Tokenizer"},
      {"qwen2", "Qwen2Tokenizer"},
      {"qwen2_moe", "Qwen2Tokenizer"},
      {"qwen3", "Qwen2Tokenizer"},
      {"qwen3_moe", "Qwen2Tokenizer"},
      {"roberta", "RobertaTokenizer"},
      {"t5", "T5Tokenizer"},
      {"xlm-roberta", "XLMRobertaTokenizer"},
  };
  const auto found = kFamilies->find(model_type);
  return found == kFamilies->end() ? "" : found->second;
}

/// Families whose folders name a class that transformers does not believe.
bool TakesFileAsItIs(const std::string& model_type) {
  for (const char* family :
       {"granite", "mistral", "mixtral", "olmo2", "olmo3", "phi3", "phimoe", "stablelm"}) {
    if (model_type == family) return true;
  }
  return false;
}

/// As AutoTokenizer chooses; nullptr for one that takes `tokenizer.json` as it is.
const Class* ClassOf(const std::string& model_type, const std::string& named) {
  if (TakesFileAsItIs(model_type)) return nullptr;
  const std::string name(absl::StripSuffix(named, "Fast"));
  const std::string chosen = name.empty() ? ClassOfFamily(model_type) : name;
  for (const Class& known : Classes()) {
    if (chosen == known.name) return &known;
  }
  return nullptr;
}

absl::Status Wrong(const std::string& path, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", what));
}

/// What is in a file, if it is there.
absl::StatusOr<std::optional<std::string>> ReadIfThere(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return std::optional<std::string>();
  const std::streamoff size = file.tellg();
  if (size < 0 || static_cast<size_t>(size) > kMaxFileBytes) {
    return Wrong(path, absl::StrCat("more than ", kMaxFileBytes, " bytes"));
  }
  std::string content(static_cast<size_t>(size), '\0');
  file.seekg(0);
  file.read(content.data(), size);
  if (!file) return absl::DataLossError(absl::StrCat("cannot read ", path));
  return std::optional<std::string>(std::move(content));
}

/// An object; an empty one where there is no such file.
absl::StatusOr<json> ReadJson(const std::string& path) {
  absl::StatusOr<std::optional<std::string>> content = ReadIfThere(path);
  if (!content.ok()) return content.status();
  if (!content->has_value()) return json::object();
  // The parser recurses over what it is given.
  size_t depth = 0, deepest = 0;
  for (const char c : **content) {
    if (c == '{' || c == '[') deepest = std::max(deepest, ++depth);
    if ((c == '}' || c == ']') && depth > 0) --depth;
  }
  if (deepest > 1000) return Wrong(path, "nested too deeply");
  json parsed = json::parse(**content, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return Wrong(path, "is no JSON object");
  return parsed;
}

/// Return the field, or nothing if it is absent or null.
const json* Find(const json& object, const std::string& name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

absl::StatusOr<bool> BoolOr(const std::string& path, const json& object, const std::string& name,
                            bool otherwise) {
  const json* const found = Find(object, name);
  if (found == nullptr) return otherwise;
  if (!found->is_boolean()) return Wrong(path, absl::StrCat("`", name, "` is no boolean"));
  return found->get<bool>();
}

absl::StatusOr<std::string> StringOr(const std::string& path, const json& object,
                                     const std::string& name, const std::string& otherwise) {
  const json* const found = Find(object, name);
  if (found == nullptr) return otherwise;
  if (!found->is_string()) return Wrong(path, absl::StrCat("`", name, "` is no string"));
  return found->get<std::string>();
}

/// A token is a string, or an object with its properties.
absl::StatusOr<AddedToken> TokenOf(const std::string& path, const std::string& name,
                                   const json& value) {
  AddedToken token;
  if (value.is_string()) {
    token.content = value.get<std::string>();
    token.special = true;
    return token;
  }
  if (!value.is_object()) {
    return Wrong(path, absl::StrCat("`", name, "` is neither a string nor an object"));
  }
  absl::StatusOr<std::string> content = StringOr(path, value, "content", "");
  if (!content.ok()) return content.status();
  if (content->empty()) return Wrong(path, absl::StrCat("`", name, "` has no `content`"));
  token.content = *std::move(content);
  absl::StatusOr<bool> special = BoolOr(path, value, "special", false);
  if (!special.ok()) return special.status();
  token.special = *special;
  const std::pair<const char*, bool*> fields[] = {{"single_word", &token.single_word},
                                                  {"lstrip", &token.lstrip},
                                                  {"rstrip", &token.rstrip},
                                                  {"normalized", &token.normalized}};
  token.normalized = !token.special;
  for (const auto& [field, to] : fields) {
    absl::StatusOr<bool> flag = BoolOr(path, value, field, *to);
    if (!flag.ok()) return flag.status();
    *to = *flag;
  }
  return token;
}

absl::StatusOr<std::vector<AddedToken>> AddedTokensOf(const std::string& path,
                                                      const json& decoder) {
  if (!decoder.is_object()) return Wrong(path, "`added_tokens_decoder` is no object");
  // In the order of their ids, which are the names.
  std::vector<std::pair<int64_t, AddedToken>> numbered;
  for (const auto& [id, value] : decoder.items()) {
    const bool digits =
        !id.empty() && id.size() < 10 &&
        std::all_of(id.begin(), id.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!digits) return Wrong(path, "`added_tokens_decoder` holds what is no id");
    absl::StatusOr<AddedToken> token = TokenOf(path, absl::StrCat("added token ", id), value);
    if (!token.ok()) return token.status();
    numbered.emplace_back(std::stoll(id), *std::move(token));
  }
  std::sort(numbered.begin(), numbered.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<AddedToken> tokens;
  for (auto& [id, token] : numbered) tokens.push_back(std::move(token));
  return tokens;
}

/// A string, or a list of objects with `name` and `template`.
absl::Status AddTemplates(const std::string& path, const json& value, TokenizerConfig* config) {
  if (value.is_string()) {
    config->chat_templates[TokenizerConfig::kDefaultTemplate] = value.get<std::string>();
    return absl::OkStatus();
  }
  if (!value.is_array()) {
    return Wrong(path, "`chat_template` is neither a string nor a list of named ones");
  }
  for (const json& named : value) {
    const json* const name = named.is_object() ? Find(named, "name") : nullptr;
    const json* const source = named.is_object() ? Find(named, "template") : nullptr;
    if (name == nullptr || !name->is_string() || source == nullptr || !source->is_string()) {
      return Wrong(path, "one of `chat_template` lacks its `name` or `template`");
    }
    config->chat_templates[name->get<std::string>()] = source->get<std::string>();
  }
  return absl::OkStatus();
}

absl::Status ReadTemplates(const std::string& folder, const std::string& config_path,
                           const json& tokenizer, TokenizerConfig* config) {
  const std::string processor_path = absl::StrCat(folder, "/chat_template.json");
  absl::StatusOr<json> processor = ReadJson(processor_path);
  if (!processor.ok()) return processor.status();
  const std::pair<const std::string&, const json&> places[] = {{processor_path, *processor},
                                                               {config_path, tokenizer}};
  for (const auto& [path, object] : places) {
    const json* const value = Find(object, "chat_template");
    if (value == nullptr) continue;
    config->chat_templates.clear();
    if (absl::Status status = AddTemplates(path, *value, config); !status.ok()) return status;
  }
  // Files of their own go before all of these.
  std::map<std::string, std::string> files;
  files[TokenizerConfig::kDefaultTemplate] = absl::StrCat(folder, "/chat_template.jinja");
  std::error_code error;
  for (fs::directory_iterator at(absl::StrCat(folder, "/chat_templates"), error), end;
       !error && at != end && files.size() <= kMaxTemplates; at.increment(error)) {
    if (at->path().extension() == ".jinja") {
      files[at->path().stem().string()] = at->path().string();
    }
  }
  bool first = true;
  for (const auto& [name, path] : files) {
    absl::StatusOr<std::optional<std::string>> source = ReadIfThere(path);
    if (!source.ok()) return source.status();
    if (!source->has_value()) continue;
    if (std::exchange(first, false)) config->chat_templates.clear();
    config->chat_templates[name] = **std::move(source);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerConfig> TokenizerConfig::LoadTokenizerConfig(
    const std::string& folder, const std::string& model_type, const std::string& tokenizer_class) {
  const std::string path = absl::StrCat(folder, "/tokenizer_config.json");
  const std::string map_path = absl::StrCat(folder, "/special_tokens_map.json");
  absl::StatusOr<json> file = ReadJson(path);
  if (!file.ok()) return file.status();
  absl::StatusOr<std::string> named = StringOr(path, *file, "tokenizer_class", tokenizer_class);
  if (!named.ok()) return named.status();
  const Class* const known = ClassOf(model_type, *named);

  TokenizerConfig config;
  const std::string usual = known == nullptr ? "" : known->pad_left ? "left" : "right";
  absl::StatusOr<std::string> side = StringOr(path, *file, "padding_side", usual);
  if (!side.ok()) return side.status();
  if (!side->empty()) config.pad_left = *side != "right";

  absl::StatusOr<json> map = json::object();
  if (const json* const decoder = Find(*file, "added_tokens_decoder")) {
    absl::StatusOr<std::vector<AddedToken>> tokens = AddedTokensOf(path, *decoder);
    if (!tokens.ok()) return tokens.status();
    config.options.added_tokens = *std::move(tokens);
  } else {
    // Older folders say it there.
    map = ReadJson(map_path);
    if (!map.ok()) return map.status();
  }
  for (const char* name : kNames) {
    std::optional<std::string> content;
    const json* const value = Find(*map, name) != nullptr ? Find(*map, name) : Find(*file, name);
    if (value != nullptr) {
      absl::StatusOr<AddedToken> token = TokenOf(path, name, *value);
      if (!token.ok()) return token.status();
      content = token->content;
    } else if (known != nullptr && !file->contains(name)) {
      for (const auto& [default_name, token] : known->special_tokens) {
        if (default_name == name) content = token;
      }
    }
    if (!content || content->empty()) continue;
    config.options.special_tokens.push_back(*content);
    config.special_tokens.emplace_back(name, *std::move(content));
  }
  for (const char* name : {"additional_special_tokens", "extra_special_tokens"}) {
    const json* const list = Find(*map, name) != nullptr ? Find(*map, name) : Find(*file, name);
    if (list == nullptr) continue;
    for (const json& value : *list) {
      absl::StatusOr<AddedToken> token = TokenOf(path, name, value);
      if (!token.ok()) return token.status();
      config.options.special_tokens.push_back(token->content);
    }
  }

  absl::StatusOr<bool> clean_up = BoolOr(path, *file, "clean_up_tokenization_spaces", false);
  if (!clean_up.ok()) return clean_up.status();
  config.options.clean_up_spaces = *clean_up;
  if (known != nullptr && known->name == std::string("LlamaTokenizer")) {
    absl::StatusOr<bool> prefix = BoolOr(path, *file, "add_prefix_space", true);
    if (!prefix.ok()) return prefix.status();
    absl::StatusOr<bool> legacy = BoolOr(path, *file, "legacy", false);
    if (!legacy.ok()) return legacy.status();
    config.options.metaspace = !*prefix ? "never" : *legacy ? "always" : "first";
  }
  if (absl::Status status = ReadTemplates(folder, path, *file, &config); !status.ok()) {
    return status;
  }
  return config;
}

const std::string* TokenizerConfig::FindSpecialToken(const std::string& name) const {
  for (const auto& [known, token] : special_tokens) {
    if (known == name) return &token;
  }
  return nullptr;
}

}  // namespace weft::text
