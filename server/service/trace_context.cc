#include "server/service/trace_context.h"

#include <algorithm>
#include <cstdint>

#include "absl/random/random.h"
#include "absl/strings/str_format.h"

namespace weft::server {
namespace {

// `00-` trace id `-` parent id `-` flags.
constexpr size_t kTraceId = 3;
constexpr size_t kTraceIdSize = 32;
constexpr size_t kParentId = 36;
constexpr size_t kParentIdSize = 16;
constexpr size_t kFlags = 53;
constexpr size_t kSize = 55;

bool IsHex(const std::string& text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsZero(const std::string& text) { return text.find_first_not_of('0') == std::string::npos; }

}  // namespace

std::optional<std::string> ParseTraceparent(const std::string& traceparent) {
  if (traceparent.size() < kSize) return std::nullopt;
  const std::string version = traceparent.substr(0, 2);
  const std::string trace_id = traceparent.substr(kTraceId, kTraceIdSize);
  const std::string parent_id = traceparent.substr(kParentId, kParentIdSize);
  if (!IsHex(version) || version == "ff" || !IsHex(trace_id) || IsZero(trace_id) ||
      !IsHex(parent_id) || IsZero(parent_id) || !IsHex(traceparent.substr(kFlags, 2))) {
    return std::nullopt;
  }
  for (const size_t dash : {kTraceId - 1, kParentId - 1, kFlags - 1}) {
    if (traceparent[dash] != '-') return std::nullopt;
  }
  // Later versions may have more behind another dash.
  if (traceparent.size() > kSize && (version == "00" || traceparent[kSize] != '-')) {
    return std::nullopt;
  }
  return trace_id;
}

std::string NewTraceId() {
  thread_local absl::BitGen random;
  // Not all zeros, which would be no id.
  const uint64_t high = absl::Uniform<uint64_t>(absl::IntervalClosed, random, 1, UINT64_MAX);
  return absl::StrFormat("%016x%016x", high, absl::Uniform<uint64_t>(random));
}

}  // namespace weft::server
