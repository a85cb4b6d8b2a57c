// Other names for modules: those of ModelOptions::rename, and the standard ones.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <weft/client.h>

#include <string>

#include "tests/client/family_backend.h"
#include "tests/support/status_matchers.h"

namespace weft::client_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::weft::testing::IsOk;
using ::weft::testing::StatusIs;

class NamesTest : public ::testing::Test {
 protected:
  absl::StatusOr<LanguageModel> Open(const Rename& rename, const std::string& name = "gpt2") {
    return Client(backend_).OpenLanguageModel(name, {.rename = rename});
  }
  void ExpectRefused(const Rename& rename, const std::string& why) {
    EXPECT_THAT(Open(rename), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why)));
  }

  std::shared_ptr<FamilyBackend> backend_ = std::make_shared<FamilyBackend>();
};

TEST_F(NamesTest, ASingleNameBindsWhereverAModuleIsCalledSo) {
  const LanguageModel model = Open({{"mlp", "ffn"}}).value();
  EXPECT_EQ(model["transformer.h"][0]["ffn"].path(), "transformer.h.0.mlp");
  EXPECT_EQ(model["transformer.h.3.ffn"].path(), "transformer.h.3.mlp");
  EXPECT_EQ(model["transformer.h.3.mlp"].path(), "transformer.h.3.mlp") << "the original works";
}

