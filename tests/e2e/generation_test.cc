// Generations that sample, over a connection and in process.

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/e2e/service_fixture.h"
#include "weft/local.h"

namespace weft::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

const GenerateOptions kDrawn = {
    .max_new_tokens = 6, .min_new_tokens = 6, .do_sample = true, .temperature = 1.5};

class GenerationTest : public ServiceTest {
 protected:
  void SetUp() override {
    ServiceTest::SetUp();
    remote_ = Client(NewBackend(NewKey())).OpenLanguageModel("tiny").value();
    local_ = MakeLocalClient({.models = {{"tiny", TinyFolder()}}, .threads = 1})
                 .value()
                 .OpenLanguageModel("tiny")
                 .value();
  }

  void Both(const std::function<void(const LanguageModel&)>& body) {
    body(*remote_);
    body(*local_);
  }

  /// What came of a generation: its ids, and each row's text as it was streamed.
  struct Told {
    Tensor ids;
    std::vector<std::vector<int64_t>> rows;
    std::vector<std::string> texts;
    std::vector<uint32_t> steps;
  };
  static Told Generate(const LanguageModel& model, const Input& input,
                       const GenerateOptions& generate, uint64_t seed = 0) {
    Told told;
    TraceOptions options;
    options.seed = seed;
    options.stream_tokens = true;
    options.on_event = [&](const RunEvent& event) {
      const auto* tokens = std::get_if<event::NewTokens>(&event);
      if (tokens == nullptr) return;
      EXPECT_EQ(tokens->invoke, 0u);
      told.steps.push_back(tokens->step);
      told.rows.resize(tokens->ids.size());
      told.texts.resize(tokens->ids.size());
      ASSERT_EQ(tokens->texts.size(), tokens->ids.size());
      for (size_t row = 0; row < tokens->ids.size(); ++row) {
        if (tokens->ids[row] >= 0) told.rows[row].push_back(tokens->ids[row]);
        told.texts[row] += tokens->texts[row];
      }
    };
    Saved<Tensor> ids;
    const auto run = model.Generate(
        input, generate, [&] { ids = model.result().save("ids"); }, options);
    EXPECT_THAT(run, IsOk());
    if (run.ok()) told.ids = *ids;
    return told;
  }

  std::optional<LanguageModel> remote_, local_;
};

TEST_F(GenerationTest, TokensAndTextAreToldStepByStep) {
  std::vector<std::vector<std::vector<int64_t>>> rows;
  Both([&](const LanguageModel& model) {
    const Told told = Generate(model, "a b c", kDrawn, 5);
    EXPECT_THAT(told.steps, ElementsAre(0, 1, 2, 3, 4, 5));
    ASSERT_THAT(told.rows, SizeIs(1));
    std::vector<int64_t> ids = told.ids.ToVector<int64_t>();
    ids.erase(ids.begin(), ids.end() - 6);
    EXPECT_EQ(told.rows[0], ids);
    EXPECT_EQ(told.texts[0], model.Decode(ids).value());
    rows.push_back(told.rows);
  });
  EXPECT_EQ(rows[0], rows[1]);
}

TEST_F(GenerationTest, NobodyIsToldWhoDidNotAsk) {
  Both([&](const LanguageModel& model) {
    int told = 0;
    TraceOptions options;
    options.on_event = [&](const RunEvent& event) {
      told += std::holds_alternative<event::NewTokens>(event) ? 1 : 0;
    };
    ASSERT_THAT(model.Generate(
                    "a b", kDrawn, [] {}, options),
                IsOk());
    EXPECT_EQ(told, 0);
  });
}

TEST_F(GenerationTest, SequencesOfAPromptAreRowsThatDiffer) {
  GenerateOptions several = kDrawn;
  several.num_return_sequences = 3;
  Both([&](const LanguageModel& model) {
    const Told told = Generate(model, "a b c", several, 5),
               one = Generate(model, "a b c", kDrawn, 5);
    EXPECT_EQ(told.ids.size(0), 3);
    EXPECT_EQ(told.rows[0], one.rows[0]);
    EXPECT_NE(told.rows[1], told.rows[0]);
    EXPECT_NE(told.rows[2], told.rows[1]);
  });
}

TEST_F(GenerationTest, AStopStringEndsARowAndIsNoPartOfItsText) {
  const GenerateOptions likeliest = {.max_new_tokens = 6, .eos_token_ids = {96}};
  Both([&](const LanguageModel& model) {
    const Told whole = Generate(model, "a b c", likeliest);
    ASSERT_GE(whole.texts[0].size(), 4u);
    GenerateOptions stops = likeliest;
    stops.stop_strings = {whole.texts[0].substr(2, 2)};
    const size_t found = whole.texts[0].find(stops.stop_strings[0]);
    const Told told = Generate(model, "a b c", stops);
    EXPECT_EQ(told.texts[0], whole.texts[0].substr(0, found));
    EXPECT_LT(told.rows[0].size(), 6u);
    EXPECT_THAT(model.Decode(told.rows[0]).value(), HasSubstr(stops.stop_strings[0]));
  });
}

