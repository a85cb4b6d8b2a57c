// Features of a sparse autoencoder: one that train_sae.py has learned from block 1 of atlas is
// attached to the model; a feature of it is shown with the prompts on which it fires, and silenced.

#include <algorithm>
#include <iostream>

#include "absl/strings/str_format.h"
#include "examples/cookbook/example.h"
#include "examples/figures/figures.h"

using weft::Saved;
using weft::Slice;
using weft::Tensor;
using weft::Var;

constexpr size_t kSpeak = 6;  // so many of the prompts ask which language people speak

void Run(weft::examples::Example& example) {
  weft::LanguageModel& model = example.model();
  const auto weights = example.Load("examples/cookbook/sae.safetensors");
  const auto autoencoder = weft::AttachedModule::Sae({.w_enc = weights.at("w_enc"),
                                                      .b_enc = weights.at("b_enc"),
                                                      .w_dec = weights.at("w_dec"),
                                                      .b_dec = weights.at("b_dec"),
                                                      .subtract_b_dec = true});
  example.Check(model.Attach("transformer.h.1.sae", autoencoder));
  const weft::Module block = model["transformer.h.1"], sae = model["transformer.h.1.sae"];
  const std::vector<std::string> prompts = {
      "Most people in France speak",        "Most people in Italy speak",
      "Most people in Japan speak",         "Most people in Portugal speak",
      "Most people in Germany speak",       "Most people in Greece speak",
      "The capital of France is",           "The capital of Italy is",
      "The continent of Japan is",          "Portugal is on the continent of",
      "The Eiffel Tower is in the city of", "The Colosseum is in the country of"};

  const auto answer = [&] { return model["lm_head"].output().token(-1).argmax(-1); };
  Saved<Tensor> features, plain, spliced, silenced;
  model
      .Trace(prompts,
             [&] {
               sae(block.output().token(-1));
               features = sae["acts"].output().save();  // [prompts, features]
               plain = answer().save();
             })
      .value();

  // The feature that fires most where people are asked about.
  const int64_t count = features->size(1);
  std::vector<double> sums(count);
  for (size_t row = 0; row < kSpeak; ++row) {
    for (int64_t i = 0; i < count; ++i) sums[i] += (*features)[row].at<float>(i);
  }
  const int64_t feature = std::max_element(sums.begin(), sums.end()) - sums.begin();

  model
      .Trace([&](weft::Tracer& trace) {
        trace.Invoke(prompts, [&] {
          block.output().token(-1) = sae(block.output().token(-1));
          spliced = answer().save();
        });
        trace.Invoke(prompts, [&] {
          block.output().token(-1) = sae(block.output().token(-1));
          sae["acts"].output()[{Slice(), feature}] = 0.0;  // before the decoder has run
          silenced = answer().save();
        });
      })
      .value();

  const std::vector<std::string> before = example.Texts(*spliced), after = example.Texts(*silenced);
  weft::figures::BarChart chart{.title = absl::StrFormat("Feature %d of block 1", feature),
                                .x_label = "prompt",
                                .y_label = "activation",
                                .labels = prompts,
                                .series = {{"", {}}}};
  std::vector<double>& fires = chart.series[0].values;
  size_t turned = 0, kept = 0;
  for (size_t i = 0; i < prompts.size(); ++i) {
    fires.push_back((*features)[i].at<float>(feature));
    (i < kSpeak ? turned : kept) += (before[i] == after[i]) == (i >= kSpeak);
    std::cout << absl::StrFormat("%5.1f  %s: %s, without the feature %s\n", fires[i], prompts[i],
                                 before[i], after[i]);
  }
  example.Draw("sae_features", weft::figures::ToSvg(chart));
  const double least = *std::min_element(fires.begin(), fires.begin() + kSpeak);
  const double most = *std::max_element(fires.begin() + kSpeak, fires.end());
  example.Claim(weft::Identical(*plain, *spliced),
                "The model answers the same through its features");
  example.Claim(least > 4 * most, absl::StrFormat("Feature %d fires where it is asked what people "
                                                  "speak (%.1f and more), elsewhere at most %.1f",
                                                  feature, least, most));
  example.Claim(2 * turned > kSpeak && kept == prompts.size() - kSpeak,
                absl::StrFormat("Without it %d of the %d languages become something else, and "
                                "no other answer changes",
                                turned, kSpeak));
}

int main(int argc, char** argv) { return weft::examples::Example::Main(argc, argv, Run); }
