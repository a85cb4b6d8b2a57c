// What must hold of arguments because a kernel does not look: a graph's operators run without the
// Meta kernels that a program's operators go through first.

#include <ATen/ATen.h>
#include <ATen/ExpandUtils.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/exported/operators.h"
#include "engine/plan/index_check.h"
#include "engine/plan/operator_checks.h"

namespace weft::exported {
namespace {

absl::Status Wrong(const std::string& message) { return absl::InvalidArgumentError(message); }

/// Arguments by their names.
class Arguments {
 public:
  Arguments(const c10::FunctionSchema& schema, const c10::Stack& stack)
      : schema_(schema), stack_(stack) {}

  /// None where there is no such argument.
  c10::IValue operator[](const char* name) const {
    const std::optional<int> at = schema_.argumentIndexWithName(name);
    return at ? stack_[*at] : c10::IValue();
  }
  /// Undefined where it is none.
  at::Tensor Tensor(const char* name) const {
    const c10::IValue value = (*this)[name];
    return value.isTensor() ? value.toTensor() : at::Tensor();
  }
  int64_t Integer(const char* name) const {
    const c10::IValue value = (*this)[name];
    return value.isInt() ? value.toInt() : 0;
  }
  bool True(const char* name) const {
    const c10::IValue value = (*this)[name];
    return value.isBool() && value.toBool();
  }

