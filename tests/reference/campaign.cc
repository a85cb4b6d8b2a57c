#include "tests/reference/campaign.h"

#include <cstdio>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/error.h"
#include "engine/graph/text.h"
#include "engine/plan/operators.h"
#include "tests/reference/compare.h"
#include "tests/reference/generator.h"
#include "tests/reference/invalid_program.h"
#include "tests/reference/plain_model.h"

namespace weft::reference {
namespace {

using Kind = Verdict::Kind;

/// In the order of graph::Node's variant; those of kinds that are not generated are absent from the
/// table.
constexpr const char* kKindNames[] = {
    "trace",     "sweep",  "invoke", "constant", "read",   "operator",   "index",
    "structure", "call",   "param",  "write",    "assign", "skip",       "save",
    "log",       "stop",   "cache",  "backward", "grad",   "grad write", "steps",
    "if",        "branch", "carry",  "yield",    "result"};
static_assert(std::size(kKindNames) == std::variant_size_v<decltype(graph::Node::kind)>);

void Count(const graph::Program& program, Tally& tally) {
  for (const graph::Node& node : program.nodes) {
    ++tally.kinds[kKindNames[node.kind.index()]];
    if (const auto* op = std::get_if<graph::Operator>(&node.kind)) ++tally.operators[op->name];
  }
}

/// A program that may share its passes, and what it gives by itself.
struct Alone {
  std::string text;
  testing::LocalResult result;
};

std::optional<Alone> RunAlone(const PlainModel& model, const std::string& text) {
  testing::LocalModel& hosted = Hosted(model);
  const absl::StatusOr<plan::Plan> plan = hosted.Plan(text);
  // These have passes of their own in the engine, too.
  if (!plan.ok() || plan->alone || plan->gradients) return std::nullopt;
  return Alone{text, hosted.Run(text)};
}

/// How a result in company differs from the one alone; empty if it does not.
std::string Difference(const testing::LocalResult& alone, const testing::LocalResult& shared,
                       bool rounded) {
  if (alone.status.code() != shared.status.code()) {
    return absl::StrCat("which ends with ", shared.status.ToString(), " and not with ",
                        alone.status.ToString());
  }
  if (!alone.status.ok()) return "";
  if (alone.missing != shared.missing) return "of which other saves are missing";
  if (alone.saved.size() != shared.saved.size()) return "which saves other values";
  for (const auto& [name, value] : alone.saved) {
    const auto found = shared.saved.find(name);
    if (found == shared.saved.end()) return absl::StrCat("which does not save ", name);
    const at::Tensor& other = found->second;
    if (value.sizes() != other.sizes() || value.scalar_type() != other.scalar_type()) {
      return absl::StrCat("whose ", name, " has another shape");
    }
    const double tolerance = rounded ? 1e-4 : 0;
    if (!at::allclose(value, other, tolerance, tolerance, /*equal_nan=*/true)) {
      return absl::StrCat("whose ", name, " is otherwise");
    }
  }
  return "";
}

}  // namespace

const PlainModel& ModelOf(uint64_t seed) { return seed % 3 == 0 ? DecoderModel() : ExactModel(); }

std::string ProgramOf(uint64_t seed) {
  const PlainModel& model = ModelOf(seed);
  return graph::PrintProgram(MakeProgram(seed, model, Hosted(model).spec()));
}

Tally RunCampaign(uint64_t first, int64_t programs, bool report) {
  Tally tally;
  for (const char* kind : kKindNames) tally.kinds[kind] = 0;
  for (const plan::OperatorRow* row : plan::OperatorTable::Get().rows()) {
    tally.operators[row->qualified()] = 0;
  }
  for (int64_t i = 0; i < programs; ++i) {
    const uint64_t seed = first + static_cast<uint64_t>(i);
    const PlainModel& model = ModelOf(seed);
    const graph::Program program = MakeProgram(seed, model, Hosted(model).spec());
    const std::string text = graph::PrintProgram(program);
    const Verdict verdict = Compare(model, text);
    ++tally.programs;
    tally.statements += static_cast<int64_t>(program.nodes.size());
    switch (verdict.kind) {
      case Kind::kAgree:
        ++tally.agree;
        Count(program, tally);
        break;
      case Kind::kBothRefuse:
        ++tally.both_refuse;
        ++tally.reasons[verdict.why.substr(0, 90)];
        break;
      case Kind::kConservative:
        ++tally.conservative;
        break;
      case Kind::kUnsupported:
        ++tally.unsupported;
        ++tally.reasons[verdict.why.substr(0, 90)];
        break;
      case Kind::kDisagree: {
        ++tally.disagree;
        const auto fails = [&](const std::string& smaller) {
          return Compare(model, smaller).kind == Kind::kDisagree;
        };
        const std::string small = Shrink(text, fails);
        const std::string failure =
            absl::StrCat("seed ", seed, ":\n", small, "\n", Compare(model, small).why, "\n");
        if (report) std::fprintf(stderr, "%s\n", failure.c_str());
        if (tally.failure.empty()) tally.failure = failure;
        break;
      }
    }
    if (report && (i + 1) % 1000 == 0) std::fprintf(stderr, "%s\n", Summary(tally).c_str());
  }
  return tally;
}

SpoiledTally RunSpoiled(uint64_t first, int64_t programs) {
  SpoiledTally tally;
  for (int64_t i = 0; i < programs; ++i) {
    const uint64_t seed = first + static_cast<uint64_t>(i);
    const PlainModel& model = ModelOf(seed);
    testing::LocalModel& hosted = Hosted(model);
    const graph::Program program = Spoil(MakeProgram(seed, model, hosted.spec()), seed);
    const absl::Status status = RunAll(hosted, program);
    if (status.ok()) {
      ++tally.valid;
      continue;
    }
    ++tally.refused;
    const bool named = graph::FromStatus(status).node != graph::kNoNode;
    if (named && status.code() != absl::StatusCode::kInternal) continue;
    if (tally.failure.empty()) {
      tally.failure = absl::StrCat("seed ", seed, ":\n", graph::PrintProgram(program),
                                   status.ToString(), named ? "" : ", without a statement");
    }
  }
  return tally;
}

CompanyTally RunInCompany(uint64_t first, int64_t programs) {
  constexpr size_t kTogether = 4;
  CompanyTally tally;
  std::map<const PlainModel*, std::vector<Alone>> waiting;
  for (int64_t i = 0; i < programs && tally.failure.empty(); ++i) {
    const uint64_t seed = first + static_cast<uint64_t>(i);
    const PlainModel& model = ModelOf(seed);
    std::optional<Alone> alone = RunAlone(model, ProgramOf(seed));
    if (!alone) continue;
    std::vector<Alone>& group = waiting[&model];
    group.push_back(*std::move(alone));
    if (group.size() < kTogether) continue;
    std::vector<std::string> texts;
    for (const Alone& one : group) texts.push_back(one.text);
    const std::vector<testing::LocalResult> shared = Hosted(model).RunTogether(texts);
    for (size_t j = 0; j < group.size(); ++j) {
      ++tally.programs;
      const std::string why = Difference(group[j].result, shared[j], model.rounded());
      if (why.empty() || !tally.failure.empty()) continue;
      tally.failure = absl::StrCat("program ", j + 1, " of ", group.size(), " up to seed ", seed,
                                   ", ", why, ":\n");
      for (const std::string& text : texts) absl::StrAppend(&tally.failure, text, "---\n");
    }
    group.clear();
  }
  return tally;
}

std::string Rare(const Tally& tally, int64_t least) {
  std::string rare;
  for (const auto* counts : {&tally.kinds, &tally.operators}) {
    for (const auto& [name, count] : *counts) {
      if (count < least) absl::StrAppend(&rare, "  ", name, ": ", count, "\n");
    }
  }
  return rare;
}

std::string Summary(const Tally& tally) {
  return absl::StrCat(tally.programs, " programs of ",
                      tally.statements / std::max<int64_t>(1, tally.programs),
                      " statements: ", tally.agree, " agree, ", tally.both_refuse,
                      " are refused by both, ", tally.conservative, " by a rule, ",
                      tally.unsupported, " unsupported, ", tally.disagree, " disagree");
}

}  // namespace weft::reference
