#include "engine/plan/operators.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/InferSize.h>
#include <ATen/TensorUtils.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "engine/plan/index_check.h"
#include "engine/plan/meta_kernels.h"
#include "engine/plan/operator_table.h"
#include "engine/plan/refusals.h"

namespace weft::plan {
namespace {

/// The position of a schema argument, or -1.
int ArgumentNamed(const c10::FunctionSchema& schema, const std::string& name) {
  return schema.argumentIndexWithName(name).value_or(-1);
}

c10::OperatorHandle HandleOf(const std::string& qualified) {
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(qualified, absl::MaxSplits('.', 1));
  return c10::Dispatcher::singleton().findSchemaOrThrow(parts.first.c_str(), parts.second.c_str());
}

std::unique_ptr<OperatorRow> MakeRow(const std::string& qualified, const RowTraits& traits) {
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(qualified, absl::MaxSplits('.', 1));
  auto row = std::make_unique<OperatorRow>(
      OperatorRow{.name = parts.first, .overload = parts.second, .handle = HandleOf(qualified)});
  const c10::FunctionSchema& schema = row->schema();
  row->makes = traits.makes;
  row->dtypes = traits.dtypes;
  row->check = traits.check;
  row->check_values = traits.check_values;
  row->same_dtype = traits.same_dtype;
  row->takes_numbers = traits.takes_numbers;
  row->cost_per_element = traits.cost;
  row->work = traits.work;
  row->workspace = traits.workspace;
  row->reshapes = row->name == "aten::view" || row->name == "aten::view_as";
  if (traits.product_argument != nullptr) {
    row->product_argument = ArgumentNamed(schema, traits.product_argument);
  }
  for (const RowTraits::Indices& indices : traits.indices) {
    IndexRange range;
    range.index_argument = ArgumentNamed(schema, indices.index);
    range.source_argument = ArgumentNamed(schema, indices.source);
    if (indices.dimension != nullptr) {
      range.dimension_argument = ArgumentNamed(schema, indices.dimension);
    }
    range.dimension = indices.constant;
    range.negative = indices.negative;
    if (indices.ignore != nullptr) range.ignore_argument = ArgumentNamed(schema, indices.ignore);
    row->index_ranges.push_back(range);
  }
  bool has_tensor = false;
  const std::vector<std::string> refused = absl::StrSplit(traits.refused, ' ', absl::SkipEmpty());
  for (size_t i = 0; i < schema.arguments().size(); ++i) {
    const c10::Argument& argument = schema.arguments()[i];
    const std::string type = argument.real_type()->str();
    if (absl::StrContains(type, "Tensor")) has_tensor = true;
    if (absl::StrContains(type, "Generator")) {
      row->random = true;
      row->generator_argument = static_cast<int>(i);
    }
    if (absl::StrContains(type, "Device")) row->device_argument = static_cast<int>(i);
    if (absl::StrContains(type, "Device") || absl::StrContains(type, "Layout") ||
        absl::StrContains(type, "Generator") || absl::StrContains(type, "MemoryFormat") ||
        argument.name() == "pin_memory" || argument.name() == "non_blocking" ||
        argument.name() == "implicit" || absl::StartsWith(argument.name(), "cudnn_enable") ||
        std::find(refused.begin(), refused.end(), argument.name()) != refused.end()) {
      row->refused_arguments |= uint64_t{1} << i;
    }
  }
  if (has_tensor) row->device_argument = -1;
  return row;
}

}  // namespace

std::string OperatorRow::qualified() const {
  return overload.empty() ? name : absl::StrCat(name, ".", overload);
}

std::string ProgramSchema(const OperatorRow& row) {
  std::vector<std::string> arguments;
  bool named = false;
  for (size_t i = 0; i < row.schema().arguments().size(); ++i) {
    const c10::Argument& argument = row.schema().arguments()[i];
    if ((row.refused_arguments >> i & 1) != 0) continue;
    if (argument.kwarg_only() && !std::exchange(named, true)) arguments.push_back("*");
    std::string text = c10::str(argument);
    const c10::IValue preset = argument.default_value().value_or(c10::IValue());
    if (preset.isDouble()) {
      text = absl::StrCat(text.substr(0, text.rfind('=')), "=", preset.toDouble());
    }
    // How torch writes int64 as a default.
    if (absl::EndsWith(text, " dtype=4")) text.replace(text.size() - 1, 1, "int64");
    arguments.push_back(std::move(text));
  }
  std::vector<std::string> results;
  for (const c10::Argument& result : row.schema().returns()) results.push_back(c10::str(result));
  std::string text = absl::StrCat(row.qualified(), "(", absl::StrJoin(arguments, ", "), ") -> ");
  absl::StrAppend(&text, results.size() == 1
                             ? results[0]
                             : absl::StrCat("(", absl::StrJoin(results, ", "), ")"));
  return absl::StrReplaceAll(text, {{"SymInt", "int"}});
}

struct OperatorTable::Index {
  Index();

