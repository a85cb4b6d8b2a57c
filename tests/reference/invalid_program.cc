#include "tests/reference/invalid_program.h"

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/lint.h"
#include "engine/graph/uses.h"
#include "engine/plan/operators.h"
#include "engine/plan/planner.h"

namespace weft::reference {
namespace {

using graph::NodeId;

class Spoiler {
 public:
  Spoiler(const graph::Program& program, uint64_t seed) : program_(program), random_(seed) {}

  graph::Program Make() {
    for (int64_t i = 1 + Below(3); i > 0; --i) SpoilOne();
    return std::move(program_);
  }

 private:
  int64_t Below(int64_t n) { return std::uniform_int_distribution<int64_t>(0, n - 1)(random_); }
  NodeId AnyId() {
    return static_cast<NodeId>(Below(static_cast<int64_t>(program_.nodes.size()) + 4));
  }
  int64_t AnyInteger() {
    static constexpr int64_t kIntegers[] = {
        0, 1, -1, 2, 7, -9, 1 << 20, int64_t{1} << 40, INT64_MAX, INT64_MIN};
    return kIntegers[Below(std::size(kIntegers))];
  }
  std::string AnyModule() {
    static constexpr const char* kModules[] = {
        "", "embed", "layers", "layers.0.lin", "layers.7", "norm", "head.", "$", "nothing.at.all"};
    return kModules[Below(std::size(kModules))];
  }

  graph::Argument AnyArgument() {
    graph::Argument argument;
    switch (Below(9)) {
      case 0:
        argument.value = graph::NodeRef{AnyId()};
        break;
      case 1:
        argument.value = AnyInteger();
        break;
      case 2:
        argument.value = 0.5;
        break;
      case 3:
        argument.value = true;
        break;
      case 4:
        argument.value = std::string("mean");
        break;
      case 5:
        argument.value = graph::DType::kI8;
        break;
      case 6: {
        graph::Argument item;
        item.value = AnyInteger();
        argument.value = graph::Argument::List{item, item};
        break;
      }
      case 7:
        argument.name = "dim";
        argument.value = AnyInteger();
        break;
      default:
        break;
    }
    return argument;
  }
  graph::IndexTerm AnyTerm() {
    switch (Below(6)) {
      case 0:
        return AnyInteger();
      case 1:
        return graph::Slice{.start = AnyInteger(), .step = AnyInteger()};
      case 2:
        return graph::Ellipsis{};
      case 3:
        return graph::NodeRef{AnyId()};
      case 4:
        return std::string("logits");
      default:
        return graph::NewAxis{};
    }
  }
  void SpoilTerms(std::vector<graph::IndexTerm>& terms) {
    if (terms.empty() || Below(2) == 0) {
      terms.push_back(AnyTerm());
    } else {
      terms[Below(static_cast<int64_t>(terms.size()))] = AnyTerm();
    }
  }
  void SpoilArguments(std::vector<graph::Argument>& arguments) {
    const int64_t die = Below(4);
    if (arguments.empty() || die == 0) {
      arguments.push_back(AnyArgument());
    } else if (die == 1) {
      arguments.erase(arguments.begin() + Below(static_cast<int64_t>(arguments.size())));
    } else if (die == 2) {
      std::swap(arguments.front(), arguments.back());
    } else {
      arguments[Below(static_cast<int64_t>(arguments.size()))] = AnyArgument();
    }
  }
  void SpoilSite(graph::Site& site) {
    static constexpr graph::Point kPoints[] = {graph::Point::kOutput, graph::Point::kInput,
                                               graph::Point::kInputs, graph::Point::kProbs,
                                               graph::Point::kResult, graph::Point::kPositions,
                                               graph::Point::kRows};
    switch (Below(4)) {
      case 0:
        site.module = AnyModule();
        break;
      case 1:
        site.point = kPoints[Below(std::size(kPoints))];
        break;
      case 2:
        site.visit = static_cast<uint32_t>(Below(4));
        break;
      default:
        site.op = Below(2) == 0 ? "add_1" : "";
    }
  }
  void SpoilUse(graph::Node& node) {
    int64_t uses = 0;
    graph::ForEachUse(node, [&](NodeId&) { ++uses; });
    if (uses == 0) return;
    int64_t which = Below(uses);
    graph::ForEachUse(node, [&](NodeId& used) {
      if (which-- == 0) used = AnyId();
    });
  }

