// Ablation: which attention heads does copying need? Each head is silenced in turn, in one sweep
// over blocks and heads, and the model is asked to tell random sequences a second time.

#include <iostream>

#include "absl/strings/str_format.h"
#include "examples/cookbook/example.h"
#include "examples/cookbook/random_sequences.h"
#include "examples/figures/figures.h"

using weft::None;
using weft::Param;
using weft::Saved;
using weft::Slice;
using weft::Tensor;
using weft::Var;

constexpr int64_t kRows = 16, kLength = 24, kHeads = 2;

void Run(weft::examples::Example& example) {
  const weft::LanguageModel& model = example.model();
  const weft::Module blocks = model["transformer.h"];
  const auto vocabulary = static_cast<int64_t>(model.description().summary.vocabulary);
  const Tensor sequences = weft::examples::TwiceToldSequences(kRows, kLength, vocabulary);

  // How much of the second telling is right, but for its first token.
  const auto copied = [&] {
    const Var told = model["lm_head"].output()[{Slice(), Slice(kLength, -1)}].argmax(-1);
    return (told == model.ids()[{Slice(), Slice(kLength + 1, None)}]).to(weft::kFloat32).mean();
  };
  Saved<Tensor> whole, without_both;
  weft::SavedList<Tensor> without_one;
  const auto run = model.Trace([&](weft::Tracer& trace) {
    trace.Invoke(sequences, [&] { whole = copied().save(); });
    trace.Invoke(sequences, [&] {
      blocks[1]["attn"].z() = 0.0;  // [batch, heads, tokens, head_dim]
      without_both = copied().save();
    });
    trace.sweep(weft::Grid(weft::Range(blocks.size()), weft::Range(kHeads)),
                [&](Param layer, Param head) {
                  trace.Invoke(sequences, [&] {
                    blocks[layer]["attn"].z()[{Slice(), head}] = 0.0;
                    without_one = copied().save();
                  });
                });
  });
  run.value();

  weft::figures::BarChart chart{.title = "Copying without one attention head",
                                .x_label = "head that was silenced (block.head)",
                                .y_label = "tokens copied, %",
                                .labels = {"none", "both 1.x"},
                                .low = 0,
                                .high = 105};
  std::vector<double> percent = {whole->item() * 100, without_both->item() * 100};
  bool others = true;
  for (size_t i = 0; i < without_one.size(); ++i) {
    chart.labels.push_back(absl::StrFormat("%d.%d", i / kHeads, i % kHeads));
    percent.push_back(without_one[i].item() * 100);
    if (i >= kHeads) others = others && percent.back() > 95;
  }
  chart.series = {{"copied", percent}};
  for (size_t i = 0; i < percent.size(); ++i) {
    std::cout << absl::StrFormat("without %-10s %5.1f %%\n", chart.labels[i], percent[i]);
  }
  example.Draw("ablation", weft::figures::ToSvg(chart));
  example.Claim(percent[0] > 97 && percent[2] < 5 && percent[3] < 5,
                "Copying ends without either of the heads of block 0");
  example.Claim(others && percent[1] < 1,
                "Heads 1.0 and 1.1 stand in for one another: without both it ends, without either "
                "it goes on; the other blocks' heads are not needed");
}

int main(int argc, char** argv) { return weft::examples::Example::Main(argc, argv, Run); }
