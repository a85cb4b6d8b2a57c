// Records a program against a model of its own making, and with the address of a server runs it
// there. Prints what it saw.

#include <weft/client.h>

#include <iostream>

namespace {

/// Describes one model and runs nothing.
class Recorder final : public weft::Backend {
 public:
  absl::StatusOr<weft::Identity> WhoAmI() override { return weft::Identity(); }
  absl::StatusOr<std::vector<weft::HostedModel>> ListModels() override {
    return std::vector<weft::HostedModel>{{.name = "toy"}};
  }
  absl::StatusOr<weft::ModelDescription> GetModel(const std::string& name) override {
    weft::ModelDescription model;
    model.summary.name = name;
    model.modules = {{"", "Toy", ""}, {"lm_head", "Linear", ""}};
    model.sites = {{"lm_head", "output", 0, "float32[B, T, 9]", true}};
    return model;
  }
  absl::StatusOr<std::vector<weft::OperatorDescription>> ListOperators() override {
    return std::vector<weft::OperatorDescription>();
  }
  absl::StatusOr<std::vector<std::vector<int64_t>>> Tokenize(
      const std::string&, const std::vector<std::string>&) override {
    return absl::UnimplementedError("no tokenizer");
  }
  absl::StatusOr<std::vector<std::string>> Detokenize(const std::string&,
                                                      const std::vector<std::vector<int64_t>>&,
                                                      bool) override {
    return absl::UnimplementedError("no tokenizer");
  }
  absl::StatusOr<weft::ValidationReport> Validate(const std::string&, const weft::Program&,
                                                  const weft::RunSettings&) override {
    return absl::UnimplementedError("no engine");
  }
  absl::Status Run(const std::string&, const weft::Program&, const weft::RunSettings&,
                   absl::FunctionRef<void(weft::RunEvent)>) override {
    return absl::UnimplementedError("no engine");
  }
};

absl::Status RunAll(int argc, char** argv) {
  weft::Saved<weft::Tensor> token;
  const auto experiment = [&](const weft::LanguageModel& model) {
    token = model["lm_head"].output()[{weft::Slice(), -1}].argmax(-1).save("token");
  };

  const weft::Client toy(std::make_shared<Recorder>());
  absl::StatusOr<weft::LanguageModel> model = toy.OpenLanguageModel("toy");
  if (!model.ok()) return model.status();
  absl::StatusOr<weft::Program> program =
      model->Record(std::vector<int64_t>{1, 2, 3}, [&] { experiment(*model); });
  if (!program.ok()) return program.status();
  std::cout << program->text();
  if (argc < 2) return absl::OkStatus();

  absl::StatusOr<weft::Client> client = weft::Client::Connect(argv[1]);
  if (!client.ok()) return client.status();
  model = client->OpenLanguageModel("tiny");
  if (!model.ok()) return model.status();
  absl::StatusOr<weft::RunResult> run =
      model->Trace(std::vector<int64_t>{1, 2, 3}, [&] { experiment(*model); });
  if (!run.ok()) return run.status();
  std::cout << "ran: " << token->Type() << "\n";
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  const absl::Status status = RunAll(argc, argv);
  if (!status.ok()) std::cerr << status.ToString() << "\n";
  return status.ok() ? 0 : 1;
}
