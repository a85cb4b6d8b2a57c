#include "engine/models/llama_config.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/models/config_reader.h"

namespace weft::models {
namespace {

using Block = LlamaConfig::Block;
using Norm = LlamaConfig::Norm;
using QKNorm = LlamaConfig::QKNorm;

/// The defaults of a family's configuration class in transformers.
struct Sizes {
  int64_t vocab_size, hidden_size, intermediate_size, layers, heads;
  int64_t kv_heads;  // 0: as many as heads
  int64_t head_dim;  // 0: hidden_size / heads
  int64_t max_positions;
};

class LlamaReader {
 public:
  explicit LlamaReader(const weights::ModelConfig& json) : read_(json) {}

  absl::StatusOr<LlamaConfig> Read(const std::string& type) {
    const auto family = Families().find(type);
    if (family == Families().end()) {
      return absl::UnimplementedError(
          absl::StrCat(read_.config().path(), ": model_type `", type, "` is not of this shape"));
    }
    (this->*family->second)();
    if (!read_.status().ok()) return read_.status();
    if (absl::Status status = Check(); !status.ok()) return status;
    return std::move(config_);
  }

 private:
  using ReadFamily = void (LlamaReader::*)();
  static const std::map<std::string, ReadFamily>& Families() {
    static const auto* const kFamilies = new std::map<std::string, ReadFamily>{
        {"llama", &LlamaReader::Llama},        {"mistral", &LlamaReader::Mistral},
        {"qwen2", &LlamaReader::Qwen2},        {"qwen3", &LlamaReader::Qwen3},
        {"gemma", &LlamaReader::Gemma},        {"gemma2", &LlamaReader::Gemma2},
        {"gemma3_text", &LlamaReader::Gemma3}, {"phi3", &LlamaReader::Phi3},
        {"olmo2", &LlamaReader::Olmo2},        {"stablelm", &LlamaReader::StableLM},
        {"cohere", &LlamaReader::Cohere},      {"mixtral", &LlamaReader::Mixtral},
        {"qwen3_moe", &LlamaReader::Qwen3Moe},
    };
    return *kFamilies;
  }

  // --- families ---

  void Llama() {
    ReadSizes("Llama", {32000, 4096, 11008, 32, 32, 0, 0, 2048});
    ReadNorm("rms_norm_eps", 1e-6);
    ReadAct("hidden_act", "silu");
    config_.qkv_bias = config_.o_bias = read_.Get<bool>("attention_bias", false);
    config_.mlp_bias = read_.Get<bool>("mlp_bias", false);
    ReadTied(false);
    SameRotary(WholeHeads({}));
  }

  void Mistral() {
    ReadSizes("Mistral", {32000, 4096, 14336, 32, 32, 8, 0, 131072});
    ReadNorm("rms_norm_eps", 1e-6);
    ReadAct("hidden_act", "silu");
    ReadTied(false);
    config_.windows.assign(config_.layers, read_.SizeOrNone("sliding_window", 4096));
    SameRotary(WholeHeads({}));
  }

  void Qwen2() {
    ReadSizes("Qwen2", {151936, 4096, 22016, 32, 32, 32, 0, 32768});
    ReadQwen();
    config_.qkv_bias = true;
  }

  void Qwen3() {
    ReadSizes("Qwen3", {151936, 4096, 22016, 32, 32, 32, 128, 32768});
    ReadQwen();
    config_.qkv_bias = config_.o_bias = read_.Get<bool>("attention_bias", false);
    config_.qk_norm = QKNorm::kHeads;
  }

  void ReadQwen() {
    ReadNorm("rms_norm_eps", 1e-6);
    ReadAct("hidden_act", "silu");
    ReadTied(false);
    const int64_t window =
        read_.Get<bool>("use_sliding_window", false) ? read_.SizeOrNone("sliding_window", 4096) : 0;
    const int64_t full = read_.Get<int64_t>("max_window_layers", 28);
    ReadWindows(window, [=](int64_t layer) { return window > 0 && layer >= full; });
    SameRotary(WholeHeads({}));
  }

