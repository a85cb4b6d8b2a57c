// Logit lens: what would the model answer if it stopped after each block? Every block's output is
// read at every position and taken through the final norm and the unembedding, in one pass.

#include <iostream>

#include "absl/strings/str_format.h"
#include "examples/cookbook/example.h"
#include "examples/figures/figures.h"

using weft::Saved;
using weft::Tensor;
using weft::Var;

void Run(weft::examples::Example& example) {
  const weft::LanguageModel& model = example.model();
  const std::string prompt = "The Eiffel Tower is in the city of";
  const weft::Module blocks = model["transformer.h"];

  std::vector<Saved<Tensor>> probabilities, tokens;
  const auto run = model.Trace(prompt, [&] {
    for (const weft::Module& block : blocks) {
      const Var logits = model["lm_head"](model["transformer.ln_f"](block.output()));
      const auto [best, ids] = logits.softmax(-1).max(-1);  // [1, tokens] each
      probabilities.push_back(best.save());
      tokens.push_back(ids.save());
    }
  });
  run.value();

  weft::figures::HeatMap map{.title = "Logit lens: the top token after each block",
                             .x_label = "token that was read",
                             .y_label = "block",
                             .value_label = "probability",
                             .columns = example.Tokens(prompt),
                             .low = 0,
                             .high = 1};
  for (int64_t layer = 0; layer < blocks.size(); ++layer) {
    map.rows.push_back(blocks[layer].name());
    map.values.push_back(probabilities[layer]->ToVector<double>());
    map.texts.push_back(example.Texts(*tokens[layer]));
    std::cout << absl::StrFormat("after block %d the last token says %s (%.3f)\n", layer,
                                 map.texts.back().back(), map.values.back().back());
  }
  example.Draw("logit_lens", weft::figures::ToSvg(map));

  bool late = map.texts[0].back() != "Paris";
  for (int64_t layer = 1; layer < blocks.size(); ++layer) {
    late = late && map.texts[layer].back() == "Paris" && map.values[layer].back() > 0.99;
  }
  example.Claim(late, "Paris is there from block 1 on, with more than 0.99, and not after block 0");
}

int main(int argc, char** argv) { return weft::examples::Example::Main(argc, argv, Run); }
