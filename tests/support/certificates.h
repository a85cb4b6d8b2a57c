#pragma once

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"

namespace weft::testing {

/// A certificate and its private key, PEM.
struct Identity {
  std::string cert;
  std::string key;
};

/// A certificate authority for one test, and what it signs. Anything that fails ends the test.
class CertificateAuthority {
 public:
  CertificateAuthority() : key_(NewKey()) {
    static int count = 0;
    cert_ = Sign(absl::StrCat("Test CA ", ++count), key_.get(), 3650, "", true);
  }

  std::string cert() const { return ToPem(PEM_write_bio_X509, cert_.get()); }

  /// A certificate of a new key for `name`, from an hour ago on and until `days` from now. `names`
  /// are subjectAltNames.
  Identity Issue(const std::string& name, long days = 30,
                 const std::string& names = "IP:127.0.0.1,DNS:localhost") const {
    const Key key = NewKey();
    const Certificate cert = Sign(name, key.get(), days, names, false);
    return {ToPem(PEM_write_bio_X509, cert.get()), KeyToPem(key.get(), nullptr)};
  }

  /// A private key behind a passphrase.
  static std::string LockedKey() { return KeyToPem(NewKey().get(), EVP_aes_128_cbc()); }

  /// An object of OpenSSL by its PEM_write_bio_ function.
  template <class Write, class Object>
  static std::string ToPem(Write write, Object* object) {
    BIO* bio = BIO_new(BIO_s_mem());
    Require(write(bio, object) == 1);
    return Text(bio);
  }

 private:
  struct FreeKey {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  };
  struct FreeCertificate {
    void operator()(X509* cert) const { X509_free(cert); }
  };
  using Key = std::unique_ptr<EVP_PKEY, FreeKey>;
  using Certificate = std::unique_ptr<X509, FreeCertificate>;

  static void Require(bool condition) {
    if (!condition) std::abort();
  }

  static Key NewKey() {
    Key key(EVP_EC_gen("P-256"));
    Require(key != nullptr);
    return key;
  }

  Certificate Sign(const std::string& name, EVP_PKEY* key, long days, const std::string& names,
                   bool ca) const {
    Certificate cert(X509_new());
    Require(X509_set_version(cert.get(), X509_VERSION_3) == 1);
    static long serial = 0;
    ASN1_INTEGER_set(X509_get_serialNumber(cert.get()), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(cert.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert.get()), days * 24 * 3600);
    X509_NAME* subject = X509_get_subject_name(cert.get());
    Require(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                       reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1,
                                       0) == 1);
    X509* const issuer = ca ? cert.get() : cert_.get();
    Require(X509_set_issuer_name(cert.get(), X509_get_subject_name(issuer)) == 1);
    Require(X509_set_pubkey(cert.get(), key) == 1);
    if (ca) Extend(cert.get(), NID_basic_constraints, "critical,CA:TRUE");
    if (!names.empty()) Extend(cert.get(), NID_subject_alt_name, names);
    Require(X509_sign(cert.get(), key_.get(), EVP_sha256()) > 0);
    return cert;
  }

  static void Extend(X509* cert, int nid, const std::string& value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
    Require(extension != nullptr && X509_add_ext(cert, extension, -1) == 1);
    X509_EXTENSION_free(extension);
  }

  static std::string Text(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    std::string text(data, static_cast<size_t>(size));
    BIO_free(bio);
    return text;
  }

  static std::string KeyToPem(EVP_PKEY* key, const EVP_CIPHER* cipher) {
    BIO* bio = BIO_new(BIO_s_mem());
    const unsigned char passphrase[] = "secret";
    Require(PEM_write_bio_PrivateKey(bio, key, cipher, cipher == nullptr ? nullptr : passphrase,
                                     cipher == nullptr ? 0 : 6, nullptr, nullptr) == 1);
    return Text(bio);
  }

  Key key_;
  Certificate cert_;
};

}  // namespace weft::testing
