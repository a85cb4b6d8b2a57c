#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "engine/models/hosted_model.h"

namespace weft::reference {

inline constexpr int64_t kVocabulary = 13;
inline constexpr int64_t kWidth = 4;
inline constexpr int kLayers = 2;

/// By their names in the model.
const std::map<std::string, at::Tensor>& Weights();

/// The model that random programs run on, hosted by the engine. It has what planners stumble over:
/// blocks that return a tuple, a module that is called twice (`norm`), one that looks at whole
/// prompts (`mix`), a root that returns a dict.
///
/// It is made of elementwise operators alone, so that a row's numbers are the same to the bit
/// whatever rows are beside it.
std::unique_ptr<models::HostedModel> HostTinyModel();

/// Who looks at a forward while it is computed in plain code.
class Onlooker {
 public:
  virtual ~Onlooker() = default;
  /// At a site, by its text form; the value, `[B, T, ...]`, may be replaced.
  virtual void Visit(const std::string& site, at::Tensor& value) = 0;
  /// What a call of a module, `norm@1`, gives without being made.
  virtual std::optional<at::Tensor> Skip(const std::string& call) = 0;
};

/// The same model in plain code, one prompt's rows at a time: logits `[B, T, kVocabulary]` of ids
/// `[B, T]`.
at::Tensor PlainForward(const at::Tensor& ids, Onlooker& onlooker);
/// One module by itself.
at::Tensor PlainModule(const std::string& module, const at::Tensor& input);
/// What a module returns, given its tensor: a tuple, a dict, or that.
c10::IValue InFormOf(const std::string& module, const at::Tensor& tensor);

}  // namespace weft::reference
