// Function vectors (Todd et al. 2024): a question as a vector. What attention in block 0 writes at
// the last token, averaged over countries, is put into prompts that ask something else, about
// countries that the average has not seen.

#include <iostream>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "examples/cookbook/example.h"
#include "examples/figures/figures.h"

using weft::Saved;
using weft::Tensor;
using weft::Var;

std::vector<std::string> Ask(const std::string& question,
                             const std::vector<std::string>& countries) {
  std::vector<std::string> prompts;
  for (const std::string& name : countries) {
    prompts.push_back(absl::StrReplaceAll(question, {{"$", name}}));
  }
  return prompts;
}

void Run(weft::examples::Example& example) {
  const weft::LanguageModel& model = example.model();
  const weft::Module attention = model["transformer.h"][0]["attn"]["c_proj"];
  const std::vector<std::string> names = {"capital", "language", "continent"};
  const std::vector<std::string> questions = {"The capital of $ is", "The main language of $ is",
                                              "The continent of $ is"};
  const std::vector<std::string> known = {"France", "Spain", "Austria", "Poland",
                                          "Egypt",  "Kenya", "China",   "Brazil"};
  const std::vector<std::string> unseen = {"Italy",  "Germany", "Portugal", "Hungary",
                                           "Greece", "Japan",   "Thailand", "Mexico"};

  const auto answer = [&] { return model["lm_head"].output().token(-1).argmax(-1); };
  Saved<Tensor> plain[3], changed[3][3];
  const auto run = model.Session([&](weft::Session& session) {
    Var vectors[3];  // [hidden] each
    session.Trace([&](weft::Tracer& trace) {
      for (int from = 0; from < 3; ++from) {
        trace.Invoke(Ask(questions[from], known),
                     [&] { vectors[from] = attention.output().token(-1).mean(0); });
      }
    });
    session.Trace([&](weft::Tracer& trace) {
      for (int to = 0; to < 3; ++to) {
        trace.Invoke(Ask(questions[to], unseen), [&] { plain[to] = answer().save(); });
        for (int from = 0; from < 3; ++from) {
          trace.Invoke(Ask(questions[to], unseen), [&] {
            attention.output().token(-1) = vectors[from];
            changed[from][to] = answer().save();
          });
        }
      }
    });
  });
  run.value();

  weft::figures::HeatMap map{.title = "The answer about Japan, and how many are as the vector asks",
                             .x_label = "the prompt asks for the",
                             .y_label = "vector of the",
                             .value_label = "%",
                             .columns = names,
                             .rows = names,
                             .low = 0,
                             .high = 100,
                             .cell_width = 130,
                             .cell_height = 44};
  bool all = true;
  for (int from = 0; from < 3; ++from) {
    map.values.emplace_back();
    map.texts.emplace_back();
    for (int to = 0; to < 3; ++to) {
      // What the model answers to the vector's own question is what it should answer now.
      int right = 0;
      for (int64_t i = 0; i < plain[from]->numel(); ++i) {
        right += plain[from]->at<int64_t>(i) == changed[from][to]->at<int64_t>(i);
      }
      map.values[from].push_back(100.0 * right / static_cast<double>(unseen.size()));
      map.texts[from].push_back(absl::StrFormat("%s, %.0f %%", example.Texts(*changed[from][to])[5],
                                                map.values[from].back()));
      all = all && map.values[from].back() > 90;
      std::cout << Ask(questions[to], unseen)[5] << " + vector of the " << names[from] << ": "
                << example.Texts(*changed[from][to])[5] << "\n";
    }
  }
  example.Draw("function_vectors", weft::figures::ToSvg(map));
  example.Claim(all, "The vector decides what is answered, whatever the prompt asks");
}

int main(int argc, char** argv) { return weft::examples::Example::Main(argc, argv, Run); }
