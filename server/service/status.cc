#include "server/service/status.h"

#include <spdlog/spdlog.h>

#include <exception>
#include <new>

#include "absl/strings/str_cat.h"
#include "engine/graph/codec.h"
#include "engine/graph/error.h"
#include "weft/v1/weft.pb.h"

namespace weft::server {
namespace {

// Trailers are bounded by the client (8 KiB unless it says otherwise), the message travels
// percent-encoded and the details in base64: these add up to less in the worst case.
constexpr size_t kMessageBytes = 1024;
constexpr size_t kFieldBytes = 400;

// The length of the UTF-8 character at the start of [p, end), 0 if there is none.
size_t CharacterBytes(const char* p, const char* end) {
  const auto byte = [p](int i) { return static_cast<unsigned char>(p[i]); };
  const auto follows = [&](int i) { return (byte(i) & 0xc0) == 0x80; };
  const auto size = static_cast<size_t>(end - p);
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first < 0xe0) return size >= 2 && follows(1) ? 2 : 0;
  if (first >= 0xe0 && first < 0xf0) {
    if (size < 3 || !follows(1) || !follows(2)) return 0;
    const bool overlong = first == 0xe0 && byte(1) < 0xa0;
    const bool surrogate = first == 0xed && byte(1) >= 0xa0;
    return overlong || surrogate ? 0 : 3;
  }
  if (first >= 0xf0 && first < 0xf5) {
    if (size < 4 || !follows(1) || !follows(2) || !follows(3)) return 0;
    const bool outside = (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) >= 0x90);
    return outside ? 0 : 4;
  }
  return 0;
}

}  // namespace

std::string CutText(const std::string& text, size_t bytes) {
  constexpr char kDots[] = "...";
  constexpr size_t kDotBytes = sizeof(kDots) - 1;
  std::string cut;
  size_t kept = 0;  // of `cut`: what still fits with the dots
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p < end) {
    const size_t size = CharacterBytes(p, end);
    if (size == 0) {
      cut.push_back('?');
      ++p;
    } else {
      cut.append(p, size);
      p += size;
    }
    if (cut.size() > bytes) return cut.substr(0, kept) + kDots;
    if (cut.size() + kDotBytes <= bytes) kept = cut.size();
  }
  return cut;
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const std::string message = CutText(std::string(status.message()), kMessageBytes);
  graph::Error error = graph::FromStatus(status);
  error.message = CutText(error.message, kMessageBytes);
  error.statement = CutText(error.statement, kFieldBytes);
  error.source.file = CutText(error.source.file, kFieldBytes);
  error.hint = CutText(error.hint, kFieldBytes);
  error.site = CutText(error.site, kFieldBytes);
  v1::Error details;
  graph::EncodeError(error, &details);
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message,
                      details.SerializeAsString());
}

absl::Status CatchAll(const char* where, const std::function<absl::Status()>& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    spdlog::error("{}: out of memory", where);
    return absl::ResourceExhaustedError(absl::StrCat(where, ": the server is out of memory"));
  } catch (const std::exception& e) {
    spdlog::error("{}: {}", where, e.what());
  } catch (...) {
    spdlog::error("{}: an exception of no known type", where);
  }
  return absl::InternalError(absl::StrCat(where, ": internal error; the server's log has more"));
}

}  // namespace weft::server
