#include "server/tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/stat.h>

#include <filesystem>
#include <future>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "server/server.h"
#include "tests/support/certificates.h"
#include "tests/support/fake_engine.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "weft/client.h"

namespace weft::server {
namespace {

using ::testing::AllOf;
using testing::CertificateAuthority;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using testing::Identity;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::StatusIs;
using ::testing::UnorderedElementsAre;

class TlsTest : public ::testing::Test {
 protected:
  TlsTest() : keys_(*keys::KeyStore::Open(folder_.File("data"), {})) {
    secret_ = keys_->Create({.label = "me"})->secret;
  }

  /// Write files of the server's identity, each replaced as a whole.
  void Install(const Identity& identity) {
    Replace("cert.pem", identity.cert);
    Replace("key.pem", identity.key);
    files_.cert = folder_.File("cert.pem");
    files_.key = folder_.File("key.pem");
  }
  void Replace(const std::string& name, const std::string& content) {
    folder_.Write(name + ".new", content);
    chmod(folder_.File(name + ".new").c_str(), 0600);
    std::filesystem::rename(folder_.File(name + ".new"), folder_.File(name));
  }

  void Start() {
    ServerOptions options;
    options.listen = "127.0.0.1:0";
    options.tls = files_;
    absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(options, &engine_, keys_.get());
    ASSERT_THAT(server, IsOk());
    server_ = *std::move(server);
  }

  RemoteOptions Trusting(const std::string& roots) {
    RemoteOptions options;
    options.api_key = secret_;
    options.ca_file = folder_.Write("roots.pem", roots);
    options.timeout = absl::Seconds(10);
    return options;
  }
  absl::Status WhoAmI(const RemoteOptions& options) {
    return MakeRemoteBackend(server_->address(), options)->WhoAmI().status();
  }

  testing::TempFolder folder_;
  CertificateAuthority ca_;
  TlsFiles files_;
  testing::FakeEngine engine_;
  std::unique_ptr<keys::KeyStore> keys_;
  std::string secret_;
  std::unique_ptr<Server> server_;
};

TEST_F(TlsTest, AClientThatTrustsTheAuthorityIsServed) {
  Install(ca_.Issue("server"));
  Start();
  EXPECT_THAT(WhoAmI(Trusting(ca_.cert())), IsOk());
}

TEST_F(TlsTest, AnotherAuthorityIsNotTrusted) {
  Install(ca_.Issue("server"));
  Start();
  EXPECT_THAT(WhoAmI(Trusting(CertificateAuthority().cert())),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("is not trusted")));
}

TEST_F(TlsTest, ACertificateForAnotherNameIsNotTaken) {
  Install(ca_.Issue("server", 30, "DNS:elsewhere.example"));
  Start();
  EXPECT_THAT(WhoAmI(Trusting(ca_.cert())),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("is for another name")));
}

TEST_F(TlsTest, APlaintextClientIsToldToUseTls) {
  Install(ca_.Issue("server"));
  Start();
  RemoteOptions plain;
  plain.api_key = secret_;
  EXPECT_THAT(WhoAmI(plain), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("--tls")));
}

TEST_F(TlsTest, ATlsClientOfAPlaintextServerIsToldSo) {
  Start();
  EXPECT_THAT(WhoAmI(Trusting(ca_.cert())),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("does not speak TLS")));
}

TEST_F(TlsTest, AClientCertificateIsAskedForAndDoesNotReplaceTheKey) {
  Install(ca_.Issue("server"));
  const CertificateAuthority clients;
  files_.client_ca = folder_.Write("clients.pem", clients.cert());
  Start();
  RemoteOptions options = Trusting(ca_.cert());
  EXPECT_THAT(WhoAmI(options), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("--cert")));

  const Identity stranger = CertificateAuthority().Issue("stranger");
  options.cert_file = folder_.Write("client.pem", stranger.cert);
  options.key_file = folder_.Write("client.key", stranger.key);
  EXPECT_THAT(WhoAmI(options), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("--cert")));

  const Identity member = clients.Issue("member");
  options.cert_file = folder_.Write("client.pem", member.cert);
  options.key_file = folder_.Write("client.key", member.key);
  EXPECT_THAT(WhoAmI(options), IsOk());
  options.api_key.clear();
  EXPECT_THAT(WhoAmI(options), StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("key")));
}

TEST_F(TlsTest, AFileThatIsNoPemIsSaidByTheClient) {
  Install(ca_.Issue("server"));
  Start();
  RemoteOptions options = Trusting(ca_.cert());
  options.ca_file = folder_.File("no-such.pem");
  EXPECT_THAT(WhoAmI(options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no-such.pem")));
  options.ca_file = folder_.Write("text", "not a certificate");
  EXPECT_THAT(WhoAmI(options), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("text")));
  options = Trusting(ca_.cert());
  options.cert_file = options.ca_file;
  EXPECT_THAT(WhoAmI(options), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("key")));
}

/// What a new connection is given by the server on `port`: its certificate as PEM.
std::string ServedCertificate(int port) {
  BIO* bio = nullptr;
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()),
                                                            SSL_CTX_free);
  const unsigned char protocols[] = {2, 'h', '2'};
  SSL_CTX_set_alpn_protos(context.get(), protocols, sizeof(protocols));
  bio = BIO_new_ssl_connect(context.get());
  BIO_set_conn_hostname(bio, absl::StrCat("127.0.0.1:", port).c_str());
  std::string pem;
  if (BIO_do_handshake(bio) == 1) {
    SSL* ssl = nullptr;
    BIO_get_ssl(bio, &ssl);
    X509* cert = SSL_get1_peer_certificate(ssl);
    pem = CertificateAuthority::ToPem(PEM_write_bio_X509, cert);
    X509_free(cert);
  }
  BIO_free_all(bio);
  return pem;
}

