#include <algorithm>
#include <iostream>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/key_admin.h"
#include "client/cli/key_text.h"

namespace weft::cli {
namespace {

using nlohmann::json;

int Report(const KeysArguments& arguments, const absl::Status& status) {
  std::cerr << "weft: " << std::string(status.message()) << "\n";
  // The folder or the arguments were wrong: nothing was refused by a server.
  return CodeOf(status) == kRefused && !arguments.data.empty() ? kUsage : CodeOf(status);
}

void Print(const json& object) {
  std::cout << object.dump(2, ' ', false, json::error_handler_t::replace) << "\n";
}

/// What the arguments say, over what `request` had.
absl::Status Apply(const KeySettings& settings, keys::KeyStore::Request* request) {
  if (settings.label) request->label = *settings.label;
  if (!settings.scopes.empty()) request->scopes = settings.scopes;
  if (!settings.models.empty()) request->models = settings.models;
  if (settings.expires == "never") {
    request->expires = absl::InfiniteFuture();
  } else if (settings.expires) {
    absl::StatusOr<absl::Duration> lifetime = ParseTime(*settings.expires);
    if (!lifetime.ok()) return lifetime.status();
    request->expires = absl::Now() + *lifetime;
  }
  keys::KeyLimits& limits = request->limits;
  const auto set = [](auto from, auto* to) {
    if (from) *to = *from;
  };
  set(settings.requests_per_minute, &limits.requests_per_minute);
  set(settings.tokens_per_minute, &limits.tokens_per_minute);
  set(settings.concurrent_runs, &limits.concurrent_runs);
  set(settings.result_bytes, &limits.result_bytes);
  set(settings.run_seconds, &limits.run_seconds);
  set(settings.generated_tokens, &limits.generated_tokens);
  set(settings.blob_bytes, &limits.blob_bytes);
  return absl::OkStatus();
}

absl::StatusOr<keys::Key> FindKey(KeyAdmin* admin, const std::string& id) {
  absl::StatusOr<std::vector<keys::Key>> all = admin->List();
  if (!all.ok()) return all.status();
  for (keys::Key& key : *all) {
    if (key.id == id) return std::move(key);
  }
  return absl::NotFoundError(
      absl::StrCat("there is no key with the id '", id, "'; 'weft keys list' shows the ids"));
}

int PrintSecret(const KeysArguments& arguments, const char* what, const keys::NewKey& made) {
  if (arguments.json) {
    json object = ToJson(made.key);
    object["secret"] = made.secret;
    Print(object);
    return kOk;
  }
  std::cerr << "weft: " << what << " key " << made.key.id << " ("
            << absl::StrJoin(made.key.scopes, ", ") << "); keep it, it is shown this once:\n";
  std::cout << made.secret << "\n";
  return kOk;
}

int PrintKey(const KeysArguments& arguments, const keys::Key& key) {
  if (arguments.json) {
    Print(ToJson(key));
  } else {
    std::cout << Describe(key, absl::Now());
  }
  return kOk;
}

int Create(KeyAdmin* admin, const KeysArguments& arguments) {
  keys::KeyStore::Request request;
  if (absl::Status applied = Apply(arguments.settings, &request); !applied.ok()) {
    return Report(arguments, applied);
  }
  absl::StatusOr<keys::NewKey> made = admin->Create(request);
  return made.ok() ? PrintSecret(arguments, "made", *made) : Report(arguments, made.status());
}

int List(KeyAdmin* admin, const KeysArguments& arguments) {
  absl::StatusOr<std::vector<keys::Key>> all = admin->List();
  if (!all.ok()) return Report(arguments, all.status());
  if (!arguments.json) {
    std::cout << DescribeKeys(*all, absl::Now());
    return kOk;
  }
  json list = json::array();
  for (const keys::Key& key : *all) list.push_back(ToJson(key));
  Print(list);
  return kOk;
}

int Show(KeyAdmin* admin, const KeysArguments& arguments) {
  absl::StatusOr<keys::Key> key = FindKey(admin, arguments.id);
  return key.ok() ? PrintKey(arguments, *key) : Report(arguments, key.status());
}

int Update(KeyAdmin* admin, const KeysArguments& arguments) {
  absl::StatusOr<keys::Key> key = FindKey(admin, arguments.id);
  if (!key.ok()) return Report(arguments, key.status());
  keys::KeyStore::Request request{.label = key->label,
                                  .scopes = key->scopes,
                                  .models = key->models,
                                  .expires = key->expires,
                                  .limits = key->limits};
  if (absl::Status applied = Apply(arguments.settings, &request); !applied.ok()) {
    return Report(arguments, applied);
  }
  key = admin->Update(arguments.id, request);
  return key.ok() ? PrintKey(arguments, *key) : Report(arguments, key.status());
}

int Rotate(KeyAdmin* admin, const KeysArguments& arguments) {
  absl::Duration old_for;
  if (arguments.old_for != "0") {
    absl::StatusOr<absl::Duration> parsed = ParseTime(arguments.old_for);
    if (!parsed.ok()) return Report(arguments, parsed.status());
    old_for = *parsed;
  }
  absl::StatusOr<keys::NewKey> rotated = admin->Rotate(arguments.id, old_for);
  return rotated.ok() ? PrintSecret(arguments, "rotated", *rotated)
                      : Report(arguments, rotated.status());
}

int Revoke(KeyAdmin* admin, const KeysArguments& arguments) {
  if (absl::Status revoked = admin->Revoke(arguments.id); !revoked.ok()) {
    return Report(arguments, revoked);
  }
  std::cerr << "weft: revoked " << arguments.id << "\n";
  if (arguments.json) Print({{"revoked", arguments.id}});
  return kOk;
}

int Audit(KeyAdmin* admin, const KeysArguments& arguments) {
  audit::Query query;
  query.key_id = arguments.id;
  query.limit = arguments.limit;
  if (!arguments.since.empty()) {
    absl::StatusOr<absl::Duration> ago = ParseTime(arguments.since);
    if (!ago.ok()) return Report(arguments, ago.status());
    query.since = absl::Now() - *ago;
  }
  absl::StatusOr<std::vector<audit::Entry>> entries = admin->ListAudit(query);
  if (!entries.ok()) return Report(arguments, entries.status());
  if (!arguments.json) {
    std::cout << DescribeAudit(*entries);
    return kOk;
  }
  json list = json::array();
  for (const audit::Entry& entry : *entries) list.push_back(ToJson(entry));
  Print(list);
  return kOk;
}

}  // namespace

int ManageKeys(const GlobalOptions& global, KeysAction action, const KeysArguments& arguments) {
  absl::StatusOr<std::unique_ptr<KeyAdmin>> admin =
      OpenKeyAdmin(global, arguments.data, /*create=*/action == KeysAction::kCreate);
  if (!admin.ok()) return Report(arguments, admin.status());
  switch (action) {
    case KeysAction::kCreate:
      return Create(admin->get(), arguments);
    case KeysAction::kList:
      return List(admin->get(), arguments);
    case KeysAction::kShow:
      return Show(admin->get(), arguments);
    case KeysAction::kUpdate:
      return Update(admin->get(), arguments);
    case KeysAction::kRotate:
      return Rotate(admin->get(), arguments);
    case KeysAction::kRevoke:
      return Revoke(admin->get(), arguments);
    case KeysAction::kAudit:
      return Audit(admin->get(), arguments);
  }
  return kOther;
}

}  // namespace weft::cli
