#include "server/config.h"

#include <CLI/CLI.hpp>
#include <set>
#include <sstream>

#include "absl/strings/str_cat.h"

namespace weft::server {
namespace {

constexpr int kUsageError = 2;

constexpr char kDescription[] =
    R"(weftd hosts models and runs Weft programs inside them, over gRPC (weft.v1.Weft).

It prints one line on stdout once it serves, 'listening on HOST:PORT'; the log goes to stderr.
SIGTERM or SIGINT drains: runs that were accepted finish, new ones are refused; a second signal
ends at once.)";

constexpr char kExamples[] =
    R"(Examples:
  weft keys create --data ./data --label me     make a key; it is shown once
  weftd --data ./data --model atlas=models/atlas
  weftd --data ./data --model atlas=models/atlas --model gpt2=/models/gpt2 --threads 8
  weftd --no-keys --listen 127.0.0.1:0 --model atlas=models/atlas
                                                no keys, any free port: for trying things out

A model is a folder as the Hugging Face Hub lays it out: config.json, *.safetensors, tokenizer.json.
Bytes may be written as 64MiB or 4GiB. Exit codes: 0 after a drain, 1 when the server cannot start,
2 for a wrong command line.)";

std::string CheckModelName(const std::string& name) {
  if (name.empty() || name.size() > 128) return "a model's name has 1 to 128 characters";
  for (const char c : name) {
    const bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                         (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-' || c == '/';
    if (!allowed) return "a model's name consists of letters, digits and ./_-";
  }
  return "";
}

}  // namespace

ParsedConfig ParseConfig(int argc, const char* const* argv) {
  Config config;
  std::vector<std::string> models;
  bool no_keys = false;
  bool no_reflection = false;
  double drain_seconds = 30;
  double reader_seconds = 60;

  CLI::App app(kDescription, "weftd");
  app.footer(kExamples);
  app.get_formatter()->column_width(34);
  app.set_version_flag("--version", absl::StrCat("weftd ", kVersion));
  app.option_defaults()->always_capture_default();
  // Without the descriptions that CLI11 would print beside each option.
  const auto bytes = CLI::AsSizeValue(/*kb_is_1000=*/false).description("");
  const auto between = [](auto low, auto high) { return CLI::Range(low, high).description(""); };

  app.add_option("--listen", config.server.listen, "HOST:PORT to serve on; port 0 takes a free one")
      ->type_name("HOST:PORT");
  app.add_option("--data", config.data_folder,
                 "folder for the server's state, such as its API keys")
      ->type_name("DIR");
  app.add_option("--model", models, "host the model of a folder under a name; may be repeated")
      ->type_name("NAME=FOLDER")
      ->required()
      ->allow_extra_args(false)
      ->default_str("");
  app.add_option("--threads", config.engine.threads,
                 "CPU threads of one pass's kernels; 0: as many as there are cores")
      ->type_name("N")
      ->check(between(0, 4096));
  app.add_flag("--no-keys", no_keys, "serve everyone, without API keys");
  app.add_flag("--insecure", config.server.insecure,
               "allow an address off loopback although there is no TLS");
  app.add_flag("--no-reflection", no_reflection, "do not serve gRPC reflection");
  app.add_option("--drain-seconds", drain_seconds, "how long SIGTERM waits for accepted runs")
      ->type_name("SECONDS")
      ->check(between(0.0, 86400.0));
  app.add_option("--log-level", config.log_level, "debug, info, warn or error")
      ->type_name("LEVEL")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}).description(""));

  Limits& limits = config.engine.limits;
  const char* const kProgram = "Limits of one program (0: none)";
  app.add_option("--max-nodes", limits.nodes, "statements")->type_name("N")->group(kProgram);
  app.add_option("--max-constant-bytes", limits.constant_bytes, "bytes of constants")
      ->transform(bytes)
      ->default_str("4MiB")
      ->type_name("BYTES")
      ->group(kProgram);
  app.add_option("--max-value-elements", limits.value_elements, "elements of one value")
      ->type_name("N")
      ->group(kProgram);
  app.add_option("--max-result-bytes", limits.result_bytes, "bytes of results")
      ->transform(bytes)
      ->default_str("8GiB")
      ->type_name("BYTES")
      ->group(kProgram);
  app.add_option("--max-peak-bytes", limits.peak_bytes, "estimated memory of its own values")
      ->transform(bytes)
      ->default_str("16GiB")
      ->type_name("BYTES")
      ->group(kProgram);
  app.add_option("--max-operator-seconds", limits.operator_seconds, "time of its own operators")
      ->type_name("SECONDS")
      ->group(kProgram);
  app.add_option("--max-pass-tokens", limits.pass_tokens, "rows of one pass, pads included")
      ->type_name("N")
      ->group(kProgram);

  const char* const kServer = "Limits of the server";
  app.add_option("--max-request-bytes", config.server.request_bytes, "bytes of one request")
      ->transform(bytes)
      ->default_str("4MiB")
      ->type_name("BYTES")
      ->check(between(uint64_t{1024}, uint64_t{1} << 30))
      ->group(kServer);
  app.add_option("--max-runs", config.server.max_runs, "runs at a time, waiting ones included")
      ->type_name("N")
      ->check(between(1, 1 << 20))
      ->group(kServer);
  app.add_option("--max-pending-bytes", config.server.max_pending_bytes,
                 "bytes of results that wait for their readers, of all runs together")
      ->transform(bytes)
      ->default_str("4GiB")
      ->type_name("BYTES")
      ->group(kServer);
  app.add_option("--slow-reader-timeout", reader_seconds,
                 "seconds in which a reader must take a message (at most 1 MiB)")
      ->type_name("SECONDS")
      ->check(between(0.01, 86400.0))
      ->group(kServer);

  ParsedConfig parsed;
  const auto refuse = [&](const std::string& what) {
    parsed.text = absl::StrCat("weftd: ", what, "\nRun with --help for more information.\n");
    parsed.exit_code = kUsageError;
    return parsed;
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() != 0) return refuse(e.what());
    std::ostringstream text;
    app.exit(e, text, text);
    parsed.text = text.str();
    return parsed;
  }

  std::set<std::string> names;
  for (const std::string& model : models) {
    const size_t equals = model.find('=');
    if (equals == std::string::npos || equals + 1 == model.size()) {
      return refuse(
          absl::StrCat("--model '", model, "' is not NAME=FOLDER, such as atlas=models/atlas"));
    }
    Config::Model named{model.substr(0, equals), model.substr(equals + 1)};
    if (const std::string wrong = CheckModelName(named.name); !wrong.empty()) {
      return refuse(absl::StrCat("--model '", model, "': ", wrong));
    }
    if (!names.insert(named.name).second) {
      return refuse(absl::StrCat("--model: the name '", named.name, "' is given twice"));
    }
    config.models.push_back(std::move(named));
  }
  if (!no_keys && config.data_folder.empty()) {
    return refuse(
        "--data DIR is needed: API keys are kept there ('weft keys create --data DIR' makes one). "
        "For trying things out on this machine alone there is --no-keys");
  }
  config.keys = !no_keys;
  config.server.reflection = !no_reflection;
  config.server.slow_reader_timeout = absl::Seconds(reader_seconds);
  config.drain = absl::Seconds(drain_seconds);
  parsed.config = std::move(config);
  return parsed;
}

}  // namespace weft::server