  void Gemma() {
    ReadSizes("Gemma", {256000, 3072, 24576, 28, 16, 16, 256, 8192});
    ReadAct("hidden_act", "gelu_pytorch_tanh");
    // Its first configurations say gelu and mean this one.
    if (config_.act == "gelu") config_.act = "gelu_pytorch_tanh";
    ReadGemma();
    SameRotary(WholeHeads({}));
  }

  void Gemma2() {
    ReadSizes("Gemma2", {256000, 2304, 9216, 26, 8, 4, 256, 8192});
    ReadAct("hidden_activation", "gelu_pytorch_tanh");
    ReadGemma();
    ReadScaleOfQueries();
    config_.block = Block::kSandwich;
    config_.softcap = read_.NumberOrNone("attn_logit_softcapping", 50);
    config_.logit_softcap = read_.NumberOrNone("final_logit_softcapping", 30);
    ReadWindows(read_.SizeOrNone("sliding_window", 4096),
                [](int64_t layer) { return layer % 2 == 0; });
    SameRotary(WholeHeads({}));
  }

  void Gemma3() {
    ReadSizes("Gemma3", {262208, 2304, 9216, 26, 8, 4, 256, 131072});
    ReadAct("hidden_activation", "gelu_pytorch_tanh");
    ReadGemma();
    ReadScaleOfQueries();
    config_.block = Block::kSandwich;
    config_.qk_norm = QKNorm::kHeadsAfter;
    if (read_.Has("attn_logit_softcapping")) {
      read_.Refuse("attn_logit_softcapping", "transformers does not apply it in this family");
    }
    config_.logit_softcap = read_.NumberOrNone("final_logit_softcapping", 0);
    const int64_t pattern = read_.Size("sliding_window_pattern", 6);
    const int64_t window = read_.SizeOrNone("sliding_window", 4096);
    ReadWindows(window, [=](int64_t layer) { return (layer + 1) % std::max<int64_t>(pattern, 1); });
    ReadGemma3Rotary();
  }

  void ReadGemma() {
    ReadNorm("rms_norm_eps", 1e-6);
    config_.norm = Norm::kRmsPlus1;
    config_.qkv_bias = config_.o_bias = read_.Get<bool>("attention_bias", false);
    ReadTied(true);
    read_.Only<bool>("use_bidirectional_attention", false);
    config_.embed_scale = std::sqrt(static_cast<double>(config_.hidden_size));
  }

  void ReadScaleOfQueries() {
    const auto scalar = read_.Get<double>("query_pre_attn_scalar", 256);
    if (!(scalar > 0)) read_.Invalid("query_pre_attn_scalar", "must be greater than 0");
    config_.scale = 1 / std::sqrt(scalar);
  }

  void Phi3() {
    ReadSizes("Phi3", {32064, 3072, 8192, 32, 32, 0, 0, 4096});
    ReadNorm("rms_norm_eps", 1e-5);
    ReadAct("hidden_act", "silu");
    ReadTied(false);
    config_.fused = true;
    config_.attention_dropout = "resid_attn_dropout";
    config_.mlp_dropout = "resid_mlp_dropout";
    config_.dropout = read_.Get<double>("resid_pdrop", 0);
    config_.windows.assign(config_.layers, read_.SizeOrNone("sliding_window", 0));
    RopeParameters rope = ReadRope(read_, positions_, {.original_max_positions = 4096});
    if (rope.type != "default" && rope.type != "longrope") {
      read_.Refuse("rope_scaling", absl::StrCat("\"", rope.type,
                                                "\" is not served in Phi-3, "
                                                "which knows default and longrope"));
    }
    SameRotary(std::move(rope));
  }

  void Olmo2() {
    ReadSizes("Olmo2", {50304, 4096, 11008, 32, 32, 0, 0, 2048});
    ReadNorm("rms_norm_eps", 1e-5);
    config_.norm = Norm::kRmsFloat;
    ReadAct("hidden_act", "silu");
    config_.qkv_bias = config_.o_bias = read_.Get<bool>("attention_bias", false);
    ReadTied(false);
    config_.block = Block::kPostNorm;
    config_.qk_norm = QKNorm::kRows;
    SameRotary(WholeHeads({}), Rotary::Layout::kHalves, /*in_float=*/true);
  }