TEST_F(GenerationTest, StopStringsEndRowsWhereTransformersEndsThem) {
  const auto cases = nlohmann::json::parse(
      std::ifstream(WEFT_SOURCE_DIR "/tests/parity/beams/cases.json"))["stops"];
  ASSERT_GE(cases.size(), 6u);
  for (const auto& given : cases) {
    GenerateOptions options = {.max_new_tokens = 10, .eos_token_ids = {96}};
    const nlohmann::json& from = given["options"];
    options.stop_strings = from.value("stop_strings", std::vector<std::string>());
    options.min_new_tokens = from.value("min_new_tokens", 0u);
    options.num_beams = from.value("num_beams", 0u);
    const Told told = Generate(*local_, given["prompt"].get<std::string>(), options);
    EXPECT_EQ(told.rows[0], given["ids"].get<std::vector<int64_t>>()) << given;
  }
}

TEST_F(GenerationTest, TokensAreToldThoughTheProgramNeedsNone) {
  Both([&](const LanguageModel& model) {
    std::vector<uint32_t> steps;
    std::string text;
    TraceOptions options;
    options.stream_tokens = true;
    options.on_event = [&](const RunEvent& event) {
      const auto* tokens = std::get_if<event::NewTokens>(&event);
      if (tokens == nullptr) return;
      steps.push_back(tokens->step);
      text += tokens->texts.at(0);
    };
    Saved<Tensor> first;
    const GenerateOptions generate{.max_new_tokens = 5, .min_new_tokens = 5};
    const auto run = model.Generate(
        "a b c", generate, [&] { first = model.logits().save("first"); }, options);
    ASSERT_THAT(run, IsOk());
    EXPECT_THAT(steps, ElementsAre(0, 1, 2, 3, 4));
    EXPECT_EQ(run->cost.passes, 5U);
    const Told told = Generate(model, "a b c", generate);
    EXPECT_EQ(text, told.texts[0]);
    // Nobody asks for them: then nothing behind step 0 is done.
    options.stream_tokens = false;
    EXPECT_EQ(model
                  .Generate(
                      "a b c", generate, [&] { first = model.logits().save("first"); }, options)
                  ->cost.passes,
              1U);
  });
}

TEST_F(GenerationTest, ABeamSearchReturnsTheBestAndTellsThemInTheEnd) {
  Both([&](const LanguageModel& model) {
    Saved<Tensor> ids, scores;
    std::vector<std::vector<int64_t>> rows(2);
    std::vector<std::string> texts(2);
    TraceOptions options;
    options.stream_tokens = true;
    options.on_event = [&](const RunEvent& event) {
      const auto* tokens = std::get_if<event::NewTokens>(&event);
      if (tokens == nullptr) return;
      ASSERT_THAT(tokens->ids, SizeIs(2));
      for (size_t row = 0; row < 2; ++row) {
        if (tokens->ids[row] >= 0) rows[row].push_back(tokens->ids[row]);
        texts[row] += tokens->texts[row];
      }
    };
    const auto run = model.Generate(
        "a b c",
        {.max_new_tokens = 5,
         .min_new_tokens = 5,
         .eos_token_ids = {96},
         .num_return_sequences = 2,
         .num_beams = 3,
         .length_penalty = 0.5,
         .early_stopping = EarlyStopping::kNever},
        [&] {
          ids = model.result().save("ids");
          scores = model.beam_scores().save("scores");
        },
        options);
    ASSERT_THAT(run, IsOk());
    const std::vector<float> worth = scores->ToVector<float>();
    ASSERT_THAT(worth, SizeIs(2));
    EXPECT_GE(worth[0], worth[1]);
    EXPECT_LT(worth[0], 0);
    const std::vector<int64_t> all = ids->ToVector<int64_t>();
    const auto tokens = static_cast<size_t>(ids->size(1));
    for (size_t row = 0; row < 2; ++row) {
      const auto end = all.begin() + static_cast<int64_t>((row + 1) * tokens);
      EXPECT_EQ(rows[row], std::vector<int64_t>(end - 5, end));
      EXPECT_EQ(texts[row], model.Decode(rows[row]).value());
    }
    EXPECT_NE(rows[0], rows[1]);
  });
}

