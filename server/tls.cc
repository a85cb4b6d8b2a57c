#include "server/tls.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"

namespace weft::server {
namespace {

constexpr absl::Duration kEndsSoon = absl::Hours(14 * 24);

template <auto kFree>
struct Free {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Bio = std::unique_ptr<BIO, Free<BIO_free>>;

// Instead of asking at the terminal.
int NoPassphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

absl::Time ToTime(const ASN1_TIME* time) {
  tm parts = {};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return absl::InfinitePast();
  return absl::FromTM(parts, absl::UTCTimeZone());
}

std::string Date(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M UTC", time, absl::UTCTimeZone());
}

// The files' contents, and what there is to say of them.
class Contents {
 public:
  Contents(const TlsFiles& files, absl::Time now) : files_(files), now_(now) {
    if (files.cert.empty() && files.key.empty() && files.client_ca.empty()) return;
    if (files.cert.empty()) Error("tls_cert", "is needed beside the other files of TLS");
    if (files.key.empty()) Error("tls_key", "is needed beside the other files of TLS");
    cert_ = Read("tls_cert", files.cert);
    key_ = Read("tls_key", files.key);
    client_ca_ = Read("tls_client_ca", files.client_ca);
    const Certificate cert = ParseCertificates("tls_cert", files.cert, cert_);
    const Key key = ParseKey();
    if (cert != nullptr && key != nullptr && X509_check_private_key(cert.get(), key.get()) != 1) {
      Error("tls_key",
            absl::StrCat("the key in '", files.key, "' is not that of the certificate in '",
                         files.cert, "': give the pair that was made together"));
    }
    ParseCertificates("tls_client_ca", files.client_ca, client_ca_);
    ERR_clear_error();
  }

  const TlsFindings& findings() const { return findings_; }
  const std::string& cert() const { return cert_; }
  const std::string& key() const { return key_; }
  const std::string& client_ca() const { return client_ca_; }

 private:
  void Error(const char* field, std::string text) {
    findings_.errors.push_back({field, std::move(text)});
  }
  void Warn(const char* field, std::string text) {
    findings_.warnings.push_back({field, std::move(text)});
  }

  // Empty if there is nothing to read, which is said.
  std::string Read(const char* field, const std::string& path) {
    if (path.empty()) return "";
    std::ifstream file(path, std::ios::binary);
    struct stat status;
    if (!file.is_open() || stat(path.c_str(), &status) != 0) {
      Error(field, absl::StrCat("cannot read '", path, "': ", std::strerror(errno)));
      return "";
    }
    if (std::string(field) == "tls_key" && (status.st_mode & S_IROTH) != 0) {
      Warn(field, absl::StrCat("everybody on this machine may read the key in '", path,
                               "': chmod 600 it, and make a new one if others have been here"));
    }
    std::ostringstream text;
    text << file.rdbuf();
    if (text.str().empty()) {
      Error(field, absl::StrCat("'", path, "' is empty or a folder: give a PEM file"));
    }
    return text.str();
  }

  // The first certificate, which is the server's own where there are several.
  Certificate ParseCertificates(const char* field, const std::string& path,
                                const std::string& text) {
    if (text.empty()) return nullptr;
    const Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
    Certificate first;
    while (Certificate next{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
      const absl::Time begins = ToTime(X509_get0_notBefore(next.get()));
      const absl::Time ends = ToTime(X509_get0_notAfter(next.get()));
      if (begins > now_) {
        Error(field, absl::StrCat("a certificate in '", path, "' is valid from ", Date(begins),
                                  " only: is this machine's clock right?"));
      } else if (ends <= now_) {
        Error(field, absl::StrCat("a certificate in '", path, "' has expired on ", Date(ends),
                                  ": put a new one in its place"));
      } else if (ends <= now_ + kEndsSoon) {
        Warn(field, absl::StrCat("a certificate in '", path, "' expires on ", Date(ends)));
      }
      if (first == nullptr) first = std::move(next);
    }
    if (first == nullptr || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
      Error(field, absl::StrCat("'", path, "' is not a certificate in PEM (-----BEGIN ",
                                "CERTIFICATE-----), or not a whole one"));
    }
    ERR_clear_error();
    return first;
  }

  Key ParseKey() {
    if (key_.empty()) return nullptr;
    const Bio bio(BIO_new_mem_buf(key_.data(), static_cast<int>(key_.size())));
    bool asked = false;
    Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, &asked));
    if (key == nullptr) {
      Error("tls_key",
            asked
                ? absl::StrCat("the key in '", files_.key, "' needs a passphrase, which a server ",
                               "cannot ask for: write it without one (openssl pkey)")
                : absl::StrCat("'", files_.key, "' is not a private key in PEM (-----BEGIN ",
                               "PRIVATE KEY-----)"));
    }
    return key;
  }

