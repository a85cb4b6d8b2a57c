#include "engine/graph/content_hash.h"

#include <openssl/evp.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace weft::graph {

struct ContentHash::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  bool good = context != nullptr && EVP_DigestInit_ex(context, EVP_sha256(), nullptr) == 1;
  ~State() { EVP_MD_CTX_free(context); }
};

ContentHash::ContentHash() : state_(std::make_unique<State>()) {}
ContentHash::~ContentHash() = default;

void ContentHash::Update(const void* data, size_t size) {
  state_->good = state_->good && EVP_DigestUpdate(state_->context, data, size) == 1;
}

absl::StatusOr<std::string> ContentHash::Finish() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  const bool good = state_->good && EVP_DigestFinal_ex(state_->context, digest, &size) == 1;
  state_->good = false;
  if (!good || size != kBytes) return absl::InternalError("a SHA-256 could not be computed");
  return std::string(reinterpret_cast<const char*>(digest), kBytes);
}

absl::StatusOr<std::string> ContentHash::Of(const void* data, size_t size) {
  ContentHash hash;
  hash.Update(data, size);
  return hash.Finish();
}

std::string ContentHash::ToText(const std::string& hash) { return absl::BytesToHexString(hash); }

absl::StatusOr<std::string> ContentHash::FromText(const std::string& text) {
  const auto is_digit = [](char c) { return absl::ascii_isxdigit(static_cast<unsigned char>(c)); };
  if (text.size() != 2 * kBytes || !std::all_of(text.begin(), text.end(), is_digit)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a blob's hash is ", 2 * kBytes, " hexadecimal digits"));
  }
  return absl::HexStringToBytes(text);
}

}  // namespace weft::graph