TEST_F(TlsTest, NewFilesServeNewConnectionsAndOldConnectionsGoOn) {
  const Identity first = ca_.Issue("first");
  Install(first);
  Start();
  EXPECT_EQ(ServedCertificate(server_->port()), first.cert);
  // Runs hold their connection: one that began before must end well after.
  std::shared_ptr<testing::FakeJob> job;
  absl::Notification submitted;
  engine_.on_submit = [&](std::shared_ptr<testing::FakeJob> made,
                          const testing::FakeEngine::Submission&) {
    job = std::move(made);
    job->Accept();
    submitted.Notify();
    return absl::OkStatus();
  };
  auto old = MakeRemoteBackend(server_->address(), Trusting(ca_.cert()));
  const Program program =
      Program::Parse("invoke [1] { %h = read h.0.output  save h = %h }").value();
  auto run = std::async(std::launch::async,
                        [&] { return old->Run("atlas", program, {}, [](const RunEvent&) {}); });
  ASSERT_TRUE(submitted.WaitForNotificationWithTimeout(absl::Seconds(20)));

  // While the two files are being replaced they do not belong together.
  const Identity second = ca_.Issue("second");
  Replace("key.pem", second.key);
  EXPECT_EQ(ServedCertificate(server_->port()), first.cert);
  Replace("cert.pem", "half of a certi");
  EXPECT_EQ(ServedCertificate(server_->port()), first.cert);
  Replace("cert.pem", second.cert);
  EXPECT_EQ(ServedCertificate(server_->port()), second.cert);
  EXPECT_THAT(WhoAmI(Trusting(ca_.cert())), IsOk());
  job->Complete();
  EXPECT_THAT(run.get(), IsOk());
}

TEST_F(TlsTest, TheCheckSaysWhatIsWrongWithEachFile) {
  const Identity good = ca_.Issue("server");
  Install(good);
  EXPECT_THAT(CheckTls(files_, absl::Now()).errors, IsEmpty());
  EXPECT_THAT(CheckTls(files_, absl::Now()).warnings, IsEmpty());
  EXPECT_THAT(CheckTls({}, absl::Now()).errors, IsEmpty());

  const auto finding = [](const char* field, const char* text) {
    return AllOf(Field(&TlsFindings::Finding::field, field),
                 Field(&TlsFindings::Finding::text, HasSubstr(text)));
  };
  const auto errors = [&](const TlsFiles& files) { return CheckTls(files, absl::Now()).errors; };
  const std::string cert = files_.cert, key = files_.key;
  const std::string other = folder_.Write("other.key", ca_.Issue("other").key);
  const std::string locked = folder_.Write("locked.key", CertificateAuthority::LockedKey());
  const std::string old = folder_.Write("old.pem", ca_.Issue("old", -1).cert);
  const std::string cut = folder_.Write("cut.pem", good.cert.substr(0, good.cert.size() / 2));
  const std::string text = folder_.Write("text", "hello");
  const std::string none = folder_.File("none");

  EXPECT_THAT(errors({cert, ""}), ElementsAre(finding("tls_key", "is needed")));
  EXPECT_THAT(errors({"", key}), ElementsAre(finding("tls_cert", "is needed")));
  EXPECT_THAT(errors({cert, other}), ElementsAre(finding("tls_key", "is not that of the")));
  EXPECT_THAT(errors({cert, locked}), ElementsAre(finding("tls_key", "passphrase")));
  EXPECT_THAT(errors({cert, text}), ElementsAre(finding("tls_key", "not a private key in PEM")));
  EXPECT_THAT(errors({cut, key}), ElementsAre(finding("tls_cert", "in PEM")));
  EXPECT_THAT(errors({folder_.path(), key}), ElementsAre(finding("tls_cert", "a folder")));
  // All at once.
  EXPECT_THAT(errors({old, none, text}), UnorderedElementsAre(finding("tls_cert", "has expired on"),
                                                              finding("tls_key", "No such file"),
                                                              finding("tls_client_ca", "in PEM")));

  ASSERT_EQ(chmod(key.c_str(), 0644), 0);
  EXPECT_THAT(CheckTls(files_, absl::Now()).warnings, ElementsAre(finding("tls_key", "chmod 600")));
  ASSERT_EQ(chmod(key.c_str(), 0640), 0);
  EXPECT_THAT(CheckTls(files_, absl::Now() + absl::Hours(20 * 24)).warnings,
              ElementsAre(finding("tls_cert", "expires on")));
  EXPECT_THAT(CheckTls(files_, absl::Now() - absl::Hours(24)).errors,
              ElementsAre(finding("tls_cert", "clock")));
}

TEST_F(TlsTest, WrongFilesAreRefusedAtStart) {
  Install(ca_.Issue("server"));
  files_.key = folder_.Write("other.key", ca_.Issue("other").key);
  ServerOptions options;
  options.listen = "127.0.0.1:0";
  options.tls = files_;
  EXPECT_THAT(Server::Start(options, &engine_, keys_.get()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("tls_key")));
}

TEST_F(TlsTest, WithTlsOtherMachinesMayConnect) {
  Install(ca_.Issue("server"));
  ServerOptions options;
  options.listen = "0.0.0.0:0";
  options.tls = files_;
  EXPECT_THAT(Server::Start(options, &engine_, keys_.get()), IsOk());
}

}  // namespace
}  // namespace weft::server
