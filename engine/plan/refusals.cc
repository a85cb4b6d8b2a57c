#include "engine/plan/refusals.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/enum_tag.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace weft::plan {
namespace {

constexpr absl::string_view kPrefix = "aten::";

/// Operators whose reason cannot be seen from their schema.
const absl::flat_hash_map<std::string, std::string>& Reasons() {
  static const auto* const kReasons = new absl::flat_hash_map<std::string, std::string>{
      {"nonzero", "its result's size depends on data; use aten::where or a mask"},
      {"nonzero_numpy", "its result's size depends on data; use aten::where or a mask"},
      {"argwhere", "its result's size depends on data; use aten::where or a mask"},
      {"masked_select", "its result's size depends on data; use aten::where or aten::masked_fill"},
      {"bincount", "its result's size depends on data; use aten::one_hot and aten::sum"},
      {"unique_dim", "its result's size depends on data; use aten::sort"},
      {"unique_consecutive", "its result's size depends on data; use aten::sort"},
      {"item", "a tensor's value as a number is only known while running; use the 0-dim tensor"},
      {"is_nonzero", "a tensor's value is only known while running; use aten::where"},
      {"equal", "a tensor's value is only known while running; use aten::eq and aten::all"},
      {"allclose", "a tensor's value is only known while running; use aten::isclose and aten::all"},
      {"storage_offset", "strides and storage are not part of a value"},
      {"stride", "strides and storage are not part of a value"},
      {"set_", "it changes a tensor's storage; use aten::copy_"},
      {"set", "it changes a tensor's storage; use aten::copy"},
      {"set_data", "it changes a tensor's storage; use aten::copy_"},
      {"is_contiguous", "strides and storage are not part of a value"},
      {"_unique2", "its result's size depends on data; use aten::sort"},
      {"dropout", "it takes no generator; multiply by aten::bernoulli instead"},
      {"poisson", "it need not end; use aten::normal"},
      {"matrix_exp", "how long it takes depends on data; use aten::linalg_matrix_power"},
      {"linalg_matrix_exp", "how long it takes depends on data; use aten::linalg_matrix_power"},
      {"cpu", "where a value lives is not for programs to choose"},
      {"cuda", "where a value lives is not for programs to choose"},
      {"pin_memory", "where a value lives is not for programs to choose"},
      {"backward", "gradients are statements of a program: `backward`"},
      {"requires_grad_", "gradients are statements of a program: `backward`"},
      {"retain_grad", "gradients are statements of a program: `backward`"},
      {"detach_", "it changes a tensor in place; use aten::detach"},
  };
  return *kReasons;
}

/// Edits between two words, no more than `most` + 1.
size_t Distance(const std::string& a, const std::string& b, size_t most) {
  if (std::max(a.size(), b.size()) - std::min(a.size(), b.size()) > most) return most + 1;
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

std::string DidYouMean(const std::string& name, absl::Span<const std::string> names) {
  constexpr size_t kLongestName = 64;
  constexpr size_t kMost = 3;
  if (name.size() > kLongestName) return "";
  const size_t most = name.size() < kPrefix.size() + 4 ? 1 : 2;
  std::vector<std::pair<size_t, std::string>> close;
  for (const std::string& candidate : names) {
    const size_t distance = Distance(name, candidate, most);
    if (distance <= most) {
      close.emplace_back(distance, candidate);
    } else if (name.size() > kPrefix.size() + 2 && absl::StrContains(candidate, name)) {
      close.emplace_back(most + 1, candidate);
    }
  }
  std::stable_sort(close.begin(), close.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  if (close.size() > kMost) close.resize(kMost);
  if (close.empty()) return "";
  return absl::StrCat("; did you mean ",
                      absl::StrJoin(close, ", ",
                                    [](std::string* out, const auto& entry) {
                                      absl::StrAppend(out, entry.second);
                                    }),
                      "?");
}

absl::Status Refuse(const std::string& name, const std::string& reason) {
  return absl::PermissionDeniedError(absl::StrCat(name, " is not for programs: ", reason));
}

bool HasTag(const c10::OperatorHandle& handle, at::Tag tag) {
  const auto& tags = handle.getTags();
  return std::find(tags.begin(), tags.end(), tag) != tags.end();
}

/// Whether an overload writes into an argument other than its first: `out=`.
bool WritesOut(const c10::FunctionSchema& schema) {
  for (const c10::Argument& argument : schema.arguments()) {
    if (argument.is_out()) return true;
  }
  return false;
}

}  // namespace

absl::Status RefusalOf(const std::string& name, absl::Span<const std::string> names) {
  const auto has = [&](const std::string& wanted) {
    return std::binary_search(names.begin(), names.end(), wanted);
  };
  if (!absl::StartsWith(name, kPrefix)) {
    const std::string full = absl::StrCat(kPrefix, name);
    if (has(full)) {
      return absl::NotFoundError(absl::StrCat("there is no operator ", name, "; write ", full));
    }
    return absl::NotFoundError(absl::StrCat("there is no operator ", name,
                                            "; operators are written aten::NAME, as torch does"));
  }
  const std::string::size_type dot = name.find('.');
  const std::string base = name.substr(0, dot);
  const std::string word = base.substr(kPrefix.size());
  const bool has_base = has(base);
  if (word.empty() || word.front() == '_') {
    return Refuse(name, "names that begin with an underscore are torch's own; use the public one");
  }
  if (dot != std::string::npos && has_base) {
    const auto handle = c10::Dispatcher::singleton().findSchema({base, name.substr(dot + 1)});
    if (handle.has_value() && WritesOut(handle->schema())) {
      return Refuse(name, absl::StrCat("an out= overload writes into a tensor that it is given; "
                                       "use the result of ",
                                       base));
    }
    if (handle.has_value()) {
      return Refuse(name, absl::StrCat("this overload is not in the operator table; call ", base));
    }
    return absl::NotFoundError(
        absl::StrCat("there is no operator ", name, "; call ", base, " without an overload"));
  }
  if (const auto reason = Reasons().find(word); reason != Reasons().end()) {
    return Refuse(name, reason->second);
  }
  if (absl::StartsWith(word, "empty") || absl::StartsWith(word, "new_empty")) {
    return Refuse(name, "it returns memory as others left it; use aten::zeros or aten::full");
  }
  if (absl::StartsWith(word, "resize")) {
    return Refuse(name,
                  "it changes a tensor's storage; use aten::reshape or aten::constant_pad_nd");
  }
  if (absl::StrContains(word, "strided")) {
    return Refuse(name,
                  "strides can reach other programs' memory; use aten::expand, aten::unfold or "
                  "aten::diagonal");
  }

  std::vector<c10::OperatorHandle> overloads;
  for (const c10::OperatorName& each : c10::Dispatcher::singleton().getAllOpNames()) {
    if (each.name != base) continue;
    if (const auto handle = c10::Dispatcher::singleton().findSchema(each); handle.has_value()) {
      overloads.push_back(*handle);
    }
  }
  if (overloads.empty()) {
    return absl::NotFoundError(
        absl::StrCat("there is no operator ", name, DidYouMean(base, names)));
  }
  const std::string fresh = base.back() == '_' ? base.substr(0, base.size() - 1) : base;
  for (const c10::OperatorHandle& handle : overloads) {
    if (HasTag(handle, at::Tag::inplace_view)) {
      return Refuse(name, absl::StrCat("it changes the shape of a tensor in place; use ",
                                       has(fresh) ? fresh : "a view"));
    }
    if (HasTag(handle, at::Tag::nondeterministic_seeded)) {
      return Refuse(
          name,
          "it draws random numbers from no generator of the run's; use aten::rand, aten::randn or "
          "aten::bernoulli");
    }
    if (HasTag(handle, at::Tag::dynamic_output_shape)) {
      return Refuse(name, "its result's size depends on data; use aten::where or a mask");
    }
    if (HasTag(handle, at::Tag::data_dependent_output)) {
      return Refuse(name, "a tensor's value is only known while running; use the 0-dim tensor");
    }
  }
  if (absl::EndsWith(base, "_out") ||
      std::all_of(overloads.begin(), overloads.end(),
                  [](const c10::OperatorHandle& handle) { return WritesOut(handle.schema()); })) {
    return Refuse(name, "an out= overload writes into a tensor that it is given");
  }
  if (fresh != base && has(fresh)) {
    return Refuse(name, absl::StrCat("it has no in-place form here; use ", fresh));
  }
  return Refuse(name,
                absl::StrCat("it is none of the operators of this server, which ListOperators "
                             "lists",
                             DidYouMean(base, names)));
}

}  // namespace weft::plan
