#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <fstream>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "bench/bare_pass.h"
#include "bench/benchmarks.h"
#include "bench/program_run.h"
#include "bench/random_folder.h"
#include "bench/transformers_peer.h"
#include "engine/devices/threads.h"
#include "engine/engine.h"
#include "engine/graph/text.h"
#include "engine/models/hosted_model.h"

namespace weft::bench {
namespace {

using Shape = RandomFolder::Shape;

constexpr int kPrompt = 128;
constexpr int kNew = 64;
constexpr int kRounds = 3;
constexpr char kModel[] = "model";

/// A model in a dtype, and how far ahead of transformers it is to be; nothing: not promised.
struct Setting {
  const char* key;  // in kModelNames
  const char* name;
  Shape shape;
  at::ScalarType type;
  double short_prompt, long_prompt, decode_one, decode_eight;
  /// Measured where it is asked for alone.
  bool large = false;
};

const Setting kSettings[] = {
    {"gpt2", "GPT-2 124M, float32", Shape::kGpt2, at::kFloat, 1.8, 1.1, 1.8, 3.5},
    {"gpt2-bf16", "GPT-2 124M, bfloat16", Shape::kGpt2, at::kBFloat16, 1, 1, 1, 1},
    {"llama", "Llama 160M, float32", Shape::kLlama, at::kFloat, 1.8, 1.1, 1.8, 3.5},
    {"llama-bf16", "Llama 160M, bfloat16", Shape::kLlama, at::kBFloat16, 1, 1, 1, 1},
    {"llama-1b-bf16", "Llama 1.2B, bfloat16", Shape::kLlama1B, at::kBFloat16, 1, 1, 1, 1, true},
};

const char* NameOf(at::ScalarType type) { return type == at::kFloat ? "float32" : "bfloat16"; }

std::string PromptText(int64_t tokens, int64_t row, int64_t vocabulary) {
  return absl::StrCat("[", absl::StrJoin(MakePrompt(tokens, row, vocabulary), ", "), "]");
}

/// Programs at work in an engine.
class Programs {
 public:
  static absl::StatusOr<std::unique_ptr<Programs>> Start(const RandomFolder& folder,
                                                         at::ScalarType type,
                                                         const std::string& device) {
    auto programs = std::make_unique<Programs>();
    absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Create();
    if (!engine.ok()) return engine.status();
    programs->engine_ = *std::move(engine);
    const absl::Status loaded = programs->engine_->LoadModel(
        kModel, folder.path().string(), {.dtype = NameOf(type), .device = device});
    if (!loaded.ok()) return loaded;
    return programs;
  }

  /// The seconds until all of `texts`, submitted at once, have ended.
  absl::StatusOr<double> Run(const std::vector<std::string>& texts) {
    std::vector<graph::Program> programs;
    for (const std::string& text : texts) {
      absl::StatusOr<graph::Program> program = graph::ParseProgram(text);
      if (!program.ok()) return program.status();
      programs.push_back(*std::move(program));
    }
    struct Outcome {
      absl::Mutex mutex;
      size_t left = 0;
      absl::Status status;
    };
    const auto outcome = std::make_shared<Outcome>();
    outcome->left = programs.size();
    absl::Status status;
    const double seconds = Time([&] {
      for (graph::Program& program : programs) {
        status = engine_
                     ->Submit(kModel, std::move(program), {},
                              [outcome](Event event) {
                                const auto* failed = std::get_if<Failed>(&event);
                                if (failed == nullptr && !std::holds_alternative<Completed>(event))
                                  return;
                                const absl::MutexLock lock(&outcome->mutex);
                                if (failed != nullptr)
                                  outcome->status = graph::ToStatus(failed->error);
                                --outcome->left;
                              })
                     .status();
        if (!status.ok()) return;
      }
      const absl::MutexLock lock(&outcome->mutex,
                                 absl::Condition(
                                     +[](Outcome* o) { return o->left == 0; }, outcome.get()));
    });
    if (!status.ok()) return status;
    const absl::MutexLock lock(&outcome->mutex);
    if (!outcome->status.ok()) return outcome->status;
    return seconds;
  }

