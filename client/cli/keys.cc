#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "server/keys/key_store.h"

namespace weft::cli {
namespace {

int Report(const absl::Status& status) {
  std::cerr << "weft: " << std::string(status.message()) << "\n";
  // The folder or the arguments were wrong: nothing was refused by a server.
  return CodeOf(status) == kRefused ? kUsage : CodeOf(status);
}

std::string Date(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d", time, absl::UTCTimeZone());
}

std::string StateOf(const keys::Key& key) {
  if (key.revoked != absl::InfiniteFuture()) return absl::StrCat("revoked ", Date(key.revoked));
  if (key.expires <= absl::Now()) return absl::StrCat("expired ", Date(key.expires));
  if (key.expires == absl::InfiniteFuture()) return "good";
  return absl::StrCat("good until ", Date(key.expires));
}

}  // namespace

int CreateKey(const NewKeyArguments& arguments) {
  keys::KeyStore::Request request;
  request.label = arguments.label;
  request.scopes = arguments.scopes;
  request.models = arguments.models;
  if (!arguments.expires.empty()) {
    absl::StatusOr<absl::Duration> lifetime = ParseTime(arguments.expires);
    if (!lifetime.ok()) return Report(lifetime.status());
    request.expires = absl::Now() + *lifetime;
  }
  absl::StatusOr<std::unique_ptr<keys::KeyStore>> store = keys::KeyStore::Open(arguments.data);
  if (!store.ok()) return Report(store.status());
  absl::StatusOr<keys::NewKey> made = (*store)->Create(request);
  if (!made.ok()) return Report(made.status());
  std::cerr << "weft: made key " << made->key.id << " (" << absl::StrJoin(made->key.scopes, ", ")
            << "); keep it, it is shown this once:\n";
  std::cout << made->secret << "\n";
  return kOk;
}

int ListKeys(const std::string& data) {
  absl::StatusOr<std::unique_ptr<keys::KeyStore>> store =
      keys::KeyStore::Open(data, {.create = false});
  if (!store.ok()) return Report(store.status());
  absl::StatusOr<std::vector<keys::Key>> all = (*store)->List();
  if (!all.ok()) return Report(all.status());
  for (const keys::Key& key : *all) {
    std::cout << key.id << "  " << StateOf(key) << "  made " << Date(key.created) << "  "
              << absl::StrJoin(key.scopes, ",") << "  " << absl::StrJoin(key.models, ",") << "  "
              << key.label << "\n";
  }
  return kOk;
}

int RevokeKey(const std::string& data, const std::string& id) {
  absl::StatusOr<std::unique_ptr<keys::KeyStore>> store =
      keys::KeyStore::Open(data, {.create = false});
  if (!store.ok()) return Report(store.status());
  if (absl::Status status = (*store)->Revoke(id); !status.ok()) return Report(status);
  std::cerr << "weft: revoked " << id << "\n";
  return kOk;
}

}  // namespace weft::cli
