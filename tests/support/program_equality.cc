#include "tests/support/program_equality.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace weft::graph {
namespace {

bool Same(const std::vector<Argument>& a, const std::vector<Argument>& b);

/// By their bits, all NaNs alike.
bool Same(double a, double b) {
  if (std::isnan(a) && std::isnan(b)) return true;
  return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
}

bool Same(const Argument& a, const Argument& b) {
  if (a.name != b.name || a.value.index() != b.value.index()) return false;
  if (const auto* list = std::get_if<Argument::List>(&a.value)) {
    return Same(*list, std::get<Argument::List>(b.value));
  }
  if (const auto* number = std::get_if<double>(&a.value)) {
    return Same(*number, std::get<double>(b.value));
  }
  if (const auto* ref = std::get_if<NodeRef>(&a.value)) return *ref == std::get<NodeRef>(b.value);
  if (const auto* value = std::get_if<bool>(&a.value)) return *value == std::get<bool>(b.value);
  if (const auto* value = std::get_if<int64_t>(&a.value)) {
    return *value == std::get<int64_t>(b.value);
  }
  if (const auto* value = std::get_if<std::string>(&a.value)) {
    return *value == std::get<std::string>(b.value);
  }
  if (const auto* value = std::get_if<DType>(&a.value)) return *value == std::get<DType>(b.value);
  if (const auto* use = std::get_if<SweepUse>(&a.value)) return *use == std::get<SweepUse>(b.value);
  return true;
}

bool Same(const std::vector<Argument>& a, const std::vector<Argument>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!Same(a[i], b[i])) return false;
  }
  return true;
}

bool Same(const Slice& a, const Slice& b) {
  return a.start == b.start && a.stop == b.stop && a.step == b.step &&
         a.start_parameter == b.start_parameter && a.stop_parameter == b.stop_parameter;
}

bool Same(const std::vector<double>& a, const std::vector<double>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](double x, double y) { return Same(x, y); });
}

bool Same(const std::vector<IndexTerm>& a, const std::vector<IndexTerm>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].index() != b[i].index()) return false;
    if (const auto* slice = std::get_if<Slice>(&a[i])) {
      if (!Same(*slice, std::get<Slice>(b[i]))) return false;
    }
    if (const auto* use = std::get_if<SweepUse>(&a[i])) {
      if (*use != std::get<SweepUse>(b[i])) return false;
    }
    if (const auto* integer = std::get_if<int64_t>(&a[i])) {
      if (*integer != std::get<int64_t>(b[i])) return false;
    }
    if (const auto* ref = std::get_if<NodeRef>(&a[i])) {
      if (*ref != std::get<NodeRef>(b[i])) return false;
    }
    if (const auto* key = std::get_if<std::string>(&a[i])) {
      if (*key != std::get<std::string>(b[i])) return false;
    }
  }
  return true;
}