  const TlsFiles& files_;
  const absl::Time now_;
  std::string cert_;
  std::string key_;
  std::string client_ca_;
  TlsFindings findings_;
};

// gRPC 1.51's own watcher of files (FileWatcherCertificateProvider) takes a certificate and a key
// that do not belong together, after which the next connection ends the process. This asks for them
// connection by connection, through the C interface, and looks before it hands them on.
class ReloadingCredentials final : public grpc::ServerCredentials {
 public:
  explicit ReloadingCredentials(TlsFiles files)
      : files_(std::move(files)),
        credentials_(grpc_ssl_server_credentials_create_with_options(
            grpc_ssl_server_credentials_create_options_using_config_fetcher(
                files_.client_ca.empty()
                    ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                    : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY,
                Fetch, this))) {}
  ~ReloadingCredentials() override { grpc_server_credentials_release(credentials_); }

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  static grpc_ssl_certificate_config_reload_status Fetch(
      void* self, grpc_ssl_server_certificate_config** config) {
    return static_cast<ReloadingCredentials*>(self)->Refresh(config);
  }

  grpc_ssl_certificate_config_reload_status Refresh(grpc_ssl_server_certificate_config** config) {
    absl::MutexLock lock(&mutex_);
    // Before reading: what changes meanwhile is seen next time.
    const std::string stamp = Stamp();
    if (stamp == stamp_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    const bool first = stamp_.empty();
    stamp_ = stamp;
    const Contents contents(files_, absl::Now());
    if (!contents.findings().errors.empty()) {
      for (const TlsFindings::Finding& error : contents.findings().errors) {
        spdlog::error("the certificate is not replaced: {}: {}", error.field, error.text);
      }
      return first ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL
                   : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    }
    const grpc_ssl_pem_key_cert_pair pair = {contents.key().c_str(), contents.cert().c_str()};
    // gRPC 1.51 insists on roots where no client is asked for a certificate, too, and ignores them.
    const std::string& roots = files_.client_ca.empty() ? contents.cert() : contents.client_ca();
    *config = grpc_ssl_server_certificate_config_create(roots.c_str(), &pair, 1);
    if (!first) spdlog::info("new connections get the new certificate in {}", files_.cert);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  // Changes whenever one of the files does, in place or by a rename.
  std::string Stamp() const {
    std::string stamp;
    for (const std::string* path : {&files_.cert, &files_.key, &files_.client_ca}) {
      struct stat status = {};
      if (!path->empty()) stat(path->c_str(), &status);
      absl::StrAppend(&stamp, status.st_ino, " ", status.st_size, " ", status.st_mtim.tv_sec, ".",
                      status.st_mtim.tv_nsec, "\n");
    }
    return stamp;
  }

  const TlsFiles files_;
  absl::Mutex mutex_;
  std::string stamp_ ABSL_GUARDED_BY(mutex_);
  grpc_server_credentials* const credentials_;
};

}  // namespace

TlsFindings CheckTls(const TlsFiles& files, absl::Time now) {
  return Contents(files, now).findings();
}

std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const TlsFiles& files) {
  return std::make_shared<ReloadingCredentials>(files);
}

}  // namespace weft::server
