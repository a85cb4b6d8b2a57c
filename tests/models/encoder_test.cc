// Encoders: rows that see their whole prompt and no neighbour, and a pooler with a row for each
// prompt. Numbers against transformers are in tests/parity/families_test.cc.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::ExpectClose;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::LocalModel;
using testing::LocalResult;
using testing::StatusIs;

constexpr char kFolder[] = WEFT_SOURCE_DIR "/tests/parity/families/";
constexpr char kA[] = "[47, 64, 81, 72, 82]";
constexpr char kB[] = "[64, 65, 66]";
constexpr char kReadAll[] = R"( {
  %out = read .output
  save hidden = %out["last_hidden_state"]
  save pooled = %out["pooler_output"]
  save dense = read pooler.dense.input
})";

LocalModel MakeModel(const std::string& name, bool pad_left = false) {
  return LocalModel(absl::StrCat(kFolder, name), pad_left, {.dtype = at::kFloat});
}

/// BertModel, padded on the right, as its tokenizer does.
LocalModel& Encoder() {
  static auto* const kModel = new LocalModel(MakeModel("bert-encoder"));
  return *kModel;
}

LocalResult RunWhole(LocalModel& model, const std::string& text) {
  LocalResult result = model.Run(text);
  EXPECT_THAT(result.status, IsOk()) << text;
  return result;
}

TEST(EncoderTest, APoolerGivesARowForEachPrompt) {
  const LocalResult result =
      RunWhole(Encoder(), absl::StrCat("invoke [", kA, ", ", kB, "]", kReadAll));
  EXPECT_THAT(result["hidden"].sizes().vec(), ElementsAre(2, 5, 32));
  EXPECT_THAT(result["pooled"].sizes().vec(), ElementsAre(2, 32));
  ExpectClose(result["dense"], result["hidden"].select(1, 0));
}

TEST(EncoderTest, APromptIsTheSameAloneInABatchAndBesideOthers) {
  for (const bool pad_left : {false, true}) {
    for (const std::string family : {"bert-encoder", "roberta-encoder"}) {
      LocalModel model = MakeModel(family, pad_left);
      const LocalResult alone = RunWhole(model, absl::StrCat("invoke ", kB, kReadAll));
      const LocalResult batch =
          RunWhole(model, absl::StrCat("invoke [", kA, ", ", kB, "]", kReadAll));
      ExpectClose(batch["hidden"].narrow(0, 1, 1).narrow(1, pad_left ? 2 : 0, 3), alone["hidden"]);
      ExpectClose(batch["pooled"].narrow(0, 1, 1), alone["pooled"]);
      const std::vector<LocalResult> together = model.RunTogether(
          {absl::StrCat("invoke ", kA, kReadAll), absl::StrCat("invoke ", kB, kReadAll)});
      ExpectClose(together[1]["hidden"], alone["hidden"]);
      ExpectClose(together[1]["pooled"], alone["pooled"]);
    }
  }
}

TEST(EncoderTest, ATokenSeesThoseBehindIt) {
  LocalModel& model = Encoder();
  const std::string body = " { save h = read encoder.layer.0.output }";
  const LocalResult one = RunWhole(model, absl::StrCat("invoke [64, 65, 66]", body));
  const LocalResult other = RunWhole(model, absl::StrCat("invoke [64, 65, 67]", body));
  EXPECT_GT((one["h"] - other["h"]).select(1, 0).abs().max().item<double>(), 1e-3);
}

TEST(EncoderTest, ProbabilitiesAtPadsAreZeroAndThoseOfRealTokensAddUp) {
  const LocalResult result =
      RunWhole(Encoder(), absl::StrCat("invoke [", kA, ", ", kB,
                                       "] { save p = read encoder.layer.1.attention.self.probs }"));
  const at::Tensor short_row = result["p"][1].narrow(1, 0, 3);
  ExpectClose(short_row.narrow(2, 3, 2), at::zeros({4, 3, 2}));
  ExpectClose(short_row.sum(-1), at::ones({4, 3}));
}

