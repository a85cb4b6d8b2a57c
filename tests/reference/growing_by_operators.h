#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/plan/operators.h"
#include "tests/plan/operator_samples.h"
#include "tests/reference/call.h"
#include "tests/reference/growing.h"
#include "tests/reference/indexing.h"

namespace weft::reference {

using plan::OperatorRow;

inline const std::vector<const OperatorRow*>& Rows() {
  static const auto* const kRows = [] {
    auto* rows = new std::vector<const OperatorRow*>();
    for (const OperatorRow* row : plan::OperatorTable::Get().rows()) rows->push_back(row);
    return rows;
  }();
  return *kRows;
}

/// Their results hang on the last bit of their arguments, or fail on most: only given ones will do.
inline bool WantsItsOwnArguments(const OperatorRow& row) {
  for (const char* part : {"linalg", "inverse", "det", "cholesky", "matrix_power", "corrcoef"}) {
    if (absl::StrContains(row.name, part)) return true;
  }
  return row.random;
}

/// Those whose results move little where their arguments do: what remains where numbers are
/// rounded.
inline const std::vector<const OperatorRow*>& SmoothRows() {
  static const auto* const kRows = [] {
    const std::set<std::string> smooth = {
        "add",       "sub",        "mul",       "neg",    "sigmoid",  "tanh",        "sin",
        "cos",       "sum",        "mean",      "matmul", "softmax",  "log_softmax", "cat",
        "stack",     "transpose",  "permute",   "view",   "reshape",  "select",      "narrow",
        "unsqueeze", "squeeze",    "flatten",   "clone",  "relu",     "abs",         "square",
        "silu",      "gelu",       "logsumexp", "cumsum", "softplus", "maximum",     "minimum",
        "amax",      "amin",       "clamp",     "lerp",   "addcmul",  "mse_loss",    "erf",
        "atan",      "chunk",      "split",     "unbind", "expand",   "flip",        "roll",
        "bmm",       "zeros_like", "copy",      "fill",   "detach",   "diagonal",    "tril",
        "triu",      "leaky_relu", "elu",       "t",      "einsum",   "linear",      "hardtanh"};
    auto* rows = new std::vector<const OperatorRow*>();
    for (const OperatorRow* row : Rows()) {
      std::string word = row->name.substr(row->name.find("::") + 2);
      if (word.back() == '_') word.pop_back();
      if (smooth.count(word) > 0) rows->push_back(row);
    }
    return rows;
  }();
  return *kRows;
}

/// Operators of the whole table, indices and assignments.
class GrowingByOperators : public Growing {
 protected:
  using Growing::Growing;

  // --- operators

  /// A tensor like that of a sample call.
  Known TensorLike(const at::Tensor& sample, const OperatorRow& row, bool first) {
    const bool own = WantsItsOwnArguments(row);
    const auto type = sample.scalar_type();
    if (!own && first && row.index_ranges.empty() && Chance(0.4)) {
      const auto any = Find([&](const Known& known) {
        return known.sample.isTensor() && known.sample.toTensor().scalar_type() == type;
      });
      if (any) return *any;
    }
    if (!own && Chance(type == at::kLong ? 0.03 : 0.4)) {
      const auto same = Find([&](const Known& known) {
        return known.sample.isTensor() && known.sample.toTensor().scalar_type() == type &&
               known.sample.toTensor().sizes() == sample.sizes();
      });
      if (same) return *same;
    }
    if (!own && type == at::kFloat && Chance(0.5)) {
      if (const auto from = FindFloats(kLast)) return Adapt(*from, sample.sizes().vec(), true);
    }
    return Constant(sample);
  }

  Argument ArgumentLike(const c10::IValue& value, const c10::Argument& schema,
                        const OperatorRow& row, bool first, std::vector<Known>& used) {
    if (value.isTensor()) {
      used.push_back(TensorLike(value.toTensor(), row, first));
      return Ref(used.back().id);
    }
    if (value.isInt()) {
      const auto type = schema.real_type()->str();
      if (absl::StrContains(type, "ScalarType")) {
        return Literal(plan::FromScalarType(static_cast<at::ScalarType>(value.toInt())));
      }
      return Literal(value.toInt());
    }
    if (value.isDouble()) return Literal(value.toDouble());
    if (value.isBool()) return Literal(value.toBool());
    if (value.isString()) return Literal(std::string(value.toStringRef()));
    if (value.isList()) {
      Argument::List list;
      for (const c10::IValue& item : value.toListRef()) {
        list.push_back(ArgumentLike(item, schema, row, false, used));
      }
      return Literal(std::move(list));
    }
    return Argument();
  }