 private:
  std::unique_ptr<Engine> engine_;
};

/// A program that generates `tokens` tokens behind `batch` prompts: rows of one invoke, or an
/// invoke for each.
std::string Generation(int64_t batch, int64_t prompt, int64_t tokens, bool invokes,
                       int64_t vocabulary, int64_t first = 0) {
  std::vector<std::string> prompts;
  for (int64_t row = 0; row < batch; ++row) {
    prompts.push_back(PromptText(prompt, first + row, vocabulary));
  }
  std::string text =
      absl::StrCat("generate max_new_tokens=", tokens, " min_new_tokens=", tokens, "\n");
  if (!invokes) {
    return absl::StrCat(text, "invoke [", absl::StrJoin(prompts, ", "), "] { }\n");
  }
  for (const std::string& ids : prompts) absl::StrAppend(&text, "invoke ", ids, " { }\n");
  return text;
}

/// The products of a forward of one row, and nothing else.
struct Products {
  Products(const models::Network& network, at::ScalarType type) {
    for (const auto& [name, parameter] : network.parameters) {
      const bool embeds = absl::StrContains(name, "embed") || absl::StrContains(name, ".wpe.");
      // GPT-2's head is its embedding.
      const bool twice = network.family == "gpt2" && absl::StartsWith(name, "lm_head");
      if (parameter.dim() != 2 || embeds || twice) continue;
      // It keeps a linear as `[in, out]`.
      const bool turned = network.family == "gpt2" && !absl::StrContains(name, ".wte.");
      weights.push_back((turned ? parameter.t() : parameter).contiguous());
      bytes += static_cast<double>(weights.back().nbytes());
      const int64_t in = weights.back().size(1);
      if (!rows.contains(in)) rows[in] = at::randn({1, in}).to(parameter.device(), type);
    }
  }
  double Run() const {
    const c10::InferenceMode inference;
    return Time([&] {
      for (const at::Tensor& weight : weights) at::linear(rows.at(weight.size(1)), weight);
      Await(weights[0].device());
    });
  }

