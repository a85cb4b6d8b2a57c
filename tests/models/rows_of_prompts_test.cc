// Generations with several rows for each prompt: what they share, and what of it is seen.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/value.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"

namespace weft {
namespace {

using testing::ExpectClose;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::LocalModel;
using testing::LocalResult;
using testing::StatusIs;

constexpr char kPrompts[] = "[[64, 65, 66], [1, 2, 3, 4]]";
constexpr char kSampled[] =
    "generate max_new_tokens=6 eos_token_ids=[96] temperature=1.5 num_return_sequences=3";
constexpr char kSearch[] =
    "generate max_new_tokens=6 eos_token_ids=[96] num_beams=3 num_return_sequences=3";

class RowsOfPromptsTest : public ::testing::Test {
 protected:
  static std::string Text(const std::string& header, const std::string& body,
                          const std::string& prompts = kPrompts) {
    return absl::StrCat(header, "\ninvoke ", prompts, " {\n", body,
                        "\n  save ids = read result\n}\n");
  }
  LocalModel& model_ = LocalModel::Tiny();
};

TEST_F(RowsOfPromptsTest, WhoLooksAtAPromptOnItsWaySeesEveryRowAndTheTokensAreTheSame) {
  const LocalResult unseen = model_.Run(Text(kSampled, ""));
  ASSERT_THAT(unseen.status, IsOk());
  const LocalResult seen = model_.Run(Text(kSampled, "save h = read transformer.h.1.output"));
  EXPECT_EQ(seen["h"].sizes(), at::IntArrayRef({6, 4, 32}));
  EXPECT_TRUE(at::equal(seen["ids"], unseen["ids"]));
}

TEST_F(RowsOfPromptsTest, ASiteOfALaterStepHasEveryRow) {
  const std::string body = "steps [1:] { save h = read transformer.h.1.output }";
  const LocalResult later = model_.Run(Text(kSampled, body));
  ASSERT_THAT(later.status, IsOk());
  EXPECT_EQ(later["h/1"].sizes(), at::IntArrayRef({6, 1, 32}));
  // The same as where the prompt is passed by each.
  const LocalResult each =
      model_.Run(Text(kSampled, body + " save first = read transformer.h.0.output"));
  for (int step = 1; step < 6; ++step) {
    const std::string name = absl::StrCat("h/", step);
    ExpectClose(later[name], each[name], 1e-5, name);
  }
}

TEST_F(RowsOfPromptsTest, ARowsPartOfAPromptCanBeChangedAloneInTheFirstStep) {
  const LocalResult plain = model_.Run(Text(kSampled, ""));
  const LocalResult changed = model_.Run(Text(kSampled, R"(
    %h = read transformer.h.0.output
    write transformer.h.0.output[1:2] = aten::neg(%h[1:2]))"));
  ASSERT_THAT(changed.status, IsOk());
  for (int64_t row = 0; row < 6; ++row) {
    EXPECT_EQ(at::equal(changed["ids"][row], plain["ids"][row]), row != 1) << row;
  }
}

TEST_F(RowsOfPromptsTest, LogitsSamplesAndInputsOfTheFirstStepHaveEveryRow) {
  const LocalResult result = model_.Run(Text(kSampled, R"(
    save logits = read logits
    %s = read samples
    %s[4] = 7
    save ids_in = read ids
    save mask = read mask
    save positions = read positions
    save rows = read rows)"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(result["logits"].sizes(), at::IntArrayRef({6, 97}));
  EXPECT_TRUE(at::equal(result["logits"][0], result["logits"][2]));
  EXPECT_EQ(result["ids"][4][4].item<int64_t>(), 7);
  EXPECT_TRUE(at::equal(result["ids_in"], result["ids"].narrow(1, 0, 4)));
  for (const char* name : {"mask", "positions"}) {
    EXPECT_EQ(result[name].sizes(), at::IntArrayRef({6, 4})) << name;
  }
  EXPECT_EQ(result["rows"].sizes(), at::IntArrayRef({6}));
}

TEST_F(RowsOfPromptsTest, AllRowsOfATraceHaveThem) {
  const LocalResult result =
      model_.Run(absl::StrCat(Text(kSampled, ""), "invoke { save logits = read logits }"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(result["logits"].size(0), 6);
  EXPECT_TRUE(at::equal(result["ids"], model_.Run(Text(kSampled, ""))["ids"]));
}

TEST_F(RowsOfPromptsTest, AModuleThatIsCalledWithThePromptsSeesEveryRow) {
  const LocalResult result =
      model_.Run(Text(kSampled, "save h = call transformer.h.0(call transformer.wte(read ids))"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(result["h"].sizes(), at::IntArrayRef({6, 4, 32}));
  EXPECT_TRUE(at::equal(result["ids"], model_.Run(Text(kSampled, ""))["ids"]));
}

TEST_F(RowsOfPromptsTest, SearchesInCompanyFindWhatTheyFindAlone) {
  const std::vector<std::string> texts = {
      Text(kSearch, ""), Text(kSampled, ""),
      Text("generate max_new_tokens=4 num_beams=2", "", "[39, 72, 94, 86, 68, 69, 83]"),
      "invoke [1, 2] { save ids = read result }"};
  const std::vector<LocalResult> together = model_.RunTogether(texts);
  for (size_t i = 0; i < texts.size(); ++i) {
    ASSERT_THAT(together[i].status, IsOk()) << i;
    const LocalResult alone = model_.Run(texts[i]);
    if (i == 3) {
      ExpectClose(together[i]["ids"], alone["ids"]);
    } else {
      EXPECT_TRUE(at::equal(together[i]["ids"], alone["ids"])) << i;
    }
  }
}

TEST_F(RowsOfPromptsTest, InvokesAndTracesOfAProgramSearchEachForItself) {
  const std::string one = absl::StrCat("invoke [64, 65, 66] { save a = read result }\n");
  const std::string other = absl::StrCat("invoke ", kPrompts, " { save b = read result }\n");
  const LocalResult both = model_.Run(absl::StrCat(kSearch, "\n", one, other, kSearch,
                                                   "\ninvoke [64, 65, 66] { save c = read result "
                                                   "save scores = read beam_scores }"));
  ASSERT_THAT(both.status, IsOk());
  EXPECT_TRUE(at::equal(both["a"], model_.Run(absl::StrCat(kSearch, "\n", one))["a"]));
  EXPECT_TRUE(at::equal(both["b"], model_.Run(absl::StrCat(kSearch, "\n", other))["b"]));
  EXPECT_TRUE(at::equal(both["a"], both["c"]));
  EXPECT_EQ(both["scores"].sizes(), at::IntArrayRef({3}));
}

TEST_F(RowsOfPromptsTest, ASearchThatEndsEarlyTakesNoMorePasses) {
  const std::string options =
      "generate max_new_tokens=20 num_beams=2 early_stopping=true eos_token_ids=";
  const LocalResult plain = model_.Run(Text(options + "[96]", "", "[64, 65, 66]"));
  const uint64_t passes = model_.hosted().passes();
  // Whatever comes first ends the texts.
  std::string ends = "[";
  for (int id = 0; id < 16; ++id) absl::StrAppend(&ends, id * 6, id < 15 ? ", " : "]");
  const LocalResult early = model_.Run(Text(options + ends, "", "[64, 65, 66]"));
  ASSERT_THAT(early.status, IsOk());
  EXPECT_LT(model_.hosted().passes(), passes + 20);
  EXPECT_LT(early["ids"].size(1), plain["ids"].size(1));
}

TEST_F(RowsOfPromptsTest, ASearchThatKeepsMoreTextsThanThereAreTokensFindsThem) {
  const LocalResult result = model_.Run(
      Text("generate max_new_tokens=1 num_beams=120 num_return_sequences=120", "", "[64, 65]"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(result["ids"].sizes(), at::IntArrayRef({120, 3}));
}

TEST_F(RowsOfPromptsTest, APlanCountsEveryRowOfASearchAndWhatItReturns) {
  const auto check = model_.Check(Text("generate max_new_tokens=6 num_beams=5", ""));
  ASSERT_THAT(check, IsOk());
  // Two prompts of four tokens, and five more steps.
  EXPECT_EQ(check->rows, 2u * 5 * (4 + 5));
  EXPECT_THAT(graph::ToString(check->saves[0]), HasSubstr("[2, 10]"));
}

}  // namespace
}  // namespace weft
