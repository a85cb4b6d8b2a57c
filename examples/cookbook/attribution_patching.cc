// Attribution patching (Nanda 2023): patching every state by its gradient. Two forward passes and
// one backward pass estimate what a sweep of real patches measures one by one; here is both.

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

double Correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const auto n = static_cast<double>(a.size());
  double ma = 0, mb = 0, ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) ma += a[i] / n, mb += b[i] / n;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - ma) * (b[i] - mb);
    aa += (a[i] - ma) * (a[i] - ma);
    bb += (b[i] - mb) * (b[i] - mb);
  }
  return ab / std::sqrt(aa * bb);
}

void Run(weft::examples::Example& example) {
  const weft::LanguageModel& model = example.model();
  const std::string paris = "The Eiffel Tower is in the city of";
  const std::string rome = "The Trevi Fountain is in the city of";
  const weft::Module blocks = model["transformer.h"];
  const int64_t layers = blocks.size(), positions = 8;
  const int64_t paris_id = example.Token(" Paris"), rome_id = example.Token(" Rome");
  const auto difference = [&] {
    const Var logits = model["lm_head"].output().token(-1);
    return logits[{0, rome_id}] - logits[{0, paris_id}];
  };

  std::vector<Saved<Tensor>> estimated(layers);  // [1, positions] of each block
  Saved<Tensor> plain;
  weft::SavedList<Tensor> patched;
  const auto run = model.Session([&](weft::Session& session) {
    std::vector<Var> there;
    Var states;
    session.Trace(rome, [&] {
      for (const weft::Module& block : blocks) there.push_back(block.output());
      states = weft::stack(there);
    });
    session.Trace(paris, [&] {
      std::vector<Var> here;
      for (const weft::Module& block : blocks) here.push_back(block.output());
      const Var loss = difference();
      plain = loss.save();
      loss.backward([&] {
        for (int64_t i = 0; i < layers; ++i) {
          estimated[i] = (here[i].grad() * (there[i] - here[i])).sum(-1).save();
        }
      });
    });
    session.Trace([&](weft::Tracer& trace) {
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

  weft::figures::Panels panels{.title = "Change of the logit difference, Rome - Paris"};
  std::vector<double> all[2];
  for (const bool real : {false, true}) {
    weft::figures::HeatMap map{.title = real ? "real patches" : "from one gradient",
                               .x_label = "position",
                               .y_label = "output of block",
                               .value_label = "logits",
                               .columns = example.Tokens(paris),
                               .scale = weft::figures::Scale::kDiverging};
    for (int64_t layer = 0; layer < layers; ++layer) {
      map.rows.push_back(blocks[layer].name());
      map.values.emplace_back();
      map.texts.emplace_back();
      for (int64_t i = 0; i < positions; ++i) {
        const double value = real ? patched[layer * positions + i].item() - plain->item()
                                  : estimated[layer]->at<float>({0, i});
        all[real].push_back(value);
        map.values.back().push_back(value);
        map.texts.back().push_back(weft::figures::Decimals(value, 1));
      }
    }
    panels.maps.push_back(map);
  }
  example.Draw("attribution_patching", weft::figures::ToSvg(panels));
  const double r = Correlation(all[0], all[1]);
  const double share = all[0][1] / all[1][1];
  std::cout << absl::StrFormat("%d states, correlation %.3f\n", all[0].size(), r);
  example.Claim(r > 0.95, absl::StrFormat("Gradients find the same states: r = %.3f", r));
  example.Claim(share < 0.9, absl::StrFormat("but underrate them: %.1f instead of %.1f at the name",
                                             all[0][1], all[1][1]));
}

int main(int argc, char** argv) { return weft::examples::Example::Main(argc, argv, Run); }
