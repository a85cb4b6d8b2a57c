#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "weft/backend.h"

namespace weft::cli {

/// Exit codes. Scripts rely on them.
enum ExitCode : int {
  kOk = 0,
  kOther = 1,
  kUsage = 2,
  kRefused = 3,      // the program does not parse, or the server refuses it
  kPermission = 4,   // no key, a bad one, or one without the right
  kUnavailable = 5,  // no answer, or the deadline passed
  kRunFailed = 6,    // the run began and failed, was cancelled, or a save has no value
};

/// A model to host in this process.
struct LocalModel {
  std::string name, folder;
  std::map<std::string, std::string> adapters;  // folders by name
  std::string device = "auto";
  bool dispatch = true;
};
using LocalBackendMaker = absl::StatusOr<std::shared_ptr<Backend>> (*)(const LocalModel& model);

struct GlobalOptions {
  std::string target;
  std::string api_key;
  bool tls = false;
  std::string ca_file, cert_file, key_file;
  bool wait = false;                        // where a limit refuses
  std::string local_folder;                 // run in this process, with make_local
  std::vector<std::string> local_adapters;  // beside it, NAME=FOLDER
  std::string local_device = "auto";
  bool local_without_weights = false;
  LocalBackendMaker make_local = nullptr;
};

RemoteOptions ToRemoteOptions(const GlobalOptions& global);

struct RunArguments {
  std::string file;   // `-` is standard input
  std::string model;  // empty: the only one
  std::string out;
  bool json = false;
  bool exclusive = false;
  bool exact = false;
  uint64_t seed = 0;
  std::string deadline;            // `5`, `5s`, `500ms`; empty for none
  std::vector<std::string> edits;  // stored ones, `steer` or `steer@2`
};

int Run(const GlobalOptions& global, const RunArguments& arguments);
int Validate(const GlobalOptions& global, const RunArguments& arguments);
int ListModels(const GlobalOptions& global);
int PrintModelTree(const GlobalOptions& global, const std::string& model, const std::string& path,
                   bool sites, bool operations);
int ListOperators(const GlobalOptions& global, const std::string& pattern);
/// kOk if the server, or `model` if it is not empty, serves; kUnavailable if not.
int Health(const GlobalOptions& global, const std::string& model);
int WhoAmI(const GlobalOptions& global, bool as_json);

/// What a key shall be; what is left out stays, or has its default in a new key.
struct KeySettings {
  std::optional<std::string> label;
  std::vector<std::string> scopes;
  std::vector<std::string> models;
  std::optional<std::string> expires;  // `30d`, `12h`, `never`
  std::optional<uint32_t> requests_per_minute;
  std::optional<uint64_t> tokens_per_minute;
  std::optional<uint32_t> concurrent_runs;
  std::optional<uint64_t> result_bytes;
  std::optional<double> run_seconds;
  std::optional<uint32_t> generated_tokens;
  std::optional<uint64_t> blob_bytes;
};

enum class KeysAction { kCreate, kList, kShow, kUpdate, kRotate, kRevoke, kAudit };

struct KeysArguments {
  std::string data;  // the server's data folder; empty: over the network
  std::string id;    // of audit: only what this key did; empty for all
  KeySettings settings;
  std::string old_for = "0";  // of rotate
  std::string since;          // of audit: `24h` ago; empty: always
  uint32_t limit = 100;       // of audit
  bool json = false;
};

int ManageKeys(const GlobalOptions& global, KeysAction action, const KeysArguments& arguments);

/// `5` and `5s` are seconds; `500ms`, `2m`, `12h`, `30d`. kInvalidArgument unless above 0.
absl::StatusOr<absl::Duration> ParseTime(const std::string& text);
/// `model`, or the only one that there is.
absl::StatusOr<std::string> ChooseModel(Backend* backend, const std::string& model);
/// What is in a file, or with `-` on standard input.
absl::StatusOr<std::string> ReadSource(const std::string& file);
/// The exit code of an error before a run began.
ExitCode CodeOf(const absl::Status& status);
/// Say on standard error what went wrong, and as JSON on standard output if `as_json`. The exit
/// code.
int Report(const absl::Status& status, bool as_json = false);
/// The same of what the command itself says: kUsage.
int ReportUsage(const absl::Status& status, bool as_json = false);

}  // namespace weft::cli
