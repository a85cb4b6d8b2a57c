#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "weft/location.h"
#include "weft/tensor.h"
#include "weft/var.h"

namespace weft {
namespace internal {
struct AttachedPart;
}  // namespace internal

/// A module of one's own, made of tensors: an adapter, a sparse autoencoder, a LoRA pair. Called in
/// a trace it records its operators; its tensors become constants of the program, once a trace.
///
///   auto sae = weft::AttachedModule::Sae({.w_enc = w_enc, .w_dec = w_dec});
///   model.Attach("transformer.h.3.sae", sae);                  // in the printed tree, by its path
///   model.Trace("a prompt", [&] {
///     auto sae = model["transformer.h.3.sae"];
///     model["transformer.h.3"].output() = sae(model["transformer.h.3"].output());
///     sae["acts"].output()[{weft::Ellipsis(), 5}] = 0.0;       // before the decoder has run
///   });
///
/// Values of its parts can be read and replaced after the call: what the rest of the module, and
/// what was made or written from its output, is then made from the new value. What was saved before
/// stays as it was. Copies are one module. Thread-safe; calls are for the thread that records.
class AttachedModule {
 public:
  using Parts = std::vector<std::pair<std::string, AttachedModule>>;
  /// Records what the module does with `x`; its parts are called as `self["name"](x)`.
  using Body = std::function<Var(const AttachedModule& self, const Var& x)>;

  /// `x @ weight^T + bias`, as torch.nn.Linear: `weight` is [out, in].
  static AttachedModule Linear(const Tensor& weight, const std::optional<Tensor>& bias = {});
  /// An operator on one tensor: `relu`, `gelu`, `silu`, `tanh`...
  static AttachedModule Activation(const std::string& op);
  /// One after the other.
  static AttachedModule Sequence(const Parts& parts);
  /// `x + inner(x)`, with the part `inner`.
  static AttachedModule Residual(const AttachedModule& inner);
  /// `scale * (x @ a^T) @ b^T`: `a` is [rank, in], `b` is [out, rank]. Its parts are `a` and `b`.
  static AttachedModule Lora(const Tensor& a, const Tensor& b, double scale = 1);
  struct SaeWeights {
    Tensor w_enc;                 // [in, features]
    std::optional<Tensor> b_enc;  // [features]
    Tensor w_dec;                 // [features, in]
    std::optional<Tensor> b_dec;  // [in]
    bool subtract_b_dec = false;  // from the input, before it is encoded
    std::string activation = "relu";
  };
  /// A sparse autoencoder, in the orientation in which they are published. Its parts are `encoder`,
  /// `acts` and `decoder`; the output of `acts` is the features.
  static AttachedModule Sae(const SaeWeights& weights);
  /// Anything else. `type` and `detail` are for the printed tree.
  static AttachedModule Compose(const std::string& type, const Parts& parts, Body body,
                                const std::string& detail = "");

  /// Call it: records its operators.
  Var operator()(const Operand& x) const;
  /// A part by name, `sae["acts"]`, or a path of names. Using a part that is not there makes the
  /// recording fail.
  AttachedModule operator[](const std::string& name) const;
  /// What it returned, or took, in its last call in this invoke. Assigning to it replaces that.
  Var output(Location where = Location::current()) const;
  Var input(Location where = Location::current()) const;

  const std::string& type() const;

  /// For this library's own use. nullptr for a part that is not there.
  const std::shared_ptr<const internal::AttachedPart>& part() const { return part_; }
  explicit AttachedModule(std::shared_ptr<const internal::AttachedPart> part)
      : part_(std::move(part)) {}

 private:
  std::shared_ptr<const internal::AttachedPart> part_;
};

}  // namespace weft