  void StableLM() {
    ReadSizes("StableLm", {50304, 2560, 6912, 32, 32, 32, 0, 4096});
    ReadNorm("layer_norm_eps", 1e-5);
    config_.norm = Norm::kLayerNorm;
    ReadAct("hidden_act", "silu");
    config_.qkv_bias = read_.Get<bool>("use_qkv_bias", false);
    ReadTied(false);
    if (read_.Get<bool>("qk_layernorm", false)) config_.qk_norm = QKNorm::kHeadsModules;
    if (read_.Get<bool>("use_parallel_residual", false)) config_.block = Block::kParallel;
    config_.mlp_dropout = "dropout";
    config_.dropout = read_.Get<double>("hidden_dropout", 0);
    SameRotary(ReadRope(read_, positions_, {.partial = 0.25}));
  }

  void Cohere() {
    ReadSizes("Cohere", {256000, 8192, 22528, 40, 64, 0, 0, 8192});
    ReadNorm("layer_norm_eps", 1e-5);
    config_.norm = Norm::kCentred;
    ReadAct("hidden_act", "silu");
    config_.qkv_bias = config_.o_bias = read_.Get<bool>("attention_bias", false);
    ReadTied(true);
    if (read_.Get<bool>("use_qk_norm", false)) config_.qk_norm = QKNorm::kHeadsApart;
    config_.block = Block::kParallel;
    config_.logit_scale = read_.Get<double>("logit_scale", 0.0625);
    SameRotary(WholeHeads({.theta = 500000}), Rotary::Layout::kInterleaved, /*in_float=*/true);
  }

  void Mixtral() {
    ReadSizes("Mixtral", {32000, 4096, 14336, 32, 32, 8, 0, 131072});
    ReadNorm("rms_norm_eps", 1e-5);
    ReadAct("hidden_act", "silu");
    ReadTied(false);
    config_.windows.assign(config_.layers, read_.SizeOrNone("sliding_window", 0));
    ReadExperts(read_.NameOf("num_experts", "num_local_experts"), 8, 2);
    config_.expert_size = config_.intermediate_size;
    config_.sparse.assign(config_.layers, true);
    SameRotary(WholeHeads({.theta = 1e6}));
  }

  void Qwen3Moe() {
    ReadSizes("Qwen3Moe", {151936, 2048, 6144, 24, 32, 4, 0, 32768});
    ReadNorm("rms_norm_eps", 1e-6);
    ReadAct("hidden_act", "silu");
    ReadTied(false);
    config_.qkv_bias = config_.o_bias = read_.Get<bool>("attention_bias", false);
    config_.qk_norm = QKNorm::kHeads;
    const bool slides = read_.Get<bool>("use_sliding_window", false);
    config_.windows.assign(config_.layers, slides ? read_.SizeOrNone("sliding_window", 4096) : 0);
    // transformers 5 writes the first name, and the Hub's checkpoints have the second.
    ReadExperts(read_.NameOf("num_local_experts", "num_experts"), 128, 8);
    config_.expert_size = read_.Size("moe_intermediate_size", 768);
    config_.normed_probs = read_.Get<bool>("norm_topk_prob", false);
    config_.probs_in_float = false;
    config_.gate_first = false;
    const int64_t step = std::max<int64_t>(read_.Size("decoder_sparse_step", 1), 1);
    const std::vector<int64_t> dense = read_.Integers("mlp_only_layers");
    for (int64_t layer = 0; layer < config_.layers; ++layer) {
      config_.sparse.push_back((layer + 1) % step == 0 &&
                               std::find(dense.begin(), dense.end(), layer) == dense.end());
    }
    SameRotary(WholeHeads({}));
  }

