#include "tests/support/local_run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/graph/lint.h"
#include "engine/graph/text.h"
#include "engine/models/network.h"
#include "engine/weights/hub_folder.h"
#include "tests/support/fake_device.h"

namespace weft::testing {
namespace {

constexpr int64_t kPad = 0;

/// Where models lie: $WEFT_TEST_DEVICES, such as `cuda:0`, or `fake:0,fake:1`, which are made for
/// it; else on the CPU.
std::vector<std::string> TestDevices() {
  const char* const given = std::getenv("WEFT_TEST_DEVICES");
  if (given == nullptr || *given == 0) return {"cpu"};
  if (absl::StartsWith(given, "fake")) RegisterFakeDevices(2);
  return absl::StrSplit(given, ',');
}

[[noreturn]] void GiveUp(const std::string& folder, const absl::Status& status) {
  std::fprintf(stderr, "cannot host %s: %s\n", folder.c_str(), status.ToString().c_str());
  std::abort();
}

std::unique_ptr<models::HostedModel> Host(const std::string& folder, bool pad_left,
                                          const models::NetworkOptions& options) {
  absl::StatusOr<weights::HubFolder> hub = weights::HubFolder::Open(folder, options.dispatch);
  if (!hub.ok()) GiveUp(folder, hub.status());
  absl::StatusOr<models::Network> network = models::MakeNetwork(*hub, options);
  if (!network.ok()) GiveUp(folder, network.status());
  auto hosted = models::HostedModel::Host(*std::move(network), pad_left);
  if (!hosted.ok()) GiveUp(folder, hosted.status());
  return *std::move(hosted);
}

void AddLeaves(const std::string& name, const c10::IValue& value,
               std::map<std::string, at::Tensor>& out) {
  if (value.isTensor()) {
    out[name] = value.toTensor();
  } else if (value.isTuple()) {
    int i = 0;
    for (const c10::IValue& item : value.toTupleRef().elements()) {
      AddLeaves(absl::StrCat(name, "/", i++), item, out);
    }
  } else if (value.isGenericDict()) {
    for (const auto& entry : value.toGenericDict()) {
      AddLeaves(absl::StrCat(name, "/", entry.key().toStringRef()), entry.value(), out);
    }
  } else if (value.isList()) {
    int i = 0;
    for (const c10::IValue& item : value.toListRef()) {
      AddLeaves(absl::StrCat(name, "/", i++), item, out);
    }
  }
}

/// `[39][72]`: a text in which tokens can be told apart.
absl::StatusOr<std::string> TextOf(absl::Span<const int64_t> ids) {
  std::string text;
  for (const int64_t id : ids) absl::StrAppend(&text, "[", id, "]");
  return text;
}

uint32_t SequencesOf(const graph::Trace& trace) {
  return trace.generate ? trace.generate->Sequences() : 1;
}

using Rows = std::vector<std::vector<int64_t>>;

/// The rows of each input in written order; none where they are not token ids.
std::vector<Rows> RowsOf(const graph::Program& program) {
  std::vector<Rows> inputs;
  uint32_t sequences = 1;
  for (const graph::Node& node : program.nodes) {
    if (const auto* trace = std::get_if<graph::Trace>(&node.kind)) sequences = SequencesOf(*trace);
    const auto* invoke = std::get_if<graph::Invoke>(&node.kind);
    if (invoke == nullptr) continue;
    const auto add = [&](const Rows& given) {
      Rows& rows = inputs.emplace_back();
      for (const auto& row : given) rows.insert(rows.end(), sequences, row);
    };
    if (const auto* tokens = std::get_if<graph::Invoke::Tokens>(&invoke->input)) {
      add(tokens->rows);
    } else if (const auto* swept = std::get_if<graph::SweptPrompt>(&invoke->input)) {
      const auto& sweep = std::get<graph::Sweep>(program.at(swept->use.sweep).kind);
      for (const auto& row : std::get<Rows>(sweep.parameters[swept->use.parameter].values)) {
        add({row});
      }
    } else {
      inputs.emplace_back();
      if (std::holds_alternative<graph::Invoke::Prompts>(invoke->input)) {
        ADD_FAILURE() << "a LocalModel has no tokenizer; give token ids";
      }
    }
  }
  return inputs;
}

std::vector<run::InvokeInput> InputsOf(const graph::Program& program, bool pad_left) {
  std::vector<run::InvokeInput> inputs;
  for (const Rows& rows : RowsOf(program)) {
    inputs.emplace_back();
    if (!rows.empty()) inputs.back() = run::InvokeInput::Make(rows, kPad, pad_left);
  }
  return inputs;
}

}  // namespace

at::Tensor LocalResult::operator[](const std::string& name) const {
  const auto found = saved.find(name);
  if (found != saved.end()) return found->second;
  ADD_FAILURE() << "nothing was saved as " << name << ": " << status;
  return {};
}

/// A program with everything that its run refers to.
struct LocalModel::Prepared {
  graph::Program program;
  plan::Plan plan;
  std::unique_ptr<run::Run> run;
};

LocalModel::LocalModel(const std::string& folder, bool pad_left,
                       const models::NetworkOptions& options) {
  const std::vector<std::string> devices = TestDevices();
  models::NetworkOptions placed = options;
  placed.device = devices[0];
  hosted_ = Host(folder, pad_left, placed);
  if (devices.size() == 1) return;
  // Blocks in turn. Now that it is known which there are.
  size_t next = 0;
  for (const plan::ModuleSpec& module : spec().modules()) {
    const bool block = devices::BlockOf(module.path) == module.path && !module.path.empty();
    if (block) placed.device_map[module.path] = devices[next++ % devices.size()];
  }
  hosted_ = Host(folder, pad_left, placed);
}

LocalModel& LocalModel::Tiny() {
  static auto* const kTiny = new LocalModel("tests/parity/gpt2-tiny");
  return *kTiny;
}

absl::StatusOr<graph::Program> ParseAndCheck(const std::string& text) {
  absl::StatusOr<graph::Program> program = graph::ParseProgram(text);
  if (!program.ok()) return program.status();
  if (absl::Status status = graph::Check(*program); !status.ok()) return status;
  return program;
}

std::vector<plan::RowCount> CountRows(const graph::Program& program) {
  std::vector<plan::RowCount> counts;
  for (const Rows& rows : RowsOf(program)) {
    plan::RowCount& count = counts.emplace_back();
    count.batch = static_cast<int64_t>(rows.size());
    for (const auto& row : rows) {
      count.tokens = std::max(count.tokens, static_cast<int64_t>(row.size()));
    }
  }
  return counts;
}

absl::StatusOr<plan::Plan> LocalModel::Plan(const std::string& text) const {
  absl::StatusOr<graph::Program> program = ParseAndCheck(text);
  if (!program.ok()) return program.status();
  return plan::MakePlan(*program, spec(), CountRows(*program));
}

absl::StatusOr<plan::PlanCheck> LocalModel::Check(const std::string& text,
                                                  const plan::PlanLimits& limits) const {
  absl::StatusOr<graph::Program> program = ParseAndCheck(text);
  if (!program.ok()) return program.status();
  const std::vector<plan::RowCount> rows = CountRows(*program);
  absl::StatusOr<plan::Plan> plan = plan::MakePlan(*program, spec(), rows);
  if (!plan.ok()) return plan.status();
  return plan::CheckPlan(*plan, *program, spec(), rows, limits);
}

absl::StatusOr<std::unique_ptr<LocalModel::Prepared>> LocalModel::Prepare(
    const std::string& text, const LocalOptions& options) const {
  absl::StatusOr<graph::Program> program = ParseAndCheck(text);
  if (!program.ok()) return program.status();
  const std::vector<plan::RowCount> rows = CountRows(*program);
  absl::StatusOr<plan::Plan> plan = plan::MakePlan(*program, spec(), rows);
  if (!plan.ok()) return plan.status();
  auto check = plan::CheckPlan(*plan, *program, spec(), rows, options.plan);
  if (!check.ok()) return check.status();
  auto prepared = std::make_unique<Prepared>();
  prepared->program = *std::move(program);
  prepared->plan = *std::move(plan);
  prepared->run = std::make_unique<run::Run>(prepared->plan, prepared->program, spec(), *hosted_,
                                             InputsOf(prepared->program, hosted_->pad_left()),
                                             options.run, absl::InfiniteFuture(), Tokens());
  prepared->run->set_seed(options.seed);
  return prepared;
}

absl::Status LocalModel::RunPasses(std::vector<run::Run*> runs) {
  while (!runs.empty()) {
    if (absl::Status pass = hosted_->Run(runs); !pass.ok()) return pass;
    std::erase_if(runs, [](const run::Run* run) { return run->ended() || run->finished(); });
  }
  return absl::OkStatus();
}

run::TokenOptions LocalModel::Tokens() const {
  return {.pad_left = hosted_->pad_left(),
          .pad_id = kPad,
          .eos_ids = hosted_->network().eos_ids,
          .vocabulary = hosted_->network().vocabulary,
          .max_tokens = hosted_->network().max_tokens,
          .decode = TextOf};
}

LocalResult LocalModel::ResultOf(run::Run& run) {
  LocalResult result;
  result.status = run.status();
  result.logs = run.logs();
  result.evicted = run.evicted();
  for (const run::SavedItem& item : run.saved()) {
    const plan::PlannedSave& save = run.plan().saves[item.save];
    std::string name = save.name;
    if (save.point) absl::StrAppend(&name, "/", *save.point);
    if (item.step) absl::StrAppend(&name, "/", *item.step);
    if (save.entry) {
      absl::StrAppend(
          &name, "/",
          graph::ToString(
              {.module = save.entry->module, .point = save.entry->point, .visit = item.visit}));
    }
    AddLeaves(name, item.value, result.saved);
  }
  for (size_t i = 0; run.finished() && i < run.plan().saves.size(); ++i) {
    std::string reason = run.MissingFrom(static_cast<int>(i));
    if (!reason.empty()) result.missing[run.plan().saves[i].name] = std::move(reason);
  }
  return result;
}

std::vector<LocalResult> LocalModel::RunTogether(const std::vector<std::string>& texts,
                                                 const LocalOptions& options) {
  std::vector<LocalResult> results(texts.size());
  std::vector<std::unique_ptr<Prepared>> prepared(texts.size());
  std::vector<run::Run*> runs;
  for (size_t i = 0; i < texts.size(); ++i) {
    auto one = Prepare(texts[i], options);
    if (one.ok()) {
      prepared[i] = *std::move(one);
      runs.push_back(prepared[i]->run.get());
    } else {
      results[i].status = one.status();
    }
  }
  if (runs.empty()) return results;
  const absl::Status pass = RunPasses(std::move(runs));
  for (size_t i = 0; i < texts.size(); ++i) {
    if (prepared[i] == nullptr) continue;
    results[i] = ResultOf(*prepared[i]->run);
    if (!pass.ok()) results[i].status = pass;
  }
  return results;
}

LocalResult LocalModel::Run(const std::string& text, const LocalOptions& options) {
  return RunTogether({text}, options).front();
}

LocalResult LocalModel::RunPlanned(const plan::Plan& plan, const graph::Program& program,
                                   const LocalOptions& options) {
  run::Run run(plan, program, spec(), *hosted_, InputsOf(program, hosted_->pad_left()), options.run,
               absl::InfiniteFuture(), Tokens());
  run.set_seed(options.seed);
  const absl::Status pass = RunPasses({&run});
  LocalResult result = ResultOf(run);
  if (!pass.ok()) result.status = pass;
  return result;
}

}  // namespace weft::testing
