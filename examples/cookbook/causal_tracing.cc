// Causal tracing (Meng et al. 2022): noise on the subject's embeddings makes the model forget the
// answer; one clean state put back at a time shows where the knowledge flows.

#include <iostream>
#include <random>

#include "absl/strings/str_format.h"
#include "examples/cookbook/example.h"
#include "examples/figures/figures.h"

using weft::Param;
using weft::Saved;
using weft::Slice;
using weft::Tensor;
using weft::Var;

constexpr int64_t kSamples = 16, kSubject = 2, kHidden = 128;

void Run(weft::examples::Example& example) {
  const weft::LanguageModel& model = example.model();
  const std::string prompt = "The Eiffel Tower is in the city of";
  const std::vector<std::string> tokens = example.Tokens(prompt);
  const weft::Module blocks = model["transformer.h"];
  const int64_t layers = blocks.size(), positions = static_cast<int64_t>(tokens.size());
  const int64_t answer = example.Token(" Paris");

  // Three times as large as an embedding is, and another in each row.
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 3 * 0.144f);
  std::vector<float> values(kSamples * kSubject * kHidden);
  for (float& value : values) value = normal(random);
  const Tensor noise = Tensor::From(values, {kSamples, kSubject, kHidden});
  const std::vector<std::string> rows(kSamples, prompt);

  const auto corrupt = [&] { model["transformer.wte"].output().token(1, 3) += noise; };
  const auto probability = [&] {
    return model["lm_head"].output().token(-1).softmax(-1)[{Slice(), answer}].mean();
  };
  Saved<Tensor> clean, corrupted;
  weft::SavedList<Tensor> restored;
  const auto run = model.Session([&](weft::Session& session) {
    Var states;  // [blocks, 1, positions, hidden]
    session.Trace(prompt, [&] {
      std::vector<Var> outputs;
      for (const weft::Module& block : blocks) outputs.push_back(block.output());
      states = weft::stack(outputs);
      clean = probability().save();
    });
    session.Trace([&](weft::Tracer& trace) {
      trace.Invoke(rows, [&] {
        corrupt();
        corrupted = probability().save();
      });
      trace.sweep(weft::Grid(weft::Range(layers), weft::Range(positions)),
                  [&](Param layer, Param position) {
                    trace.Invoke(rows, [&] {
                      corrupt();
                      blocks[layer].output().token(position) = states[{layer, Slice(), position}];
                      restored = probability().save();
                    });
                  });
    });
  });
  run.value();

  weft::figures::HeatMap map{.title = "Paris comes back when one clean state does",
                             .x_label = "position that was restored",
                             .y_label = "output of block",
                             .value_label = "probability of Paris",
                             .columns = tokens,
                             .low = 0,
                             .high = 1};
  double elsewhere = 0;
  for (int64_t layer = 0; layer < layers; ++layer) {
    map.rows.push_back(blocks[layer].name());
    map.values.emplace_back();
    map.texts.emplace_back();
    for (int64_t i = 0; i < positions; ++i) {
      const double value = restored[layer * positions + i].item();
      map.values.back().push_back(value);
      map.texts.back().push_back(weft::figures::Decimals(value, 2));
      const bool on_the_way = layer == 0 ? i == 1 : i == positions - 1;
      if (!on_the_way) elsewhere = std::max(elsewhere, value);
    }
  }
  std::cout << absl::StrFormat("probability of Paris: %.3f, with noise on Eiffel Tower %.3f\n",
                               clean->item(), corrupted->item());
  example.Draw("causal_tracing", weft::figures::ToSvg(map));
  const double early = map.values[0][1], late = map.values[1][positions - 1];
  example.Claim(early > 0.8 && late > 0.99 && elsewhere < 0.5 && corrupted->item() < 0.3,
                absl::StrFormat("One state is enough: Eiffel after block 0 (%.2f), the last token "
                                "after block 1 (%.2f); any other gives at most %.2f",
                                early, late, elsewhere));
}

int main(int argc, char** argv) { return weft::examples::Example::Main(argc, argv, Run); }