TEST_F(NamesTest, APathIsMountedOnTheModel) {
  const LanguageModel model =
      Open({{"transformer.h", "blocks"}, {"transformer.h.0.mlp", "first_mlp"}}).value();
  EXPECT_EQ(model["blocks"][-1].path(), "transformer.h.3");
  EXPECT_EQ(model["blocks"].size(), 4);
  EXPECT_EQ(model["blocks.2.attn"].path(), "transformer.h.2.attn");
  EXPECT_EQ(model["first_mlp"].path(), "transformer.h.0.mlp");
  EXPECT_THAT(model["transformer"].get("blocks"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(NamesTest, AKeyMayHaveSeveralNamesAndLeadingDots) {
  const LanguageModel model =
      Open({{".transformer.wte", {"tokens", ".vocabulary"}}, {".lm_head", ".unembed"}}).value();
  EXPECT_EQ(model["tokens"].path(), "transformer.wte");
  EXPECT_EQ(model["vocabulary"].path(), "transformer.wte");
  EXPECT_EQ(model["unembed"].path(), "lm_head");
}

TEST_F(NamesTest, NumbersBindInLists) {
  const LanguageModel model = Open({{"0", "first"}}).value();
  EXPECT_EQ(model["transformer.h.first.mlp"].path(), "transformer.h.0.mlp");
}

TEST_F(NamesTest, ADottedNameBindsOnWhatItBeginsWith) {
  const LanguageModel model =
      Open({{"attn.c_proj", "attn.o_proj"}, {"transformer.h", "transformer.blocks"}}).value();
  EXPECT_EQ(model["transformer.h.2.attn.o_proj"].path(), "transformer.h.2.attn.c_proj");
  EXPECT_EQ(model["transformer"]["blocks"][1].path(), "transformer.h.1");
  ExpectRefused({{"attn.c_proj", "mlp.o_proj"}}, "names no ancestor of it");
  ExpectRefused({{"*.c_proj", "attn.o_proj"}}, "names no ancestor of it");
}

TEST_F(NamesTest, AStarMatchesOneComponentAndOneModule) {
  EXPECT_EQ(Open({{"*.h", "blocks"}}).value()["blocks"].path(), "transformer.h");
  ExpectRefused({{"*.h.*.mlp", "m"}},
                "matches 4 modules under the model (transformer.h.0.mlp, transformer.h.1.mlp");
}

TEST_F(NamesTest, ATypeBindsWhereOneChildHasIt) {
  const LanguageModel model = Open({{"GPT2MLP", "ffn"}}).value();
  EXPECT_EQ(model["transformer.h.1.ffn"].path(), "transformer.h.1.mlp");
  ExpectRefused({{"GPT2Block", "block"}}, "matches 4 modules under `transformer.h`");
}

TEST_F(NamesTest, UnknownKeysArePassedOver) {
  EXPECT_THAT(Open({{"nothing", "a"}, {"no.where", "b"}, {"*.nowhere", "c"}}), IsOk());
}

TEST_F(NamesTest, NamesThatAreTakenAreRefused) {
  ExpectRefused({{"lm_head", "transformer"}}, "would shadow a child module of that name");
  ExpectRefused({{"mlp", "attn"}}, "would shadow a child module of that name");
  ExpectRefused({{"transformer.h", "x"}, {"transformer.wte", "x"}},
                "already bound to `transformer.h`");
  ExpectRefused({{"mlp", "output"}}, "a value of every module");
  ExpectRefused({{"mlp", "a b"}}, "letters, digits");
  ExpectRefused({{"", "x"}}, "a key is empty");
  // Its own name, and the same name twice, take nothing from anybody.
  EXPECT_THAT(Open({{"mlp", "mlp"}, {"attn", "a"}, {"GPT2Attention", "a"}}), IsOk());
}

TEST_F(NamesTest, EveryFamilyHasTheStandardNames) {
  const LanguageModel gpt2 = Open({}).value();
  EXPECT_EQ(gpt2["layers"][1].path(), "transformer.h.1");
  EXPECT_EQ(gpt2["layers"][1]["attention"].path(), "transformer.h.1.attn");
  EXPECT_EQ(gpt2["layers"][1]["self_attn"].path(), "transformer.h.1.attn");
  EXPECT_EQ(gpt2["layers"][1]["mlp"].path(), "transformer.h.1.mlp");
  EXPECT_EQ(gpt2["ln_final"].path(), "transformer.ln_f");
  EXPECT_EQ(gpt2["lm_head"].path(), "lm_head");
  EXPECT_EQ(gpt2["embed"].path(), "transformer.wte");
  EXPECT_EQ(gpt2["embed_tokens"].path(), "transformer.wte");

  const LanguageModel llama = Open({}, "llama").value();
  EXPECT_EQ(llama["layers"][-1]["attention"].path(), "model.layers.1.self_attn");
  EXPECT_EQ(llama["layers"][0]["attn"].path(), "model.layers.0.self_attn");
  EXPECT_EQ(llama["ln_final"].path(), "model.norm");
  EXPECT_EQ(llama["embed"].path(), "model.embed_tokens");
}

TEST_F(NamesTest, GivenNamesComeBeforeStandardOnes) {
  const LanguageModel model = Open({{"transformer.wte", "layers"}}).value();
  EXPECT_EQ(model["layers"].path(), "transformer.wte");
  EXPECT_EQ(Open({{"layers.0", "first"}}).value()["first"].path(), "transformer.h.0");
}

TEST_F(NamesTest, ProgramsAreSentWithTheModelsOwnNames) {
  const LanguageModel model = Open({{"GPT2MLP", "ffn"}}).value();
  absl::StatusOr<Program> program = model.Record("hi", [&] {
    Var h = model["layers.0.ffn"].output();
    model["layers"][1]["ffn"].output() = h;
    model["layers"][2]["ffn"].skip(h);
    model["lm_head"](h).save();
    model.param("layers.0.attention.c_proj.weight").save();
  });
  ASSERT_THAT(program, IsOk());
  EXPECT_THAT(program->text(),
              AllOf(HasSubstr("read transformer.h.0.mlp.output"),
                    HasSubstr("write transformer.h.1.mlp.output ="),
                    HasSubstr("skip transformer.h.2.mlp ="), HasSubstr("call lm_head("),
                    HasSubstr("param transformer.h.0.attn.c_proj.weight")));
}

TEST_F(NamesTest, NamesStandInSweepsAndCachesToo) {
  const LanguageModel model = Open({{"GPT2MLP", "ffn"}}).value();
  SavedCache acts;
  absl::StatusOr<Program> program = model.Record([&](Tracer& trace) {
    trace.sweep(Range(4), [&](Param layer) {
      trace.Invoke("hi", [&] {
        model["layers"][layer]["attention"].output() = 0.0;
        model["layers"][layer]["ffn"].output().save("x");
      });
    });
    trace.Invoke("hi", [&] { acts = trace.cache({"layers.1.ffn", model["lm_head"]}); });
  });
  ASSERT_THAT(program, IsOk());
  EXPECT_THAT(program->text(), AllOf(HasSubstr("write transformer.h.$p0.attn.output"),
                                     HasSubstr("read transformer.h.$p0.mlp.output"),
                                     HasSubstr("cache [transformer.h.1.mlp, lm_head]")));
  EXPECT_EQ(acts["layers"][1]["ffn"].path(), "transformer.h.1.mlp");
}

TEST_F(NamesTest, AMistakeIsAnsweredWithGivenNamesToo) {
  const LanguageModel model = Open({{"transformer.h", "blocks"}}).value();
  EXPECT_THAT(model.get("blcks"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("the closest are blocks")));
}

}  // namespace
}  // namespace weft::client_test
