// Attention patterns: where does each head look? On a random sequence told twice, heads show what
// they do by the stripes that they draw.

#include <iostream>

#include "absl/strings/str_format.h"
#include "examples/cookbook/example.h"
#include "examples/cookbook/random_sequences.h"
#include "examples/figures/figures.h"

using weft::Saved;
using weft::Tensor;

constexpr int64_t kLength = 20, kTokens = 2 * kLength, kHeads = 2;

/// How much of its attention a head gives, on average, to the token `back` before this one.
double Stripe(const Tensor& probs, int64_t back, int64_t from) {
  double sum = 0;
  for (int64_t i = from; i < kTokens; ++i) sum += probs.at<float>({i, i - back});
  return sum / static_cast<double>(kTokens - from);
}

void Run(weft::examples::Example& example) {
  const weft::LanguageModel& model = example.model();
  const weft::Module blocks = model["transformer.h"];
  const auto vocabulary = static_cast<int64_t>(model.description().summary.vocabulary);

  std::vector<Saved<Tensor>> probs;  // [1, heads, tokens, tokens] of each block
  const auto run = model.Trace(weft::examples::TwiceToldSequences(1, kLength, vocabulary), [&] {
    for (const weft::Module& block : blocks) probs.push_back(block["attn"].probs().save());
  });
  run.value();

  weft::figures::Panels panels{.title = "Attention on a random sequence that is told twice",
                               .across = 6};
  double previous[6][kHeads], induction[6][kHeads];
  for (int64_t head = 0; head < kHeads; ++head) {
    for (int64_t layer = 0; layer < blocks.size(); ++layer) {
      const Tensor pattern = (*probs[layer])[0][head];  // [tokens, tokens]: from, to
      weft::figures::HeatMap map{.title = absl::StrFormat("head %d.%d", layer, head),
                                 .x_label = "to token",
                                 .y_label = "from token",
                                 .value_label = "attention",
                                 .low = 0,
                                 .high = 1,
                                 .cell_width = 4,
                                 .cell_height = 4};
      for (int64_t i = 0; i < kTokens; ++i) map.values.push_back(pattern[i].ToVector<double>());
      panels.maps.push_back(map);
      previous[layer][head] = Stripe(pattern, 1, 1);
      induction[layer][head] = Stripe(pattern, kLength - 1, kLength);
      std::cout << absl::StrFormat("head %d.%d  to the token before %.2f  to what came next %.2f\n",
                                   layer, head, previous[layer][head], induction[layer][head]);
    }
  }
  example.Draw("attention_patterns", weft::figures::ToSvg(panels));
  example.Claim(previous[0][1] > 0.9, "Head 0.1 looks at the token before");
  bool others = true;
  for (int layer = 2; layer < 6; ++layer) {
    for (int head = 0; head < kHeads; ++head) others = others && induction[layer][head] < 0.2;
  }
  example.Claim(induction[1][0] > 0.85 && induction[1][1] > 0.85 && others,
                "Heads 1.0 and 1.1 look at what followed this token the last time (induction), "
                "and no later head does");
}

int main(int argc, char** argv) { return weft::examples::Example::Main(argc, argv, Run); }
