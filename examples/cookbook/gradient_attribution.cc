// Gradient attribution: which tokens does the answer rest on? Integrated gradients (Sundararajan et
// al. 2017) along the way from no embedding to the whole one, all steps as rows of one pass.

#include <algorithm>
#include <cmath>
#include <iostream>

#include "absl/strings/str_format.h"
#include "examples/cookbook/example.h"
#include "examples/figures/figures.h"

using weft::Saved;
using weft::Slice;
using weft::Tensor;
using weft::Var;

constexpr int64_t kSteps = 32;

void Run(weft::examples::Example& example) {
  const weft::LanguageModel& model = example.model();
  const std::string prompt = "The Eiffel Tower is in the city of";
  const std::vector<std::string> tokens = example.Tokens(prompt);
  const int64_t answer = example.Token(" Paris");
  const weft::Module embed = model["transformer.wte"];

  std::vector<float> parts;
  for (int64_t i = 0; i < kSteps; ++i) parts.push_back((i + 0.5f) / kSteps);
  const Tensor way = Tensor::From(parts, {kSteps, 1, 1});
  const auto logit = [&] { return model["lm_head"].output().token(-1)[{Slice(), answer}].sum(); };

  Saved<Tensor> attribution, whole, nothing;
  const auto run = model.Trace([&](weft::Tracer& trace) {
    trace.Invoke(prompt, [&] { whole = logit().save(); });
    trace.Invoke(prompt, [&] {
      embed.output() = 0.0;
      nothing = logit().save();
    });
    trace.Invoke(std::vector<std::string>(kSteps, prompt), [&] {
      const Var embedding = embed.output();  // [steps, tokens, hidden]
      embed.output() = embedding * way;
      const Var on_the_way = embed.output();  // what the model goes on with
      logit().backward(
          [&] { attribution = (on_the_way.grad() * embedding).sum(-1).mean(0).save(); });
    });
  });
  run.value();

  weft::figures::BarChart chart{.title = "What the logit of Paris rests on",
                                .x_label = "token",
                                .y_label = "integrated gradient, logits",
                                .labels = tokens,
                                .series = {{"", attribution->ToVector<double>()}}};
  const std::vector<double>& values = chart.series[0].values;
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    std::cout << absl::StrFormat("%-8s %6.2f\n", tokens[i], values[i]);
    sum += values[i];
  }
  example.Draw("gradient_attribution", weft::figures::ToSvg(chart));
  const double difference = whole->item() - nothing->item();
  example.Claim(std::abs(sum - difference) < 0.01 * std::abs(difference),
                absl::StrFormat("The parts add up: %.2f, of %.2f between all tokens and none", sum,
                                difference));
  const auto most = std::max_element(values.begin(), values.end()) - values.begin();
  example.Claim(tokens[most] == "Eiffel",
                absl::StrFormat("Eiffel counts most, %.0f %% of it", 100 * values[most] / sum));
}

int main(int argc, char** argv) { return weft::examples::Example::Main(argc, argv, Run); }
