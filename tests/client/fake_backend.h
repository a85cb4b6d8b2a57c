#pragma once

#include <weft/backend.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace weft::client_test {

/// A backend that plays back events and notes what it was asked: hosts one model, `toy`, with two
/// blocks.
class FakeBackend : public Backend {
 public:
  /// What a run gives, and how it ends.
  std::vector<RunEvent> events;
  absl::Status end;

  // What was asked.
  std::vector<std::string> programs;  // text forms
  std::vector<RunSettings> settings;

  static ModelDescription Toy() {
    ModelDescription model;
    model.summary.name = "toy";
    model.summary.vocabulary = 100;
    model.modules = {{"", "Toy", ""},
                     {"h", "ModuleList", ""},
                     {"h.0", "Block", ""},
                     {"h.0.mlp", "MLP", "in_features=4"},
                     {"h.1", "Block", ""},
                     {"h.1.mlp", "MLP", "in_features=4"},
                     {"lm_head", "Linear", "in_features=4, out_features=9"}};
    for (const char* path : {"", "h.0", "h.0.mlp", "h.1", "h.1.mlp", "lm_head"}) {
      model.sites.push_back({path, "input", 0, "float32[B, T, 4]", true});
      model.sites.push_back({path, "output", 0, "float32[B, T, 4]", true});
    }
    model.parameters = {{"lm_head.weight", kFloat32, {9, 4}}};
    return model;
  }

  absl::StatusOr<Identity> WhoAmI() override { return Identity(); }
  absl::StatusOr<std::vector<HostedModel>> ListModels() override {
    return std::vector<HostedModel>{Toy().summary};
  }
  absl::StatusOr<ModelDescription> GetModel(const std::string& name) override {
    ModelDescription model = Toy();
    if (name != "toy" && name != "twin") return absl::NotFoundError("only toy and twin are here");
    model.summary.name = name;
    model.summary.vocabulary = 100;
    return model;
  }
  absl::StatusOr<std::vector<OperatorDescription>> ListOperators() override {
    return std::vector<OperatorDescription>();
  }
  // A token is a letter.
  absl::StatusOr<std::vector<std::vector<int64_t>>> Tokenize(
      const std::string&, const std::vector<std::string>& texts) override {
    std::vector<std::vector<int64_t>> rows;
    for (const std::string& text : texts) rows.emplace_back(text.begin(), text.end());
    return rows;
  }
  // The token 0 is a special one.
  absl::StatusOr<std::vector<std::string>> Detokenize(const std::string&,
                                                      const std::vector<std::vector<int64_t>>& rows,
                                                      bool skip_special_tokens) override {
    std::vector<std::string> texts;
    for (const auto& row : rows) {
      texts.emplace_back(row.begin(), row.end());
      if (skip_special_tokens) std::erase(texts.back(), '\0');
    }
    return texts;
  }
  absl::StatusOr<ValidationReport> Validate(const std::string&, const Program& program,
                                            const RunSettings& run_settings) override {
    programs.push_back(program.text());
    settings.push_back(run_settings);
    if (!end.ok()) return end;
    ValidationReport report;
    report.fingerprint = "toy-1";
    return report;
  }
  absl::Status Run(const std::string&, const Program& program, const RunSettings& run_settings,
                   absl::FunctionRef<void(RunEvent)> on_event) override {
    programs.push_back(program.text());
    settings.push_back(run_settings);
    for (const RunEvent& event : events) on_event(event);
    return end;
  }
};

}  // namespace weft::client_test
