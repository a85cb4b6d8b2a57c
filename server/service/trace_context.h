#pragma once

#include <optional>
#include <string>

namespace weft::server {

/// The trace id (32 lower-case hex digits) of a `traceparent` as W3C's Trace Context defines it, of
/// version 00 or a later one. Nothing if any part is malformed: such a header counts as absent.
std::optional<std::string> ParseTraceparent(const std::string& traceparent);

/// A trace id of our own: random, not secret.
std::string NewTraceId();

}  // namespace weft::server
