#pragma once

#include <ATen/ATen.h>
#include <ATen/core/ivalue.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/graph/program.h"
#include "engine/models/hosted_model.h"

namespace weft::reference {

/// What one invoke brings into a step: the prompts, padded on the left, or the tokens that were
/// chosen last.
struct Prompts {
  at::Tensor ids, mask, positions;  // `[B, T]`
  /// Of a later step: which of the tokens before these are no pads, `[B, past]`.
  at::Tensor past;
  /// Of a generation, whose head looks at the last token alone.
  bool generates = false;
};

/// Who looks at a forward while it is computed in plain code.
class Onlooker {
 public:
  virtual ~Onlooker() = default;
  /// At a site, by its text form; the value, `[B, T, ...]`, may be replaced.
  virtual void Visit(const std::string& site, at::Tensor& value) = 0;
  /// What a call of a module, `norm@1`, gives without being made.
  virtual std::optional<at::Tensor> Skip(const std::string& call) = 0;
  /// What came to a site in each of the steps before this one; undefined where it was not visited.
  virtual std::vector<at::Tensor> Before(const std::string& site) = 0;
};

/// A small model twice: as the engine hosts it, and in plain code that shares nothing with it.
class PlainModel {
 public:
  virtual ~PlainModel() = default;

  virtual std::unique_ptr<models::HostedModel> Host() const = 0;
  /// Logits `[B, T, vocabulary]`, one invoke's rows at a time.
  virtual at::Tensor Forward(const Prompts& prompts, Onlooker& onlooker) const = 0;
  /// One module by itself.
  virtual at::Tensor Module(const std::string& module, const at::Tensor& input) const = 0;
  /// What a module returns, given its tensor: a tuple, a dict, or that.
  virtual c10::IValue InForm(const std::string& module, const at::Tensor& tensor) const = 0;
  /// By their names in the model.
  virtual const std::map<std::string, at::Tensor>& Weights() const = 0;
  /// Modules that are called, and how often in a step.
  virtual const std::vector<std::pair<std::string, int>>& Calls() const = 0;
  /// Modules that programs may call, and the trailing shape of what they take.
  virtual const std::vector<std::pair<std::string, std::vector<int64_t>>>& Callable() const = 0;
  virtual int64_t vocabulary() const = 0;
  /// Its numbers are rounded, so that a comparison may come out otherwise than in the engine.
  virtual bool rounded() const = 0;
};

/// Of elementwise operators on multiples of a quarter: a row's numbers are the same to the bit
/// whatever rows are beside it. It has what planners stumble over: blocks that return a tuple, a
/// module that is called twice (`norm`), one that looks at whole prompts (`mix`), a root that
/// returns a dict.
const PlainModel& ExactModel();

/// A decoder with attention, positions, and keys and values that it keeps from step to step.
const PlainModel& DecoderModel();

/// `x W + b`, `W` being `[in, out]`, a column after the other.
at::Tensor Dense(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);
/// The same; each operator of it is a site of `call`, too.
at::Tensor WatchedDense(Onlooker& onlooker, const std::string& call, const at::Tensor& x,
                        const at::Tensor& weight, const at::Tensor& bias);
/// Multiples of a quarter, none like the others beside it.
at::Tensor Quarters(int64_t rows, int64_t columns, int64_t salt);

/// A call with its input, its output, and who skips it.
template <typename Body>
at::Tensor WatchedCall(Onlooker& onlooker, const std::string& call, at::Tensor x,
                       const Body& body) {
  onlooker.Visit(call + ".input", x);
  std::optional<at::Tensor> instead = onlooker.Skip(call);
  at::Tensor y = instead ? *std::move(instead) : body(x);
  onlooker.Visit(call + ".output", y);
  return y;
}

}  // namespace weft::reference
