// Starts a server as a process of its own, makes a key, and runs an intervention inside the model
// that the server hosts. Or does the same on a server that runs elsewhere and hosts `atlas`.
//
//   demo [FOLDER OF A MODEL]
//   WEFT_API_KEY=... demo --target HOST:PORT [--ca FILE]

#include <weft/client.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "examples/server_process.h"

namespace weft::examples {
namespace {

constexpr char kPrompt[] = "The Eiffel Tower is in the city of";
constexpr char kOther[] = "The Colosseum is in the city of";

/// The experiment: what the client library is for.
absl::Status RunExperiment(const LanguageModel& model) {
  const Slice all;
  // A block in the middle: what it says at the last token reaches the answer through the others.
  const Module blocks = model["transformer.h"];
  const Module block = blocks[blocks.size() / 2];

  Saved<Tensor> plain, patched, hidden;
  absl::StatusOr<RunResult> run = model.Trace([&](Tracer& trace) {
    Var rome;
    trace.Invoke(kOther, [&] { rome = block.output()[{all, -1}]; });
    trace.Invoke(kPrompt, [&] {
      hidden = block.output().save("hidden");
      plain = model["lm_head"].output()[{all, -1}].argmax(-1).save("plain");
    });
    trace.Invoke(kPrompt, [&] {
      block.output()[{all, -1}] = rome;
      patched = model["lm_head"].output()[{all, -1}].argmax(-1).save("patched");
    });
  });
  if (!run.ok()) return run.status();
  for (const auto& [name, reason] : run->missing) return reason;

  absl::StatusOr<std::string> answer = model.Decode(*plain);
  if (!answer.ok()) return answer.status();
  absl::StatusOr<std::string> changed = model.Decode(*patched);
  if (!changed.ok()) return changed.status();
  std::cout << "prompt        " << kPrompt << "\n"
            << "answer        " << *answer << "\n"
            << "intervention  at its last token, the output of " << block.path()
            << " is replaced by the one from \"" << kOther << "\"\n"
            << "answer        " << *changed << "\n"
            << "saved         hidden: " << hidden->Type() << ", the output of " << block.path()
            << "\n"
            << "cost          " << run->cost.passes << " forward pass for all three prompts, "
            << run->cost.tokens << " tokens, " << run->cost.run_seconds * 1e3 << " ms\n";
  if (*answer == *changed) return absl::InternalError("the intervention changed nothing");
  return absl::OkStatus();
}

/// Connect, say what is there, run the experiment.
absl::Status RunOn(const std::string& target, const ClientOptions& options,
                   const std::string& server) {
  absl::StatusOr<Client> client = Client::Connect(target, options);
  if (!client.ok()) return client.status();
  absl::StatusOr<LanguageModel> model = client->OpenLanguageModel("atlas");
  if (!model.ok()) return model.status();
  const HostedModel& summary = model->description().summary;
  std::cout << "server        " << server << "\n"
            << "model         " << summary.name << ": " << summary.family << ", "
            << summary.parameters << " parameters, " << summary.dtype << " on " << summary.device
            << "\n"
            << "key           " << options.api_key.substr(0, options.api_key.find('_', 5))
            << "_...\n";
  return RunExperiment(*model);
}

absl::Status RunDemo(const std::string& model_folder) {
  absl::StatusOr<TemporaryFolder> data = TemporaryFolder::Make();
  if (!data.ok()) return data.status();

  absl::StatusOr<Process> make_key = Process::Start(
      {FindProgram("client", "weft"), "keys", "create", "--data", data->path(), "--label", "demo"},
      data->path() + "/keys.log");
  if (!make_key.ok()) return make_key.status();
  absl::StatusOr<std::string> key = make_key->ReadLine();
  if (!key.ok()) return key.status();

  const std::string log = data->path() + "/weftd.log";
  absl::StatusOr<Process> server =
      Process::Start({FindProgram("server", "weftd"), "--listen", "127.0.0.1:0", "--data",
                      data->path(), "--model", "atlas=" + model_folder},
                     log);
  if (!server.ok()) return server.status();
  absl::StatusOr<std::string> line = server->ReadLine();
  if (!line.ok()) {
    std::cerr << std::ifstream(log).rdbuf();
    return absl::Status(line.status().code(),
                        absl::StrCat("weftd: ", std::string(line.status().message())));
  }
  const std::string address(absl::StripPrefix(*line, "listening on "));
  return RunOn(address, {.api_key = *key},
               absl::StrCat("weftd, process ", server->pid(), ", on ", address));
}

/// The demo on a server that runs already.
absl::Status RunDemoOn(const std::string& target, const std::string& ca_file) {
  ClientOptions options{.tls = !ca_file.empty(), .ca_file = ca_file};
  if (const char* key = std::getenv("WEFT_API_KEY"); key != nullptr) options.api_key = key;
  return RunOn(target, options, absl::StrCat(target, options.tls ? ", over TLS" : ""));
}

int ExitCode(const absl::Status& status) {
  if (status.ok()) return EXIT_SUCCESS;
  std::cerr << "demo: " << status << "\n";
  return EXIT_FAILURE;
}

}  // namespace
}  // namespace weft::examples

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() >= 2 && arguments[0] == "--target") {
    const bool tls = arguments.size() == 4 && arguments[2] == "--ca";
    if (arguments.size() != 2 && !tls) {
      std::cerr << "usage: demo --target HOST:PORT [--ca FILE]\n";
      return EXIT_FAILURE;
    }
    return weft::examples::ExitCode(
        weft::examples::RunDemoOn(arguments[1], tls ? arguments[3] : ""));
  }
  const std::string folder = arguments.empty() ? "models/atlas" : arguments[0];
  if (!std::filesystem::exists(folder + "/config.json")) {
    std::cerr << "demo: there is no model in " << folder
              << "; run this in the repository, or give a model's folder\n";
    return EXIT_FAILURE;
  }
  return weft::examples::ExitCode(weft::examples::RunDemo(folder));
}
