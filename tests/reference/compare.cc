#include "tests/reference/compare.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/graph/error.h"
#include "engine/graph/renumber.h"
#include "engine/graph/text.h"
#include "engine/graph/uses.h"
#include "engine/plan/planner.h"
#include "tests/reference/interpreter.h"

namespace weft::reference {
namespace {

using graph::NodeId;

/// What the engine may refuse though it has a meaning: each is a rule that the design or the
/// operator table states.
bool IsConservative(const std::string& message) {
  for (const char* rule : {
           "gives a view or a copy",         // in place on what may be a view
           "its elements may share memory",  // in place on expand, unfold
           "was made outside of this",       // a region changes nothing from outside
           "makes no new version of a name",
           "into the rows of another invoke",  // in place on another invoke's read
           "is visited before",                // the value comes too late for the site
           "inside a module that is skipped",  // nothing is asked of its inside
           "this skip overlaps",
           "takes tensors of one dtype",  // the operator table's own checks
           "does not broadcast to [",
           "view size is not compatible",
           "tensors, not",
           "a mask stands beside no other",
           "cannot hold",
           "Dimension out of range",  // of nothing torch takes any
           "must have the same shape",
           "is not differentiable with respect to argument",
           "is out of range: this site takes",  // also of what is written to no place in the end
           "only after the last step",          // a value of a generation's end
           "begins as",                         // a carry keeps its shape
           "one branch yields",                 // and so do branches
           "parameters are frozen",             // and have no gradients
           "shows elements several times",      // nor has what is expanded
           "whose graph is gone",               // of an earlier trace
           "needs a gradient of what",          // a write that comes before its value
           "is needed before this value",       // and a gradient's
           "only floating-point values have",   // gradients
           "was made inside the `backward`",
           "a function that returns multiple views",  // whose pieces autograd lets nobody change
       }) {
    if (absl::StrContains(message, rule)) return true;
  }
  return false;
}

bool IsIndependence(const std::string& message) {
  return absl::StrContains(message, "the loss depends on none of") ||
         absl::StrContains(message, "the loss does not depend on this value");
}

std::string Show(const at::Tensor& tensor) {
  std::ostringstream out;
  out << tensor.scalar_type() << tensor.sizes() << " " << tensor.flatten().slice(0, 0, 24);
  return out.str();
}

bool WritesGradients(const graph::Program& program) {
  return std::any_of(program.nodes.begin(), program.nodes.end(), [](const graph::Node& node) {
    return std::holds_alternative<graph::GradWrite>(node.kind);
  });
}

/// Why two tensors are not the same; empty if they are. The run's kernels see other strides, so
/// they round otherwise.
std::string Differ(const at::Tensor& run, const at::Tensor& meant) {
  if (run.scalar_type() != meant.scalar_type() || run.sizes() != meant.sizes()) {
    return absl::StrCat("dtype or shape\n  run: ", Show(run), "\n  meant: ", Show(meant));
  }
  const bool is_complex = run.is_complex();
  if (!is_complex && !run.is_floating_point()) {
    if (at::equal(run, meant)) return "";
    return absl::StrCat("\n  run: ", Show(run), "\n  meant: ", Show(meant));
  }
  const auto plain = [&](const at::Tensor& tensor) {
    const at::Tensor real = is_complex ? at::view_as_real(tensor.contiguous()) : tensor;
    return real.to(at::kDouble);
  };
  const at::Tensor a = plain(run), b = plain(meant);
  const at::Tensor finite = at::isfinite(b);
  const bool is_short = run.scalar_type() == at::kHalf || run.scalar_type() == at::kBFloat16;
  const double tolerance = is_short ? 2e-2 : 1e-4;
  const at::Tensor sizes = at::where(finite, b.abs(), at::zeros_like(b));
  const at::Tensor usual = at::where(sizes.lt(kHuge), sizes, at::zeros_like(b));
  const double most = usual.numel() == 0 ? 0 : usual.max().item<double>();
  const at::Tensor allowed = at::add(at::mul(at::clamp_min(sizes, most), tolerance), 1e-5);
  const at::Tensor same = at::logical_or(
      a.eq(b),
      at::logical_or(at::logical_and(a.isnan(), b.isnan()), at::sub(a, b).abs().le(allowed)));
  if (same.all().item<bool>()) return "";
  return absl::StrCat("\n  run: ", Show(run), "\n  meant: ", Show(meant));
}

/// Why the reference gives a program no meaning; empty if it does.
template <typename Look>
std::string Refusal(const Look& look) {
  try {
    look();
    return "";
  } catch (const Refused& refused) {
    return absl::StrCat("%", refused.node, ": ", refused.what());
  } catch (const Unsupported&) {
    throw;
  } catch (const c10::Error& error) {
    // The engine computes a new value, and those operators have one.
    const std::string message = error.what_without_backtrace();
    if (absl::StrContains(message, "the derivative for 'inplace version")) {
      throw Unsupported("an in-place operator whose derivative torch does not have");
    }
    // The engine copies where memory does not lie as a view needs it.
    if (absl::StrContains(message, "view size is not compatible")) {
      throw Unsupported("a view that depends on strides");
    }
    // The engine goes backwards only where something of that is used.
    if (absl::StrContains(message, "is not differentiable with respect to argument")) {
      throw Unsupported("an argument that torch has no derivative for");
    }
    return message;
  } catch (const std::exception& error) {
    return error.what();
  }
}

Verdict Refusals(const absl::Status& status, const graph::Program& program, const PlainModel& model,
                 const Saved& drawn) {
  const std::string message(status.message());
  if (graph::FromStatus(status).node == graph::kNoNode) {
    return {Verdict::Kind::kDisagree, absl::StrCat("an error without a statement: ", message)};
  }
  if (status.code() == absl::StatusCode::kInternal) {
    return {Verdict::Kind::kDisagree, absl::StrCat("an internal error: ", message)};
  }
  if (IsIndependence(message)) {
    bool depends = false;
    const std::string none = Refusal(
        [&] { depends = LossReaches(program, model, drawn, graph::FromStatus(status).node); });
    if (!depends) return {Verdict::Kind::kBothRefuse, absl::StrCat(message, "\n  and: ", none)};
    return {Verdict::Kind::kDisagree, absl::StrCat("but it does depend on that: ", message)};
  }
  // Or, by another kernel, some integer.
  if (absl::StrContains(message, "without overflow")) throw Unsupported("NaN as an integer");
  if (IsConservative(message)) return {Verdict::Kind::kConservative, message};
  const std::string why = Refusal([&] { InterpretAll(program, model, drawn); });
  if (!why.empty()) return {Verdict::Kind::kBothRefuse, absl::StrCat(message, "\n  and: ", why)};
  return {Verdict::Kind::kDisagree, absl::StrCat("refused, but it has a meaning: ", message)};
}

Verdict CompareSupported(const PlainModel& model, const std::string& text, const PlanBug& bug) {
  testing::LocalModel& hosted = Hosted(model);
  const auto program = testing::ParseAndCheck(text);
  if (!program.ok()) {
    const std::string message(program.status().message());
    const bool rule = IsConservative(message);
    return {rule ? Verdict::Kind::kConservative : Verdict::Kind::kUnsupported, message};
  }
  const std::vector<plan::RowCount> rows = testing::CountRows(*program);
  auto plan = plan::MakePlan(*program, hosted.spec(), rows);
  if (!plan.ok()) return Refusals(plan.status(), *program, model, {});
  const auto check = plan::CheckPlan(*plan, *program, hosted.spec(), rows, {});
  if (!check.ok()) return Refusals(check.status(), *program, model, {});
  if (bug != nullptr && !bug(*plan)) return {Verdict::Kind::kUnsupported, "nothing to change"};

  const testing::LocalResult result = hosted.RunPlanned(*plan, *program);
  if (!result.status.ok()) {
    Verdict verdict = Refusals(result.status, *program, model, result.saved);
    verdict.ran = true;
    return verdict;
  }
  Verdict verdict;
  verdict.ran = true;
  Saved meant;
  const std::string refusal = Refusal([&] { meant = Interpret(*program, model, result.saved); });
  if (!refusal.empty()) {
    verdict.kind = Verdict::Kind::kDisagree;
    verdict.why = absl::StrCat("it ran, but it has no meaning: ", refusal);
    return verdict;
  }
  for (const auto& [name, tensor] : meant) {
    const auto found = result.saved.find(name);
    if (found == result.saved.end()) {
      absl::StrAppend(&verdict.why, name, " was not saved\n");
      continue;
    }
    const std::string difference = Differ(found->second, tensor);
    if (difference.empty()) continue;
    if (!IsBounded(found->second) || !IsBounded(tensor)) {
      if (model.rounded()) {
        throw Unsupported("numbers beyond all bounds, which rounding chooses between");
      }
      // Where they are written, zeros that come back from rows of another invoke go on.
      if (WritesGradients(*program)) throw Unsupported("a zero gradient times infinity");
    }
    absl::StrAppend(&verdict.why, name, ": ", difference, "\n");
  }
  for (const auto& [name, tensor] : result.saved) {
    if (meant.count(name) == 0) absl::StrAppend(&verdict.why, name, " was saved\n");
  }
  if (!verdict.why.empty()) verdict.kind = Verdict::Kind::kDisagree;
  return verdict;
}

/// Leave out `gone`, what is inside it, and all that uses any of that.
graph::Program Without(const graph::Program& program, NodeId gone) {
  std::vector<bool> out(program.nodes.size() + 1, false);
  std::vector<NodeId> to(program.nodes.size() + 1, graph::kNoNode);
  graph::Program smaller;
  for (NodeId n = 1; n <= program.nodes.size(); ++n) {
    const graph::Node& node = program.at(n);
    out[n] = n == gone || out[node.parent];
    graph::ForEachUse(node, [&](NodeId used) { out[n] = out[n] || out[used]; });
    if (const auto* result = std::get_if<graph::RegionResult>(&node.kind)) {
      out[n] = out[n] || out[result->region];
    }
    if (out[n]) continue;
    smaller.nodes.push_back(node);
    to[n] = static_cast<NodeId>(smaller.nodes.size());
    graph::Renumber(to, &smaller.nodes.back());
  }
  return smaller;
}

}  // namespace

testing::LocalModel& Hosted(const PlainModel& model) {
  static auto* const kHosted =
      new std::map<const PlainModel*, std::unique_ptr<testing::LocalModel>>();
  std::unique_ptr<testing::LocalModel>& hosted = (*kHosted)[&model];
  if (hosted == nullptr) hosted = std::make_unique<testing::LocalModel>(model.Host());
  return *hosted;
}

Verdict Compare(const PlainModel& model, const std::string& text, const PlanBug& bug) {
  try {
    return CompareSupported(model, text, bug);
  } catch (const Unsupported& unsupported) {
    return {Verdict::Kind::kUnsupported, unsupported.what()};
  }
}

std::string Shrink(const std::string& text, const std::function<bool(const std::string&)>& fails) {
  std::string smallest = text;
  for (bool again = true; again;) {
    again = false;
    const auto program = graph::ParseProgram(smallest);
    if (!program.ok()) return smallest;
    for (NodeId n = static_cast<NodeId>(program->nodes.size()); n > 1; --n) {
      const std::string without = graph::PrintProgram(Without(*program, n));
      if (without.size() >= smallest.size() || !fails(without)) continue;
      smallest = without;
      again = true;
      break;
    }
  }
  return smallest;
}

}  // namespace weft::reference