  void SpoilKind(graph::Node& node) {
    if (auto* read = std::get_if<graph::Read>(&node.kind)) {
      SpoilSite(read->site);
    } else if (auto* write = std::get_if<graph::Write>(&node.kind)) {
      Below(2) == 0 ? SpoilSite(write->site) : SpoilTerms(write->index);
    } else if (auto* op = std::get_if<graph::Operator>(&node.kind)) {
      if (Below(4) == 0) {
        const auto rows = plan::OperatorTable::Get().rows();
        op->name =
            Below(4) == 0 ? "aten::empty" : rows[Below(static_cast<int64_t>(rows.size()))]->name;
      } else {
        SpoilArguments(op->arguments);
      }
    } else if (auto* index = std::get_if<graph::Index>(&node.kind)) {
      SpoilTerms(index->terms);
    } else if (auto* assign = std::get_if<graph::Assign>(&node.kind)) {
      SpoilTerms(assign->index);
    } else if (auto* structure = std::get_if<graph::Structure>(&node.kind)) {
      SpoilArguments(structure->items);
    } else if (auto* call = std::get_if<graph::Call>(&node.kind)) {
      Below(2) == 0 ? SpoilArguments(call->arguments) : void(call->module = AnyModule());
    } else if (auto* parameter = std::get_if<graph::Parameter>(&node.kind)) {
      parameter->path = AnyModule();
    } else if (auto* skip = std::get_if<graph::Skip>(&node.kind)) {
      skip->module = AnyModule();
    } else if (auto* save = std::get_if<graph::Save>(&node.kind)) {
      save->name = Below(2) == 0 ? "s0" : "not a name";
    } else if (auto* cache = std::get_if<graph::Cache>(&node.kind)) {
      cache->modules.push_back(AnyModule());
    } else if (auto* constant = std::get_if<graph::Constant>(&node.kind)) {
      constant->tensor.shape.push_back(AnyInteger());
    } else if (auto* sweep = std::get_if<graph::Sweep>(&node.kind)) {
      sweep->parameters[0].values = std::vector<int64_t>{0, 1, 2};
    } else if (auto* result = std::get_if<graph::RegionResult>(&node.kind)) {
      Below(2) == 0 ? void(result->region = AnyId()) : void(result->index = 3);
    } else if (auto* yield = std::get_if<graph::Yield>(&node.kind)) {
      yield->values.push_back(AnyId());
    } else if (auto* trace = std::get_if<graph::Trace>(&node.kind)) {
      trace->root = AnyModule();
    }
  }

  void SpoilOne() {
    auto& nodes = program_.nodes;
    graph::Node& node = nodes[Below(static_cast<int64_t>(nodes.size()))];
    switch (Below(10)) {
      case 0:
        node.parent = AnyId();
        break;
      case 1:
        std::swap(node, nodes[Below(static_cast<int64_t>(nodes.size()))]);
        break;
      case 2:
        node.name = nodes[Below(static_cast<int64_t>(nodes.size()))].name;
        break;
      case 3:
        if (nodes.size() > 1) nodes.erase(nodes.begin() + (&node - nodes.data()));
        break;
      case 4:
      case 5:
      case 6:
        SpoilUse(node);
        break;
      default:
        SpoilKind(node);
    }
  }

  graph::Program program_;
  std::mt19937_64 random_;
};

}  // namespace

graph::Program Spoil(const graph::Program& program, uint64_t seed) {
  return Spoiler(program, seed).Make();
}

absl::Status RunAll(testing::LocalModel& model, const graph::Program& program) {
  if (absl::Status status = graph::Check(program); !status.ok()) return status;
  const std::vector<plan::RowCount> rows = testing::CountRows(program);
  const auto plan = plan::MakePlan(program, model.spec(), rows);
  if (!plan.ok()) return plan.status();
  const plan::PlanLimits limits{.value_elements = 1 << 20, .peak_bytes = uint64_t{1} << 28};
  const auto check = plan::CheckPlan(*plan, program, model.spec(), rows, limits);
  if (!check.ok()) return check.status();
  return model.RunPlanned(*plan, program).status;
}

}  // namespace weft::reference