  void ReadExperts(const std::string& field, int64_t experts, int64_t per_token) {
    config_.experts = read_.Size(field, experts);
    config_.experts_per_token = read_.Size("num_experts_per_tok", per_token);
    read_.Only<bool>("output_router_logits", false);
    if (config_.experts > kMostHeads) read_.Invalid(field, "makes no sense");
    if (config_.experts_per_token > config_.experts) {
      read_.Invalid("num_experts_per_tok", "is more than there are experts");
    }
  }

  // --- parts ---

  void ReadSizes(const std::string& prefix, const Sizes& sizes) {
    config_.prefix = prefix;
    config_.vocab_size = read_.Size("vocab_size", sizes.vocab_size);
    config_.hidden_size = read_.Size("hidden_size", sizes.hidden_size);
    config_.intermediate_size = read_.Size("intermediate_size", sizes.intermediate_size);
    config_.layers = read_.Size("num_hidden_layers", sizes.layers);
    config_.heads = read_.Size("num_attention_heads", sizes.heads);
    const int64_t kv_heads = read_.SizeOrNone("num_key_value_heads", sizes.kv_heads);
    config_.kv_heads = kv_heads == 0 ? config_.heads : kv_heads;
    const int64_t head_dim = read_.SizeOrNone("head_dim", sizes.head_dim);
    config_.head_dim =
        head_dim == 0 ? config_.hidden_size / std::max<int64_t>(config_.heads, 1) : head_dim;
    positions_ = config_.max_tokens = read_.Size("max_position_embeddings", sizes.max_positions);
    read_.Only<bool>("is_causal", true);
    config_.scale = 1 / std::sqrt(static_cast<double>(std::max<int64_t>(config_.head_dim, 1)));
    if (config_.layers > kMostLayers) {
      read_.Invalid("num_hidden_layers", absl::StrCat("is more than ", kMostLayers));
    }
    // What follows counts on sizes that are sizes, and is given up in the end.
    if (!read_.status().ok()) config_.layers = config_.heads = config_.kv_heads = 1;
  }

  void ReadNorm(const std::string& field, double fallback) {
    config_.eps = read_.Get<double>(field, fallback);
  }
  void ReadAct(const std::string& field, const std::string& fallback) {
    config_.act = read_.Get<std::string>(field, fallback);
  }
  void ReadTied(bool fallback) { config_.tied = read_.Get<bool>("tie_word_embeddings", fallback); }

  /// The windows of layers by `layer_types`, or where `slides` says so.
  template <typename Slides>
  void ReadWindows(int64_t window, const Slides& slides) {
    if (!read_.status().ok()) return;
    config_.windows.assign(config_.layers, 0);
    const std::vector<std::string> types = read_.Strings("layer_types");
    if (!types.empty() && static_cast<int64_t>(types.size()) != config_.layers) {
      read_.Invalid("layer_types",
                    absl::StrCat("has ", types.size(), " items for ", config_.layers, " layers"));
      return;
    }
    for (int64_t layer = 0; layer < config_.layers; ++layer) {
      bool sliding = slides(layer);
      if (!types.empty()) {
        sliding = types[layer] == "sliding_attention";
        if (!sliding && types[layer] != "full_attention") {
          read_.Refuse("layer_types", absl::StrCat("\"", types[layer], "\" is not served"));
        }
      }
      if (!sliding) continue;
      if (window == 0) read_.Invalid("sliding_window", "is none, but layers have one");
      config_.windows[layer] = window;
    }
  }

  /// Of families that turn whole heads.
  RopeParameters WholeHeads(const RopeDefaults& defaults) {
    RopeParameters rope = ReadRope(read_, positions_, defaults);
    if (rope.partial != 1) read_.Refuse("partial_rotary_factor", "this family turns whole heads");
    return rope;
  }

  std::shared_ptr<const Rotary> MakeRotary(const std::string& name, const RopeParameters& rope,
                                           Rotary::Layout layout, bool in_float) {
    if (!read_.status().ok()) return nullptr;
    auto rotary = Rotary::Make(absl::StrCat(read_.config().path(), ": `", name, "`"), rope,
                               config_.head_dim, layout, in_float);
    if (rotary.ok()) return *std::move(rotary);
    bad_rotary_ = rotary.status();
    return nullptr;
  }

