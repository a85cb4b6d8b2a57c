#include "client/remote/tls.h"

#include <fstream>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace weft::remote {
namespace {

/// The text of a PEM file; empty for no path.
absl::StatusOr<std::string> ReadPem(const std::string& path) {
  if (path.empty()) return std::string();
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  // gRPC would take an empty text for none, and trust the system's roots.
  if (!absl::StrContains(text.str(), "-----BEGIN ")) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", path, "' is not a PEM file that can be read"));
  }
  return text.str();
}

}  // namespace

bool UsesTls(const RemoteOptions& options) {
  return options.tls || !options.ca_file.empty() || !options.cert_file.empty() ||
         !options.key_file.empty();
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(
    const RemoteOptions& options) {
  if (!UsesTls(options)) return grpc::InsecureChannelCredentials();
  if (options.cert_file.empty() != options.key_file.empty()) {
    return absl::InvalidArgumentError(
        "a client's certificate and its key come together: give both, or neither");
  }
  absl::StatusOr<std::string> roots = ReadPem(options.ca_file);
  if (!roots.ok()) return roots.status();
  absl::StatusOr<std::string> cert = ReadPem(options.cert_file);
  if (!cert.ok()) return cert.status();
  absl::StatusOr<std::string> key = ReadPem(options.key_file);
  if (!key.ok()) return key.status();
  return grpc::SslCredentials({*roots, *key, *cert});
}

std::string ExplainTls(const std::string& error, bool tls) {
  const std::string text = absl::AsciiStrToLower(error);
  const auto has = [&](const char* what) { return absl::StrContains(text, what); };
  const bool closed = has("failed to connect") &&
                      (has("socket closed") || has("connection reset") || has("broken pipe"));
  if (!tls) return closed ? ". Does that side speak TLS? Then connect with it (tls, --tls)" : "";
  if (has("wrong version number") || has("wrong_version_number")) {
    return ". That side does not speak TLS: connect without it, or to another port";
  }
  if (has("not in peer certificate")) {
    return ". The server's certificate is for another name: connect by a name that it has";
  }
  if (has("certificate verify failed") || has("certificate_verify_failed") || has("evp lib")) {
    return ". The server's certificate is not trusted: give the roots that signed it (ca_file, "
           "--ca)";
  }
  if (closed) {
    return ". That side ended TLS's handshake: it may ask for a client's certificate (cert_file, "
           "--cert), or not trust this one";
  }
  return "";
}

}  // namespace weft::remote
