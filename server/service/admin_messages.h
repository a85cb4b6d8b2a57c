#pragma once

#include "absl/status/statusor.h"
#include "server/audit/audit_store.h"
#include "server/keys/key.h"
#include "server/keys/key_store.h"
#include "weft/v1/admin.pb.h"

// Keys and audit entries as messages and back, for the server and the command line.

namespace weft::admin {

void EncodeKeyLimits(const keys::KeyLimits& limits, v1::KeyLimits* message);
keys::KeyLimits DecodeKeyLimits(const v1::KeyLimits& message);

void EncodeKey(const keys::Key& key, v1::ApiKey* message);
keys::Key DecodeKey(const v1::ApiKey& message);

/// What a key shall be: label, scopes, models, expiry and limits. kInvalidArgument for a negative
/// expiry.
absl::StatusOr<keys::KeyStore::Request> DecodeKeyRequest(const v1::ApiKey& message);

void EncodeEntry(const audit::Entry& entry, v1::AuditEntry* message);
audit::Entry DecodeEntry(const v1::AuditEntry& message);

}  // namespace weft::admin
