#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <weft/client.h>

#include <memory>
#include <sstream>
#include <string>

#include "tests/client/fake_backend.h"

namespace weft::client_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// The toy model with the inside of one module.
class InsideBackend : public FakeBackend {
 public:
  absl::StatusOr<ModelDescription> GetModel(const std::string& name) override {
    absl::StatusOr<ModelDescription> model = FakeBackend::GetModel(name);
    if (!model.ok()) return model;
    for (const char* point : {"q", "k", "v", "scores", "probs", "z"}) {
      model->sites.push_back({"h.0", point, 0, "float32[B, 2, T, 2]", true});
    }
    const std::string x = "float32[B, T, 4]";
    model->operations = {{"h.0", "inputs", 0, "((" + x + ", " + x + "), {})", true, "add_0"},
                         {"h.0", "output", 0, x, true, "add_0"},
                         {"h.0", "inputs", 0, "((" + x + ",), {})", true, "sum_0"},
                         {"h.0", "output", 0, "", false, "sum_0"},
                         {"h.0", "inputs", 0, "", false, "t_0"},
                         {"h.0", "output", 0, "", false, "t_0"}};
    return model;
  }
};

class SourceTest : public ::testing::Test {
 protected:
  std::string Text(absl::FunctionRef<void()> body) {
    const absl::StatusOr<Program> program = model_.Record("hi", body);
    return program.ok() ? program->text() : "ERROR " + std::string(program.status().message());
  }
  static std::string Printed(const std::string& statements) {
    const absl::StatusOr<Program> program = Program::Parse("invoke \"hi\" {\n" + statements + "}");
    return program.ok() ? program->text() : "ERROR " + std::string(program.status().message());
  }

  LanguageModel model_ = Client(std::make_shared<InsideBackend>()).OpenLanguageModel("toy").value();
};

TEST_F(SourceTest, ListsOperationsWithTheirShapes) {
  EXPECT_THAT(model_["h"][0].source().names(), ElementsAre("add_0", "sum_0", "t_0"));
  EXPECT_THAT(model_["lm_head"].source().names(), IsEmpty());
  std::ostringstream out;
  out << model_["h"][0].source();
  EXPECT_EQ(out.str(),
            "add_0  (float32[B, T, 4], float32[B, T, 4]) -> float32[B, T, 4]\n"
            "sum_0  (float32[B, T, 4]) -> not readable\n"
            "t_0    not readable\n");
}

TEST_F(SourceTest, RecordsReadsAndWritesOfOperations) {
  EXPECT_EQ(Text([&] {
              Operation add = model_["h"][0].source()["add_0"];
              Var y = add.output();
              add.output()[{Slice(), -1}] = y[{Slice(), 0}];
              add.input() = y * 2.0;
              add.inputs()[0].save("args");
            }),
            Printed(R"(
              %1 = read h.0.op(add_0).output
              %2 = %1[:, 0]
              write h.0.op(add_0).output[:, -1] = %2
              %3 = aten::mul(%1, 2.0)
              write h.0.op(add_0).input = %3
              %4 = read h.0.op(add_0).inputs
              %5 = %4[0]
              save args = %5
            )"));
}

TEST_F(SourceTest, RecordsPointsOfAttentionAndInputs) {
  EXPECT_EQ(Text([&] {
              Module attention = model_["h"][0];
              attention.probs().save("probs");
              attention.scores().save("scores");
              attention.q().save("q");
              attention.k().save("k");
              attention.v().save("v");
              attention.z()[{Slice(), 1}] = 0.0;
              model_["lm_head"].inputs().save("inputs");
            }),
            Printed(R"(
              %1 = read h.0.probs
              save probs = %1
              %2 = read h.0.scores
              save scores = %2
              %3 = read h.0.q
              save q = %3
              %4 = read h.0.k
              save k = %4
              %5 = read h.0.v
              save v = %5
              write h.0.z[:, 1] = tensor(float32, [], [0.0])
              %6 = read lm_head.inputs
              save inputs = %6
            )"));
}

TEST_F(SourceTest, NamesWhatThereIs) {
  EXPECT_THAT(Text([&] { model_["h"][0].source()["mul_0"].output().save(); }),
              HasSubstr(R"(module "h.0" has no operation "mul_0"; it has add_0, sum_0, t_0)"));
  EXPECT_THAT(Text([&] { model_["lm_head"].source()["mul_0"].output().save(); }),
              HasSubstr("it has none of its own"));
  EXPECT_THAT(Text([&] { model_["lm_head"].probs().save(); }),
              HasSubstr(R"(module "lm_head" has no probs; it has input, output)"));
}

}  // namespace
}  // namespace weft::client_test
