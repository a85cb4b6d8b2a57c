#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <weft/client.h>

#include <string>
#include <vector>

#include "tests/client/fake_backend.h"
#include "tests/support/status_matchers.h"

namespace weft::client_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::weft::testing::IsOk;
using ::weft::testing::StatusIs;

class AttachedModuleTest : public ::testing::Test {
 protected:
  std::string Text(absl::FunctionRef<void()> body) {
    absl::StatusOr<Program> program = model_.Record("hi", body);
    return program.ok() ? program->text() : "ERROR " + std::string(program.status().message());
  }
  static std::string Printed(const std::string& statements) {
    absl::StatusOr<Program> program = Program::Parse("invoke \"hi\" {\n" + statements + "\n}\n");
    return program.ok() ? program->text() : "ERROR " + std::string(program.status().message());
  }
  static int Count(const std::string& text, const std::string& part) {
    int count = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
      ++count;
    }
    return count;
  }

  std::shared_ptr<FakeBackend> backend_ = std::make_shared<FakeBackend>();
  LanguageModel model_ = Client(backend_).OpenLanguageModel("toy").value();
  // Identities, which are short in the text: doubling, then adding one, then negating.
  const AttachedModule steps_ = AttachedModule::Sequence(
      {{"up", AttachedModule::Compose("Up", {},
                                      [](const AttachedModule&, const Var& x) { return x * 2; })},
       {"acts", AttachedModule::Activation("relu")},
       {"down", AttachedModule::Compose(
                    "Down", {}, [](const AttachedModule&, const Var& x) { return x - 1; })}});
};