bool Same(const GenerateOptions& a, const GenerateOptions& b) {
  return a.max_new_tokens == b.max_new_tokens && a.min_new_tokens == b.min_new_tokens &&
         a.do_sample == b.do_sample && Same(a.temperature, b.temperature) &&
         Same(a.top_p, b.top_p) && a.top_k == b.top_k && Same(a.min_p, b.min_p) &&
         Same(a.repetition_penalty, b.repetition_penalty) &&
         Same(a.presence_penalty, b.presence_penalty) &&
         Same(a.frequency_penalty, b.frequency_penalty) &&
         a.num_return_sequences == b.num_return_sequences && a.eos_token_ids == b.eos_token_ids &&
         a.stop_strings == b.stop_strings && a.num_beams == b.num_beams &&
         a.length_penalty.has_value() == b.length_penalty.has_value() &&
         (!a.length_penalty || Same(*a.length_penalty, *b.length_penalty)) &&
         a.early_stopping == b.early_stopping && a.no_repeat_ngram_size == b.no_repeat_ngram_size;
}
bool SameKind(const Trace& a, const Trace& b) {
  return a.label == b.label && a.root == b.root && a.tuple_outputs == b.tuple_outputs &&
         a.adapter == b.adapter && (a.generate == nullptr) == (b.generate == nullptr) &&
         (!a.generate || Same(*a.generate, *b.generate));
}
bool SameKind(const Sweep& a, const Sweep& b) {
  if (a.parameters.size() != b.parameters.size()) return false;
  for (size_t i = 0; i < a.parameters.size(); ++i) {
    const auto& left = a.parameters[i];
    const auto& right = b.parameters[i];
    if (left.name != right.name || left.values.index() != right.values.index()) return false;
    const auto* floats = std::get_if<std::vector<double>>(&left.values);
    const bool same = floats != nullptr ? Same(*floats, std::get<std::vector<double>>(right.values))
                                        : left.values == right.values;
    if (!same) return false;
  }
  return true;
}
bool SameKind(const Invoke& a, const Invoke& b) {
  if (a.input.index() != b.input.index()) return false;
  if (const auto* prompts = std::get_if<Invoke::Prompts>(&a.input)) {
    const auto& other = std::get<Invoke::Prompts>(b.input);
    return prompts->texts == other.texts && prompts->no_special_tokens == other.no_special_tokens;
  }
  if (const auto* tokens = std::get_if<Invoke::Tokens>(&a.input)) {
    return tokens->rows == std::get<Invoke::Tokens>(b.input).rows;
  }
  if (const auto* tensors = std::get_if<Invoke::Tensors>(&a.input)) {
    const auto& others = std::get<Invoke::Tensors>(b.input).inputs;
    return std::equal(tensors->inputs.begin(), tensors->inputs.end(), others.begin(), others.end(),
                      [](const NamedInput& x, const NamedInput& y) {
                        return x.name == y.name && x.node == y.node;
                      });
  }
  if (const auto* swept = std::get_if<SweptPrompt>(&a.input)) {
    const auto& other = std::get<SweptPrompt>(b.input);
    return swept->use == other.use && swept->no_special_tokens == other.no_special_tokens;
  }
  if (const auto* chats = std::get_if<Invoke::Chats>(&a.input)) {
    const auto& other = std::get<Invoke::Chats>(b.input);
    const auto same_chat = [](const std::vector<ChatMessage>& x,
                              const std::vector<ChatMessage>& y) {
      return std::equal(x.begin(), x.end(), y.begin(), y.end(),
                        [](const ChatMessage& said, const ChatMessage& also) {
                          return said.role == also.role && said.content == also.content;
                        });
    };
    return chats->add_generation_prompt == other.add_generation_prompt &&
           chats->continue_final_message == other.continue_final_message &&
           std::equal(chats->chats.begin(), chats->chats.end(), other.chats.begin(),
                      other.chats.end(), same_chat);
  }
  return true;
}
bool SameKind(const Constant& a, const Constant& b) {
  const auto* number = std::get_if<double>(&a.plain);
  const bool same = number != nullptr && std::holds_alternative<double>(b.plain)
                        ? Same(*number, std::get<double>(b.plain))
                        : a.plain == b.plain;
  return same && a.blob == b.blob && a.tensor.dtype == b.tensor.dtype &&
         a.tensor.shape == b.tensor.shape && a.tensor.bytes == b.tensor.bytes &&
         (a.tensor.bytes == 0 || std::memcmp(a.tensor.data, b.tensor.data, a.tensor.bytes) == 0);
}
bool SameKind(const Read& a, const Read& b) { return a.site == b.site; }
bool SameKind(const Operator& a, const Operator& b) {
  return a.name == b.name && Same(a.arguments, b.arguments);
}
bool SameKind(const Index& a, const Index& b) {
  return a.target == b.target && Same(a.terms, b.terms);
}
bool SameKind(const Structure& a, const Structure& b) {
  return a.kind == b.kind && Same(a.items, b.items);
}
bool SameKind(const Call& a, const Call& b) {
  return a.module == b.module && Same(a.arguments, b.arguments) && a.watched == b.watched;
}
bool SameKind(const Parameter& a, const Parameter& b) { return a.path == b.path; }
bool SameKind(const Write& a, const Write& b) {
  return a.site == b.site && Same(a.index, b.index) && a.value == b.value;
}
bool SameKind(const Assign& a, const Assign& b) {
  return a.target == b.target && Same(a.index, b.index) && a.value == b.value;
}
bool SameKind(const Skip& a, const Skip& b) {
  return a.module == b.module && a.visit == b.visit && a.value == b.value;
}
bool SameKind(const Save& a, const Save& b) {
  return a.name == b.name && a.value == b.value && a.dtype == b.dtype && a.keep == b.keep;
}
bool SameKind(const Cache& a, const Cache& b) {
  return a.name == b.name && a.modules == b.modules && a.dtype == b.dtype &&
         a.include_inputs == b.include_inputs;
}
bool SameKind(const Log& a, const Log& b) { return a.label == b.label && a.value == b.value; }
bool SameKind(const Stop&, const Stop&) { return true; }
bool SameKind(const Backward& a, const Backward& b) {
  return a.loss == b.loss && a.gradient == b.gradient;
}
bool SameKind(const GradRead& a, const GradRead& b) { return a.value == b.value; }
bool SameKind(const GradWrite& a, const GradWrite& b) {
  return a.value == b.value && a.gradient == b.gradient;
}
bool SameKind(const Steps& a, const Steps& b) {
  return Same(a.range, b.range) && a.list == b.list && a.initial == b.initial;
}
bool SameKind(const If& a, const If& b) { return a.condition == b.condition; }
bool SameKind(const Branch& a, const Branch& b) { return a.otherwise == b.otherwise; }
bool SameKind(const Carry& a, const Carry& b) { return a.index == b.index; }
bool SameKind(const Yield& a, const Yield& b) { return a.values == b.values; }
bool SameKind(const RegionResult& a, const RegionResult& b) {
  return a.region == b.region && a.index == b.index;
}

}  // namespace

std::string FirstDifference(const Program& a, const Program& b) {
  for (size_t i = 0; i < a.nodes.size() && i < b.nodes.size(); ++i) {
    const Node& left = a.nodes[i];
    const Node& right = b.nodes[i];
    const std::string node = absl::StrCat("node ", i + 1, ": ");
    if (left.parent != right.parent) return node + "parent";
    if (left.name != right.name) return node + "name";
    if (left.kind.index() != right.kind.index()) return node + "kind";
    const bool same = std::visit(
        [&right](const auto& kind) {
          return SameKind(kind, std::get<std::decay_t<decltype(kind)>>(right.kind));
        },
        left.kind);
    if (!same) return node + "value";
  }
  if (a.nodes.size() != b.nodes.size()) {
    return absl::StrCat(a.nodes.size(), " nodes, not ", b.nodes.size());
  }
  return "";
}

}  // namespace weft::graph