 private:
  const c10::FunctionSchema& schema_;
  const c10::Stack& stack_;
};

bool IsZeroStep(const c10::IValue& value) {
  if (value.isInt()) return value.toInt() == 0;
  if (!value.isIntList()) return false;
  const c10::List<int64_t> list = value.toIntList();
  return std::any_of(list.begin(), list.end(), [](int64_t step) { return step == 0; });
}

absl::Status CheckSteps(const c10::FunctionSchema& schema, const c10::Stack& stack) {
  for (size_t i = 0; i < schema.arguments().size(); ++i) {
    const std::string& name = schema.arguments()[i].name();
    if ((name == "stride" || name == "dilation" || name == "groups" || name == "kernel_size") &&
        IsZeroStep(stack[i])) {
      return Wrong(absl::StrCat("`", name, "` is 0"));
    }
  }
  return absl::OkStatus();
}

/// Numbers for each channel, as many as there are channels.
absl::Status CheckChannels(const Arguments& arguments) {
  const at::Tensor input = arguments.Tensor("input");
  if (!input.defined() || input.dim() < 2) return Wrong("`input` has no channels");
  for (const char* name : {"weight", "bias", "running_mean", "running_var"}) {
    const at::Tensor numbers = arguments.Tensor(name);
    if (!numbers.defined() || (numbers.dim() == 1 && numbers.numel() == input.size(1))) continue;
    return Wrong(absl::StrCat("`", name, "` is of shape [", absl::StrJoin(numbers.sizes(), ", "),
                              "], and there are ", input.size(1), " channels"));
  }
  return absl::OkStatus();
}

absl::Status CheckInstanceNorm(const Arguments& arguments) {
  if (arguments.True("use_input_stats") &&
      (arguments.Tensor("running_mean").defined() || arguments.Tensor("running_var").defined())) {
    return Wrong("it would change the model's running statistics; export it after model.eval()");
  }
  return CheckChannels(arguments);
}

/// The sizes that `native_group_norm` is told.
absl::Status CheckGroups(const Arguments& arguments) {
  const at::Tensor input = arguments.Tensor("input");
  if (!input.defined() || input.dim() < 2) return Wrong("`input` has no channels");
  int64_t inner = 1;
  for (int64_t d = 2; d < input.dim(); ++d) inner *= input.size(d);
  if (arguments.Integer("N") != input.size(0) || arguments.Integer("C") != input.size(1) ||
      arguments.Integer("HxW") != inner || arguments.Integer("group") < 1) {
    return Wrong("`N`, `C` and `HxW` are not the sizes of `input`");
  }
  return CheckChannels(arguments);
}

/// Weights of a recurrent network: kernels of the CPU's vendor take their sizes for granted.
absl::Status CheckRecurrent(const std::string& name, const Arguments& arguments) {
  const at::Tensor input = arguments.Tensor("input");
  const c10::IValue given = arguments["params"];
  if (!input.defined() || input.dim() != 3 || input.numel() == 0 || !given.isTensorList()) {
    return Wrong("it takes `input` of three dimensions, and a list of weights");
  }
  const int64_t layers = arguments.Integer("num_layers");
  const int64_t directions = arguments.True("bidirectional") ? 2 : 1;
  const int64_t each = arguments.True("has_biases") ? 4 : 2;
  const bool lstm = absl::StartsWith(name, "aten::lstm");
  const int64_t gates = lstm ? 4 : absl::StartsWith(name, "aten::gru") ? 3 : 1;
  const std::vector<at::Tensor> weights = given.toTensorVector();
  const auto count = static_cast<int64_t>(weights.size());
  if (layers < 1 || layers > count || count != layers * directions * each) {
    return Wrong(
        absl::StrCat(count, " weights for ", layers, " layers; projections are not served"));
  }
  const c10::IValue hidden = arguments["hx"];
  std::vector<at::Tensor> states;
  if (hidden.isTensor()) states = {hidden.toTensor()};
  if (hidden.isTensorList()) states = hidden.toTensorVector();
  if (states.size() != (lstm ? 2U : 1U)) return Wrong("`hx` is of another number of tensors");
  const int64_t batch = input.size(arguments.True("batch_first") ? 0 : 1);
  const int64_t width = states[0].dim() == 3 ? states[0].size(2) : 0;
  for (const at::Tensor& state : states) {
    if (width < 1 || state.sizes() != at::IntArrayRef({layers * directions, batch, width}) ||
        state.scalar_type() != input.scalar_type()) {
      return Wrong("`hx` does not fit the layers, the batch and the dtype of `input`");
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    const int64_t layer = i / (directions * each), kind = i % each;
    const int64_t in = layer == 0 ? input.size(2) : width * directions;
    std::vector<int64_t> expected = {gates * width};
    if (kind < 2) expected.push_back(kind == 0 ? in : width);
    if (weights[i].sizes() != at::IntArrayRef(expected) ||
        weights[i].scalar_type() != input.scalar_type()) {
      return Wrong(absl::StrCat("weight ", i, " is of shape [",
                                absl::StrJoin(weights[i].sizes(), ", "), "] where [",
                                absl::StrJoin(expected, ", "), "] is needed"));
    }
  }
  return absl::OkStatus();
}

/// Keys and values of one length: a fused kernel counts the keys alone.
absl::Status CheckAttention(const Arguments& arguments) {
  const at::Tensor query = arguments.Tensor("query"), key = arguments.Tensor("key"),
                   value = arguments.Tensor("value"), mask = arguments.Tensor("attn_mask");
  if (!query.defined() || !key.defined() || !value.defined()) return Wrong("a tensor is missing");
  const int64_t dims = query.dim();
  if (dims < 2 || key.dim() < 2 || key.dim() != value.dim()) {
    return Wrong("`query`, `key` and `value` are of different dimensions");
  }
  if (key.sizes().slice(0, key.dim() - 1) != value.sizes().slice(0, key.dim() - 1) ||
      query.size(-1) != key.size(-1)) {
    return Wrong(absl::StrCat("`key` is of shape [", absl::StrJoin(key.sizes(), ", "),
                              "] and `value` of [", absl::StrJoin(value.sizes(), ", "),
                              "]; they must be alike, but for the last size"));
  }
  if (!mask.defined()) return absl::OkStatus();
  std::vector<int64_t> scores = query.sizes().vec();
  scores.back() = key.size(-2);
  if (mask.dim() < 2 || !at::is_expandable_to(mask.sizes(), scores)) {
    return Wrong(absl::StrCat("`attn_mask` of shape [", absl::StrJoin(mask.sizes(), ", "),
                              "] does not broadcast to [", absl::StrJoin(scores, ", "), "]"));
  }
  return absl::OkStatus();
}

/// Scales that fit the sizes: where a pixel comes from is computed with them.
absl::Status CheckScales(const Arguments& arguments) {
  const at::Tensor input =
      arguments.Tensor("self").defined() ? arguments.Tensor("self") : arguments.Tensor("input");
  const c10::IValue factors = arguments["scale_factors"], output = arguments["output_size"];
  if (factors.isDoubleList()) {
    for (const double factor : factors.toDoubleVector()) {
      if (!(factor > 0 && factor <= 1e6)) return Wrong("`scale_factors` are out of all measure");
    }
  }
  std::vector<c10::IValue> scales = {arguments["scales_h"], arguments["scales_w"]};
  if (arguments["scales"].isDouble()) scales = {arguments["scales"]};
  for (size_t i = 0; i < scales.size(); ++i) {
    if (!scales[i].isDouble()) continue;
    const double scale = scales[i].toDouble();
    const auto d = static_cast<int64_t>(i) + 2;
    if (!input.defined() || input.dim() != static_cast<int64_t>(scales.size()) + 2 ||
        !output.isIntList() || output.toIntList().size() != scales.size() ||
        !(scale > 0 && scale <= 1e6) ||
        std::floor(static_cast<double>(input.size(d)) * scale) !=
            static_cast<double>(output.toIntList().get(i))) {
      return Wrong("a scale is not that of `output_size`");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckKnown(const GraphOperator& op, const c10::Stack& stack) {
  const Arguments arguments(op.handle->schema(), stack);
  const std::string& name = op.name;
  if (name == "aten::batch_norm" || name == "aten::_native_batch_norm_legit_no_training") {
    return CheckChannels(arguments);
  }
  if (name == "aten::instance_norm") return CheckInstanceNorm(arguments);
  if (name == "aten::native_group_norm") return CheckGroups(arguments);
  if (name == "aten::lstm" || name == "aten::gru" || name == "aten::rnn_tanh" ||
      name == "aten::rnn_relu") {
    return CheckRecurrent(name, arguments);
  }
  if (name == "aten::scaled_dot_product_attention") return CheckAttention(arguments);
  if (absl::StartsWith(name, "aten::upsample_")) return CheckScales(arguments);
  return absl::OkStatus();
}

}  // namespace

void CheckArguments(const GraphOperator& op, const c10::Stack& stack) {
  absl::Status status = CheckKnown(op, stack);
  if (op.row == nullptr) {
    if (status.ok()) status = plan::CheckWindows(stack);
    if (status.ok()) status = CheckSteps(op.handle->schema(), stack);
  } else {
    if (status.ok() && op.row->check != nullptr) status = op.row->check(stack);
    if (status.ok() && !op.row->index_ranges.empty()) {
      status = plan::CheckIndexRanges(*op.row, stack);
    }
    if (status.ok() && op.row->check_values != nullptr) status = op.row->check_values(stack);
  }
  TORCH_CHECK(status.ok(), op.name, ": ", std::string(status.message()));
}

void CheckResults(const GraphOperator& op, const c10::Stack& results) {
  const auto check = [&](const at::Tensor& tensor) {
    if (!tensor.defined()) return;
    TORCH_CHECK(tensor.layout() == c10::kStrided && !tensor.is_quantized() && !tensor.is_nested() &&
                    tensor.dim() <= kMostDimensions,
                op.name, ": its result is no plain tensor of at most ", kMostDimensions,
                " dimensions");
  };
  for (const c10::IValue& result : results) {
    if (result.isTensor()) check(result.toTensor());
    if (result.isTensorList()) {
      for (const at::Tensor& tensor : result.toTensorVector()) check(tensor);
    }
  }
}

}  // namespace weft::exported
