// Every family against transformers, on the checkpoints of make_families.py and
// make_gpt_families.py. Prints the parity table that docs/models.md shows.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "engine/graph/program.h"
#include "engine/models/network.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace weft {
namespace {

using testing::AtRealTokens;
using testing::IsOk;
using testing::LoadGolden;
using testing::LocalModel;
using testing::LocalResult;
using testing::TempFolder;
using Tensors = std::map<std::string, at::Tensor>;

// Of scale, in float32. The goldens carry rounding of their own: of some of these models, with
// attention this sharp, transformers' batches differ by as much from what it gives for each prompt
// alone.
constexpr double kTolerance = 2e-5;
// Of the root mean square, in bfloat16, whose numbers have steps of 8e-3.
constexpr double kHalfTolerance = 1e-2;
constexpr int kNew = 32;
const models::NetworkOptions kFloat32 = {.dtype = at::kFloat};
constexpr char kFolder[] = WEFT_SOURCE_DIR "/tests/parity/families/";
constexpr char kPrompt[] = "[39, 72, 94, 86, 68, 69, 83, 11, 42, 7, 58, 23]";
constexpr char kBatch[] =
    "[[47, 64, 81, 72, 82, 94, 72, 82, 15], [64, 65, 66], "
    "[87, 28, 19, 17, 26, 3, 71, 9, 12, 50]]";
const std::vector<std::string> kAlone = {"[47, 64, 81, 72, 82, 94, 72, 82, 15]", "[64, 65, 66]",
                                         "[87, 28, 19, 17, 26, 3, 71, 9, 12, 50]"};

/// The largest differences that were seen in one family, of scale.
struct Row {
  double modules = 0, inside = 0, batch = 0, solo = 0, gradients = 0;
  int tokens = 0, near_ties = 0;
  /// In bfloat16: from transformers in bfloat16, and how far both are from float32 (root mean
  /// squares).
  double half_modules = 0, half_batch = 0, half_gradients = 0, ours = 0, theirs = 0;
  int half_tokens = 0, half_near_ties = 0;
};
std::map<std::string, Row>& Table() {
  static auto* const kTable = new std::map<std::string, Row>();
  return *kTable;
}

class PrintTable : public ::testing::Environment {
 public:
  void TearDown() override {
    std::printf(
        "| family | modules | inside attention | batch | batch against solo | gradients "
        "| greedy tokens |\n| --- | --- | --- | --- | --- | --- | --- |\n");
    for (const auto& [family, row] : Table()) {
      std::printf("| %s | %.1e | %.1e | %.1e | %.1e | %.1e | ", family.c_str(), row.modules,
                  row.inside, row.batch, row.solo, row.gradients);
      if (row.tokens > 0) std::printf("%d equal", row.tokens);
      if (row.near_ties > 0) std::printf(", %d near ties", row.near_ties);
      std::printf(" |\n");
    }
    std::printf(
        "| family, bfloat16 | modules | batch | gradients | logits from float32 | transformers' "
        "| greedy tokens |\n| --- | --- | --- | --- | --- | --- | --- |\n");
    for (const auto& [family, row] : Table()) {
      std::printf("| %s | %.1e | %.1e | %.1e | %.1e | %.1e | ", family.c_str(), row.half_modules,
                  row.half_batch, row.half_gradients, row.ours, row.theirs);
      if (row.half_tokens > 0) std::printf("%d equal", row.half_tokens);
      if (row.half_near_ties > 0) std::printf(", %d near ties", row.half_near_ties);
      std::printf(" |\n");
    }
  }
};
[[maybe_unused]] const auto* const kPrintTable =
    ::testing::AddGlobalTestEnvironment(new PrintTable);

/// Expect `actual` close to `expected`, and keep the larger of `largest` and their difference.
void Compare(const at::Tensor& actual, const at::Tensor& expected, const std::string& what,
             double* largest, double tolerance = kTolerance) {
  if (!actual.defined()) return;  // which failed already
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  testing::ExpectClose(actual, expected, tolerance, what);
  const double scale = expected.abs().max().item<double>();
  const double difference = (actual - expected).abs().max().item<double>();
  *largest = std::max(*largest, scale > 0 ? difference / scale : difference);
}

/// Rows of generated tokens, until the first that was close to another.
void CompareTokens(const at::Tensor& actual, const Tensors& golden, const std::string& name,
                   double tolerance, int* equal, int* near_ties) {
  if (!actual.defined()) return;
  const at::Tensor expected = golden.at("generate/" + name);
  const at::Tensor ahead = golden.at("generate/" + name + "/ahead");
  const at::Tensor tokens = actual.narrow(1, actual.size(1) - kNew, kNew);
  for (int64_t prompt = 0; prompt < expected.size(0); ++prompt) {
    for (int64_t step = 0; step < kNew; ++step) {
      if (tokens[prompt][step].item<int64_t>() == expected[prompt][step].item<int64_t>()) {
        ++*equal;
        continue;
      }
      EXPECT_LT(ahead[prompt][step].item<double>(), 2 * tolerance)
          << name << ", prompt " << prompt << ", step " << step << ": " << tokens[prompt]
          << expected[prompt];
      ++*near_ties;
      break;
    }
  }
}

void CompareTokens(const at::Tensor& actual, const Tensors& golden, const std::string& name,
                   Row* row) {
  CompareTokens(actual, golden, name, kTolerance, &row->tokens, &row->near_ties);
}

/// GPUs sum in other orders, which a way back through sharp attention and all layers makes more of.
double GradientTolerance() {
  return std::getenv("WEFT_TEST_DEVICES") == nullptr ? kTolerance : 5e-5;
}

/// On devices attention may be made of operators, which round its scores to bfloat16.
double HalfSlack() { return std::getenv("WEFT_TEST_DEVICES") == nullptr ? 1 : 4; }

double Rms(const at::Tensor& x) { return x.to(at::kDouble).pow(2).mean().sqrt().item<double>(); }

/// Expect `actual`, in bfloat16, about as close to `exact`, in float32, as `theirs` is; keep the
/// larger of `largest` and how far it is from theirs, of scale.
void CompareHalf(const at::Tensor& actual, const at::Tensor& theirs, const at::Tensor& exact,
                 const std::string& what, double* largest) {
  if (!actual.defined()) return;  // which failed already
  ASSERT_EQ(actual.scalar_type(), at::kBFloat16) << what;
  ASSERT_EQ(actual.sizes(), exact.sizes()) << what;
  const double size = Rms(exact);
  EXPECT_LE(Rms(actual - exact), 1.5 * Rms(theirs - exact) + HalfSlack() * kHalfTolerance * size)
      << what << ", whose size is " << size;
  const double scale = exact.abs().max().item<double>();
  const double apart = (actual - theirs).abs().max().item<double>();
  *largest = std::max(*largest, scale > 0 ? apart / scale : apart);
}

std::string Generation(const std::string& prompts, const std::string& body = "") {
  return absl::StrCat("generate max_new_tokens=", kNew, "\ninvoke ", prompts, " {\n", body,
                      "\n  save ids = read result\n}\n");
}

class FamilyTest : public ::testing::TestWithParam<const char*> {
 protected:
  static LocalModel& Model() {
    static auto* const kModels = new std::map<std::string, std::unique_ptr<LocalModel>>();
    std::unique_ptr<LocalModel>& model = (*kModels)[GetParam()];
    if (model == nullptr) model = std::make_unique<LocalModel>(Folder(), true, kFloat32);
    return *model;
  }
  static std::string Folder() { return absl::StrCat(kFolder, GetParam()); }