TEST(EncoderTest, GenerationIsRefusedByName) {
  EXPECT_THAT(Encoder().Plan("generate max_new_tokens=4 invoke [1, 2] { save x = read result }"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("BertModel is an encoder")));
  LocalModel masked = MakeModel("roberta");
  EXPECT_THAT(
      masked.Plan("generate max_new_tokens=4 invoke [1, 2] { save x = read result }"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("RobertaForMaskedLM is an encoder")));
}

TEST(EncoderTest, AWriteToPooledRowsIsSeenByTheRootAlone) {
  const LocalResult result = RunWhole(Encoder(), absl::StrCat("invoke [", kA, ", ", kB, R"(] {
  write pooler.dense.input[1] = 0.0
  %out = read .output
  save pooled = %out["pooler_output"]
  save hidden = read result
  save bias = aten::tanh(param pooler.dense.bias)
})"));
  const LocalResult plain =
      RunWhole(Encoder(), absl::StrCat("invoke [", kA, ", ", kB, "]", kReadAll));
  ExpectClose(result["pooled"][1], result["bias"]);
  ExpectClose(result["pooled"][0], plain["pooled"][0]);
  ExpectClose(result["hidden"], plain["hidden"]);
}

TEST(EncoderTest, PooledRowsOfAllInvokesAreReadTogether) {
  const std::string text = absl::StrCat("invoke ", kA, " { save a = read pooler.output }\ninvoke ",
                                        kB, " { save b = read pooler.output }\n", R"(invoke {
  save all = read pooler.output
  %out = read .output
  save root = %out["pooler_output"]
})");
  const LocalResult result = RunWhole(Encoder(), text);
  ExpectClose(result["all"], at::cat({result["a"], result["b"]}));
  ExpectClose(result["root"], result["all"]);
}

TEST(EncoderTest, ThePoolerCanBeSkippedByOneOrAll) {
  const std::string skip = R"( {
  skip pooler = aten::mul(read pooler.input, 2.0)[:, 0]
  %out = read .output
  save pooled = %out["pooler_output"]
  save hidden = read result
})";
  const LocalResult all = RunWhole(Encoder(), absl::StrCat("invoke ", kA, skip));
  ExpectClose(all["pooled"], all["hidden"].select(1, 0) * 2);
  const std::vector<LocalResult> both = Encoder().RunTogether(
      {absl::StrCat("invoke ", kA, skip), absl::StrCat("invoke ", kB, kReadAll)});
  ExpectClose(both[0]["pooled"], all["pooled"]);
  ExpectClose(both[1]["pooled"],
              RunWhole(Encoder(), absl::StrCat("invoke ", kB, kReadAll))["pooled"]);
}

TEST(EncoderTest, ThePoolerCanBeSkippedForAllRowsAtOnce) {
  const LocalResult result =
      RunWhole(Encoder(), absl::StrCat("invoke ", kA, " { save a = read result }\ninvoke ", kB,
                                       " { save b = read result }\n", R"(invoke {
  skip pooler = aten::mul(read pooler.input, 2.0)[:, -1]
  %out = read .output
  save pooled = %out["pooler_output"]
})"));
  EXPECT_THAT(result["pooled"].sizes().vec(), ElementsAre(2, 32));
  // The rows that are longest end where the gathered copy does.
  ExpectClose(result["pooled"][0], result["a"][0][4] * 2);
}

TEST(EncoderTest, WhatAddsAResidualCanBeSkippedByOneOfTwo) {
  const std::string module = "encoder.layer.0.attention.output";
  const std::string skip = absl::StrCat("invoke ", kA, " { skip ", module, " = read ", module,
                                        ".input  save h = read result }");
  const std::string plain = absl::StrCat("invoke ", kB, " { save h = read result }");
  const std::vector<LocalResult> both = Encoder().RunTogether({skip, plain});
  ExpectClose(both[0]["h"], RunWhole(Encoder(), skip)["h"]);
  ExpectClose(both[1]["h"], RunWhole(Encoder(), plain)["h"]);
}