  void SameRotary(const RopeParameters& rope, Rotary::Layout layout = Rotary::Layout::kHalves,
                  bool in_float = false) {
    if (!read_.status().ok()) return;
    config_.max_tokens = MostTokens(rope);
    config_.rotary.assign(config_.layers, MakeRotary("rope_parameters", rope, layout, in_float));
  }

  /// Layers with a window have frequencies of their own.
  void ReadGemma3Rotary() {
    if (!read_.status().ok()) return;
    const nlohmann::json& json = read_.config().json();
    const auto object_of = [&](const char* type) {
      nlohmann::json object = nlohmann::json::object();
      if (read_.Has("rope_parameters")) {
        const nlohmann::json& all = json["rope_parameters"];
        for (const auto& [name, value] : all.items()) {
          if (name != "full_attention" && name != "sliding_attention") {
            read_.Refuse("rope_parameters",
                         absl::StrCat("\"", name, "\" is no type of layer in this family"));
          }
        }
        if (all.is_object() && all.contains(type) && !all[type].is_null()) object = all[type];
      }
      return object;
    };
    nlohmann::json full = object_of("full_attention");
    if (read_.Has("rope_scaling") && json["rope_scaling"].is_object() && full.is_object()) {
      const nlohmann::json& scaling = json["rope_scaling"];
      if (scaling.contains("type") && !scaling.contains("rope_type")) {
        read_.Refuse("rope_scaling.type",
                     "transformers passes over it in this family; write `rope_type`");
      }
      full.update(scaling);
    }
    const RopeDefaults full_defaults{.theta = read_.Get<double>("rope_theta", 1e6)};
    const RopeDefaults near_defaults{.theta = read_.Get<double>("rope_local_base_freq", 1e4)};
    const RopeParameters far =
        ReadRopeObject(read_, "rope_parameters.full_attention", full, positions_, full_defaults);
    const RopeParameters near =
        ReadRopeObject(read_, "rope_parameters.sliding_attention", object_of("sliding_attention"),
                       positions_, near_defaults);
    if (far.partial != 1 || near.partial != 1) {
      read_.Refuse("partial_rotary_factor", "this family turns whole heads");
    }
    const auto full_rotary =
        MakeRotary("rope_parameters.full_attention", far, Rotary::Layout::kHalves, false);
    const auto near_rotary =
        MakeRotary("rope_parameters.sliding_attention", near, Rotary::Layout::kHalves, false);
    for (const int64_t window : config_.windows) {
      config_.rotary.push_back(window == 0 ? full_rotary : near_rotary);
    }
  }

  absl::Status Check() const {
    if (!bad_rotary_.ok()) return bad_rotary_;
    const auto bad = [&](const std::string& why) {
      return absl::InvalidArgumentError(absl::StrCat(read_.config().path(), ": ", why));
    };
    if (config_.heads % config_.kv_heads != 0) {
      return bad(absl::StrCat("`num_attention_heads` is ", config_.heads,
                              ", which `num_key_value_heads` ", config_.kv_heads,
                              " does not divide"));
    }
    if (config_.head_dim < 1 || config_.heads > kMostHeads || config_.head_dim > kMostHeads) {
      return bad("`num_attention_heads` or `head_dim` makes no sense");
    }
    return absl::OkStatus();
  }

  static constexpr int64_t kMostLayers = 4096, kMostHeads = 65536;

  ConfigReader read_;
  LlamaConfig config_;
  int64_t positions_ = 0;
  absl::Status bad_rotary_;
};

}  // namespace

absl::StatusOr<LlamaConfig> ReadLlamaConfig(const weights::ModelConfig& json) {
  absl::StatusOr<std::string> type = json.Get<std::string>("model_type");
  if (!type.ok()) return type.status();
  absl::StatusOr<LlamaConfig> config = LlamaReader(json).Read(*type);
  if (config.ok() && config->windows.empty()) config->windows.assign(config->layers, 0);
  return config;
}

}  // namespace weft::models
