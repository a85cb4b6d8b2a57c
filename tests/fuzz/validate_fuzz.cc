// Programs of a stranger, planned against a small model: nothing runs, and no answer is the
// planner's own fault. What was planned is checked at other token counts too.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/graph/lint.h"
#include "engine/graph/text.h"
#include "engine/plan/planner.h"

namespace {

using weft::graph::Dimension;
using weft::graph::Pattern;
using weft::graph::Point;
using weft::plan::ModelSpec;
using weft::plan::RowCount;

/// As a server has them, but for bounds that keep one input quick.
constexpr weft::graph::ProgramLimits kProgramLimits = {.nodes = 512, .constant_bytes = 1 << 16};
constexpr weft::plan::PlanLimits kPlanLimits = {
    .value_elements = 1 << 30, .result_bytes = uint64_t{8} << 30, .peak_bytes = uint64_t{16} << 30};

/// What recording would say of a GPT-2 of two blocks, 8 wide, with 11 tokens.
ModelSpec TinySpec() {
  constexpr int64_t kWidth = 8, kVocabulary = 11;
  std::vector<weft::plan::ModuleSpec> modules;
  std::vector<weft::plan::SiteSpec> sites;
  absl::flat_hash_map<std::string, weft::plan::ParameterSpec> parameters;
  const auto leaf = [](int64_t width, int64_t range) {
    weft::graph::PatternTensor tensor;
    tensor.shape = {{0, 1, 0}, {0, 0, 1}};
    if (range > 0) {
      tensor.dtype = weft::graph::DType::kI64;
      tensor.range = range;
    } else {
      tensor.shape.push_back({width, 0, 0});
    }
    return Pattern{std::move(tensor)};
  };
  const auto module = [&](const std::string& path, bool rowwise) {
    modules.push_back({path, rowwise});
    return static_cast<int>(modules.size() - 1);
  };
  const auto site = [&](int of, Point point, Pattern pattern) {
    sites.push_back({{modules[of].path, point, 0}, of, std::move(pattern), true});
  };
  const auto whole = [&](const std::string& path, bool rowwise, Pattern in, Pattern out) {
    const int of = module(path, rowwise);
    site(of, Point::kInput, std::move(in));
    site(of, Point::kOutput, std::move(out));
  };
  const int root = module("", false);
  site(root, Point::kInput, leaf(0, kVocabulary));
  const int transformer = module("transformer", false);
  site(transformer, Point::kInput, leaf(0, kVocabulary));
  whole("transformer.wte", true, leaf(0, kVocabulary), leaf(kWidth, 0));
  module("transformer.h", false);
  for (const std::string block : {"transformer.h.0", "transformer.h.1"}) {
    const int of = module(block, false);
    site(of, Point::kInput, leaf(kWidth, 0));
    Pattern::Tuple attention;
    attention.items = {leaf(kWidth, 0), Pattern()};
    whole(block + ".attn", false, leaf(kWidth, 0), Pattern{std::move(attention)});
    whole(block + ".mlp", true, leaf(kWidth, 0), leaf(kWidth, 0));
    parameters[block + ".mlp.weight"] = {weft::graph::DType::kF32, {kWidth, kWidth}};
    site(of, Point::kOutput, leaf(kWidth, 0));
  }
  whole("transformer.ln_f", true, leaf(kWidth, 0), leaf(kWidth, 0));
  site(transformer, Point::kOutput, leaf(kWidth, 0));
  whole("lm_head", true, leaf(kWidth, 0), leaf(kVocabulary, 0));
  parameters["lm_head.weight"] = {weft::graph::DType::kF32, {kVocabulary, kWidth}};
  Pattern::Dict logits;
  logits.entries.emplace_back("logits", leaf(kVocabulary, 0));
  site(root, Point::kOutput, Pattern{std::move(logits)});
  return ModelSpec(std::move(modules), std::move(sites), std::move(parameters));
}

/// An answer about the program, and not about the planner.
void Expect(const absl::Status& status, const std::string& text) {
  if (status.code() != absl::StatusCode::kInternal && status.code() != absl::StatusCode::kUnknown) {
    return;
  }
  std::fprintf(stderr, "%s\nfor:\n%s\n", status.ToString().c_str(), text.c_str());
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const ModelSpec* const kModel = new ModelSpec(TinySpec());
  const std::string text(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<weft::graph::Program> program = weft::graph::ParseProgram(text);
  if (!program.ok() || !weft::graph::Check(*program, kProgramLimits).ok()) return 0;
  std::vector<RowCount> rows, others;
  for (const weft::graph::Node& node : program->nodes) {
    const auto* invoke = std::get_if<weft::graph::Invoke>(&node.kind);
    if (invoke == nullptr) continue;
    RowCount count;
    if (const auto* tokens = std::get_if<weft::graph::Invoke::Tokens>(&invoke->input)) {
      count.batch = static_cast<int64_t>(tokens->rows.size());
      for (const auto& row : tokens->rows) {
        count.tokens = std::max(count.tokens, static_cast<int64_t>(row.size()));
      }
    } else if (const auto* prompts = std::get_if<weft::graph::Invoke::Prompts>(&invoke->input)) {
      // A token a byte stands in for a tokenizer.
      count.batch = static_cast<int64_t>(prompts->texts.size());
      for (const std::string& prompt : prompts->texts) {
        count.tokens = std::max(count.tokens, static_cast<int64_t>(prompt.size()));
      }
    }
    if (!std::holds_alternative<weft::graph::Invoke::AllRows>(invoke->input) &&
        (count.batch == 0 || count.tokens == 0)) {
      return 0;  // the engine refuses these before it plans
    }
    rows.push_back(count);
    others.push_back({count.batch + 1, count.tokens + 3});
  }
  const absl::StatusOr<weft::plan::Plan> plan = weft::plan::MakePlan(*program, *kModel, rows);
  Expect(plan.status(), text);
  (void)weft::plan::SignatureOf(*program);
  if (!plan.ok()) return 0;
  for (const std::vector<RowCount>& counts : {rows, others}) {
    Expect(weft::plan::CheckPlan(*plan, *program, *kModel, counts, kPlanLimits).status(), text);
  }
  return 0;
}