  static const c10::Argument& SchemaOf(const OperatorRow& row, const std::string& name, size_t i) {
    const auto& arguments = row.schema().arguments();
    for (const c10::Argument& argument : arguments) {
      if (!name.empty() && argument.name() == name) return argument;
    }
    return arguments[std::min(i, arguments.size() - 1)];
  }

  at::ScalarType DTypeFor(const OperatorRow& row) {
    if (model_.rounded()) return at::kFloat;
    std::vector<at::ScalarType> types;
    const auto add = [&](int bit, at::ScalarType type, int times) {
      for (int i = 0; (row.dtypes & bit) != 0 && i < times; ++i) types.push_back(type);
    };
    add(plan::kWideFloats, at::kFloat, 12);
    add(plan::kInts, at::kLong, 2);
    add(plan::kBools, at::kBool, 1);
    add(plan::kShortFloats, at::kBFloat16, 1);
    add(plan::kComplex, at::kComplexFloat, 2);
    return types.empty() ? at::kFloat : Pick(types);
  }

  /// The value that an in-place operator, or an assignment, may change here.
  bool MayChange(const Known& known, int needs) const {
    if (known.overlapping || known.families.size() != 1) return false;
    const Family& family = families_[known.families[0]];
    if (family.maybe || family.region != parent_) return false;
    return family.site < 0 || (family.invoke == invoke_ && needs <= family.site);
  }

  bool AddOperator() {
    const auto& rows = model_.rounded() ? SmoothRows() : Rows();
    const auto count = static_cast<int64_t>(rows.size());
    // Every row comes to its turn.
    const OperatorRow& row = Chance(0.7)
                                 ? *rows[(seed_ * 5 + static_cast<uint64_t>(turn_++)) % count]
                                 : *rows[Below(count)];
    for (int attempt = 0; attempt < 4; ++attempt) {
      if (TryOperator(row)) return true;
    }
    return false;
  }

  bool TryOperator(const OperatorRow& row) {
    const Mark mark = Here();
    const auto samples = plan::SamplesOf(row, {.dtype = DTypeFor(row)});
    if (samples.empty()) return false;
    const auto& sample = Pick(samples);
    graph::Operator op;
    op.name = row.qualified();
    std::vector<Known> used;
    for (size_t i = 0; i < sample.size(); ++i) {
      Argument argument =
          ArgumentLike(sample[i].value, SchemaOf(row, sample[i].name, i), row, i == 0, used);
      argument.name = sample[i].name;
      if (!Chance(0.9) && i > 0 && argument.name.empty() && i < row.schema().arguments().size()) {
        // By its name, as all that follow then are.
        for (size_t j = i; j < sample.size(); ++j) {
          if (j > i) {
            argument =
                ArgumentLike(sample[j].value, SchemaOf(row, sample[j].name, j), row, false, used);
          }
          argument.name =
              sample[j].name.empty() ? row.schema().arguments()[j].name() : sample[j].name;
          op.arguments.push_back(std::move(argument));
        }
        break;
      }
      op.arguments.push_back(std::move(argument));
    }
    int when = plan::kStart;
    for (const Known& known : used) when = std::max(when, WhenOf(known));
    std::optional<Known> changed;
    if (row.in_place()) {
      if (used.empty()) return BackTo(mark), false;
      changed = used[0];
      // Most of the time; what is refused is a case, too.
      if (!MayChange(*changed, when) && !Chance(0.02)) return BackTo(mark), false;
    }
    c10::IValue result;
    try {
      const auto value = [&](NodeId id) {
        for (const Known& known : used) {
          if (known.id == id) {
            return ForTensors(known.sample,
                              [](const at::Tensor& tensor) { return tensor.clone(); });
          }
        }
        return c10::IValue();
      };
      std::vector<GivenArgument> given = FillArguments(op.arguments, value);
      if (changed && given[0].value.isTensor() &&
          given[0].value.toTensor().sizes() != changed->sample.toTensor().sizes()) {
        return BackTo(mark), false;
      }
      result = CallOperator(op.name, given);
    } catch (const std::exception&) {
      return BackTo(mark), false;
    }
    if (!IsSmall(result)) return BackTo(mark), false;
    const NodeId id = Add(std::move(op), true);
    if (row.random) {
      Add(graph::Save{.name = absl::StrCat("drawn_", program_.at(id).name), .value = id});
    }
    if (changed) {
      Family& family = families_[changed->families[0]];
      family.when = std::max(family.when, when);
      Learn(id, changed->sample, changed->families, changed->overlapping);
    } else if (row.makes == plan::Makes::kView || row.makes == plan::Makes::kOverlappingView) {
      // Of the arguments but the first the value depends as well.
      Family& family = families_[used[0].families[0]];
      family.when = std::max(family.when, when);
      Learn(id, result, used[0].families,
            used[0].overlapping || row.makes == plan::Makes::kOverlappingView);
    } else {
      Learn(id, result, {NewFamily(when)});
      families_.back().maybe = row.makes == plan::Makes::kMaybeView;
    }
    return true;
  }