  /// What the golden file has of a generation. Encoders have none.
  bool Generates() const { return golden_.contains("generate/single"); }
  /// The attention that the golden file looks into, the last one.
  std::string Attention() const {
    for (const auto& [path, unused] : golden_) {
      if (absl::StartsWith(path, "single/") && absl::EndsWith(path, "/probs")) {
        return path.substr(7, path.size() - 7 - 6);
      }
    }
    ADD_FAILURE() << "no attention in the golden file";
    return "";
  }
  /// The block that it is in: the path up to its number.
  std::string Block() const {
    std::string path = Attention();
    while (!path.empty() && !absl::ascii_isdigit(path.back())) path.pop_back();
    return path;
  }
  /// The tensor that a module returns, perhaps first in a tuple.
  std::string Output(const std::string& module) const {
    const plan::ModelSpec& spec = model_.spec();
    const int site = spec.FindSite(spec.FindModule(module), graph::Point::kOutput, 0);
    const bool tuple =
        std::holds_alternative<graph::Pattern::Tuple>(spec.sites()[site].pattern.value);
    return absl::StrCat("read ", module, ".output", tuple ? "[0]" : "");
  }

  /// What each module gives for kPrompt, by `single/PATH`.
  static Tensors ModuleOutputs(LocalModel& model) {
    const plan::ModelSpec& spec = model.spec();
    std::string text = absl::StrCat("invoke ", kPrompt, " {\n");
    for (size_t i = 0; i < spec.sites().size(); ++i) {
      const plan::SiteSpec& site = spec.sites()[i];
      if (!site.OfModule() || site.site.point != graph::Point::kOutput) continue;
      absl::StrAppend(&text, "  save s", i, " = read ", graph::ToString(site.site), "\n");
    }
    const LocalResult result = model.Run(text + "}\n");
    EXPECT_THAT(result.status, IsOk());
    Tensors outputs;
    for (const auto& [name, value] : result.saved) {
      // `s5/logits` is the leaf `logits` of site 5.
      const size_t site = std::stoul(name.substr(1, name.find('/') - 1));
      // Of a module that is called twice the golden file has the first call.
      const graph::Site& read = spec.sites()[site].site;
      if (read.visit > 0) continue;
      const bool pooled = absl::EndsWith(name, "/pooler_output");
      outputs[pooled ? "single/pooler" : absl::StrCat("single/", read.module)] = value;
    }
    return outputs;
  }
  /// What a golden file has of a module, as Weft shows it.
  static at::Tensor AsShown(at::Tensor expected, const at::Tensor& value) {
    // Norms of heads that transformers calls with the heads in front see tokens in front here.
    if (expected.sizes() != value.sizes() && expected.dim() == 4) {
      expected = expected.transpose(1, 2);
    }
    // Routers and experts see the rows of all prompts as one there.
    return expected.dim() + 1 == value.dim() ? expected.unsqueeze(0) : expected;
  }
  /// Gradients at the golden file's modules.
  Tensors Gradients(LocalModel& model) const {
    std::map<std::string, std::string> paths;  // by name
    std::string reads, grads;
    for (const auto& [key, unused] : golden_) {
      if (!absl::StartsWith(key, "gradients/")) continue;
      const std::string name = absl::StrCat("g", paths.size());
      paths[name] = key.substr(10);
      absl::StrAppend(&reads, "  %", name, " = ", Output(paths[name]), "\n");
      absl::StrAppend(&grads, "    save ", name, " = grad %", name, "\n");
    }
    EXPECT_EQ(paths.size(), 3u);
    const LocalResult result = model.Run(absl::StrCat("invoke ", kPrompt, " {\n", reads, R"(
  %logits = read result
  %loss = aten::sum(%logits[:, -1, 5])
  backward %loss {
)",
                                                      grads, "  }\n}\n"));
    EXPECT_THAT(result.status, IsOk());
    Tensors gradients;
    for (const auto& [name, path] : paths) gradients["gradients/" + path] = result[name];
    return gradients;
  }

