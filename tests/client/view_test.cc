// Classes of a user's own over modules, with views of their values that write back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <weft/client.h>

#include <string>

#include "tests/client/family_backend.h"
#include "tests/support/status_matchers.h"

namespace weft::client_test {
namespace {

using ::testing::HasSubstr;
using ::weft::testing::IsOk;

/// GPT-2's attention with its heads, which the model keeps side by side.
struct Attention : Module {
  explicit Attention(const Module& module) : Module(module) {}
  View heads() const {
    return View([m = *this] { return m["c_proj"].input(); },
                [](const Var& x) {
                  return x.unflatten(-1, {2, 2});
                },
                [](const Var& heads) { return heads.flatten(-2); });
  }
};
struct Block : Module {
  explicit Block(const Module& module) : Module(module) {}
};

class ViewTest : public ::testing::Test {
 protected:
  std::string Text(absl::FunctionRef<void()> body) {
    absl::StatusOr<Program> program = model_.Record("hi", body);
    return program.ok() ? program->text() : "ERROR " + std::string(program.status().message());
  }
  static std::string Printed(const std::string& statements) {
    absl::StatusOr<Program> program = Program::Parse("invoke \"hi\" {\n" + statements + "\n}\n");
    return program.ok() ? program->text() : "ERROR " + std::string(program.status().message());
  }

  std::shared_ptr<FamilyBackend> backend_ = std::make_shared<FamilyBackend>();
  LanguageModel model_ = Client(backend_).OpenLanguageModel("gpt2").value();
};

TEST_F(ViewTest, IsReadInItsOwnForm) {
  EXPECT_EQ(Text([&] {
              As<Attention>(model_["layers.1.attention"]).heads()[{0, -1}].save("h");
            }),
            Printed(R"(
              %1 = read transformer.h.1.attn.c_proj.input
              %2 = aten::unflatten(%1, -1, [2, 2])
              %3 = %2[0, -1]
              save h = %3)"));
}

TEST_F(ViewTest, WritesAPartBack) {
  EXPECT_EQ(Text([&] {
              const Attention attention(model_["layers.1.attention"]);
              attention.heads()[{Slice(), Slice(), 1}] = attention.heads()[{Slice(), Slice(), 0}];
            }),
            Printed(R"(
              %1 = read transformer.h.1.attn.c_proj.input
              %2 = aten::unflatten(%1, -1, [2, 2])
              %3 = %2[:, :, 0]
              %4 = read transformer.h.1.attn.c_proj.input
              %5 = aten::unflatten(%4, -1, [2, 2])
              %6 = aten::clone(%5)
              %6[:, :, 1] = %3
              %8 = aten::flatten(%6, start_dim=-2)
              write transformer.h.1.attn.c_proj.input = %8)"));
}

TEST_F(ViewTest, WritesAllOfItBack) {
  EXPECT_EQ(Text([&] { As<Attention>(model_["layers.1.attention"]).heads() *= 2.0; }), Printed(R"(
              %1 = read transformer.h.1.attn.c_proj.input
              %2 = aten::unflatten(%1, -1, [2, 2])
              %3 = aten::mul(%2, 2.0)
              %4 = read transformer.h.1.attn.c_proj.input
              %5 = aten::unflatten(%4, -1, [2, 2])
              %6 = aten::clone(%5)
              %6[...] = %3
              %8 = aten::flatten(%6, start_dim=-2)
              write transformer.h.1.attn.c_proj.input = %8)"));
}

TEST_F(ViewTest, RegisteredClassesFindTheirModules) {
  model_.Register<Attention>({"GPT2Attention"});
  model_.Register<Block>({"transformer.h.*"});
  const std::vector<Attention> all = All<Attention>(model_);
  ASSERT_EQ(all.size(), 4);
  EXPECT_EQ(all[3].path(), "transformer.h.3.attn");
  EXPECT_EQ(All<Attention>(model_["layers"][2]).size(), 1);
  EXPECT_TRUE(Is<Block>(model_["layers"][2]));
  EXPECT_FALSE(Is<Block>(model_["layers"][2]["mlp"]));
  EXPECT_FALSE(Is<Attention>(model_["lm_head"]));
}

TEST_F(ViewTest, ClassesAreRegisteredByGivenNamesToo) {
  LanguageModel model =
      Client(backend_).OpenLanguageModel("gpt2", {.rename = {{"attn", "mixer"}}}).value();
  model.Register<Attention>({"h.*.mixer"});
  EXPECT_EQ(All<Attention>(model).size(), 4);
}

}  // namespace
}  // namespace weft::client_test
