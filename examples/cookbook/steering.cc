// Steering: a direction that turns one question into another. The difference of the mean states of
// "... is in the country of" and "... is in the city of", added to the last token, makes the model
// answer a question about cities with the country, of landmarks that the means have not seen.

#include <iostream>

#include "absl/strings/str_format.h"
#include "examples/cookbook/example.h"
#include "examples/figures/figures.h"

using weft::Param;
using weft::Saved;
using weft::Slice;
using weft::Tensor;
using weft::Var;

std::vector<std::string> Ask(const std::vector<std::string>& landmarks, const std::string& what) {
  std::vector<std::string> prompts;
  for (const std::string& name : landmarks) prompts.push_back(name + " is in the " + what + " of");
  return prompts;
}

void Run(weft::examples::Example& example) {
  const weft::LanguageModel& model = example.model();
  const weft::Module block = model["transformer.h"][0];
  const std::vector<std::string> known = {
      "The Colosseum",     "The Brandenburg Gate", "The Sagrada Familia", "Big Ben",
      "The Golden Temple", "Table Mountain",       "The Sky Tower",       "The CN Tower"};
  const std::vector<std::string> unseen = {
      "The Eiffel Tower", "The Trevi Fountain", "The Parthenon", "The Prado Museum",
      "The Hagia Sophia", "The Forbidden City", "Bondi Beach",   "The Space Needle",
      "The Blue Mosque",  "Wat Arun",           "Rizal Park",    "The Liberty Bell",
      "The Belem Tower",  "The Taj Mahal",      "Casa Loma",     "The Uffizi Gallery"};
  const std::vector<double> strengths = {0, 0.25, 0.5, 0.75, 1, 1.5, 2};

  const auto answer = [&] { return model["lm_head"].output().token(-1).argmax(-1); };
  Saved<Tensor> direction, cities, countries;
  weft::SavedList<Tensor> steered;
  const auto run = model.Session([&](weft::Session& session) {
    Var towards;
    session.Trace([&](weft::Tracer& trace) {
      Var city;
      trace.Invoke(Ask(known, "city"), [&] { city = block.output().token(-1).mean(0); });
      trace.Invoke(Ask(known, "country"), [&] {
        towards = block.output().token(-1).mean(0) - city;  // [hidden]
        direction = towards.save();
      });
    });
    session.Trace([&](weft::Tracer& trace) {
      trace.Invoke(Ask(unseen, "city"), [&] { cities = answer().save(); });
      trace.Invoke(Ask(unseen, "country"), [&] { countries = answer().save(); });
      trace.sweep(weft::Values(strengths), [&](Param strength) {
        trace.Invoke(Ask(unseen, "city"), [&] {
          block.output().token(-1) += towards * strength;
          steered = answer().save();
        });
      });
    });
  });
  run.value();

  weft::figures::BarChart chart{
      .title = "Asked for the city of 16 landmarks, steered to the country",
      .x_label = "strength",
      .y_label = "answers, %",
      .series = {{"the city", {}}, {"the country", {}}},
      .low = 0,
      .high = 105};
  const auto agree = [](const Tensor& a, const Tensor& b) {
    int same = 0;
    for (int64_t i = 0; i < a.numel(); ++i) same += a.at<int64_t>(i) == b.at<int64_t>(i);
    return 100.0 * same / static_cast<double>(a.numel());
  };
  for (size_t i = 0; i < strengths.size(); ++i) {
    chart.labels.push_back(absl::StrFormat("%g", strengths[i]));
    chart.series[0].values.push_back(agree(steered[i], *cities));
    chart.series[1].values.push_back(agree(steered[i], *countries));
    std::cout << absl::StrFormat("strength %-4g  the city %5.1f %%  the country %5.1f %%\n",
                                 strengths[i], chart.series[0].values[i],
                                 chart.series[1].values[i]);
  }
  example.Draw("steering", weft::figures::ToSvg(chart));
  example.Claim(chart.series[0].values[0] == 100 && chart.series[1].values[4] == 100,
                "Every answer is the city without it, and the country at strength 1");

  // The same as an edit of the model: whoever has this handle gets the country.
  const weft::LanguageModel edited =
      model.Edit([&] { block.output().token(-1) += *direction; }).value();
  Saved<Tensor> ids;
  const auto generated =
      edited.Generate("The Eiffel Tower is in the city of", {.max_new_tokens = 1},
                      [&] { ids = edited.result().save(); });
  generated.value();
  const std::string text = model.Decode(*ids).value();
  example.Claim(text == "The Eiffel Tower is in the city of France", "The edited model: " + text);
}

int main(int argc, char** argv) { return weft::examples::Example::Main(argc, argv, Run); }
