#include "server/service/client_version.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/slice.h>

#include "absl/strings/str_cat.h"
#include "engine/graph/error.h"
#include "engine/graph/version.h"
#include "weft/v1/weft.pb.h"

namespace weft::server {
namespace {

using google::protobuf::internal::WireFormatLite;

// A RunRequest has four.
constexpr int kMaxFields = 16;
constexpr uint32_t kMaxVersionBytes = 32;

}  // namespace

std::string FindClientVersion(const grpc::ByteBuffer& request) {
  grpc::Slice slice;
  if (!request.TrySingleSlice(&slice).ok() && !request.DumpToSingleSlice(&slice).ok()) return "";
  google::protobuf::io::CodedInputStream input(slice.begin(), static_cast<int>(slice.size()));
  for (int i = 0; i < kMaxFields; ++i) {
    const uint32_t tag = input.ReadTag();
    uint64_t number = 0;
    uint32_t bytes = 0;
    switch (WireFormatLite::GetTagWireType(tag)) {
      case WireFormatLite::WIRETYPE_VARINT:
        if (tag == 0 || !input.ReadVarint64(&number)) return "";
        continue;
      case WireFormatLite::WIRETYPE_FIXED64:
        bytes = 8;
        break;
      case WireFormatLite::WIRETYPE_FIXED32:
        bytes = 4;
        break;
      case WireFormatLite::WIRETYPE_LENGTH_DELIMITED:
        if (!input.ReadVarint32(&bytes)) return "";
        break;
      default:
        return "";
    }
    if (WireFormatLite::GetTagFieldNumber(tag) == v1::RunRequest::kClientVersionFieldNumber) {
      std::string version;
      return bytes <= kMaxVersionBytes && input.ReadString(&version, static_cast<int>(bytes))
                 ? version
                 : "";
    }
    if (!input.Skip(static_cast<int>(bytes))) return "";
  }
  return "";
}

absl::Status WithVersions(const absl::Status& status, const std::string& client_version) {
  if (graph::CompareVersions(client_version, kVersion).value_or(0) <= 0) return status;
  graph::Error error = graph::FromStatus(status);
  absl::StrAppend(&error.hint, error.hint.empty() ? "" : "; ", "the client is ", client_version,
                  ", this server ", kVersion, ": upgrade the server, or use a client of version ",
                  kVersion);
  return graph::ToStatus(error);
}

}  // namespace weft::server
