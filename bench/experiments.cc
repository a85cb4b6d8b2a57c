#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "bench/bare_pass.h"
#include "bench/benchmarks.h"
#include "bench/program_run.h"
#include "bench/random_folder.h"
#include "engine/models/hosted_model.h"

namespace weft::bench {
namespace {

constexpr int kLayers = 12;
constexpr int kTokens = 128;
constexpr int kPositions = 10;  // of the grid
constexpr int kPerRound = 10;
constexpr double kMilli = 1e3;

// Of a token that is not the last: of that one alone the head would be spared the others, which the
// bare pass is not.
constexpr char kTop[] = "save top = aten::argmax(read lm_head.output[:, 0], -1)\n";
constexpr char kLastTop[] = "save top = aten::argmax(read lm_head.output[:, -1], -1)\n";

/// GPT-2 124M with random weights, and the plans of what runs in it.
struct Gpt2 {
  static absl::StatusOr<std::unique_ptr<Gpt2>> Make(const std::string& device) {
    absl::StatusOr<RandomFolder> folder = RandomFolder::Make(RandomFolder::Shape::kGpt2);
    if (!folder.ok()) return folder.status();
    auto model = HostFolder(folder->path().string(), std::nullopt, device);
    if (!model.ok()) return model.status();
    return std::make_unique<Gpt2>(*std::move(folder), *std::move(model));
  }
  Gpt2(RandomFolder its_folder, std::unique_ptr<models::HostedModel> hosted)
      : folder(std::move(its_folder)),
        model(std::move(hosted)),
        plans(model->spec(), ServerLimits()) {}