  LocalModel& model_ = Model();
  const Tensors golden_ = LoadGolden(Folder() + "/golden.safetensors");
  Row& row_ = Table()[GetParam()];
};

TEST_P(FamilyTest, EveryModulesOutputEqualsTransformers) {
  const Tensors outputs = ModuleOutputs(model_);
  for (const auto& [path, value] : outputs) {
    ASSERT_TRUE(golden_.contains(path)) << path << " is not called in transformers";
    Compare(value, AsShown(golden_.at(path), value), path, &row_.modules);
  }
  for (const auto& [path, unused] : golden_) {
    const bool point = absl::EndsWith(path, "/q") || absl::EndsWith(path, "/k") ||
                       absl::EndsWith(path, "/v") || absl::EndsWith(path, "/probs") ||
                       absl::EndsWith(path, "/z");
    if (!absl::StartsWith(path, "single/") || point) continue;
    EXPECT_TRUE(outputs.contains(path)) << path << " has no site";
  }
}

TEST_P(FamilyTest, TheInsideOfAttentionIsThatOfEagerAttention) {
  const std::string path = Attention();
  std::vector<std::string> points;
  std::string text = absl::StrCat("invoke ", kPrompt, " {\n");
  for (const char* point : {"q", "k", "v", "probs", "z"}) {
    // Falcon repeats keys and values for each head before anybody sees them.
    if (!golden_.contains(absl::StrCat("single/", path, "/", point))) continue;
    absl::StrAppend(&text, "  save ", point, " = read ", path, ".", point, "\n");
    points.emplace_back(point);
  }
  const LocalResult result = model_.Run(text + "}\n");
  ASSERT_THAT(result.status, IsOk());
  for (const std::string& point : points) {
    Compare(result[point], golden_.at(absl::StrCat("single/", path, "/", point)), point,
            &row_.inside);
  }
}

TEST_P(FamilyTest, ALeftPaddedBatchEqualsTransformersAndItsPromptsAlone) {
  const std::string body =
      absl::StrCat(" { save p = read result  save h = ", Output(Block()), " }\n");
  const LocalResult batch = model_.Run(absl::StrCat("invoke ", kBatch, body));
  ASSERT_THAT(batch.status, IsOk());
  const at::Tensor expected = golden_.at("batch/logits");
  const int64_t tokens = expected.size(1);
  for (size_t i = 0; i < kAlone.size(); ++i) {
    const LocalResult alone = model_.Run(absl::StrCat("invoke ", kAlone[i], body));
    ASSERT_THAT(alone.status, IsOk());
    const int64_t own = alone["p"].size(1);
    const auto real = [&](const at::Tensor& rows) {
      return rows.narrow(0, static_cast<int64_t>(i), 1).narrow(1, tokens - own, own);
    };
    Compare(real(batch["p"]), real(expected), absl::StrCat("prompt ", i), &row_.batch);
    Compare(real(batch["p"]), alone["p"], absl::StrCat("prompt ", i, " alone"), &row_.solo);
    Compare(real(batch["h"]), alone["h"], absl::StrCat("prompt ", i, " alone, h"), &row_.solo);
  }
}

TEST_P(FamilyTest, GreedyTokensEqualTransformersGenerate) {
  if (!Generates()) {
    EXPECT_THAT(model_.Plan(Generation(kPrompt)),
                testing::StatusIs(absl::StatusCode::kInvalidArgument,
                                  ::testing::HasSubstr("is an encoder")));
    return;
  }
  const LocalResult one = model_.Run(Generation(kPrompt));
  ASSERT_THAT(one.status, IsOk());
  CompareTokens(one["ids"], golden_, "single", &row_);
  const LocalResult batch = model_.Run(Generation(kBatch));
  ASSERT_THAT(batch.status, IsOk());
  CompareTokens(batch["ids"], golden_, "batch", &row_);
}

TEST_P(FamilyTest, GenerationsThatArePassedTogetherAndLookedIntoAreTheSame) {
  if (!Generates()) return;
  Row row;
  const std::vector<LocalResult> results = model_.RunTogether(
      {Generation(kBatch), Generation(kPrompt, absl::StrCat("  steps [:] { save probs = read ",
                                                            Attention(), ".probs }"))});
  ASSERT_THAT(results[0].status, IsOk());
  ASSERT_THAT(results[1].status, IsOk());
  CompareTokens(results[0]["ids"], golden_, "batch", &row);
  CompareTokens(results[1]["ids"], golden_, "single", &row);
  const at::Tensor last = results[1][absl::StrCat("probs/", kNew - 1)];
  EXPECT_EQ(last.size(-1), 12 + kNew - 1);
  EXPECT_NEAR(last.sum(-1).min().item<double>(), 1, 1e-4);
}

TEST_P(FamilyTest, ARightPaddedBatchGeneratesWhatALeftPaddedOneDoes) {
  if (!Generates()) return;
  LocalModel right(Folder(), /*pad_left=*/false, kFloat32);
  const LocalResult result = right.Run(Generation(kBatch));
  ASSERT_THAT(result.status, IsOk());
  Row row;
  CompareTokens(result["ids"], golden_, "batch", &row);
}

TEST_P(FamilyTest, GradientsAtThreeModulesEqualAutograds) {
  for (const auto& [path, gradient] : Gradients(model_)) {
    Compare(gradient, golden_.at(path), path, &row_.gradients, GradientTolerance());
  }
}

TEST_P(FamilyTest, InBFloat16ItIsAsCloseToFloat32AsTransformersIs) {
  LocalModel model(Folder(), /*pad_left=*/true, {.dtype = at::kBFloat16});
  const Tensors theirs = LoadGolden(Folder() + "/bfloat16.safetensors");
  for (const auto& [path, value] : ModuleOutputs(model)) {
    CompareHalf(value, AsShown(theirs.at(path), value), AsShown(golden_.at(path), value), path,
                &row_.half_modules);
  }
  const LocalResult batch = model.Run(absl::StrCat("invoke ", kBatch, " { save p = read result }"));
  ASSERT_THAT(batch.status, IsOk());
  const at::Tensor logits = batch["p"], exact = golden_.at("batch/logits");
  for (size_t i = 0; i < kAlone.size(); ++i) {
    const auto real = [&](const at::Tensor& rows) {
      const auto own = 1 + std::count(kAlone[i].begin(), kAlone[i].end(), ',');
      return rows.narrow(0, static_cast<int64_t>(i), 1).narrow(1, rows.size(1) - own, own);
    };
    CompareHalf(real(logits), real(theirs.at("batch/logits")), real(exact),
                absl::StrCat("prompt ", i), &row_.half_batch);
    row_.ours = std::max(row_.ours, Rms(real(logits) - real(exact)) / Rms(real(exact)));
    row_.theirs = std::max(row_.theirs,
                           Rms(real(theirs.at("batch/logits")) - real(exact)) / Rms(real(exact)));
  }
  for (const auto& [path, gradient] : Gradients(model)) {
    CompareHalf(gradient, theirs.at(path), golden_.at(path), path, &row_.half_gradients);
  }
  if (!Generates()) return;
  for (const auto& [name, prompts] :
       {std::pair<std::string, std::string>{"single", kPrompt}, {"batch", kBatch}}) {
    const LocalResult result = model.Run(Generation(prompts));
    ASSERT_THAT(result.status, IsOk());
    // A router that is undecided sends a token to other experts, and what follows is another text.
    const double tolerance =
        HalfSlack() * (golden_.contains("single/model.layers.2.mlp.gate") ? 0.2 : 2e-2);
    CompareTokens(result["ids"], theirs, name, tolerance, &row_.half_tokens, &row_.half_near_ties);
  }
}

TEST_P(FamilyTest, RotaryEmbeddingsStandInTheTreeWithoutSites) {
  const plan::ModelSpec& spec = model_.spec();
  for (size_t module = 0; module < spec.modules().size(); ++module) {
    if (!absl::EndsWith(spec.modules()[module].path, "rotary_emb")) continue;
    EXPECT_LT(spec.FindSite(static_cast<int>(module), graph::Point::kOutput, 0), 0);
  }
}

std::string NameOf(const ::testing::TestParamInfo<const char*>& info) {
  return absl::StrReplaceAll(info.param, {{"-", "_"}});
}

INSTANTIATE_TEST_SUITE_P(All, FamilyTest,
                         ::testing::Values("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2",
                                           "gemma3_text", "phi3", "olmo2", "stablelm",
                                           "stablelm-parallel", "cohere", "mixtral", "qwen3_moe"),
                         NameOf);

INSTANTIATE_TEST_SUITE_P(Gpt, FamilyTest,
                         ::testing::Values("gpt_neox", "gpt_neox-sequential", "gptj", "gptj-whole",
                                           "opt", "opt-after", "opt-bare", "falcon", "falcon-new",
                                           "falcon-new-one-norm", "falcon-rw", "falcon-alibi",
                                           "phi", "phi-norms"),
                         NameOf);

INSTANTIATE_TEST_SUITE_P(Encoders, FamilyTest,
                         ::testing::Values("bert", "bert-untied", "bert-encoder", "roberta",
                                           "roberta-encoder"),
                         NameOf);

/// A configuration of a checkpoint that is there already.
class FamilyVariantTest : public ::testing::TestWithParam<const char*> {};

TEST_P(FamilyVariantTest, LogitsAndGreedyTokensEqualTransformers) {
  const std::string folder = absl::StrCat(kFolder, "variants/", GetParam());
  std::string of;
  std::getline(std::ifstream(folder + "/of"), of);
  const TempFolder staged;
  std::filesystem::copy(folder + "/config.json", staged.File("config.json"));
  for (const char* name : {"model.safetensors", "tokenizer.json"}) {
    std::filesystem::copy(absl::StrCat(kFolder, of, "/", name), staged.File(name));
  }
  LocalModel model(staged.path(), true, kFloat32);
  const Tensors golden = LoadGolden(folder + "/golden.safetensors");
  const LocalResult trace =
      model.Run(absl::StrCat("invoke ", kPrompt, " { save p = read result }"));
  ASSERT_THAT(trace.status, IsOk());
  double largest = 0;
  Compare(trace["p"], golden.at("logits"), GetParam(), &largest);
  const LocalResult result = model.Run(Generation(kPrompt));
  ASSERT_THAT(result.status, IsOk());
  Row row;
  CompareTokens(result["ids"], golden, "single", &row);
}

INSTANTIATE_TEST_SUITE_P(All, FamilyVariantTest,
                         ::testing::Values("no-softcaps", "no-window", "relu", "rope-dynamic",
                                           "rope-linear", "rope-llama3", "rope-llama3-old",
                                           "rope-longrope-long", "rope-longrope-short", "rope-yarn",
                                           "rope-yarn-fields"),
                         NameOf);

}  // namespace
}  // namespace weft
