#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "tests/e2e/service_fixture.h"
#include "tests/support/chat_model.h"
#include "weft/local.h"

namespace weft::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Chats, from the client's C++ to the numbers: behind a connection and in process.
class ChatsTest : public ServiceTest {
 protected:
  void SetUp() override {
    ServiceTest::SetUp();
    ASSERT_THAT(engine_->LoadModel("chatty", chatty_.path()), IsOk());
    key_ = NewKey();
    remote_ = Client(NewBackend(key_)).OpenLanguageModel("chatty").value();
    local_ = MakeLocalClient({.models = {{"chatty", chatty_.path()}}, .threads = 1})
                 .value()
                 .OpenLanguageModel("chatty")
                 .value();
  }

  void Both(const std::function<void(const LanguageModel&)>& body) {
    {
      SCOPED_TRACE("remote");
      body(*remote_);
    }
    SCOPED_TRACE("local");
    body(*local_);
  }

  static Tensor IdsOf(const LanguageModel& model, const Input& input) {
    Saved<Tensor> ids;
    EXPECT_THAT(model.Trace(input, [&] { ids = model.ids().save(); }), IsOk());
    return ids.has_value() ? *ids : Tensor();
  }

  const ChatModel chatty_;
  std::string key_;
  std::optional<LanguageModel> remote_, local_;
};

TEST_F(ChatsTest, AChatIsItsTemplatesTextWithoutSpecialTokensTwice) {
  Both([](const LanguageModel& model) {
    // The tokenizer puts the special token before what is a prompt.
    const std::vector<int64_t> expected = model.Encode("<user>Hi|<assistant>").value();
    EXPECT_EQ(expected[0], 96);
    EXPECT_EQ(IdsOf(model, Chat{{"user", "Hi"}}).ToVector<int64_t>(), expected);
    EXPECT_EQ(
        IdsOf(model, Input(Chat{{"user", "Hi"}}).ending(ChatEnd::kClosed)).ToVector<int64_t>(),
        model.Encode("<user>Hi|").value());
    EXPECT_EQ(IdsOf(model, Chat{{"system", "b"}, {"user", "Hi"}, {"assistant", "No"}})
                  .ToVector<int64_t>(),
              model.Encode("<system>b|<user>Hi|<assistant>No").value());
  });
}

TEST_F(ChatsTest, SeveralChatsAreRowsPaddedAsPromptsAre) {
  Both([](const LanguageModel& model) {
    Saved<Tensor> mask, logits, first, second;
    const Chat shorter{{"user", "Hi"}}, longer{{"user", "Hello you"}};
    ASSERT_THAT(model.Trace([&](Tracer& trace) {
      trace.Invoke(Input::Chats{shorter, longer}, [&] {
        mask = model.mask().save();
        logits = model["lm_head"].output()[{Slice(), -1}].save();
      });
      trace.Invoke(shorter, [&] { first = model["lm_head"].output()[{Slice(), -1}].save(); });
      trace.Invoke("<user>Hello you|<assistant>", [&] {
        second = model["lm_head"].output()[{Slice(), -1}].save();
      });
    }),
                IsOk());
    EXPECT_EQ(mask->size(0), 2);
    EXPECT_EQ((*mask)[0].ToVector<int64_t>()[0], 0);
    EXPECT_EQ((*mask)[1].ToVector<int64_t>()[0], 1);
    EXPECT_LT(RelativeDifference((*logits)[0], (*first)[0]), 1e-5);
    EXPECT_LT(RelativeDifference((*logits)[1], (*second)[0]), 1e-5);
  });
}

TEST_F(ChatsTest, GenerationsAnswerAChat) {
  Both([](const LanguageModel& model) {
    Saved<Tensor> answered, of_text;
    const GenerateOptions options{.max_new_tokens = 6};
    ASSERT_THAT(
        model.Generate(Chat{{"user", "Hi"}}, options, [&] { answered = model.result().save(); }),
        IsOk());
    ASSERT_THAT(
        model.Generate("<user>Hi|<assistant>", options, [&] { of_text = model.result().save(); }),
        IsOk());
    EXPECT_EQ(answered->ToVector<int64_t>(), of_text->ToVector<int64_t>());
    EXPECT_GT(answered->size(1),
              static_cast<int64_t>(model.Encode("<user>Hi|<assistant>")->size()));
    EXPECT_THAT(model.Decode(*answered).value(), HasSubstr("<|endoftext|><user>"));
    EXPECT_THAT(model.Decode(*answered, {.skip_special_tokens = true}).value(),
                ::testing::StartsWith("<user>Hi|<assistant>"));
  });
}

TEST_F(ChatsTest, TheTextFormHasThem) {
  const auto backend = NewBackend(key_);
  const Outcome outcome =
      RunOn(*backend, R"(invoke chat [["user": "Hi"], ["user": "Ho"]] generation_prompt {
        save ids = read ids
      })",
            {}, "chatty");
  ASSERT_THAT(outcome.status, IsOk());
  EXPECT_EQ(outcome.tensor("ids")[1].ToVector<int64_t>(),
            remote_->Encode("<user>Ho|<assistant>").value());
}

TEST_F(ChatsTest, WhatCannotBeUsedIsRefusedWithTheWayOut) {
  Both([](const LanguageModel& model) {
    EXPECT_THAT(model.Trace(Chat{{"critic", "Well"}}, [] {}).status(),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("no critics"), HasSubstr("invoke chat"))));
    EXPECT_THAT(model.Trace(Chat{{"user", std::string(100, 'a')}}, [] {}).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("shorten it")));
    EXPECT_THAT(model.Trace(Chat{{"user", std::string(1 << 20, 'a')}}, [] {}).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("bytes")));
  });
  EXPECT_THAT(local_->Trace(Chat{{"user", "a\xFF"}}, [] {}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("UTF-8")));
  const LanguageModel tiny = Client(NewBackend(key_)).OpenLanguageModel("tiny").value();
  EXPECT_THAT(tiny.Trace(Chat{{"user", "Hi"}}, [] {}).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("no chat template"), HasSubstr("chat_template.jinja"))));
}

TEST_F(ChatsTest, AModelWithABrokenTemplateIsHostedAllTheSame) {
  const ChatModel broken("{% if %}");
  ASSERT_THAT(engine_->LoadModel("broken", broken.path()), IsOk());
  const LanguageModel model = Client(NewBackend(key_)).OpenLanguageModel("broken").value();
  EXPECT_THAT(model.Trace("Hi", [] {}), IsOk());
  EXPECT_THAT(model.Trace(Chat{{"user", "Hi"}}, [] {}).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("cannot be used")));
}

}  // namespace
}  // namespace weft::testing
