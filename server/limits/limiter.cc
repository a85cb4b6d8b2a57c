#include "server/limits/limiter.h"

#include <cmath>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "engine/graph/error.h"

namespace weft::limits {
namespace {

constexpr char kLimitTypeUrl[] = "type.weft.v1/limit";

// There is no knowing when a run ends.
constexpr absl::Duration kUntilARunEnds = absl::Seconds(1);

absl::Status Refuse(const std::string& limit, const std::string& message,
                    absl::StatusCode code = absl::StatusCode::kResourceExhausted,
                    absl::Duration retry_after = absl::ZeroDuration()) {
  graph::Error error;
  error.code = code;
  error.message = message;
  error.retry_after_seconds = absl::ToDoubleSeconds(retry_after);
  absl::Status status = graph::ToStatus(error);
  if (!limit.empty()) status.SetPayload(kLimitTypeUrl, absl::Cord(limit));
  return status;
}

std::string InSeconds(absl::Duration wait) {
  return absl::StrCat("try again in ", std::ceil(absl::ToDoubleSeconds(wait)), " s");
}

}  // namespace

void Slot::Release() {
  if (Limiter* limiter = std::exchange(limiter_, nullptr)) limiter->End(key_id_, kind_);
}

absl::Status Limiter::TakeRequest(const keys::Key& key) {
  const uint32_t limit = key.limits.requests_per_minute;
  if (limit == 0) return absl::OkStatus();
  absl::Duration wait;
  {
    absl::MutexLock lock(&mutex_);
    wait = states_[key.id].requests.Take(1, limit, now_());
  }
  if (wait == absl::ZeroDuration()) return absl::OkStatus();
  return Refuse(
      "requests_per_minute",
      absl::StrCat(keys::Describe(key), " may make ", limit,
                   " requests a minute (its limit requests_per_minute); ", InSeconds(wait)),
      absl::StatusCode::kResourceExhausted, wait);
}

absl::StatusOr<RunSlot> Limiter::StartRun(const keys::Key& key) {
  if (absl::Status tokens = TakeTokens(key, 0); !tokens.ok()) return tokens;
  const uint32_t limit = key.limits.concurrent_runs;
  if (limit == 0) return RunSlot();
  {
    absl::MutexLock lock(&mutex_);
    uint32_t& runs = states_[key.id].runs;
    if (runs < limit) {
      ++runs;
      return RunSlot(this, key.id, Slot::Kind::kRun);
    }
  }
  return Refuse("concurrent_runs",
                absl::StrCat(keys::Describe(key), " may have ", limit,
                             " runs at once, waiting ones included (its limit concurrent_runs); "
                             "try again when one of them has ended"),
                absl::StatusCode::kResourceExhausted, kUntilARunEnds);
}

absl::Status Limiter::TakeTokens(const keys::Key& key, uint64_t tokens) {
  const uint64_t limit = key.limits.tokens_per_minute;
  if (limit == 0) return absl::OkStatus();
  absl::Duration wait;
  {
    absl::MutexLock lock(&mutex_);
    Bucket& bucket = states_[key.id].tokens;
    const auto rate = static_cast<double>(limit);
    // Before a run is planned: is there one token?
    wait = tokens == 0 ? bucket.Wait(1, rate, now_())
                       : bucket.Take(static_cast<double>(tokens), rate, now_());
  }
  if (wait == absl::ZeroDuration()) return absl::OkStatus();
  const std::string may = absl::StrCat(keys::Describe(key), " may take ", limit,
                                       " tokens a minute (its limit tokens_per_minute)");
  if (wait == absl::InfiniteDuration()) {
    return Refuse("tokens_per_minute", absl::StrCat(may, ", and this run alone has ", tokens,
                                                    ": give it fewer or shorter prompts"));
  }
  return Refuse("tokens_per_minute", absl::StrCat(may, "; ", InSeconds(wait)),
                absl::StatusCode::kResourceExhausted, wait);
}

void Limiter::GiveTokens(const keys::Key& key, uint64_t tokens) {
  if (key.limits.tokens_per_minute == 0) return;
  absl::MutexLock lock(&mutex_);
  states_[key.id].tokens.Give(static_cast<double>(tokens));
}

absl::StatusOr<UploadSlot> Limiter::StartUpload(const keys::Key& key) {
  bool own;
  {
    absl::MutexLock lock(&mutex_);
    uint32_t& uploads = states_[key.id].uploads;
    own = uploads >= kUploadsOfAKey;
    if (!own && uploads_ < kUploadsOfAll) {
      ++uploads;
      ++uploads_;
      return UploadSlot(this, key.id, Slot::Kind::kUpload);
    }
  }
  return Refuse("",
                own ? absl::StrCat(keys::Describe(key), " has ", kUploadsOfAKey,
                                   " uploads at once already; try again when one has ended")
                    : absl::StrCat("the server has ", kUploadsOfAll,
                                   " uploads at once already; try again when one has ended"),
                absl::StatusCode::kResourceExhausted, kUntilARunEnds);
}

void Limiter::End(const std::string& key_id, Slot::Kind kind) {
  absl::MutexLock lock(&mutex_);
  State& state = states_[key_id];
  if (kind == Slot::Kind::kRun) {
    --state.runs;
  } else {
    --state.uploads;
    --uploads_;
  }
}

absl::Status CheckResultBytes(const keys::Key& key, uint64_t bytes) {
  const uint64_t limit = key.limits.result_bytes;
  if (limit == 0 || bytes <= limit) return absl::OkStatus();
  return Refuse(
      "result_bytes",
      absl::StrCat("the run's results have ", bytes, " bytes; ", keys::Describe(key), " may have ",
                   limit, " bytes of results of one run (its limit result_bytes): save less"));
}

absl::Status CheckGeneratedTokens(const keys::Key& key, uint64_t tokens) {
  const uint32_t limit = key.limits.generated_tokens;
  if (limit == 0 || tokens <= limit) return absl::OkStatus();
  return Refuse(
      "generated_tokens",
      absl::StrCat("the program generates up to ", tokens, " new tokens; ", keys::Describe(key),
                   " may generate ", limit,
                   " in one generation (its limit generated_tokens): lower max_new_tokens"));
}

absl::Status RunTooLong(const keys::Key& key) {
  return Refuse(
      "run_seconds",
      absl::StrCat("the run took longer than the ", key.limits.run_seconds, " s that ",
                   keys::Describe(key), " may run (its limit run_seconds): split the program"),
      absl::StatusCode::kDeadlineExceeded);
}

absl::Status BlobsFull(const keys::Key& key, uint64_t quota, uint64_t bytes,
                       absl::Duration retry_after) {
  const std::string may =
      absl::StrCat("a blob of ", bytes, " bytes does not fit: ", keys::Describe(key), " may have ",
                   quota, " bytes of blobs (its limit blob_bytes)");
  if (retry_after == absl::ZeroDuration()) return Refuse("blob_bytes", may);
  return Refuse("blob_bytes",
                absl::StrCat(may, ", each of which counts as at least 64 KiB; delete some, or ",
                             InSeconds(retry_after), ", when some will have expired"),
                absl::StatusCode::kResourceExhausted, retry_after);
}

absl::Status ServerBlobsFull(uint64_t most, uint64_t bytes, absl::Duration retry_after) {
  return Refuse("",
                absl::StrCat("a blob of ", bytes, " bytes does not fit: all keys' blobs may have ",
                             most, " bytes on this server (--max-blob-bytes); ",
                             InSeconds(retry_after), ", when some will have expired"),
                absl::StatusCode::kResourceExhausted, retry_after);
}

std::string NameOf(const absl::Status& status) {
  const absl::optional<absl::Cord> name = status.GetPayload(kLimitTypeUrl);
  return name.has_value() ? std::string(*name) : std::string();
}

}  // namespace weft::limits
