// Starts a server as a process of its own, makes a key, and runs an intervention inside the model
// that the server hosts.
//
//   demo [FOLDER OF A MODEL]

#include <weft/client.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <utility>

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

  absl::StatusOr<Client> client = Client::Connect(address, {.api_key = *key});
  if (!client.ok()) return client.status();
  absl::StatusOr<LanguageModel> model = client->OpenLanguageModel("atlas");
  if (!model.ok()) return model.status();
  const HostedModel& summary = model->description().summary;
  std::cout << "server        weftd, process " << server->pid() << ", on " << address << "\n"
            << "model         " << summary.name << ": " << summary.family << ", "
            << summary.parameters << " parameters, " << summary.dtype << " on " << summary.device
            << "\n"
            << "key           " << key->substr(0, key->find('_', 5))
            << "_..., made for this demo\n";
  return RunExperiment(*model);
}

}  // namespace
}  // namespace weft::examples

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : "models/atlas";
  if (!std::filesystem::exists(folder + "/config.json")) {
    std::cerr << "demo: there is no model in " << folder
              << "; run this in the repository, or give a model's folder\n";
    return EXIT_FAILURE;
  }
  if (absl::Status status = weft::examples::RunDemo(folder); !status.ok()) {
    std::cerr << "demo: " << status << "\n";
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
