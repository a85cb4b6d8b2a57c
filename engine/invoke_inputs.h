#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/graph/program.h"
#include "engine/models/network.h"
#include "engine/plan/model_spec.h"
#include "engine/plan/plan.h"
#include "engine/run/pass.h"
#include "engine/run/run.h"
#include "engine/text/model_text.h"
#include "engine/text/token_cache.h"

namespace weft {

/// What the invokes of a program bring into passes, in written order; of one whose prompts a sweep
/// fills in, that of each point. Of `invoke { }`, of values that the program computes, and of what
/// only the planner can refuse, an empty one.
struct InvokeInputs {
  std::vector<run::InvokeInput> inputs;
  std::vector<plan::RowCount> counts;
};

/// Turns the inputs of invokes into token ids, or into activations for the module that a trace
/// calls. Thread-safe; refers to what it is made of.
class InputMaker {
 public:
  /// `tokenizer` may be nullptr, and `chat_template` why there is none. `input` and a `vocabulary`
  /// of 0: of a model that takes no token ids.
  InputMaker(const plan::ModelSpec& spec, const text::Tokenizer* tokenizer,
             const absl::StatusOr<std::shared_ptr<const text::ChatTemplate>>& chat_template,
             const run::TokenOptions& tokens, const std::optional<models::RowInput>& input,
             int64_t vocabulary, int64_t max_tokens)
      : spec_(spec),
        tokenizer_(tokenizer),
        ids_(tokenizer),
        chat_template_(chat_template),
        tokens_(tokens),
        input_(input),
        vocabulary_(vocabulary),
        max_tokens_(max_tokens) {}

  /// Of a program of `owner` (RunOptions::owner) that passed graph::Check. Errors name the invoke:
  /// ids out of range, prompts too long for the model or for a pass of `pass_tokens` rows, tensors
  /// that are no ids.
  absl::StatusOr<InvokeInputs> Make(const graph::Program& program, const std::string& owner,
                                    uint64_t pass_tokens) const;

 private:
  using Rows = std::vector<std::vector<int64_t>>;

  /// The input `invoke`, which is that of node `id` or, where a sweep fills it in, one of its
  /// points.
  absl::StatusOr<run::InvokeInput> MakeOne(const graph::Program& program, const std::string& owner,
                                           graph::NodeId id, const graph::Invoke& invoke,
                                           const graph::Trace& trace, uint64_t pass_tokens) const;
  /// What a generation asks of its prompts: room for new tokens, a row for each sequence.
  absl::Status Expand(const graph::Program& program, graph::NodeId id,
                      const graph::GenerateOptions& generate, uint64_t pass_tokens,
                      Rows* rows) const;
  absl::StatusOr<Rows> Tokenized(const graph::Program& program, const std::string& owner,
                                 graph::NodeId id, const graph::Invoke::Prompts& prompts) const;
  absl::StatusOr<Rows> Templated(const graph::Program& program, const std::string& owner,
                                 graph::NodeId id, const graph::Invoke::Chats& chats) const;
  absl::StatusOr<std::vector<int64_t>> Encode(const graph::Program& program,
                                              const std::string& owner, graph::NodeId id,
                                              const std::string& text, bool special_tokens) const;
  absl::StatusOr<Rows> Unpadded(const graph::Program& program, graph::NodeId id,
                                const graph::Invoke::Tensors& tensors) const;
  absl::Status CheckIds(const graph::Program& program, graph::NodeId id, const Rows& rows) const;
  /// The tensors of an invoke in the order in which the model takes them.
  absl::StatusOr<std::vector<graph::NodeId>> InOrder(const graph::Program& program,
                                                     graph::NodeId id,
                                                     const graph::Invoke::Tensors& tensors) const;
  /// What the model takes beside `values`.
  absl::StatusOr<std::vector<at::Tensor>> Others(const graph::Program& program, graph::NodeId id,
                                                 const std::vector<graph::NodeId>& nodes,
                                                 const at::Tensor& values) const;
  absl::StatusOr<run::InvokeInput> Activations(const graph::Program& program, graph::NodeId id,
                                               const graph::Trace& trace) const;

  const plan::ModelSpec& spec_;
  const text::Tokenizer* const tokenizer_;
  mutable text::TokenCache ids_;
  const absl::StatusOr<std::shared_ptr<const text::ChatTemplate>>& chat_template_;
  const run::TokenOptions& tokens_;
  const std::optional<models::RowInput>& input_;
  const int64_t vocabulary_, max_tokens_;
};

}  // namespace weft
