#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/models/config_reader.h"
#include "engine/models/module.h"

namespace weft::models {

/// How the angles of rotary embeddings grow with position: `rope_parameters` of a configuration.
/// Fields that a type does not know have no meaning for it.
struct RopeParameters {
  std::string type = "default";  // or linear, dynamic, llama3, yarn, longrope
  double theta = 10000;
  double partial = 1;  // the share of a head's dimensions that is rotated
  std::optional<double> factor, attention_factor;
  double low_freq_factor = 1, high_freq_factor = 1;                    // llama3
  std::optional<double> beta_fast, beta_slow, mscale, mscale_all_dim;  // yarn
  bool truncate = true;
  std::vector<double> short_factor, long_factor;  // longrope
  double original_max_positions = 0;
  double max_positions = 0;  // of the configuration, with any type
};

/// What a family takes where its configuration says nothing.
struct RopeDefaults {
  double theta = 10000;
  double partial = 1;
  int64_t original_max_positions = 0;  // 0: none but what the configuration says
  bool own_names = false;  // `rope_theta` and `partial_rotary_factor` have others in this family
};

/// Read `rope_parameters`, or what older configurations have instead (`rope_scaling`, `rope_theta`,
/// `partial_rotary_factor`), by transformers' rules. Errors are collected by `read`; a type or a
/// field that is not served is one. `max_positions` is the configuration's.
RopeParameters ReadRope(ConfigReader& read, int64_t max_positions, const RopeDefaults& defaults);
/// The same of one object, `name` in errors, such as one of those by type of layer.
RopeParameters ReadRopeObject(ConfigReader& read, const std::string& name,
                              const nlohmann::json& object, int64_t max_positions,
                              const RopeDefaults& defaults);
/// How many tokens a prompt may have: the positions of the configuration, or those that `linear`,
/// `dynamic` and `yarn` are there to go on to.
int64_t MostTokens(const RopeParameters& rope);

/// Rotary position embeddings (transformers: modeling_rope_utils) of heads in packed rows.
///
/// The types whose angles depend on how long a prompt is (dynamic, longrope) look at each invoke by
/// itself, its longest prompt; longrope of a generation at its prompts alone. Immutable once made,
/// so thread-safe.
class Rotary {
 public:
  enum class Layout : uint8_t {
    kHalves,       // dimension i turns with i + dim / 2: Llama, NeoX
    kInterleaved,  // with its neighbour: GPT-J, Cohere
  };

  /// For heads of `head_dim`, of which the first `head_dim * partial` are rotated. `in_float`: the
  /// rotation itself is computed in float32. kInvalidArgument, starting with `where`, for numbers
  /// that make no sense.
  static absl::StatusOr<std::shared_ptr<const Rotary>> Make(const std::string& where,
                                                            const RopeParameters& parameters,
                                                            int64_t head_dim,
                                                            Layout layout = Layout::kHalves,
                                                            bool in_float = false);

  /// Turn `[1, rows, heads, head_dim]`, the rows that are present in `pass`, by their positions.
  at::Tensor Apply(run::Pass& pass, const at::Tensor& x) const;

  /// Frequencies `[dim / 2]` for prompts of at most `tokens`.
  at::Tensor Frequencies(int64_t tokens) const;
  /// What cosines and sines are multiplied with.
  double attention_factor() const { return attention_factor_; }

 private:
  struct Tables {
    at::Tensor cos, sin;  // [1, rows, 1, dim]
  };
  struct ByDevice;
  Rotary(RopeParameters parameters, int64_t dim, Layout layout, bool in_float);
  const Tables& TablesOf(run::Pass& pass, const at::Tensor& x) const;
  at::Tensor FrequenciesOfRows(run::Pass& pass) const;
  at::Tensor Yarn(const at::Tensor& steps) const;
  at::Tensor Llama3(const at::Tensor& frequencies) const;
  at::Tensor Turned(const at::Tensor& x) const;

  const RopeParameters parameters_;
  const int64_t dim_;
  const Layout layout_;
  const bool in_float_;
  double attention_factor_ = 1;
  at::Tensor frequencies_;  // where they are the same for all prompts
};

/// Stands in the tree as it does in transformers, where it returns a pair. Nobody calls it here, so
/// it has no sites: attention asks Rotary.
class RotaryEmbeddingImpl : public Module {
 public:
  explicit RotaryEmbeddingImpl(std::string type) : type_(std::move(type)) {}
  at::Tensor forward(run::Pass&, at::Tensor x) override { return x; }
  std::string type() const override { return type_; }

 private:
  const std::string type_;
};

}  // namespace weft::models
