#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/audit/audit_store.h"
#include "server/keys/key.h"

// API keys and audit entries, for people and scripts.

namespace weft::cli {

/// `3 GiB`, `1000 bytes`: exact, in the largest unit that is.
std::string Bytes(uint64_t bytes);
/// `good`, `good until 2026-01-31`, `expired ...`, `revoked ...`.
std::string StateOf(const keys::Key& key, absl::Time now);
/// `60 requests a minute`, `1 GiB of results a run`: what is bounded, none if nothing is.
std::vector<std::string> Describe(const keys::KeyLimits& limits);
/// A line for each property.
std::string Describe(const keys::Key& key, absl::Time now);
/// Lines of columns that stand below each other; the last column is as long as it wants.
std::string Table(const std::vector<std::vector<std::string>>& rows);
/// A line for each key, below a heading.
std::string DescribeKeys(const std::vector<keys::Key>& keys, absl::Time now);
/// A line for each entry, below a heading.
std::string DescribeAudit(const std::vector<audit::Entry>& entries);

nlohmann::json ToJson(const keys::KeyLimits& limits);
nlohmann::json ToJson(const keys::Key& key);
nlohmann::json ToJson(const audit::Entry& entry);

}  // namespace weft::cli
