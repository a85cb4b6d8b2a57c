#include "engine/text/token_cache.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/text/tokenizer.h"

namespace weft::text {
namespace {

std::shared_ptr<const Tokenizer> Load() {
  return Tokenizer::LoadTokenizer(WEFT_SOURCE_DIR "/tests/text/tokenizer.json").value();
}

constexpr char kText[] = "The Eiffel Tower is in the city of Paris";

TEST(TokenCacheTest, FindsWhatTheTokenizerSays) {
  const std::shared_ptr<const Tokenizer> tokenizer = Load();
  TokenCache cache(tokenizer.get());
  for (const bool special : {false, true, false, true}) {
    EXPECT_EQ(cache.Encode("key", kText, special).value(),
              tokenizer->Encode(kText, special).value());
  }
  EXPECT_EQ(cache.hits(), 2u);
}

TEST(TokenCacheTest, AnOwnerFindsTheirOwnAlone) {
  const std::shared_ptr<const Tokenizer> tokenizer = Load();
  TokenCache cache(tokenizer.get());
  for (const char* owner : {"one", "other", ""}) {
    EXPECT_EQ(cache.Encode(owner, kText, false).value(), tokenizer->Encode(kText, false).value());
  }
  EXPECT_EQ(cache.hits(), 0u);
  // A text is no part of an owner's name, nor the other way round.
  const std::string nul(1, '\0');
  EXPECT_TRUE(cache.Encode("", nul + "sone", false).ok());
  EXPECT_TRUE(cache.Encode("one", "", true).ok());
  EXPECT_EQ(cache.hits(), 0u);
}

TEST(TokenCacheTest, StaysWithinItsBound) {
  const std::shared_ptr<const Tokenizer> tokenizer = Load();
  TokenCache cache(tokenizer.get(), /*max_bytes=*/4096);
  const std::string large(600, 'a');
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(cache.Encode("key", large, false).ok());
  EXPECT_EQ(cache.hits(), 0u) << "more than an eighth of all is not kept";
  EXPECT_TRUE(cache.Encode("key", kText, false).ok());
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(cache.Encode("key", std::to_string(i), false).ok());
  EXPECT_EQ(cache.Encode("key", kText, false).value(), tokenizer->Encode(kText, false).value());
  EXPECT_EQ(cache.hits(), 0u) << "everything was dropped meanwhile";
}

TEST(TokenCacheTest, ErrorsAreNotKept) {
  const std::shared_ptr<const Tokenizer> tokenizer = Load();
  TokenCache cache(tokenizer.get());
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(cache.Encode("key", "\xff", false).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(cache.hits(), 0u);
}

TEST(TokenCacheTest, ServesManyThreads) {
  const std::shared_ptr<const Tokenizer> tokenizer = Load();
  TokenCache cache(tokenizer.get(), /*max_bytes=*/4096);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const std::string text = std::to_string(i % 40);
        EXPECT_EQ(cache.Encode(std::to_string(t % 2), text, false).value(),
                  tokenizer->Encode(text, false).value());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace weft::text
