#include <numeric>
#include <optional>
#include <thread>

#include "gmock/gmock.h"
#include "tests/e2e/service_fixture.h"
#include "weft/local.h"

namespace weft::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kTwentyMiB = int64_t{20} << 20;

Tensor Ramp(int64_t elements, float step = 1) {
  std::vector<float> values(static_cast<size_t>(elements));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 1000) * step;
  return Tensor::From(std::move(values));
}

/// The same client code, behind a connection and in process.
class BlobsTest : public ServiceTest {
 protected:
  void SetUp() override {
    ServiceTest::SetUp();
    key_ = NewKey();
    remote_ = Client(NewBackend(key_));
    local_ = MakeLocalClient({.models = {{"tiny", TinyFolder()}}, .threads = 1}).value();
  }

  void Both(const std::function<void(const Client&, const LanguageModel&)>& body) {
    body(*remote_, remote_->OpenLanguageModel("tiny").value());
    body(*local_, local_->OpenLanguageModel("tiny").value());
  }

  std::string key_;
  std::optional<Client> remote_, local_;
};

TEST_F(BlobsTest, AConstantOfTwentyMiBStandsInATrace) {
  const Tensor large = Ramp(kTwentyMiB / 4);
  double sum = 0;
  for (float value : large.span<float>()) sum += value;
  Both([&](const Client&, const LanguageModel& model) {
    for (int run = 0; run < 2; ++run) {
      Saved<Tensor> total, last;
      auto ran = model.Trace({5, 11, 17}, [&] {
        total = weft::constant(large).to(kFloat64).sum().save();
        last = model["lm_head"].output()[{0, -1}].save();
      });
      ASSERT_THAT(ran, IsOk());
      EXPECT_DOUBLE_EQ(total->item(), sum);
      EXPECT_EQ(last->numel(), 97);
    }
    auto report = model.Validate({5}, [&] { weft::constant(large).sum().save(); });
    ASSERT_THAT(report, IsOk());
    // What it takes counts like any other value.
    EXPECT_GE(report->estimate.peak_bytes, static_cast<uint64_t>(kTwentyMiB));
  });
  // It went to the server once.
  EXPECT_EQ(blobs_->usage().blobs, 1);
  EXPECT_EQ(remote_->ListBlobs()->blobs.size(), 1);
}

TEST_F(BlobsTest, LimitsHoldForBlobsAsForOtherValues) {
  StartService({.value_elements = 1000});
  remote_ = Client(NewBackend(key_));
  const LanguageModel model = remote_->OpenLanguageModel("tiny").value();
  const Blob blob = remote_->Upload(Ramp(1001)).value();
  EXPECT_THAT(model.Trace({5}, [&] { weft::constant(blob).sum().save(); }).status(),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("1001")));
}

TEST_F(BlobsTest, BytesOfBlobsAreNoneOfTheRequestsConstants) {
  StartService({.constant_bytes = 1000});
  remote_ = Client(NewBackend(key_));
  const LanguageModel model = remote_->OpenLanguageModel("tiny").value();
  const Blob blob = remote_->Upload(Ramp(1000)).value();
  EXPECT_THAT(model.Trace({5}, [&] { weft::constant(blob).sum().save(); }), IsOk());
  EXPECT_THAT(model.Trace({5}, [&] { weft::constant(Ramp(1000)).sum().save(); }).status(),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("constants take")));
}

TEST_F(BlobsTest, AnUploadedTensorIsAnOperand) {
  Both([&](const Client& client, const LanguageModel& model) {
    const Tensor direction = Ramp(32, 0.01F);
    const Blob blob = client.Upload(direction).value();
    EXPECT_EQ(blob.shape(), direction.shape());
    EXPECT_EQ(blob.hash().size(), 64);
    Saved<Tensor> with_blob, with_tensor;
    const auto steer = [&](const Operand& value, Saved<Tensor>* logits) {
      ASSERT_THAT(model.Trace({5, 11, 17},
                              [&] {
                                Var h = model["transformer.h"][0].output();
                                h[{Slice(), -1}] += value;
                                *logits = model["lm_head"].output().save();
                              }),
                  IsOk());
    };
    steer(blob, &with_blob);
    steer(direction, &with_tensor);
    EXPECT_LT(RelativeDifference(*with_blob, *with_tensor), 1e-6);
    // As an argument, a write, and an index as well.
    const Blob ids = client.Upload(tensor({2, 0})).value();
    Saved<Tensor> picked, written;
    ASSERT_THAT(model.Trace({5, 11, 17},
                            [&] {
                              Var h = model["transformer.h"][0].output();
                              picked = op("aten::index_select", {h, 1, ids}).save();
                              h[{0, -1}] = blob;
                              written = h[{0, -1}].save();
                            }),
                IsOk());
    EXPECT_EQ(picked->shape(), (Shape{1, 2, 32}));
    EXPECT_TRUE(Identical(*written, direction));
  });
}