  std::vector<std::unique_ptr<OperatorRow>> owned;
  std::vector<const OperatorRow*> rows;
  absl::flat_hash_map<std::string, std::vector<const OperatorRow*>> by_name;
  absl::flat_hash_map<std::string, const OperatorRow*> by_overload;
};

OperatorTable::Index::Index() {
  RegisterMetaKernels();
  std::vector<std::pair<OperatorRow*, std::string>> twins;
  for (const RowGroup& group : OperatorRows()) {
    for (const absl::string_view item :
         absl::StrSplit(group.overloads, ' ', absl::SkipWhitespace())) {
      const std::pair<std::string, std::string> parts = absl::StrSplit(item, '=');
      std::unique_ptr<OperatorRow> row = MakeRow(absl::StrCat("aten::", parts.first), group.traits);
      if (absl::EndsWith(row->name, "_")) {
        twins.emplace_back(row.get(),
                           parts.second.empty()
                               ? absl::StrCat(row->name.substr(0, row->name.size() - 1),
                                              row->overload.empty() ? "" : ".", row->overload)
                               : absl::StrCat("aten::", parts.second));
      }
      by_name[row->name].push_back(row.get());
      by_overload[row->qualified()] = row.get();
      owned.push_back(std::move(row));
    }
  }
  for (const auto& [row, twin] : twins) {
    const auto found = by_overload.find(twin);
    TORCH_CHECK(found != by_overload.end(), row->qualified(), " has no twin ", twin);
    row->fresh = found->second;
  }
  for (const std::unique_ptr<OperatorRow>& row : owned) rows.push_back(row.get());
  std::stable_sort(rows.begin(), rows.end(),
                   [](const OperatorRow* a, const OperatorRow* b) { return a->name < b->name; });
}

const OperatorTable& OperatorTable::Get() {
  static const OperatorTable* const kTable = new OperatorTable(new Index());
  return *kTable;
}

absl::Span<const OperatorRow* const> OperatorTable::Find(const std::string& name) const {
  const auto found = index_->by_name.find(name);
  if (found == index_->by_name.end()) return {};
  return found->second;
}

const OperatorRow* OperatorTable::FindOverload(const std::string& qualified) const {
  const auto found = index_->by_overload.find(qualified);
  return found == index_->by_overload.end() ? nullptr : found->second;
}

absl::Span<const OperatorRow* const> OperatorTable::rows() const { return index_->rows; }

int OperatorTable::size() const { return static_cast<int>(index_->by_name.size()); }

absl::Status OperatorTable::WhyNot(const std::string& name) const {
  std::vector<std::string> names;
  names.reserve(index_->by_name.size());
  for (const auto& entry : index_->by_name) names.push_back(entry.first);
  std::sort(names.begin(), names.end());
  return RefusalOf(name, names);
}

namespace {

/// Torch's kernels keep sets of dimensions in 64 bits.
constexpr int64_t kMostDimensions = 64;

absl::Status FromTorch(const c10::Error& error, absl::StatusCode code) {
  std::string message = error.what_without_backtrace();
  // Some complaints list every backend that torch knows.
  constexpr size_t kLongest = 600;
  if (const size_t end = message.find("\n\n"); end != std::string::npos) message.resize(end);
  if (message.size() > kLongest) message.resize(kLongest);
  return absl::Status(code, absl::StripAsciiWhitespace(message));
}

bool Contains(const char* text, const char* part) { return absl::StrContains(text, part); }

absl::Status Named(const OperatorRow& row, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(row.name, ": ", status.message()));
}

absl::Status CheckSameDType(const OperatorRow& row, const c10::Stack& stack) {
  std::optional<at::ScalarType> first;
  const auto check = [&](const at::Tensor& tensor) {
    if (!tensor.defined()) return absl::OkStatus();
    if (!first.has_value()) first = tensor.scalar_type();
    if (*first == tensor.scalar_type()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(row.name, " takes tensors of one dtype, not ", c10::toString(*first), " and ",
                     c10::toString(tensor.scalar_type()), "; convert one with aten::to"));
  };
  for (const c10::IValue& value : stack) {
    if (value.isTensor()) {
      if (absl::Status status = check(value.toTensor()); !status.ok()) return status;
    } else if (value.isTensorList()) {
      for (const at::Tensor& tensor : value.toTensorVector()) {
        if (absl::Status status = check(tensor); !status.ok()) return status;
      }
    }
  }
  return absl::OkStatus();
}

/// An in-place operator is its twin, whose result must fit where it is copied to. (Torch's own Meta
/// kernels of in-place operators do not all check that.)
absl::StatusOr<c10::IValue> RunMetaInPlace(const OperatorRow& row, c10::Stack stack) {
  const at::Tensor self = stack[0].toTensor();
  absl::StatusOr<c10::IValue> result = RunMeta(*row.fresh, std::move(stack));
  if (!result.ok()) return result.status();
  const at::Tensor& fresh = result->toTensor();
  if (fresh.sizes() != self.sizes()) {
    return absl::InvalidArgumentError(
        absl::StrCat(row.name, ": the result's shape is [", absl::StrJoin(fresh.sizes(), ", "),
                     "], which does not fit into [", absl::StrJoin(self.sizes(), ", "), "]"));
  }
  if (!c10::canCast(fresh.scalar_type(), self.scalar_type())) {
    return absl::InvalidArgumentError(
        absl::StrCat(row.name, ": the result is ", c10::toString(fresh.scalar_type()),
                     ", which cannot be put into a tensor of ", c10::toString(self.scalar_type()),
                     "; use ", row.fresh->name));
  }
  return c10::IValue(self);
}

/// One value from what a kernel left on the stack.
c10::IValue TakeResult(c10::Stack stack) {
  if (stack.size() == 1) return std::move(stack.front());
  return c10::ivalue::Tuple::create(std::move(stack));
}

/// Torch conjugates and negates by a mark (transforms back do), which memory does not show.
bool IsMarked(const at::Tensor& tensor) { return tensor.is_conj() || tensor.is_neg(); }

}  // namespace