TEST(EncoderTest, WhatAddsAResidualIsNotCalledByItself) {
  EXPECT_THAT(Encoder().Plan(absl::StrCat("invoke ", kA,
                                          " { %x = read encoder.layer.0.attention.output.input  ",
                                          "save y = call encoder.layer.0.attention.output(%x) }")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("takes a second tensor")));
  EXPECT_THAT(
      Encoder().Plan("trace root=encoder.layer.0.output invoke [1] { save y = read .output }"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("takes a second tensor")));
}

TEST(EncoderTest, ThePoolerAndWhatIsInsideAreCalledOutOfBand) {
  const LocalResult result = RunWhole(Encoder(), absl::StrCat("invoke [", kA, ", ", kB, R"(] {
  %h = read encoder.layer.1.output
  save called = call pooler(%h)
  %first = %h[:, 0]
  save inside = aten::tanh(call pooler.dense(%first))
  save pooled = read pooler.output
})"));
  ExpectClose(result["called"], result["pooled"]);
  ExpectClose(result["inside"], result["pooled"]);
}

TEST(EncoderTest, OperatorsOnPooledRowsAreSites) {
  const LocalResult result = RunWhole(Encoder(), absl::StrCat("invoke [", kA, ", ", kB, R"(] {
  save linear = read pooler.dense.op(linear_0).output
  save dense = read pooler.dense.output
})"));
  ExpectClose(result["linear"], result["dense"]);
}

TEST(EncoderTest, GradientsComeThroughPooledRows) {
  const LocalResult result = RunWhole(Encoder(), absl::StrCat("invoke [", kA, ", ", kB, R"(] {
  %h = read encoder.layer.1.output
  %p = read pooler.output
  %out = read .output
  %loss = aten::sum(%out["pooler_output"])
  backward %loss {
    save h = grad %h
    save p = grad %p
  }
})"));
  ExpectClose(result["p"], at::ones({2, 32}));
  EXPECT_GT(result["h"].select(1, 0).abs().max().item<double>(), 1e-4);
  ExpectClose(result["h"].narrow(1, 1, 4), at::zeros({2, 4, 32}));
}

TEST(EncoderTest, AnExperimentOnTheFirstLayerPaysForTheFirstLayer) {
  LocalModel model = MakeModel("bert-encoder");
  const uint64_t before = model.hosted().module_calls();
  RunWhole(model, absl::StrCat("invoke ", kA, " { save h = read encoder.layer.0.output }"));
  const uint64_t early = model.hosted().module_calls() - before;
  RunWhole(model, absl::StrCat("invoke ", kA, " { save h = read pooler.output }"));
  EXPECT_LT(early + 10, model.hosted().module_calls() - before - early);
}

TEST(EncoderTest, TheProgramOfTheDocsGivesSentenceEmbeddings) {
  std::ifstream file(WEFT_SOURCE_DIR "/docs/models.md");
  const std::string page{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const size_t begin = page.find("invoke [\"The Eiffel Tower");
  ASSERT_NE(begin, std::string::npos);
  std::string program = page.substr(begin, page.find("```", begin) - begin);
  program.replace(0, program.find('{'), absl::StrCat("invoke [", kA, ", ", kB, "] "));
  const LocalResult result = RunWhole(Encoder(), program);
  std::vector<at::Tensor> expected;
  for (const char* prompt : {kA, kB}) {
    const at::Tensor hidden =
        RunWhole(Encoder(), absl::StrCat("invoke ", prompt, " { save h = read result }"))["h"];
    const at::Tensor mean = hidden.mean(1);
    expected.push_back(mean / mean.norm());
  }
  ExpectClose(result["embedding"], at::cat(expected));
}

TEST(EncoderTest, PositionsOfRobertaPassOverPaddingInsideAPrompt) {
  // As transformers', which counts ids that are not the padding's.
  LocalModel model = MakeModel("roberta-encoder");
  const LocalResult result =
      RunWhole(model, "invoke [64, 1, 66] { save p = read embeddings.position_embeddings.input }");
  EXPECT_TRUE(at::equal(result["p"], at::tensor({2, 1, 3}, at::kLong).unsqueeze(0)));
}

}  // namespace
}  // namespace weft
