// What a handle stores, on a model with real weights: edits, attached modules, other names, views.
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "weft/local.h"

namespace weft::testing {
namespace {

constexpr char kPrompt[] = "The Eiffel Tower is in the city of";

LanguageModel OpenAtlas(const Rename& rename) {
  static const Client* const kClient = new Client(
      MakeLocalClient({.models = {{"atlas", WEFT_SOURCE_DIR "/models/atlas"}}, .threads = 1})
          .value());
  return kClient->OpenLanguageModel("atlas", {.rename = rename}).value();
}

double Largest(const Tensor& tensor) {
  double largest = 0;
  for (float value : tensor.ToVector<float>()) largest = std::max(largest, std::abs<double>(value));
  return largest;
}
double Difference(const Tensor& a, const Tensor& b) {
  const std::vector<float> left = a.ToVector<float>();
  const std::vector<float> right = b.ToVector<float>();
  EXPECT_EQ(left.size(), right.size());
  double largest = 0;
  for (size_t i = 0; i < left.size(); ++i) {
    largest = std::max(largest, std::abs<double>(left[i] - right[i]));
  }
  return largest / Largest(a);
}

Tensor Logits(const LanguageModel& model) {
  const absl::StatusOr<Tensor> logits = model(kPrompt);
  EXPECT_THAT(logits, IsOk());
  return logits.ok() ? *logits : tensor({0.0});
}

Tensor Identity(int64_t size) {
  std::vector<float> values(static_cast<size_t>(size * size), 0.0f);
  for (int64_t i = 0; i < size; ++i) values[static_cast<size_t>(i * size + i)] = 1.0f;
  return Tensor::From(std::move(values), {size, size});
}

/// GPT-2's attention with its heads.
struct Attention : Module {
  explicit Attention(const Module& module) : Module(module) {}
  View heads() const {
    return View([m = *this] { return m["c_proj"].input(); },
                [](const Var& x) {
                  return x.unflatten(-1, {2, -1});
                },
                [](const Var& heads) { return heads.flatten(-2); });
  }
};

TEST(HandlesTest, AnEditDoesWhatTheSameStatementsDo) {
  const LanguageModel model = OpenAtlas({});
  const auto statements = [](const LanguageModel& of) {
    of["layers"][2].output()[{Slice(), -1}] *= 0.5;
    of["layers"][3]["mlp"].output() = 0.0;
  };
  const LanguageModel edited = model.Edit([&] { statements(model); }).value();
  Saved<> written;
  ASSERT_THAT(model.Trace(kPrompt,
                          [&] {
                            statements(model);
                            written = model.result().save();
                          }),
              IsOk());
  EXPECT_LT(Difference(Logits(edited), *written), 1e-6);
  EXPECT_GT(Difference(Logits(model), *written), 1e-3);

  // In each of several invokes, on its own rows.
  Saved<> first, second;
  ASSERT_THAT(edited.Trace([&](Tracer& trace) {
    trace.Invoke("A longer prompt than the other one is, by a few",
                 [&] { first = edited["layers"][3]["mlp"].output().save(); });
    trace.Invoke(kPrompt, [&] { second = edited.result().save(); });
  }),
              IsOk());
  EXPECT_EQ(Largest(*first), 0);
  EXPECT_LT(Difference(*second, *written), 1e-5);
}

TEST(HandlesTest, EditsStackAndGoThroughAFile) {
  const LanguageModel model = OpenAtlas({});
  LanguageModel edited =
      model.Edit([&] { model["layers"][0]["mlp"].output() = 0.0; }, {.name = "quiet"}).value();
  ASSERT_THAT(edited.EditInPlace([&] { model["layers"][0]["mlp"].output() += 1.0; }), IsOk());
  Saved<> mlp;
  ASSERT_THAT(edited.Trace(kPrompt, [&] { mlp = model["layers"][0]["mlp"].output().save(); }),
              IsOk());
  for (float value : mlp->ToVector<float>()) ASSERT_EQ(value, 1.0f);

  TempFolder folder;
  ASSERT_THAT(edited.ExportEdits("probe", folder.path()), IsOk());
  LanguageModel imported = OpenAtlas({});
  ASSERT_THAT(imported.ImportEdits("probe", folder.path()), IsOk());
  EXPECT_EQ(Difference(Logits(imported), Logits(edited)), 0);
  imported.ClearEdits();
  EXPECT_EQ(Difference(Logits(imported), Logits(model)), 0);
}

TEST(HandlesTest, OtherNamesGiveTheSameValues) {
  const LanguageModel model =
      OpenAtlas({{"transformer.h", "blocks"}, {"GPT2MLP", "ffn"}, {"attn.c_proj", "attn.o"}});
  Saved<> native, given, standard, head;
  ASSERT_THAT(model.Trace(kPrompt,
                          [&] {
                            native = model["transformer.h.1.mlp"].output().save();
                            given = model["blocks"][1]["ffn"].output().save();
                            standard = model.site("layers.1.mlp.output").save();
                            head = model["blocks"][1]["attn"]["o"].output().save();
                          }),
              IsOk());
  EXPECT_EQ(Difference(*native, *given), 0);
  EXPECT_EQ(Difference(*native, *standard), 0);
  EXPECT_EQ(head->shape(), native->shape());
}

TEST(HandlesTest, AViewWritesItsHeadBack) {
  const LanguageModel model = OpenAtlas({});
  const Attention attention(model["layers"][1]["attention"]);
  Saved<> before, after, heads;
  ASSERT_THAT(model.Trace(kPrompt,
                          [&] {
                            before = attention["c_proj"].input().save();
                            attention.heads()[{Slice(), Slice(), 1}] = 0.0;
                            attention.heads()[{Slice(), Slice(), 0}] *= 2.0;
                            after = attention["c_proj"].input().save();
                            heads = attention.heads().save();
                          }),
              IsOk());
  ASSERT_EQ(heads->shape(), (Shape{1, before->size(1), 2, before->size(2) / 2}));
  const int64_t half = before->size(2) / 2;
  for (int64_t token = 0; token < before->size(1); ++token) {
    for (int64_t i = 0; i < half; ++i) {
      ASSERT_FLOAT_EQ(after->at<float>({0, token, i}), 2 * before->at<float>({0, token, i}));
      ASSERT_EQ(after->at<float>({0, token, half + i}), 0.0f);
    }
  }
}

TEST(HandlesTest, AnAttachedAutoencoderIsSplicedInAndItsFeaturesReplaced) {
  LanguageModel model = OpenAtlas({});
  // The features are the positive and the negative parts, which add up to the input.
  const int64_t width = 128;
  const Tensor identity = Identity(width);
  const auto split = AttachedModule::Compose(
      "Split",
      {{"acts", AttachedModule::Activation("relu")}, {"rest", AttachedModule::Linear(identity)}},
      [](const AttachedModule& self, const Var& x) {
        return self["rest"](self["acts"](x) - (-x).relu());
      });
  ASSERT_THAT(model.Attach("transformer.h.2.split", split), IsOk());
  Saved<> spliced, ablated, acts, expected;
  const Module block = model["layers"][2];
  const auto splice = [&] { block.output() = block["split"](block.output()); };
  ASSERT_THAT(model.Trace(kPrompt,
                          [&] {
                            splice();
                            spliced = model.result().save();
                          }),
              IsOk());
  EXPECT_LT(Difference(Logits(model), *spliced), 1e-5);
  ASSERT_THAT(model.Trace(kPrompt,
                          [&] {
                            splice();
                            block["split"]["acts"].output()[{Ellipsis(), Slice(0, 64)}] = 0.0;
                            acts = block["split"]["acts"].output().save();
                            ablated = model.result().save();
                          }),
              IsOk());
  ASSERT_THAT(
      model.Trace(
          kPrompt,
          [&] {
            Var h = block.output();
            block.output()[{Ellipsis(), Slice(0, 64)}] = -(-h[{Ellipsis(), Slice(0, 64)}]).relu();
            expected = model.result().save();
          }),
      IsOk());
  EXPECT_LT(Difference(*ablated, *expected), 1e-5);
  EXPECT_GT(Difference(*ablated, *spliced), 1e-3);
  EXPECT_EQ(acts->at<float>({0, 0, 3}), 0.0f);
}

TEST(HandlesTest, AScanTellsWhatARunWouldGive) {
  const LanguageModel model = OpenAtlas({});
  const auto scan = model.Scan(kPrompt, [&] {
    model["layers"][0].output().save("h");
    model["layers"][0]["attention"].output().save("attention");
  });
  ASSERT_THAT(scan, IsOk());
  EXPECT_EQ(scan->Get("h")->shape, (Shape{1, 8, 128}));
  EXPECT_EQ(scan->Get("h")->dtype, kFloat32);
  EXPECT_EQ(scan->Get("h")->bytes, 8 * 128 * 4);
  EXPECT_EQ(scan->Get("attention")->dtype, std::nullopt) << scan->Get("attention")->type;
  EXPECT_EQ(scan->cost.tokens, 8);
}

}  // namespace
}  // namespace weft::testing