absl::Status CatchTorch(absl::FunctionRef<absl::Status()> body) {
  try {
    return body();
  } catch (const c10::OutOfMemoryError& error) {
    return FromTorch(error, absl::StatusCode::kResourceExhausted);
  } catch (const c10::AcceleratorError& error) {
    return FromTorch(error, absl::StatusCode::kInternal);
  } catch (const c10::Error& error) {
    const char* message = error.what_without_backtrace();
    if (Contains(message, "DefaultCPUAllocator")) {
      return FromTorch(error, absl::StatusCode::kResourceExhausted);
    }
    if (Contains(message, "INTERNAL ASSERT FAILED")) {
      return FromTorch(error, absl::StatusCode::kInternal);
    }
    return FromTorch(error, absl::StatusCode::kInvalidArgument);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory");
  } catch (const std::exception& error) {
    // A number that the dtype at hand does not have: `value cannot be converted to type int`.
    if (Contains(error.what(), "cannot be converted to type")) {
      return absl::InvalidArgumentError(error.what());
    }
    return absl::InternalError(error.what());
  }
}

absl::StatusOr<c10::IValue> RunMeta(const OperatorRow& row, c10::Stack stack) {
  if (row.in_place()) return RunMetaInPlace(row, std::move(stack));
  absl::Status status = CatchTorch([&] {
    const c10::InferenceMode guard;
    if (row.same_dtype) {
      if (absl::Status checked = CheckSameDType(row, stack); !checked.ok()) return checked;
    }
    if (row.check != nullptr) {
      if (absl::Status checked = row.check(stack); !checked.ok()) return Named(row, checked);
    }
    if (row.device_argument >= 0) stack[row.device_argument] = c10::Device(c10::kMeta);
    row.handle.callBoxed(&stack);
    for (c10::IValue& result : stack) {
      // As RunReal.
      if (result.isTensor() && IsMarked(result.toTensor())) {
        const at::Tensor marked = result.toTensor();
        result = at::empty_strided(marked.sizes(), marked.strides(), marked.options());
      }
      if (result.isTensor() && result.toTensor().dim() > kMostDimensions) {
        return absl::InvalidArgumentError(
            absl::StrCat(row.name, ": the result has ", result.toTensor().dim(),
                         " dimensions; at most ", kMostDimensions, " are allowed"));
      }
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return TakeResult(std::move(stack));
}

namespace {

/// What RunMeta takes for a real value.
c10::IValue OnMeta(const c10::IValue& value) {
  const auto meta = [](const at::Tensor& tensor) {
    return tensor.defined()
               ? at::empty(tensor.sizes(), at::device(at::kMeta).dtype(tensor.scalar_type()))
               : tensor;
  };
  if (value.isTensor()) return meta(value.toTensor());
  if (value.isTensorList()) {
    c10::List<at::Tensor> list;
    for (const at::Tensor& tensor : value.toTensorVector()) list.push_back(meta(tensor));
    return list;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> list;
    for (const c10::IValue& item : value.toListRef()) {
      list.push_back(item.isNone() ? std::optional<at::Tensor>() : meta(item.toTensor()));
    }
    return list;
  }
  return value;
}

}  // namespace

absl::Status CheckSizes(const OperatorRow& row, const c10::Stack& stack) {
  c10::Stack metas;
  metas.reserve(stack.size());
  for (const c10::IValue& value : stack) metas.push_back(OnMeta(value));
  return RunMeta(row, std::move(metas)).status();
}

bool MakeViewable(const OperatorRow& row, c10::Stack& stack) {
  if (!row.reshapes) return false;
  const at::Tensor self = stack[0].toTensor();
  if (self.is_contiguous()) return false;
  const at::DimVector sizes = stack[1].isTensor()
                                  ? at::DimVector(stack[1].toTensor().sizes())
                                  : at::infer_size_dv(stack[1].toDimVector(), self.numel());
  if (at::detail::computeStride(self.sizes(), self.strides(), sizes)) return false;
  stack[0] = self.contiguous();
  return true;
}

void GiveGenerator(const OperatorRow& row, c10::Stack& stack, uint64_t seed) {
  c10::Device device(c10::kCPU);
  for (c10::IValue& value : stack) {
    if (!value.isTensor() || value.toTensor().unsafeGetTensorImpl()->is_wrapped_number()) continue;
    device = value.toTensor().device();
    // Numbers are dealt out in the order of memory.
    if (!row.in_place()) value = value.toTensor().contiguous();
  }
  at::Generator generator = device.is_cpu() ? at::make_generator<at::CPUGeneratorImpl>()
                                            : at::globalContext()
                                                  .getAcceleratorHooksInterface(device.type())
                                                  .getNewGenerator(device.index());
  generator.set_current_seed(seed);
  stack[row.generator_argument] = std::move(generator);
}

namespace {

/// As the operator. Autograd has a derivative of what is written into a tensor, and none of the
/// copy that is written into nothing.
void Call(const OperatorRow& row, c10::Stack& stack) {
  static const c10::OperatorName kCopy("aten::copy", "");
  if (!at::GradMode::is_enabled() || row.handle.operator_name() != kCopy) {
    return row.handle.callBoxed(&stack);
  }
  at::Tensor to = stack[0].toTensor().clone();
  to.copy_(stack[1].toTensor());
  stack = {std::move(to)};
}

}  // namespace

absl::StatusOr<c10::IValue> RunReal(const OperatorRow& row, c10::Stack stack) {
  if (row.random && stack[row.generator_argument].isNone()) {
    return absl::InternalError(absl::StrCat(row.name, " was given no generator"));
  }
  absl::Status status = CatchTorch([&] {
    if (!row.index_ranges.empty()) {
      if (absl::Status checked = CheckIndexRanges(row, stack); !checked.ok()) return checked;
    }
    if (row.check_values != nullptr) {
      if (absl::Status checked = row.check_values(stack); !checked.ok()) return Named(row, checked);
    }
    MakeViewable(row, stack);
    Call(row, stack);
    for (c10::IValue& result : stack) {
      if (result.isTensor() && IsMarked(result.toTensor())) {
        result = result.toTensor().resolve_conj().resolve_neg();
      }
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return TakeResult(std::move(stack));
}

}  // namespace weft::plan
