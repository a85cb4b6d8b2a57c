#pragma once

#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace weft::server {

/// The PEM files of a server's TLS. None has TLS.
struct TlsFiles {
  /// The server's certificate, then those between it and its root.
  std::string cert;
  std::string key;
  /// Where not empty, a client must show a certificate that one of these has signed. It needs its
  /// API key all the same.
  std::string client_ca;

  bool on() const { return !cert.empty(); }
};

/// What is wrong with the files, or worth a warning, each with the name of its field in the
/// configuration: `tls_cert`, `tls_key`, `tls_client_ca`.
struct TlsFindings {
  struct Finding {
    std::string field;
    std::string text;
  };
  std::vector<Finding> errors;
  std::vector<Finding> warnings;
};

/// Read the files and look: errors are a file that is missing or is not PEM, a key of another
/// certificate or behind a passphrase, an expired certificate; warnings a key that everybody on
/// this machine may read, a certificate that ends within two weeks of `now`.
TlsFindings CheckTls(const TlsFiles& files, absl::Time now);

/// gRPC's credentials of files that passed CheckTls. Each new connection gets the certificate that
/// the files hold by then; while they are wrong, as in the middle of a replacement, the one before.
/// The credentials must outlive the server: gRPC asks them.
std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const TlsFiles& files);

}  // namespace weft::server