  static bool IsSmall(const c10::IValue& value) {
    constexpr int64_t kMostElements = 4096;
    int64_t elements = 0;
    ForTensors(value, [&](const at::Tensor& tensor) {
      elements += tensor.numel();
      return tensor;
    });
    return elements <= kMostElements && !value.isNone();
  }

  // --- indices

  std::vector<IndexTerm> BasicTerms(const at::Tensor& tensor) {
    std::vector<IndexTerm> terms;
    for (int64_t dim = 0; dim < tensor.dim(); ++dim) {
      const int64_t size = tensor.size(dim);
      switch (Below(6)) {
        case 0:
          if (size > 0) {
            terms.push_back(Below(2 * size) - size);
            break;
          }
          [[fallthrough]];
        case 1:
        case 2: {
          graph::Slice slice;
          if (Chance(0.6)) slice.start = Below(2 * size + 1) - size;
          if (Chance(0.6)) slice.stop = Below(2 * size + 2) - size;
          if (Chance(0.3)) slice.step = 1 + Below(2);
          terms.push_back(slice);
          break;
        }
        case 3:
          if (Chance(0.3)) terms.push_back(graph::NewAxis{});
          [[fallthrough]];
        case 4:
          terms.push_back(graph::Slice{});
          break;
        default:
          if (dim == 0 && tensor.dim() > 1) {
            terms.push_back(graph::Ellipsis{});
            dim = tensor.dim() - 2;  // the last one is written
            break;
          }
          return terms.empty() ? std::vector<IndexTerm>{graph::Slice{}} : terms;
      }
    }
    if (terms.empty()) terms.push_back(graph::Ellipsis{});
    return terms;
  }

  /// Also by tensors of indices, or by a mask.
  std::vector<IndexTerm> AdvancedTerms(const at::Tensor& tensor, std::vector<Known>& used) {
    std::vector<IndexTerm> terms;
    for (int64_t dim = 0; dim < tensor.dim(); ++dim) {
      if (tensor.size(dim) > 0 && Chance(0.5)) {
        used.push_back(Constant(at::randint(-tensor.size(dim), tensor.size(dim), {2}, at::kLong)));
        terms.push_back(NodeRef{used.back().id});
      } else if (tensor.size(dim) > 0 && Chance(0.3)) {
        terms.push_back(Below(tensor.size(dim)));
      } else {
        terms.push_back(graph::Slice{});
      }
    }
    if (used.empty()) {
      used.push_back(Constant(at::randint(0, tensor.size(0), {3}, at::kLong)));
      terms[0] = NodeRef{used.back().id};
    }
    return terms;
  }

  static Indexed TryIndex(const c10::IValue& whole, const std::vector<IndexTerm>& terms,
                          const std::vector<Known>& used) {
    return IndexView(whole, terms, [&](NodeId id) {
      for (const Known& known : used) {
        if (known.id == id) return known.sample.toTensor();
      }
      throw std::logic_error("an index that is not there");
    });
  }