TEST_F(GenerationTest, ABeamSearchThatTouchesASiteIsRefusedAndToldTheWayOut) {
  Both([&](const LanguageModel& model) {
    EXPECT_THAT(
        model
            .Generate("a", {.max_new_tokens = 2, .num_beams = 2},
                      [&] { model["transformer.h"][0].output().save(); })
            .status(),
        StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr("this trace is a beam search"),
                                                           HasSubstr("leave out num_beams"))));
  });
}

TEST_F(GenerationTest, AnEditHasNoPlaceInABeamSearch) {
  const LanguageModel edited =
      local_->Edit([&] { (*local_)["transformer.h"][0].output() *= 2.0; }).value();
  EXPECT_THAT(edited.Generate("a", {.max_new_tokens = 2, .num_beams = 2}, [] {}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is a beam search")));
}

TEST_F(GenerationTest, MoreBeamsThanAPassHoldsAreRefused) {
  StartService({.pass_tokens = 16});
  const Outcome outcome = RunOn(*NewBackend(NewKey()), R"(
    generate max_new_tokens=2 num_beams=200 invoke "a b c" { })");
  EXPECT_THAT(outcome.status,
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("a pass holds at most 16")));
}

TEST_F(GenerationTest, LogitsAreSteeredAndSamplesForced) {
  Both([&](const LanguageModel& model) {
    Saved<Tensor> ids;
    SavedList<Tensor> chosen;
    const auto run = model.Generate("a b c", kDrawn, [&](Tracer& trace) {
      trace.steps(0, [&] { model.samples() = Tensor::From(std::vector<int64_t>{7}); });
      trace.steps(Slice(1, 4), [&] {
        model.logits()[{Slice(), 42}] += 1000.0;
        chosen = model.samples().save("chosen");
      });
      ids = model.result().save("ids");
    });
    ASSERT_THAT(run, IsOk());
    const std::vector<int64_t> row = ids->ToVector<int64_t>();
    EXPECT_THAT(std::vector<int64_t>(row.end() - 6, row.end() - 2), ElementsAre(7, 42, 42, 42));
    EXPECT_EQ(chosen.size(), 3u);
  });
}

TEST_F(GenerationTest, AnOptionOutOfRangeIsRefusedByName) {
  GenerateOptions wrong = kDrawn;
  wrong.top_p = 1.5;
  Both([&](const LanguageModel& model) {
    EXPECT_THAT(model.Generate("a", wrong, [] {}).status(),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("top_p is a probability above 0 and at most 1, not 1.5")));
  });
}

TEST_F(GenerationTest, MoreSequencesThanAPassHoldsAreRefused) {
  StartService({.pass_tokens = 16});
  const Outcome outcome = RunOn(*NewBackend(NewKey()), R"(
    generate max_new_tokens=2 do_sample=true num_return_sequences=1000 invoke "a b c" { })");
  EXPECT_THAT(outcome.status,
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("a pass holds at most 16")));
}

TEST_F(GenerationTest, ATraceOfOneModuleHasNoNextToken) {
  std::string zeros = "0.0";
  for (int i = 1; i < 32; ++i) zeros += ", 0.0";
  const Outcome outcome =
      RunOn(*NewBackend(NewKey()),
            absl::StrCat("trace root=transformer.h.0.mlp\n%x = tensor(float32, [1, 1, 32], [",
                         zeros, "])\ninvoke (%x) { save s = read samples }"));
  EXPECT_THAT(outcome.status,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("calls `transformer.h.0.mlp` alone: there is no `samples`")));
}

TEST_F(GenerationTest, TheFoldersGenerationConfigSaysWhatEndsIt) {
  const TempFolder folder;
  std::filesystem::copy(TinyFolder(), folder.path());
  const GenerateOptions likeliest = {.max_new_tokens = 6};
  GenerateOptions six = likeliest;
  six.eos_token_ids = {96};
  const std::vector<int64_t> all = Generate(*local_, "a b c", six).rows[0];
  std::ofstream(folder.File("generation_config.json"))
      << R"({"eos_token_id": [95, )" << all[2] << "]}\n";
  const LanguageModel model = MakeLocalClient({.models = {{"tiny", folder.path()}}, .threads = 1})
                                  .value()
                                  .OpenLanguageModel("tiny")
                                  .value();
  const std::vector<int64_t> some = Generate(model, "a b c", likeliest).rows[0];
  EXPECT_EQ(some.back(), all[2]);
  EXPECT_LE(some.size(), 3u);
  std::ofstream(folder.File("generation_config.json")) << R"({"eos_token_id": "x"})";
  EXPECT_THAT(MakeLocalClient({.models = {{"tiny", folder.path()}}, .threads = 1}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("generation_config.json")));
}

}  // namespace
}  // namespace weft::testing
