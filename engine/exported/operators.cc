#include "engine/exported/operators.h"

#include <algorithm>
#include <limits>
#include <map>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/exported/archive.h"

namespace weft::exported {
namespace {

struct Extra {
  const char* name;
  const char* must_be_false = nullptr;
  bool identity = false;
};

/// Operators of graphs that programs have no use for, or that work on the model's state unless an
/// argument says otherwise. All are kernels that check what they are given; none gives memory that
/// it has not written.
const std::map<std::string, Extra>& Extras() {
  static const auto* const kExtras = [] {
    const Extra extras[] = {
        {"aten::batch_norm", "training"},
        {"aten::_native_batch_norm_legit_no_training"},
        {"aten::instance_norm"},
        {"aten::native_layer_norm"},
        {"aten::native_group_norm"},
        {"aten::dropout", "train"},
        {"aten::feature_dropout", "train"},
        {"aten::alpha_dropout", "train"},
        {"aten::native_dropout", "train"},
        {"aten::lift_fresh_copy"},
        {"aten::detach_", nullptr, true},
        {"aten::_to_copy"},
        {"aten::to.dtype_layout"},
        {"aten::to.device"},
        {"aten::_unsafe_view"},
        {"aten::convolution"},
        {"aten::conv3d"},
        {"aten::conv3d.padding"},
        {"aten::conv_transpose3d.input"},
        {"aten::max_pool3d"},
        {"aten::avg_pool3d"},
        {"aten::adaptive_avg_pool3d"},
        {"aten::_adaptive_avg_pool2d"},
        {"aten::_adaptive_avg_pool3d"},
        {"aten::upsample_nearest1d.vec"},
        {"aten::upsample_nearest2d.vec"},
        {"aten::upsample_bilinear2d.vec"},
        {"aten::upsample_bicubic2d.vec"},
        {"aten::_softmax"},
        {"aten::_log_softmax"},
        {"aten::pixel_shuffle"},
        {"aten::pixel_unshuffle"},
        {"aten::channel_shuffle"},
        {"aten::lstm.input", "train"},
        {"aten::gru.input", "train"},
        {"aten::rnn_tanh.input", "train"},
        {"aten::rnn_relu.input", "train"},
    };
    auto* map = new std::map<std::string, Extra>();
    for (const Extra& extra : extras) map->emplace(extra.name, extra);
    return map;
  }();
  return *kExtras;
}

const absl::flat_hash_map<std::string, SizeOperator>& SizeOperators() {
  static const auto* const kOperators = new absl::flat_hash_map<std::string, SizeOperator>{
      {"torch.ops.aten.sym_size.int", SizeOperator::kSize},
      {"torch.ops.aten.sym_numel.default", SizeOperator::kNumel},
      {"_operator.add", SizeOperator::kAdd},
      {"_operator.sub", SizeOperator::kSubtract},
      {"_operator.mul", SizeOperator::kMultiply},
      {"_operator.floordiv", SizeOperator::kFloorDivide},
      {"_operator.mod", SizeOperator::kModulo},
      {"_operator.neg", SizeOperator::kNegate},
      {"torch.sym_max", SizeOperator::kMaximum},
      {"torch.sym_min", SizeOperator::kMinimum},
      {"_operator.eq", SizeOperator::kEqual},
      {"_operator.ne", SizeOperator::kNotEqual},
      {"_operator.lt", SizeOperator::kLess},
      {"_operator.le", SizeOperator::kLessEqual},
      {"_operator.gt", SizeOperator::kGreater},
      {"_operator.ge", SizeOperator::kGreaterEqual},
      {"torch.sym_not", SizeOperator::kNot},
      {"_operator.and_", SizeOperator::kAnd},
      {"_operator.or_", SizeOperator::kOr},
  };
  return *kOperators;
}

bool IsAssertion(const std::string& target) {
  static constexpr const char* kAssertions[] = {
      "torch.ops.aten._assert_tensor_metadata.default",
      "torch.ops.aten._assert_scalar.default",
      "torch.ops.aten._assert_async.msg",
      "torch.ops.aten._assert_async.default",
      "torch.ops.aten.sym_constrain_range.default",
      "torch.ops.aten.sym_constrain_range_for_size.default",
  };
  return std::any_of(std::begin(kAssertions), std::end(kAssertions),
                     [&](const char* name) { return target == name; });
}

}  // namespace

absl::StatusOr<GraphOperator> FindOperator(const std::string& target) {
  GraphOperator op;
  if (const auto found = SizeOperators().find(target); found != SizeOperators().end()) {
    op.name = target;
    op.size = found->second;
    return op;
  }
  if (IsAssertion(target)) {
    op.name = target;
    op.nothing = true;
    return op;
  }
  const std::vector<std::string> parts = absl::StrSplit(target, '.');
  if (!absl::StartsWith(target, "torch.ops.") || parts.size() != 5) {
    return absl::UnimplementedError(
        absl::StrCat("`", Shown(target), "` is no operator of PyTorch's own on tensors"));
  }
  op.name = absl::StrCat(parts[2], "::", parts[3]);
  const std::string overload = parts[4] == "default" ? "" : parts[4];
  const std::string qualified = absl::StrCat(op.name, overload.empty() ? "" : ".", overload);
  op.row = plan::OperatorTable::Get().FindOverload(qualified);
  if (op.row != nullptr) {
    if (op.row->random) {
      return absl::UnimplementedError(
          absl::StrCat("`", op.name,
                       "` draws random numbers, which an exported program has no "
                       "generator for; export the model after model.eval()"));
    }
    op.handle = op.row->handle;
    return op;
  }
  const auto extra = Extras().find(qualified);
  if (extra == Extras().end()) {
    const absl::Status why = plan::OperatorTable::Get().WhyNot(op.name);
    return absl::UnimplementedError(
        absl::StrCat("the operator `", Shown(qualified), "` is not served",
                     why.code() == absl::StatusCode::kPermissionDenied
                         ? absl::StrCat(" (", std::string(why.message()), ")")
                         : "",
                     "; write that line with other operators, or try "
                     "exported_program.run_decompositions() before torch.export.save"));
  }
  op.must_be_false = extra->second.must_be_false;
  op.identity = extra->second.identity;
  op.handle = c10::Dispatcher::singleton().findSchema({op.name, overload});
  if (!op.handle) {
    return absl::InternalError(absl::StrCat("`", qualified, "` is not in this LibTorch"));
  }
  return op;
}

absl::StatusOr<c10::IValue> ComputeSize(SizeOperator op, const c10::Stack& arguments) {
  const auto number = [&](size_t i, int64_t* out) {
    if (i >= arguments.size()) return false;
    const c10::IValue& value = arguments[i];
    if (value.isInt()) *out = value.toInt();
    if (value.isBool()) *out = value.toBool() ? 1 : 0;
    return value.isInt() || value.isBool();
  };
  if (op == SizeOperator::kSize || op == SizeOperator::kNumel) {
    if (arguments.empty() || !arguments[0].isTensor()) {
      return absl::InvalidArgumentError("the size of what is no tensor");
    }
    const at::Tensor& tensor = arguments[0].toTensor();
    if (op == SizeOperator::kNumel) return c10::IValue(tensor.numel());
    int64_t dimension = 0;
    if (!number(1, &dimension) || dimension < -tensor.dim() || dimension >= tensor.dim()) {
      return absl::InvalidArgumentError("a dimension that the tensor does not have");
    }
    return c10::IValue(tensor.size(dimension));
  }
  const bool one = op == SizeOperator::kNegate || op == SizeOperator::kNot;
  int64_t a = 0, b = 0, result = 0;
  if (!number(0, &a) || (!one && !number(1, &b))) {
    return absl::InvalidArgumentError("arithmetic on sizes takes integers");
  }
  bool overflow = false;
  switch (op) {
    case SizeOperator::kSize:
    case SizeOperator::kNumel:
      break;
    case SizeOperator::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case SizeOperator::kSubtract:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case SizeOperator::kMultiply:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case SizeOperator::kFloorDivide:
    case SizeOperator::kModulo: {
      if (b == 0 || (a == std::numeric_limits<int64_t>::min() && b == -1)) {
        return absl::InvalidArgumentError("a size is divided by zero");
      }
      // Towards minus infinity, as in Python.
      const int64_t quotient = a / b - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);
      result = op == SizeOperator::kFloorDivide ? quotient : a - quotient * b;
      break;
    }
    case SizeOperator::kNegate:
      overflow = __builtin_sub_overflow(int64_t{0}, a, &result);
      break;
    case SizeOperator::kMaximum:
      result = std::max(a, b);
      break;
    case SizeOperator::kMinimum:
      result = std::min(a, b);
      break;
    case SizeOperator::kEqual:
      return c10::IValue(a == b);
    case SizeOperator::kNotEqual:
      return c10::IValue(a != b);
    case SizeOperator::kLess:
      return c10::IValue(a < b);
    case SizeOperator::kLessEqual:
      return c10::IValue(a <= b);
    case SizeOperator::kGreater:
      return c10::IValue(a > b);
    case SizeOperator::kGreaterEqual:
      return c10::IValue(a >= b);
    case SizeOperator::kNot:
      return c10::IValue(a == 0);
    case SizeOperator::kAnd:
      return c10::IValue(a != 0 && b != 0);
    case SizeOperator::kOr:
      return c10::IValue(a != 0 || b != 0);
  }
  if (overflow) return absl::InvalidArgumentError("a size overflows");
  return c10::IValue(result);
}

}  // namespace weft::exported