  bool AddIndex() {
    const auto target = Find([](const Known& known) {
      return known.sample.isTensor() ? known.sample.toTensor().dim() > 0
                                     : known.sample.isTuple() || known.sample.isGenericDict() ||
                                           (known.sample.isList() && !known.sample.isIntList());
    });
    if (!target) return false;
    const Mark mark = Here();
    std::vector<IndexTerm> terms;
    c10::IValue part = target->sample;
    if (!part.isTensor()) {
      if (part.isGenericDict()) {
        std::vector<std::string> keys;
        for (const auto& entry : part.toGenericDict()) keys.push_back(entry.key().toStringRef());
        if (keys.empty()) return false;
        terms.push_back(Pick(keys));
      } else {
        const auto size = static_cast<int64_t>(part.isTuple() ? part.toTupleRef().elements().size()
                                                              : part.toListRef().size());
        if (size == 0) return false;
        terms.push_back(Below(2 * size) - size);
      }
      part = TryIndex(part, terms, {}).view;
      if (part.isNone()) return false;
    }
    std::vector<Known> used;
    if (part.isTensor() && part.toTensor().dim() > 0 && (terms.empty() || Chance(0.5))) {
      const bool advanced = part.toTensor().numel() > 0 && Chance(0.25);
      const auto more =
          advanced ? AdvancedTerms(part.toTensor(), used) : BasicTerms(part.toTensor());
      terms.insert(terms.end(), more.begin(), more.end());
    }
    c10::IValue result;
    try {
      const Indexed found = TryIndex(target->sample, terms, used);
      result = found.indices.empty() ? found.view
                                     : c10::IValue(at::index(found.view.toTensor(), found.indices));
    } catch (const std::exception&) {
      return BackTo(mark), false;
    }
    const bool fresh = !used.empty();
    const int when = WhenOf(*target);
    const NodeId id = Add(graph::Index{target->id, terms}, true);
    if (fresh) {
      Learn(id, result, {NewFamily(when)});
    } else {
      Learn(id, result, target->families, target->overlapping);
    }
    return true;
  }

  bool AddAssign() {
    const auto target = Find([&](const Known& known) {
      return known.sample.isTensor() && known.sample.toTensor().dim() > 0 &&
             known.sample.toTensor().numel() > 0 &&
             (MayChange(known, guard_when_) || Chance(0.001));
    });
    if (!target) return false;
    const Mark mark = Here();
    const at::Tensor tensor = target->sample.toTensor();
    const int site = families_[target->families[0]].site;
    std::vector<Known> used;
    std::vector<IndexTerm> terms;
    std::optional<Known> value;
    const int latest = site < 0 ? kLast : site;
    try {
      if (Chance(0.15)) {
        std::vector<int64_t> shape = tensor.sizes().slice(0, 1 + Below(tensor.dim())).vec();
        used.push_back(Constant(at::rand(shape).gt(0.5)));
        terms.push_back(NodeRef{used.back().id});
        value = Floats({}, latest);
      } else {
        terms = Chance(0.25) ? AdvancedTerms(tensor, used) : BasicTerms(tensor);
        const Indexed found = TryIndex(target->sample, terms, used);
        const at::Tensor part = found.indices.empty()
                                    ? found.view.toTensor()
                                    : at::index(found.view.toTensor(), found.indices);
        value = ValueFor(part.sizes().vec(), latest);
      }
      const at::Tensor copy = tensor.clone();
      AssignTo(TryIndex(copy, terms, used), value->sample.toTensor());
    } catch (const std::exception&) {
      return BackTo(mark), false;
    }
    Family& family = families_[target->families[0]];
    family.when = std::max(family.when, WhenOf(*value));
    Add(graph::Assign{target->id, terms, value->id});
    return true;
  }

  /// What broadcasts to a shape.
  Known ValueFor(std::vector<int64_t> shape, int latest) {
    if (Chance(0.3)) shape = {};
    if (!shape.empty() && Chance(0.2)) shape.erase(shape.begin());
    return Floats(shape, latest);
  }
};

}  // namespace weft::reference
