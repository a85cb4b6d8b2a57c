#include "client/cli/key_text.h"

#include <algorithm>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace weft::cli {
namespace {

using nlohmann::json;

std::string Date(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d", time, absl::UTCTimeZone());
}

json TimeOrNull(absl::Time time) {
  if (time == absl::InfiniteFuture()) return nullptr;
  return absl::FormatTime(absl::RFC3339_sec, time, absl::UTCTimeZone());
}

/// What came with one's own terminal's control bytes must not reach it.
std::string Printable(std::string text) {
  std::replace_if(
      text.begin(), text.end(),
      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return text;
}

std::string OrDash(const std::string& text) { return text.empty() ? "-" : Printable(text); }

}  // namespace

std::string Bytes(uint64_t bytes) {
  constexpr const char* kUnits[] = {" bytes", " KiB", " MiB", " GiB", " TiB"};
  size_t unit = 0;
  while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < std::size(kUnits)) {
    bytes /= 1024;
    ++unit;
  }
  return absl::StrCat(bytes, kUnits[unit]);
}

std::string StateOf(const keys::Key& key, absl::Time now) {
  if (key.revoked != absl::InfiniteFuture()) return absl::StrCat("revoked ", Date(key.revoked));
  if (key.expires <= now) return absl::StrCat("expired ", Date(key.expires));
  if (key.expires == absl::InfiniteFuture()) return "good";
  return absl::StrCat("good until ", Date(key.expires));
}

std::vector<std::string> Describe(const keys::KeyLimits& limits) {
  std::vector<std::string> texts;
  const auto add = [&texts](bool bounded, const std::string& text) {
    if (bounded) texts.push_back(text);
  };
  add(limits.requests_per_minute != 0,
      absl::StrCat(limits.requests_per_minute, " requests a minute"));
  add(limits.tokens_per_minute != 0, absl::StrCat(limits.tokens_per_minute, " tokens a minute"));
  add(limits.concurrent_runs != 0, absl::StrCat(limits.concurrent_runs, " runs at once"));
  add(limits.result_bytes != 0, absl::StrCat(Bytes(limits.result_bytes), " of results a run"));
  add(limits.run_seconds != 0, absl::StrCat(limits.run_seconds, " s a run"));
  add(limits.generated_tokens != 0,
      absl::StrCat(limits.generated_tokens, " generated tokens a run"));
  add(limits.blob_bytes != 0, absl::StrCat(Bytes(limits.blob_bytes), " of blobs"));
  return texts;
}

std::string Describe(const keys::Key& key, absl::Time now) {
  std::vector<std::vector<std::string>> rows = {
      {"key", key.id},
      {"label", OrDash(key.label)},
      {"state", StateOf(key, now)},
      {"made", Date(key.created)},
      {"scopes", absl::StrJoin(key.scopes, ", ")},
      {"models", Printable(absl::StrJoin(key.models, ", "))},
  };
  std::string name = "limits";
  for (const std::string& limit : Describe(key.limits)) {
    rows.push_back({name, limit});
    name.clear();
  }
  if (!name.empty()) rows.push_back({name, "none of its own"});
  return Table(rows);
}

std::string Table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const std::vector<std::string>& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const std::vector<std::string>& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      const bool last = i + 1 == row.size();
      absl::StrAppend(&text, row[i], last ? "\n" : std::string(widths[i] - row[i].size() + 2, ' '));
    }
  }
  return text;
}

std::string DescribeKeys(const std::vector<keys::Key>& keys, absl::Time now) {
  std::vector<std::vector<std::string>> rows = {
      {"ID", "STATE", "MADE", "SCOPES", "MODELS", "LABEL", "LIMITS"}};
  for (const keys::Key& key : keys) {
    const std::vector<std::string> limits = Describe(key.limits);
    rows.push_back({key.id, StateOf(key, now), Date(key.created), absl::StrJoin(key.scopes, ","),
                    Printable(absl::StrJoin(key.models, ",")), OrDash(key.label),
                    limits.empty() ? "-" : absl::StrJoin(limits, ", ")});
  }
  return Table(rows);
}

std::string DescribeAudit(const std::vector<audit::Entry>& entries) {
  std::vector<std::vector<std::string>> rows = {{"TIME (UTC)", "KEY", "METHOD", "CODE", "TOOK",
                                                 "MODEL", "TOKENS", "BYTES", "JOB", "ABOUT",
                                                 "PEER"}};
  for (const audit::Entry& entry : entries) {
    rows.push_back({absl::FormatTime("%Y-%m-%d %H:%M:%S", entry.time, absl::UTCTimeZone()),
                    OrDash(entry.key_id), Printable(entry.method),
                    absl::StatusCodeToString(static_cast<absl::StatusCode>(entry.code)),
                    absl::StrFormat("%.3f s", entry.seconds), OrDash(entry.model),
                    absl::StrCat(entry.tokens), absl::StrCat(entry.result_bytes),
                    OrDash(entry.job_id), OrDash(entry.subject), OrDash(entry.peer)});
  }
  return Table(rows);
}

json ToJson(const keys::KeyLimits& limits) {
  return {{"requests_per_minute", limits.requests_per_minute},
          {"tokens_per_minute", limits.tokens_per_minute},
          {"concurrent_runs", limits.concurrent_runs},
          {"result_bytes", limits.result_bytes},
          {"run_seconds", limits.run_seconds},
          {"generated_tokens", limits.generated_tokens},
          {"blob_bytes", limits.blob_bytes}};
}

json ToJson(const keys::Key& key) {
  return {{"id", key.id},
          {"label", key.label},
          {"scopes", key.scopes},
          {"models", key.models},
          {"created", TimeOrNull(key.created)},
          {"expires", TimeOrNull(key.expires)},
          {"revoked", TimeOrNull(key.revoked)},
          {"limits", ToJson(key.limits)}};
}

json ToJson(const audit::Entry& entry) {
  return {{"time", absl::FormatTime(absl::RFC3339_full, entry.time, absl::UTCTimeZone())},
          {"key_id", entry.key_id},
          {"peer", entry.peer},
          {"method", entry.method},
          {"model", entry.model},
          {"job_id", entry.job_id},
          {"trace_id", entry.trace_id},
          {"subject", entry.subject},
          {"code", absl::StatusCodeToString(static_cast<absl::StatusCode>(entry.code))},
          {"seconds", entry.seconds},
          {"tokens", entry.tokens},
          {"result_bytes", entry.result_bytes}};
}

}  // namespace weft::cli