  std::vector<at::Tensor> weights;
  std::map<int64_t, at::Tensor> rows;  // by how wide they are
  double bytes = 0;
};

constexpr int64_t kCopied = 256 << 20;

/// `contender` where nobody else keeps threads to share out work (engine/devices/threads.h): those
/// of engines are given back, and of transformers they sleep.
Contender Rested(Contender contender) {
  return [contender = std::move(contender)] {
    devices::GiveThreadsBack();
    absl::SleepFor(absl::Milliseconds(200));
    return contender();
  };
}

/// `contender`, which shares out work of this thread.
Contender OnThisThread(Contender contender) {
  return [contender = std::move(contender)] {
    at::zeros({int64_t{1} << 20});  // starts its threads
    return contender();
  };
}

/// A copy of kCopied bytes from memory to memory.
Contender MemoryCopy(at::Device device) {
  const at::TensorOptions bytes = at::TensorOptions(at::kByte).device(device);
  const at::Tensor from = at::ones({kCopied}, bytes), to = at::empty({kCopied}, bytes);
  return [from, to]() -> absl::StatusOr<double> {
    return Time([&] {
      to.copy_(from);
      Await(to.device());
    });
  };
}

absl::Status MeasureSetting(const Setting& setting, const Options& options, Report& report) {
  absl::StatusOr<RandomFolder> folder = RandomFolder::Make(setting.shape);
  if (!folder.ok()) return folder.status();
  absl::StatusOr<std::unique_ptr<models::HostedModel>> model =
      HostFolder(folder->path().string(), setting.type, options.device);
  if (!model.ok()) return model.status();
  absl::StatusOr<std::unique_ptr<Programs>> programs =
      Programs::Start(*folder, setting.type, options.device);
  if (!programs.ok()) return programs.status();
  const int64_t vocabulary = (*model)->network().vocabulary;

  const Products products((*model)->network(), setting.type);

  const auto forward = [&](int64_t batch, int64_t tokens) -> Contender {
    std::vector<std::vector<int64_t>> rows;
    for (int64_t row = 0; row < batch; ++row) rows.push_back(MakePrompt(tokens, row, vocabulary));
    const auto input = std::make_shared<const run::InvokeInput>(
        run::InvokeInput::Make(rows, /*pad=*/0, /*pad_left=*/true));
    return OnThisThread([&model, input] { return TimeForward(**model, *input); });
  };
  const auto generate = [&](int64_t batch, int64_t tokens, bool invokes) -> Contender {
    const std::vector<std::string> texts = {
        Generation(batch, kPrompt, tokens, invokes, vocabulary)};
    return [&programs, texts] { return (*programs)->Run(texts); };
  };
  enum { kShort, kLong, kMany, kFirst, kOne, kFirstOf8, kRows, kInvokes, kBare, kCopy, kOurs };
  std::vector<Contender> contenders = {forward(1, 16),
                                       forward(1, 512),
                                       forward(8, 128),
                                       generate(1, 1, false),
                                       generate(1, kNew, false),
                                       generate(8, 1, false),
                                       generate(8, kNew, false),
                                       generate(8, kNew, true),
                                       OnThisThread([&] { return products.Run(); }),
                                       OnThisThread(MemoryCopy((*model)->device()))};
  std::unique_ptr<TransformersPeer> peer;
  if (!options.python.empty()) {
    absl::StatusOr<std::unique_ptr<TransformersPeer>> started = TransformersPeer::Start(
        options.python, folder->path().string(), NameOf(setting.type), options.device);
    if (!started.ok()) return started.status();
    peer = *std::move(started);
    for (const auto& [batch, tokens] : {std::pair(1, 16), {1, 512}, {8, 128}}) {
      contenders.push_back(
          [&peer, batch = batch, tokens = tokens] { return peer->Forward(batch, tokens); });
    }
    for (const auto& [batch, tokens] : {std::pair(1, 1), {1, kNew}, {8, 1}, {8, kNew}}) {
      contenders.push_back([&peer, batch = batch, tokens = tokens] {
        return peer->Generate(batch, kPrompt, tokens);
      });
    }
  }
  for (Contender& contender : contenders) contender = Rested(std::move(contender));
  absl::StatusOr<Interleaved> measured = Interleaved::Measure(contenders, kRounds, 1);
  if (!measured.ok()) return measured.status();

  const auto add = [&](const std::string& claim, const char* unit, std::optional<double> target,
                       absl::FunctionRef<double(absl::Span<const double>)> formula) {
    report.Add({absl::StrCat(setting.name, ": ", claim), unit, measured->Of(formula), target,
                /*at_least=*/true});
  };
  // All but the first token, which comes with the prompt.
  const auto decoding = [](absl::Span<const double> t, int first, int all) {
    return (t[all] - t[first]) / (kNew - 1);
  };
  if (peer != nullptr) {
    enum { kShortT = kOurs, kLongT, kManyT, kFirstT, kOneT, kFirstOf8T, kRowsT };
    add("forward of 1x16, transformers' time over ours", "x", setting.short_prompt,
        [](auto t) { return t[kShortT] / t[kShort]; });
    add("forward of 1x512, transformers' time over ours", "x", setting.long_prompt,
        [](auto t) { return t[kLongT] / t[kLong]; });
    add("forward of 8x128, transformers' time over ours", "x", setting.long_prompt,
        [](auto t) { return t[kManyT] / t[kMany]; });
    add("decoding one row, over transformers", "x", setting.decode_one,
        [&](auto t) { return decoding(t, kFirstT, kOneT) / decoding(t, kFirst, kOne); });
    add("decoding 8 rows of one invoke, over transformers", "x", setting.decode_eight,
        [&](auto t) { return decoding(t, kFirstOf8T, kRowsT) / decoding(t, kFirstOf8, kRows); });
    add("decoding 8 invokes of one row, over transformers", "x", setting.decode_eight,
        [&](auto t) { return decoding(t, kFirstOf8T, kRowsT) / decoding(t, kFirstOf8, kInvokes); });
  }
  add("decoding one row, over its bare at::linear products", "x",
      setting.type == at::kFloat ? std::optional(0.9) : std::nullopt,
      [&](auto t) { return t[kBare] / decoding(t, kFirst, kOne); });
  add("decoding one row, bytes of weights a second over those of a copy", "x", std::nullopt,
      [&](auto t) {
        return products.bytes / decoding(t, kFirst, kOne) / (2 * kCopied / t[kCopy]);
      });
  add("forward of 1x512", "ms", std::nullopt, [](auto t) { return 1e3 * t[kLong]; });
  add("decoding one row", "tokens/s", std::nullopt,
      [&](auto t) { return 1 / decoding(t, kFirst, kOne); });
  add("decoding 8 rows", "tokens/s", std::nullopt,
      [&](auto t) { return 8 / decoding(t, kFirstOf8, kRows); });
  return absl::OkStatus();
}

absl::Status MeasureTiny(const Options& options, Report& report) {
  absl::StatusOr<RandomFolder> folder = RandomFolder::Make(Shape::kTiny);
  if (!folder.ok()) return folder.status();
  absl::StatusOr<std::unique_ptr<TransformersPeer>> peer =
      TransformersPeer::Start(options.python, folder->path().string(), "float32", options.device);
  if (!peer.ok()) return peer.status();
  absl::StatusOr<std::unique_ptr<Programs>> programs =
      Programs::Start(*folder, at::kFloat, options.device);
  if (!programs.ok()) return programs.status();
  absl::StatusOr<std::unique_ptr<models::HostedModel>> model =
      HostFolder(folder->path().string(), at::kFloat, options.device);
  if (!model.ok()) return model.status();
  const auto input = run::InvokeInput::Make({MakePrompt(16, 0, 512)}, /*pad=*/0, /*pad_left=*/true);
  const Contender pass = [&] { return TimeForward(**model, input); };
  const std::vector<std::string> text = {
      absl::StrCat("invoke ", PromptText(16, 0, 512),
                   " { save top = aten::argmax(read lm_head.output[:, 0], -1) }\n")};
  // As the engine does for passes that are too small to share out.
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  absl::StatusOr<Interleaved> measured = Interleaved::Measure(
      {pass, [&] { return (*programs)->Run(text); }, [&] { return (*peer)->Forward(1, 16); }},
      kRounds, /*per_round=*/200);
  at::set_num_threads(threads);
  if (!measured.ok()) return measured.status();
  report.Add({"2 layers, 64 wide: a pass of 1x16, transformers' over it", "x",
              measured->Of([](auto t) { return t[2] / t[0]; }), 5, /*at_least=*/true});
  report.Add({"2 layers, 64 wide: the same as a program in an engine, from thread to thread", "x",
              measured->Of([](auto t) { return t[2] / t[1]; })});
  report.Add(
      {"2 layers, 64 wide: the pass", "ms", measured->Of([](auto t) { return 1e3 * t[0]; })});
  return absl::OkStatus();
}

absl::Status MeasureLoading(const RandomFolder& folder, const std::string& device, Report& report) {
  const std::string file = (folder.path() / "model.safetensors").string();
  const Contender reading = [&]() -> absl::StatusOr<double> {
    std::vector<char> buffer(size_t{16} << 20);
    std::ifstream in(file, std::ios::binary);
    return Time([&] {
      while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size()))) {
      }
    });
  };
  const Contender loading = [&]() -> absl::StatusOr<double> {
    absl::Status status;
    const double seconds =
        Time([&] { status = HostFolder(folder.path().string(), at::kFloat, device).status(); });
    if (!status.ok()) return status;
    return seconds;
  };
  absl::StatusOr<Interleaved> measured = Interleaved::Measure({loading, reading}, kRounds, 1);
  if (!measured.ok()) return measured.status();
  report.Add({"GPT-2 124M: loading, over reading its file", "x",
              measured->Of([](auto t) { return t[0] / t[1]; })});
  return absl::OkStatus();
}

