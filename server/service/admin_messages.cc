#include "server/service/admin_messages.h"

#include "absl/time/time.h"

namespace weft::admin {
namespace {

int64_t SecondsOr0(absl::Time time) {
  return time == absl::InfiniteFuture() ? 0 : absl::ToUnixSeconds(time);
}

absl::Time TimeOrNever(int64_t seconds) {
  return seconds == 0 ? absl::InfiniteFuture() : absl::FromUnixSeconds(seconds);
}

}  // namespace

void EncodeKeyLimits(const keys::KeyLimits& limits, v1::KeyLimits* message) {
  message->set_requests_per_minute(limits.requests_per_minute);
  message->set_tokens_per_minute(limits.tokens_per_minute);
  message->set_concurrent_runs(limits.concurrent_runs);
  message->set_result_bytes(limits.result_bytes);
  message->set_run_seconds(limits.run_seconds);
  message->set_generated_tokens(limits.generated_tokens);
  message->set_blob_bytes(limits.blob_bytes);
}

keys::KeyLimits DecodeKeyLimits(const v1::KeyLimits& message) {
  keys::KeyLimits limits;
  limits.requests_per_minute = message.requests_per_minute();
  limits.tokens_per_minute = message.tokens_per_minute();
  limits.concurrent_runs = message.concurrent_runs();
  limits.result_bytes = message.result_bytes();
  limits.run_seconds = message.run_seconds();
  limits.generated_tokens = message.generated_tokens();
  limits.blob_bytes = message.blob_bytes();
  return limits;
}

void EncodeKey(const keys::Key& key, v1::ApiKey* message) {
  message->set_id(key.id);
  message->set_label(key.label);
  message->mutable_scopes()->Assign(key.scopes.begin(), key.scopes.end());
  message->mutable_models()->Assign(key.models.begin(), key.models.end());
  message->set_created_unix_seconds(absl::ToUnixSeconds(key.created));
  message->set_expires_unix_seconds(SecondsOr0(key.expires));
  message->set_revoked_unix_seconds(SecondsOr0(key.revoked));
  EncodeKeyLimits(key.limits, message->mutable_limits());
}

keys::Key DecodeKey(const v1::ApiKey& message) {
  keys::Key key;
  key.id = message.id();
  key.label = message.label();
  key.scopes.assign(message.scopes().begin(), message.scopes().end());
  key.models.assign(message.models().begin(), message.models().end());
  key.created = absl::FromUnixSeconds(message.created_unix_seconds());
  key.expires = TimeOrNever(message.expires_unix_seconds());
  key.revoked = TimeOrNever(message.revoked_unix_seconds());
  key.limits = DecodeKeyLimits(message.limits());
  return key;
}

absl::StatusOr<keys::KeyStore::Request> DecodeKeyRequest(const v1::ApiKey& message) {
  if (message.expires_unix_seconds() < 0) {
    return absl::InvalidArgumentError("key.expires_unix_seconds is a Unix time, or 0 for never");
  }
  keys::Key key = DecodeKey(message);
  return keys::KeyStore::Request{.label = std::move(key.label),
                                 .scopes = std::move(key.scopes),
                                 .models = std::move(key.models),
                                 .expires = key.expires,
                                 .limits = key.limits};
}

void EncodeEntry(const audit::Entry& entry, v1::AuditEntry* message) {
  message->set_unix_seconds(absl::ToDoubleSeconds(entry.time - absl::UnixEpoch()));
  message->set_key_id(entry.key_id);
  message->set_peer(entry.peer);
  message->set_method(entry.method);
  message->set_model(entry.model);
  message->set_job_id(entry.job_id);
  message->set_trace_id(entry.trace_id);
  message->set_subject(entry.subject);
  message->set_code(entry.code);
  message->set_seconds(entry.seconds);
  message->set_tokens(entry.tokens);
  message->set_result_bytes(entry.result_bytes);
}

audit::Entry DecodeEntry(const v1::AuditEntry& message) {
  audit::Entry entry;
  entry.time = absl::UnixEpoch() + absl::Seconds(message.unix_seconds());
  entry.key_id = message.key_id();
  entry.peer = message.peer();
  entry.method = message.method();
  entry.model = message.model();
  entry.job_id = message.job_id();
  entry.trace_id = message.trace_id();
  entry.subject = message.subject();
  entry.code = message.code();
  entry.seconds = message.seconds();
  entry.tokens = message.tokens();
  entry.result_bytes = message.result_bytes();
  return entry;
}

}  // namespace weft::admin