// The bytes are those of the file, mapped for reading: a write would end the server.
TEST_F(BlobsTest, ChangesInPlaceMakeANewVersionOfABlob) {
  const Blob blob = remote_->Upload(tensor({1.0, 2.0, 3.0})).value();
  for (const char* change :
       {"aten::add_(%b, 1.0)", "aten::mul_(%b[:2], 2.0)", "%b[0] = 5.0", "aten::zero_(%b)",
        "aten::copy_(%b, %b)", "aten::relu_(aten::view(%b, [3]))"}) {
    const Outcome outcome = RunOn(*remote_->backend(),
                                  absl::StrCat("invoke [5] { %b = ", blob.ToString(),
                                               " save before = %b ", change, " save after = %b }"));
    ASSERT_THAT(outcome.status, IsOk()) << change;
    EXPECT_EQ(outcome.tensor("before").ToVector<float>(), (std::vector<float>{1, 2, 3})) << change;
  }
  const Outcome outcome = RunOn(
      *remote_->backend(),
      absl::StrCat("invoke [5] { %b = ", blob.ToString(), " aten::add_(%b, 1.0) save b = %b }"));
  EXPECT_EQ(outcome.tensor("b").ToVector<float>(), (std::vector<float>{2, 3, 4}));
  EXPECT_EQ(blobs_->usage().blobs, 1);
}

TEST_F(BlobsTest, GradientsAreOfRunsWithBlobsToo) {
  Both([&](const Client& client, const LanguageModel& model) {
    const Blob direction = client.Upload(Ramp(32, 0.01F)).value();
    Saved<Tensor> gradient;
    ASSERT_THAT(model.Trace({5, 11, 17},
                            [&] {
                              Var h = model["transformer.h"][0].output();
                              Var loss = (h[{0, -1}] * direction).sum();
                              loss.backward([&] { gradient = h.grad().save(); });
                            }),
                IsOk());
    EXPECT_NEAR(gradient->at<float>({0, 2, 31}), 0.31, 1e-5);
    EXPECT_EQ(gradient->at<float>({0, 1, 31}), 0);
  });
}

TEST_F(BlobsTest, WhatOneRunKeepsTheNextOneUses) {
  Both([&](const Client& client, const LanguageModel& model) {
    Saved<Blob> hidden;
    Saved<Tensor> sent;
    auto run = model.Trace({5, 11, 17}, [&] {
      Var h = model["transformer.h"][1].output();
      hidden = h.keep("hidden");
      sent = h.save("sent");
    });
    ASSERT_THAT(run, IsOk());
    ASSERT_THAT(hidden.status(), IsOk());
    EXPECT_EQ(hidden->shape(), (Shape{1, 3, 32}));
    EXPECT_EQ(hidden->dtype(), kFloat32);
    EXPECT_EQ(client.ListBlobs()->blobs.size(), 1);

    Saved<Tensor> back, logits, patched;
    ASSERT_THAT(model.Trace({5, 11, 17}, [&] { logits = model["lm_head"].output().save(); }),
                IsOk());
    run = model.Trace({40, 41, 42}, [&] {
      back = weft::constant(*hidden).save();
      model["transformer.h"][1].output() = *hidden;
      patched = model["lm_head"].output().save();
    });
    ASSERT_THAT(run, IsOk());
    EXPECT_TRUE(Identical(*back, *sent));
    EXPECT_LT(RelativeDifference(*patched, *logits), 1e-6);

    ASSERT_THAT(client.DeleteBlob(*hidden), IsOk());
    EXPECT_THAT(model.Trace({5}, [&] { weft::constant(*hidden).save(); }).status(),
                StatusIs(absl::StatusCode::kNotFound, HasSubstr(hidden->hash())));
    EXPECT_THAT(client.DeleteBlob(*hidden),
                StatusIs(absl::StatusCode::kNotFound, HasSubstr("blob")));
  });
}

TEST_F(BlobsTest, AStructureIsKeptWithABlobForEachTensor) {
  Both([&](const Client&, const LanguageModel& model) {
    Saved<Value> both;
    ASSERT_THAT(model.Trace({5, 11},
                            [&] {
                              Var h = model["transformer.h"][0].output();
                              both = make_tuple({h, h.sum()}).keep();
                            }),
                IsOk());
    ASSERT_THAT(both.status(), IsOk());
    ASSERT_EQ(both->size(), 2);
    const Blob* first = (*both)[0].FindAs<Blob>();
    ASSERT_NE(first, nullptr) << both->Type();
    EXPECT_EQ(first->shape(), (Shape{1, 2, 32}));
    EXPECT_NE((*both)[1].FindAs<Blob>(), nullptr);
  });
}