absl::Status MeasureCompany(const RandomFolder& folder, const std::string& device, Report& report) {
  constexpr int kPrograms = 16, kShortPrompt = 16, kTokens = 32;
  absl::StatusOr<std::unique_ptr<Programs>> programs = Programs::Start(folder, at::kFloat, device);
  if (!programs.ok()) return programs.status();
  std::vector<std::string> texts;
  for (int i = 0; i < kPrograms; ++i) {
    texts.push_back(Generation(1, kShortPrompt, kTokens, /*invokes=*/false, 50257, i));
  }
  const Contender together = [&] { return (*programs)->Run(texts); };
  const Contender in_turn = [&]() -> absl::StatusOr<double> {
    double seconds = 0;
    for (const std::string& text : texts) {
      absl::StatusOr<double> one = (*programs)->Run({text});
      if (!one.ok()) return one.status();
      seconds += *one;
    }
    return seconds;
  };
  absl::StatusOr<Interleaved> measured = Interleaved::Measure({together, in_turn}, kRounds, 1);
  if (!measured.ok()) return measured.status();
  report.Add({"GPT-2 124M: 16 programs that generate, in turn over in shared passes", "x",
              measured->Of([](auto t) { return t[1] / t[0]; }), 4.5, /*at_least=*/true});
  report.Add({"GPT-2 124M: the same in shared passes", "tokens/s",
              measured->Of([](auto t) { return kPrograms * kTokens / t[0]; })});
  return absl::OkStatus();
}

}  // namespace

const std::vector<std::string> kModelNames = {"gpt2",          "gpt2-bf16", "llama",   "llama-bf16",
                                              "llama-1b-bf16", "tiny",      "company", "loading"};

absl::Status MeasureModels(const Options& options, Report& report) {
  const auto wanted = [&](const std::string& key) {
    return options.models.empty() || absl::c_linear_search(options.models, key);
  };
  for (const Setting& setting : kSettings) {
    if (!wanted(setting.key) || (setting.large && options.models.empty())) continue;
    if (absl::Status status = MeasureSetting(setting, options, report); !status.ok()) return status;
  }
  if (wanted("tiny") && !options.python.empty()) {
    if (absl::Status status = MeasureTiny(options, report); !status.ok()) return status;
  }
  if (!wanted("company") && !wanted("loading")) return absl::OkStatus();
  absl::StatusOr<RandomFolder> folder = RandomFolder::Make(Shape::kGpt2);
  if (!folder.ok()) return folder.status();
  if (wanted("company")) {
    if (absl::Status status = MeasureCompany(*folder, options.device, report); !status.ok())
      return status;
  }
  return wanted("loading") ? MeasureLoading(*folder, options.device, report) : absl::OkStatus();
}

}  // namespace weft::bench