TEST_F(AttachedModuleTest, RecordsItsOperators) {
  const Tensor weight = tensor({{1.0, 2.0}});
  const AttachedModule linear = AttachedModule::Linear(weight, tensor({3.0}));
  EXPECT_EQ(Text([&] { linear(model_["h.0"].output()).save("y"); }), Printed(R"(
              %1 = read h.0.output
              %2 = tensor(float32, [1, 2], [1.0, 2.0])
              %3 = tensor(float32, [1], [3.0])
              %4 = aten::linear(%1, %2, bias=%3)
              save y = %4)"));
}

TEST_F(AttachedModuleTest, MakesAutoencodersAndLoraPairs) {
  const AttachedModule sae =
      AttachedModule::Sae({.w_enc = tensor({{1.0, 2.0}}), .w_dec = tensor({{1.0}, {2.0}})});
  EXPECT_EQ(Text([&] { sae(model_["h.0"].output()).save("y"); }), Printed(R"(
              %1 = read h.0.output
              %2 = tensor(float32, [1, 2], [1.0, 2.0])
              %3 = aten::matmul(%1, %2)
              %4 = aten::relu(%3)
              %5 = tensor(float32, [2, 1], [1.0, 2.0])
              %6 = aten::matmul(%4, %5)
              save y = %6)"));
  const AttachedModule lora = AttachedModule::Lora(tensor({{1.0}}), tensor({{2.0}}), 0.5);
  EXPECT_EQ(Text([&] { lora(model_["h.0"].output()).save("y"); }), Printed(R"(
              %1 = read h.0.output
              %2 = tensor(float32, [1, 1], [1.0])
              %3 = aten::linear(%1, %2)
              %4 = tensor(float32, [1, 1], [2.0])
              %5 = aten::linear(%3, %4)
              %6 = aten::mul(%5, 0.5)
              save y = %6)"));
}

TEST_F(AttachedModuleTest, ItsValuesCanBeRead) {
  EXPECT_EQ(Text([&] {
              steps_(model_["h.0"].output()).save("y");
              steps_["acts"].output().save("acts");
              steps_["up"].output().save("up");
            }),
            Printed(R"(
              %1 = read h.0.output
              %2 = aten::mul(%1, 2)
              %3 = aten::relu(%2)
              %4 = aten::sub(%3, 1)
              save y = %4
              save acts = %3
              save up = %2)"));
}

TEST_F(AttachedModuleTest, ReplacingAPartsOutputChangesWhatFollows) {
  EXPECT_EQ(Text([&] {
              Var y = steps_(model_["h.0"].output());
              steps_["acts"].output() = model_["h.0.mlp"].output();
              y.save("y");
            }),
            Printed(R"(
              %1 = read h.0.output
              %2 = aten::mul(%1, 2)
              %3 = aten::relu(%2)
              %4 = read h.0.mlp.output
              %5 = aten::clone(%4)
              %6 = aten::sub(%5, 1)
              save y = %6)"));
}

TEST_F(AttachedModuleTest, ChangingAPartInPlaceChangesWhatFollows) {
  const char* const expected = R"(
              %1 = read h.0.output
              %2 = aten::mul(%1, 2)
              %3 = aten::relu(%2)
              %4 = tensor(float32, [], [0.0])
              %3[..., 5] = %4
              %6 = aten::sub(%3, 1)
              save y = %6)";
  EXPECT_EQ(Text([&] {
              Var y = steps_(model_["h.0"].output());
              steps_["acts"].output()[{Ellipsis(), 5}] = 0.0;
              y.save("y");
            }),
            Printed(expected));
  EXPECT_EQ(Text([&] {
              Var y = steps_(model_["h.0"].output());
              Var acts = steps_["acts"].output();
              acts[{Ellipsis(), 5}] = 0.0;
              y.save("y");
            }),
            Printed(expected));
}

TEST_F(AttachedModuleTest, ASecondChangeSeesTheFirstAndNothingIsRecordedTwice) {
  const std::string text = Text([&] {
    Var y = steps_(model_["h.0"].output());
    steps_["acts"].output()[{Ellipsis(), 5}] = 0.0;
    steps_["acts"].output().select(-1, 6).zero_();
    steps_["acts"].output() *= 3;
    y.save("y");
  });
  EXPECT_EQ(Count(text, "aten::sub("), 1) << text;
  EXPECT_EQ(Count(text, "aten::zero_("), 1) << text;
  EXPECT_EQ(Count(text, "[..., 5] ="), 1) << text;
}

TEST_F(AttachedModuleTest, WhatWasWrittenToASiteIsWrittenAnew) {
  EXPECT_EQ(Text([&] {
              model_["h.0"].output() = steps_(model_["h.0"].output()) * 7;
              steps_["up"].output() = 0;
            }),
            Printed(R"(
              %1 = read h.0.output
              %2 = aten::mul(%1, 2)
              %3 = aten::full_like(%2, 0)
              %4 = aten::relu(%3)
              %5 = aten::sub(%4, 1)
              %6 = aten::mul(%5, 7)
              write h.0.output = %6)"));
}

TEST_F(AttachedModuleTest, WhatItDoesInPlaceItDoesToANewValueToo) {
  const AttachedModule doubling =
      AttachedModule::Compose("Doubling", {{"acts", AttachedModule::Activation("relu")}},
                              [](const AttachedModule& self, const Var& x) {
                                Var acts = self["acts"](x);
                                acts *= 2;
                                return acts + 1;
                              });
  EXPECT_EQ(Text([&] {
              Var y = doubling(model_["h.0"].output());
              doubling["acts"].output() = 5;
              y.save("y");
            }),
            Printed(R"(
              %1 = read h.0.output
              %2 = aten::relu(%1)
              aten::mul_(%2, 2)
              %3 = aten::full_like(%2, 5)
              aten::mul_(%3, 2)
              %4 = aten::add(%3, 1)
              save y = %4)"));
}

TEST_F(AttachedModuleTest, ItsInputIsItsOwn) {
  EXPECT_EQ(Text([&] {
              Var h = model_["h.0"].output();
              Var y = steps_(h);
              steps_.input()[{Ellipsis(), 0}] = 1.0;
              y.save("y");
              h.save("h");
            }),
            Printed(R"(
              %1 = read h.0.output
              %2 = aten::clone(%1)
              %3 = tensor(float32, [], [1.0])
              %2[..., 0] = %3
              %5 = aten::mul(%2, 2)
              %6 = aten::relu(%5)
              %7 = aten::sub(%6, 1)
              save y = %7
              save h = %1)"));
}

TEST_F(AttachedModuleTest, WhatWasSavedStays) {
  EXPECT_EQ(Text([&] {
              Var y = steps_(model_["h.0"].output());
              y.save("before");
              steps_.output() = 0.0;
              y.save("after");
            }),
            Printed(R"(
              %1 = read h.0.output
              %2 = aten::mul(%1, 2)
              %3 = aten::relu(%2)
              %4 = aten::sub(%3, 1)
              save before = %4
              %5 = aten::full_like(%4, 0.0)
              save after = %5)"));
}

TEST_F(AttachedModuleTest, AChangeThatComesTooLateIsRefused) {
  EXPECT_THAT(Text([&] {
                model_["h.0"].output() = steps_(model_["h.0"].output());
                model_["h.0"].output() = 1.0;
                steps_["acts"].output() = 0.0;
              }),
              AllOf(HasSubstr("changed too late"), HasSubstr("right after the call")));
  EXPECT_THAT(Text([&] {
                Var h = model_["h.0"].output();
                h += steps_(h);
                steps_["acts"].output() = 0.0;
              }),
              HasSubstr("changed too late"));
}

TEST_F(AttachedModuleTest, MistakesAreRefusedByName) {
  EXPECT_THAT(Text([&] { steps_["acts"].output().save(); }),
              HasSubstr("this Activation was not called in this invoke"));
  EXPECT_THAT(Text([&] {
                steps_(model_["h.0"].output());
                steps_["nothing"].output().save();
              }),
              HasSubstr("no such part"));
}

TEST_F(AttachedModuleTest, IsAModuleWhereItIsAttached) {
  const AttachedModule sae =
      AttachedModule::Sae({.w_enc = tensor({{1.0, 2.0}}), .w_dec = tensor({{1.0}, {2.0}})});
  LanguageModel model = model_;
  ASSERT_THAT(model.Attach("h.0.sae", sae), IsOk());
  EXPECT_EQ(model["h"][0].tree(),
            "Block(\n"
            "  (mlp): MLP(in_features=4)\n"
            "  (sae): SAE(features=2\n"
            "    (encoder): Linear(in_features=1, out_features=2, bias=False)\n"
            "    (acts): Activation(relu)\n"
            "    (decoder): Linear(in_features=2, out_features=1, bias=False)\n"
            "  )\n"
            ")\n");
  EXPECT_EQ(model_["h"][0].size(), 1) << "the other handle is as it was";
  EXPECT_EQ(model.get("h.0.sae.acts")->type(), "Activation");
  absl::StatusOr<Program> program = model.Record("hi", [&] {
    const Module attached = model["h"][0]["sae"];
    model["h.0"].output() = attached(model["h.0"].output());
    attached["acts"].output()[{Ellipsis(), 1}] = 0.0;
    model.site("h.0.sae.acts.output").save("acts");
  });
  ASSERT_THAT(program, IsOk());
  EXPECT_THAT(program->text(), AllOf(HasSubstr("save acts ="), HasSubstr("write h.0.output =")));
  EXPECT_EQ(Count(program->text(), "write "), 1);
}

TEST_F(AttachedModuleTest, IsAttachedUnderAFreeName) {
  LanguageModel model = model_;
  const auto attach = [&](const std::string& path) { return model.Attach(path, steps_); };
  EXPECT_THAT(attach("h.0.mlp"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is taken")));
  EXPECT_THAT(attach("lm_head.weight"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is taken")));
  EXPECT_THAT(attach("h.sae"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("a list of modules")));
  EXPECT_THAT(attach("nowhere.sae"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("has no module")));
  EXPECT_THAT(attach("h.0.a-b"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("letters, digits")));
  ASSERT_THAT(attach("h.0.extra"), IsOk());
  EXPECT_THAT(model.Record("hi", [&] { model["h.0.extra"].skip(1.0); }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("was attached here")));
}

TEST_F(AttachedModuleTest, LargeTensorsStandInATraceOnce) {
  const Tensor weight = Tensor::From(std::vector<float>(64 * 32, 0.5f), {64, 32});
  const AttachedModule linear = AttachedModule::Linear(weight);
  absl::StatusOr<Program> program = model_.Record([&](Tracer& trace) {
    trace.Invoke("one", [&] { linear(model_["h.0"].output()).save("a"); });
    trace.Invoke("two", [&] { linear(model_["h.0"].output()).save("b"); });
  });
  ASSERT_THAT(program, IsOk());
  EXPECT_EQ(Count(program->text(), "tensor(float32, [64, 32]"), 1);
}

}  // namespace
}  // namespace weft::client_test
