#include "engine/graph/error.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "engine/graph/codec.h"
#include "engine/graph/text.h"
#include "weft/v1/weft.pb.h"

namespace weft::graph {
namespace {

constexpr char kErrorTypeUrl[] = "type.weft.v1/Error";

}  // namespace

absl::Status ToStatus(const Error& error) {
  if (error.code == absl::StatusCode::kOk) return absl::OkStatus();
  std::string message = error.message;
  if (!error.statement.empty()) {
    message += "\n  at ";
    if (error.source.line != 0) {
      absl::StrAppend(&message, error.source.file, error.source.file.empty() ? "line " : ":",
                      error.source.line, ": ");
    }
    message += error.statement;
  }
  if (!error.hint.empty()) absl::StrAppend(&message, "\n  hint: ", error.hint);

  absl::Status status(error.code, message);
  v1::Error payload;
  EncodeError(error, &payload);
  status.SetPayload(kErrorTypeUrl, absl::Cord(payload.SerializeAsString()));
  return status;
}

Error FromStatus(const absl::Status& status) {
  if (absl::optional<absl::Cord> bytes = status.GetPayload(kErrorTypeUrl)) {
    v1::Error payload;
    if (payload.ParseFromString(std::string(*bytes))) {
      Error error = DecodeError(payload);
      error.code = status.code();
      return error;
    }
  }
  Error error;
  error.code = status.code();
  error.message = std::string(status.message());
  return error;
}

absl::Status StatementError(absl::StatusCode code, const Program& program, NodeId node,
                            const std::string& message, const std::string& hint) {
  Error error;
  error.code = code;
  error.message = message;
  error.hint = hint;
  if (node != kNoNode && node <= program.nodes.size()) {
    const Node& statement = program.at(node);
    error.node = node;
    error.statement = PrintStatement(program, node);
    error.source = statement.source;
    if (const auto* read = std::get_if<Read>(&statement.kind)) error.site = ToString(read->site);
    if (const auto* write = std::get_if<Write>(&statement.kind)) error.site = ToString(write->site);
  }
  return ToStatus(error);
}

}  // namespace weft::graph