  const RandomFolder folder;
  const std::unique_ptr<models::HostedModel> model;
  plan::PlanCache plans;
};

std::string Invoke(const std::string& body) {
  return absl::StrCat("invoke [", absl::StrJoin(MakePrompt(kTokens), ", "), "] {\n", body, "}\n");
}

/// `line` for each layer, `$` being its number.
std::string ForLayers(const std::string& line) {
  std::string text;
  for (int layer = 0; layer < kLayers; ++layer) {
    for (const char c : line) {
      if (c == '$') {
        absl::StrAppend(&text, layer);
      } else {
        text += c;
      }
    }
    text += "\n";
  }
  return text;
}

std::string OneRowOfEachLayer() {
  return Invoke(ForLayers("save s$ = read transformer.h.$.output[:, -1]") + kTop);
}
std::string ResidualStreams() {
  return Invoke(ForLayers("save s$ = read transformer.h.$.output") + kTop);
}
std::string LogitLens() {
  return Invoke(ForLayers("%h$ = read transformer.h.$.output[:, -1]") +
                "%h = aten::cat([%h0, %h1, %h2, %h3, %h4, %h5, %h6, %h7, %h8, %h9, %h10, %h11])\n"
                "save lens = aten::topk(call lm_head(call transformer.ln_f(%h)), 5)[1]\n" +
                kTop);
}
std::string EveryModule() { return Invoke("cache as all\n"); }
std::string Gradients(bool all) {
  std::string reads, inside;
  for (int layer = 0; layer < (all ? kLayers : 1); ++layer) {
    absl::StrAppend(&reads, "%h", layer, " = read transformer.h.", layer, ".output\n");
    absl::StrAppend(&inside, "save g", layer, " = grad %h", layer, "\n");
  }
  return Invoke(absl::StrCat(reads, "%loss = aten::sum(read lm_head.output[:, -1, 42])\n",
                             "backward %loss {\n", inside, "}\n"));
}

uint64_t BytesIn(const graph::HostValue& value) {
  if (const auto* tensor = std::get_if<graph::HostTensor>(&value.value)) return tensor->bytes;
  uint64_t bytes = 0;
  if (const auto* tuple = std::get_if<graph::HostValue::Tuple>(&value.value)) {
    for (const graph::HostValue& item : tuple->items) bytes += BytesIn(item);
  }
  if (const auto* dict = std::get_if<graph::HostValue::Dict>(&value.value)) {
    for (const auto& entry : dict->entries) bytes += BytesIn(entry.value);
  }
  return bytes;
}

/// One way of using the model, and how many bytes it brings back.
struct Experiment {
  std::string name;
  std::string bytes;  // the program, as it is sent
  uint64_t result_bytes = 0;
};

Contender OfExperiment(const Experiment& experiment, models::HostedModel& model,
                       plan::PlanCache& plans) {
  return [&]() -> absl::StatusOr<double> {
    absl::Status status;
    const double seconds =
        Time([&] { status = RunBytes(experiment.bytes, model, plans).status(); });
    if (!status.ok()) return status;
    return seconds;
  };
}

/// One copy of as many bytes, into memory that is not there yet.
Contender OfCopy(uint64_t bytes, at::Device device) {
  const auto from = std::make_shared<const at::Tensor>(
      at::ones({static_cast<int64_t>(bytes)}, at::kByte).to(device));
  return [from]() -> absl::StatusOr<double> {
    return Time([&] { static_cast<void>(from->to(at::kCPU, at::kByte, false, /*copy=*/true)); });
  };
}

/// What nnsight takes, by nnsight_beside.py.
absl::Status MeasureNnsight(const Options& options, const RandomFolder& folder, Report& report) {
  const std::string command = absl::StrCat("'", options.python, "' bench/nnsight_beside.py '",
                                           folder.path().string(), "' ", options.samples);
  FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return absl::InternalError("cannot run " + command);
  std::string text;
  char buffer[4096];
  for (size_t read = 0; (read = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
    text.append(buffer, read);
  }
  if (pclose(pipe) != 0) return absl::UnavailableError(command + " failed");
  const nlohmann::json ratios = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!ratios.is_object()) return absl::InternalError(command + " printed no JSON object");
  for (const auto& [name, ratio] : ratios.items()) {
    if (!ratio.is_number()) return absl::InternalError(command + " printed no numbers");
    const auto value = ratio.get<double>();
    report.Add(
        {absl::StrCat("nnsight: ", name, ", over its bare forward"), "x", {value, value, value}});
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status MeasureExperiments(const Options& options, Report& report) {
  absl::StatusOr<std::unique_ptr<Gpt2>> gpt2 = Gpt2::Make(options.device);
  if (!gpt2.ok()) return gpt2.status();
  models::HostedModel& model = *(*gpt2)->model;
  plan::PlanCache& plans = (*gpt2)->plans;

  std::vector<Experiment> experiments;
  for (const auto& [name, text] : std::vector<std::pair<std::string, std::string>>{
           {"12 saves of one row", OneRowOfEachLayer()},
           {"all residual streams", ResidualStreams()},
           {"logit lens of the last token", LogitLens()},
           {"cache of every module", EveryModule()},
           {"gradient at the first layer", Gradients(false)},
           {"gradients at all layers", Gradients(true)},
           {"the last token's logits alone", Invoke(kLastTop)}}) {
    absl::StatusOr<std::string> bytes = BytesOf(text);
    if (!bytes.ok()) return bytes.status();
    absl::StatusOr<std::vector<graph::HostValue>> values = RunBytes(*bytes, model, plans);
    if (!values.ok()) return values.status();
    Experiment& experiment = experiments.emplace_back(Experiment{name, *bytes});
    for (const graph::HostValue& value : *values) experiment.result_bytes += BytesIn(value);
  }

  const auto input = run::InvokeInput::Make({MakePrompt(kTokens)}, /*pad=*/0, model.pad_left());
  const Contender bare = [&] { return TimeForward(model, input); };
  std::vector<Contender> contenders = {bare, bare};
  for (const Experiment& experiment : experiments) {
    contenders.push_back(OfExperiment(experiment, model, plans));
    contenders.push_back(OfCopy(experiment.result_bytes, model.device()));
  }
  absl::StatusOr<Interleaved> measured =
      Interleaved::Measure(contenders, std::max(1, options.samples / kPerRound), kPerRound);
  if (!measured.ok()) return measured.status();

  report.Add({"the bare pass over itself: how far noise goes", "x",
              measured->Of([](auto t) { return t[1] / t[0]; })});
  for (size_t i = 0; i < experiments.size(); ++i) {
    const size_t at = 2 + 2 * i;
    Line line{absl::StrCat(experiments[i].name, ", over bare pass and copy"), "x",
              measured->Of([at](auto t) { return t[at] / (t[0] + t[at + 1]); })};
    if (i == 0) line.target = 1.02;
    if (i == 1) line.target = 1.05;
    report.Add(std::move(line));
  }
  report.Add({"gradients at all layers, over that at the first", "x",
              measured->Of([](auto t) { return t[12] / t[10]; })});
  report.Add({"the bare pass: GPT-2 124M, 128 tokens", "ms",
              measured->Of([](auto t) { return kMilli * t[0]; })});
  if (!options.python.empty()) {
    if (absl::Status status = MeasureNnsight(options, (*gpt2)->folder, report); !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

absl::Status MeasureGrid(const Options& options, Report& report) {
  absl::StatusOr<std::unique_ptr<Gpt2>> gpt2 = Gpt2::Make(options.device);
  if (!gpt2.ok()) return gpt2.status();
  models::HostedModel& model = *(*gpt2)->model;
  plan::PlanCache& plans = (*gpt2)->plans;
  const std::string tokens = absl::StrJoin(MakePrompt(kPositions), ", ");
  std::vector<std::string> layers, positions, singles;
  for (int layer = 0; layer < kLayers; ++layer) {
    for (int position = 0; position < kPositions; ++position) {
      layers.push_back(absl::StrCat(layer));
      positions.push_back(absl::StrCat(position));
      absl::StatusOr<std::string> single = BytesOf(
          absl::StrCat("invoke [", tokens, "] {\nwrite transformer.h.", layer, ".output[:, ",
                       position, "] = 0.5\nsave r = read lm_head.output[:, -1, 42]\n}\n"));
      if (!single.ok()) return single.status();
      singles.push_back(*std::move(single));
    }
  }
  absl::StatusOr<std::string> sweep = BytesOf(absl::StrCat(
      "sweep %l in [", absl::StrJoin(layers, ", "), "], %t in [", absl::StrJoin(positions, ", "),
      "] {\ninvoke [", tokens, "] {\nwrite transformer.h.$l.output[:, %t] = 0.5\n",
      "save r = read lm_head.output[:, -1, 42]\n}\n}\n"));
  if (!sweep.ok()) return sweep.status();

  std::vector<float> one_by_one, at_once;
  const auto number = [](const graph::HostValue& value) {
    float out = 0;
    std::memcpy(&out, std::get<graph::HostTensor>(value.value).data, sizeof(out));
    return out;
  };
  const auto run = [&](const std::string& bytes, std::vector<float>* into) {
    auto values = RunBytes(bytes, model, plans);
    if (!values.ok()) return values.status();
    for (const graph::HostValue& value : *values) into->push_back(number(value));
    return absl::OkStatus();
  };
  absl::StatusOr<Interleaved> measured =
      Interleaved::Measure({[&]() -> absl::StatusOr<double> {
                              one_by_one.clear();
                              absl::Status status;
                              const double seconds = Time([&] {
                                for (size_t i = 0; i < singles.size() && status.ok(); ++i) {
                                  status = run(singles[i], &one_by_one);
                                }
                              });
                              if (!status.ok()) return status;
                              return seconds;
                            },
                            [&]() -> absl::StatusOr<double> {
                              at_once.clear();
                              absl::Status status;
                              const double seconds = Time([&] { status = run(*sweep, &at_once); });
                              if (!status.ok()) return status;
                              return seconds;
                            }},
                           /*rounds=*/4, /*per_round=*/1);
  if (!measured.ok()) return measured.status();
  double scale = 0, off = 0;
  for (size_t i = 0; i < one_by_one.size(); ++i) {
    scale = std::max<double>(scale, std::abs(one_by_one[i]));
    off = std::max<double>(off, std::abs(one_by_one[i] - at_once.at(i)));
  }
  if (off > 1e-4 * scale) return absl::InternalError("the sweep gives other numbers");
  report.Add({"120 traces one by one, over one sweep: 12 layers, 10 positions", "x",
              measured->Of([](auto t) { return t[0] / t[1]; }), 3, /*at_least=*/true});
  report.Add({"the sweep", "ms", measured->Of([](auto t) { return kMilli * t[1]; })});
  return absl::OkStatus();
}

}  // namespace weft::bench
