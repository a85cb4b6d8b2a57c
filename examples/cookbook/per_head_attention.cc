// Per-head patching: which heads carry the place to the last token? What comes out of each head
// there is replaced, head by head, by what came out of it about another place.

#include <cmath>
#include <iostream>

#include "absl/strings/str_format.h"
#include "examples/cookbook/example.h"
#include "examples/figures/figures.h"

using weft::Param;
using weft::Saved;
using weft::Slice;
using weft::Tensor;
using weft::Var;

constexpr int64_t kHeads = 2;

void Run(weft::examples::Example& example) {
  const weft::LanguageModel& model = example.model();
  const std::string paris = "The Eiffel Tower is in the city of";
  const std::string rome = "The Trevi Fountain is in the city of";
  const weft::Module blocks = model["transformer.h"];
  const int64_t paris_id = example.Token(" Paris"), rome_id = example.Token(" Rome");
  const auto difference = [&] {
    const Var logits = model["lm_head"].output().token(-1);
    return logits[{0, rome_id}] - logits[{0, paris_id}];
  };

  Saved<Tensor> plain, both, looks;
  weft::SavedList<Tensor> one;
  const auto run = model.Session([&](weft::Session& session) {
    Var heads;  // [blocks, 1, heads, tokens, head_dim]: before the output projection
    session.Trace(rome, [&] {
      std::vector<Var> z;
      for (const weft::Module& block : blocks) z.push_back(block["attn"].z());
      heads = weft::stack(z);
    });
    session.Trace([&](weft::Tracer& trace) {
      trace.Invoke(paris, [&] {
        plain = difference().save();
        looks = blocks[1]["attn"].probs()[{0, Slice(), -1}].save();  // [heads, tokens]
      });
      trace.Invoke(paris, [&] {
        blocks[1]["attn"].z()[{Slice(), Slice(), -1}] = heads[{1, Slice(), Slice(), -1}];
        both = difference().save();
      });
      trace.sweep(weft::Grid(weft::Range(blocks.size()), weft::Range(kHeads)), [&](Param layer,
                                                                                   Param head) {
        trace.Invoke(paris, [&] {
          blocks[layer]["attn"].z()[{Slice(), head, -1}] = heads[{layer, Slice(), head, -1}];
          one = difference().save();
        });
      });
    });
  });
  run.value();

  weft::figures::BarChart chart{
      .title = "One head's output at the last token, from the other prompt",
      .x_label = "head (block.head)",
      .y_label = "change of logit of Rome - Paris"};
  std::vector<double> change;
  double others = 0;
  for (size_t i = 0; i < one.size(); ++i) {
    chart.labels.push_back(absl::StrFormat("%d.%d", i / kHeads, i % kHeads));
    change.push_back(one[i].item() - plain->item());
    if (i / kHeads != 1) others = std::max(others, std::abs(change.back()));
  }
  chart.labels.push_back("1.0 + 1.1");
  change.push_back(both->item() - plain->item());
  chart.series = {{"", change}};
  for (size_t i = 0; i < change.size(); ++i) {
    std::cout << absl::StrFormat("head %-9s %6.2f\n", chart.labels[i], change[i]);
  }
  example.Draw("per_head_attention", weft::figures::ToSvg(chart));
  const std::vector<float> look = {looks->at<float>({0, 1}), looks->at<float>({1, 1})};
  example.Claim(look[0] > 0.9 && look[1] > 0.9,
                absl::StrFormat("From the last token both heads of block 1 look at Eiffel: %.2f "
                                "and %.2f of their attention",
                                look[0], look[1]));
  example.Claim(one[2].item() < 0 && one[3].item() < 0 && both->item() > 0,
                absl::StrFormat("Each brings half of the place (%.1f, %.1f): one alone leaves "
                                "Paris, both give Rome (%.1f)",
                                change[2], change[3], change.back()));
  example.Claim(others < 3, absl::StrFormat("No other head moves it by more than %.1f", others));
}

int main(int argc, char** argv) { return weft::examples::Example::Main(argc, argv, Run); }
