// Activation patching: which states carry the subject of a question? One after the other, each
// block's output at each position of a run about the Trevi Fountain is put into a run about the
// Eiffel Tower. All of it is one job: a sweep over blocks and positions.

#include <iostream>

#include "absl/strings/str_format.h"
#include "examples/cookbook/example.h"
#include "examples/figures/figures.h"

using weft::Param;
using weft::Saved;
using weft::Slice;
using weft::Tensor;
using weft::Var;

void Run(weft::examples::Example& example) {
  const weft::LanguageModel& model = example.model();
  const std::string paris = "The Eiffel Tower is in the city of";
  const std::string rome = "The Trevi Fountain is in the city of";
  const std::vector<std::string> tokens = example.Tokens(paris), others = example.Tokens(rome);
  const weft::Module blocks = model["transformer.h"];
  const int64_t layers = blocks.size(), positions = static_cast<int64_t>(tokens.size());
  const int64_t paris_id = example.Token(" Paris"), rome_id = example.Token(" Rome");

  // Above zero where the model prefers Rome.
  const auto difference = [&] {
    const Var logits = model["lm_head"].output().token(-1);  // [1, vocabulary]
    return logits[{0, rome_id}] - logits[{0, paris_id}];
  };
  Saved<Tensor> plain, other;
  weft::SavedList<Tensor> patched;
  const auto run = model.Session([&](weft::Session& session) {
    Var states;  // [blocks, 1, positions, hidden]
    session.Trace(rome, [&] {
      std::vector<Var> outputs;
      for (const weft::Module& block : blocks) outputs.push_back(block.output());
      states = weft::stack(outputs);
      other = difference().save();
    });
    session.Trace([&](weft::Tracer& trace) {
      trace.Invoke(paris, [&] { plain = difference().save(); });
      trace.sweep(weft::Grid(weft::Range(layers), weft::Range(positions)),
                  [&](Param layer, Param position) {
                    trace.Invoke(paris, [&] {
                      blocks[layer].output().token(position) = states[{layer, Slice(), position}];
                      patched = difference().save();
                    });
                  });
    });
  });
  run.value();

  weft::figures::HeatMap map{
      .title = "One state of the Trevi Fountain in the Eiffel Tower's prompt",
      .x_label = "position that was patched",
      .y_label = "output of block",
      .value_label = "logit of Rome - Paris",
      .scale = weft::figures::Scale::kDiverging};
  for (int64_t i = 0; i < positions; ++i) {
    map.columns.push_back(tokens[i] == others[i] ? tokens[i] : tokens[i] + "/" + others[i]);
  }
  std::vector<std::string> flips;
  for (int64_t layer = 0; layer < layers; ++layer) {
    map.rows.push_back(blocks[layer].name());
    map.values.emplace_back();
    map.texts.emplace_back();
    for (int64_t i = 0; i < positions; ++i) {
      const double value = patched[layer * positions + i].item();
      map.values.back().push_back(value);
      map.texts.back().push_back(weft::figures::Decimals(value, 1));
      if (value > 0) flips.push_back(absl::StrFormat("%d:%d", layer, i));
    }
  }
  std::cout << absl::StrFormat("logit of Rome - Paris: %.1f, about the Trevi Fountain %.1f\n",
                               plain->item(), other->item());
  std::cout << absl::StrFormat("%d points in %d passes\n", patched.size(), run->cost.passes);
  example.Draw("activation_patching", weft::figures::ToSvg(map));

  // The name is at position 1, the question's end at position 7.
  const std::vector<std::string> expected = {"0:1", "1:7", "2:7", "3:7", "4:7", "5:7"};
  example.Claim(flips == expected,
                absl::StrFormat("The answer becomes Rome by the name's token after block 0 (%.1f), "
                                "and by the last token from block 1 on (%.1f), and nowhere else",
                                map.values[0][1], map.values[1][7]));
}

int main(int argc, char** argv) { return weft::examples::Example::Main(argc, argv, Run); }