TEST_F(BlobsTest, EachStepsValueIsKept) {
  const Program program = Program::Parse(
                              "generate max_new_tokens=3 invoke [5, 11] { steps [:] { "
                              "save h = read transformer.h.0.output keep } }")
                              .value();
  Both([&](const Client& client, const LanguageModel& model) {
    auto run = model.Run(program);
    ASSERT_THAT(run, IsOk());
    const Value& steps = run->saves.at("h");
    ASSERT_EQ(steps.size(), 3) << steps.Type();
    for (size_t step = 0; step < 3; ++step) {
      const Blob* blob = steps[step].FindAs<Blob>();
      ASSERT_NE(blob, nullptr) << steps.Type();
      EXPECT_EQ(blob->shape(), (Shape{1, step == 0 ? 2 : 1, 32}));
    }
    EXPECT_EQ(client.ListBlobs()->blobs.size(), 3);
  });
}

TEST_F(BlobsTest, AnotherKeySeesNone) {
  const Blob blob = remote_->Upload(Ramp(100)).value();
  const Client other(NewBackend(NewKey()));
  EXPECT_THAT(other.ListBlobs()->blobs, IsEmpty());
  EXPECT_THAT(other.DeleteBlob(blob), StatusIs(absl::StatusCode::kNotFound, HasSubstr("no blob")));
  const LanguageModel model = other.OpenLanguageModel("tiny").value();
  EXPECT_THAT(model.Trace({5}, [&] { weft::constant(blob).save(); }).status(),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no blob")));
}

TEST_F(BlobsTest, AConstantThatIsGoneFromTheServerIsUploadedOnceMore) {
  const LanguageModel model = remote_->OpenLanguageModel("tiny").value();
  const Tensor large = Ramp(100000);
  const auto trace = [&] {
    Saved<Tensor> last;
    auto run = model.Trace({5}, [&] { last = weft::constant(large)[-1].save(); });
    EXPECT_THAT(run, IsOk());
    return run.ok() ? last->item<float>() : -1;
  };
  EXPECT_EQ(trace(), 999);
  const Client same_key(NewBackend(key_));
  ASSERT_THAT(same_key.DeleteBlob(same_key.ListBlobs()->blobs.at(0).hash), IsOk());
  EXPECT_EQ(trace(), 999);
  EXPECT_EQ(blobs_->usage().blobs, 1);
}

TEST_F(BlobsTest, WhatARunUsesIsNotDeletedUnderIt) {
  const Blob blob = remote_->Upload(Ramp(100000)).value();
  const LanguageModel model = remote_->OpenLanguageModel("tiny").value();
  gate_.Close();
  Saved<Tensor> last;
  absl::Status status;
  std::thread run(
      [&] { status = model.Trace({5}, [&] { last = weft::constant(blob)[-1].save(); }).status(); });
  ASSERT_TRUE(gate_.AwaitHeld());
  EXPECT_THAT(remote_->DeleteBlob(blob),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("a run uses")));
  gate_.Open();
  run.join();
  ASSERT_THAT(status, IsOk());
  EXPECT_EQ(last->item<float>(), 999);
  EXPECT_THAT(remote_->DeleteBlob(blob), IsOk());
}

TEST_F(BlobsTest, AKeyWithoutRoomLearnsWhyAValueIsMissing) {
  keys::KeyStore::Request request;
  request.limits.blob_bytes = 1000;
  const Client poor(NewBackend(keys_->Create(request)->secret));
  const LanguageModel model = poor.OpenLanguageModel("tiny").value();
  Saved<Blob> kept;
  Saved<Tensor> sent;
  auto run = model.Trace({5, 11, 17}, [&] {
    Var h = model["transformer.h"][1].output();
    kept = h.keep();
    sent = h.save();
  });
  ASSERT_THAT(run, IsOk());
  EXPECT_THAT(kept.status(),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("blob_bytes")));
  EXPECT_THAT(sent.status(), IsOk());
}

TEST_F(BlobsTest, LargeConstantsOfATextAreUploadedToo) {
  std::string text = "invoke [5, 11] { %c = tensor(int64, [70000], [";
  for (int i = 0; i < 70000; ++i) absl::StrAppend(&text, i, ", ");
  text += "]) save last = %c[-1] }";
  const Outcome outcome = RunOn(*remote_->backend(), text);
  ASSERT_THAT(outcome.status, IsOk());
  EXPECT_EQ(outcome.tensor("last").item<int64_t>(), 69999);
  EXPECT_EQ(blobs_->usage().blobs, 1);
}

TEST_F(BlobsTest, TextNamesBlobsAndKeepsValues) {
  Both([&](const Client& client, const LanguageModel&) {
    const Blob blob = client.Upload(tensor({1.0, 2.0, 3.0})).value();
    const Outcome outcome =
        RunOn(*client.backend(),
              absl::StrCat("invoke [5] { %b = ", blob.ToString(),
                           " %s = aten::mul(%b, 2.0) save doubled = %s save stays = %s keep }"));
    ASSERT_THAT(outcome.status, IsOk());
    EXPECT_EQ(outcome.tensor("doubled").ToVector<float>(), (std::vector<float>{2, 4, 6}));
    const Blob* stays = outcome.saves.at("stays").FindAs<Blob>();
    ASSERT_NE(stays, nullptr);
    EXPECT_EQ(stays->shape(), (Shape{3}));
  });
}

}  // namespace
}  // namespace weft::testing
