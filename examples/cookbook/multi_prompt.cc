// Comparing prompts: what do states have in common? Four places, each asked about in four ways,
// share one forward pass; a statement that sees all rows compares them on the server.

#include <iostream>

#include "absl/strings/str_format.h"
#include "examples/cookbook/example.h"
#include "examples/figures/figures.h"

using weft::Saved;
using weft::Tensor;
using weft::Var;

void Run(weft::examples::Example& example) {
  const weft::LanguageModel& model = example.model();
  const weft::Module blocks = model["transformer.h"];
  const std::vector<std::string> places = {"The Eiffel Tower", "The Colosseum",
                                           "The Brandenburg Gate", "The Sagrada Familia"};
  const std::vector<std::string> questions = {"is in the city of", "is located in the city of",
                                              "is in the country of", "lies in the country of"};

  Saved<Tensor> answers, similar[2];  // [16], [16, 16] after block 0 and 1
  const auto run = model.Trace([&](weft::Tracer& trace) {
    for (const std::string& question : questions) {
      for (const std::string& place : places) trace.Invoke(place + " " + question, [] {});
    }
    trace.InvokeAll([&] {
      for (int layer = 0; layer < 2; ++layer) {
        const Var last = blocks[layer].output().token(-1);  // [16, hidden]
        const Var centred = weft::normalize(last - last.mean(0), 2.0, -1);
        similar[layer] = centred.matmul(centred.t()).save();
      }
      answers = model["lm_head"].output().token(-1).argmax(-1).save();
    });
  });
  run.value();

  const std::vector<std::string> texts = example.Texts(*answers);
  for (size_t i = 0; i < texts.size(); ++i) {
    std::cout << places[i % 4] << " " << questions[i / 4] << " " << texts[i] << "\n";
  }
  std::cout << absl::StrFormat("%d prompts in %d pass\n", texts.size(), run->cost.passes);

  weft::figures::Panels panels{.title = "Cosine similarity of the last token's states"};
  double place[2] = {0, 0}, question[2] = {0, 0};
  for (int layer = 0; layer < 2; ++layer) {
    weft::figures::HeatMap map{.title = absl::StrFormat("after block %d", layer),
                               .x_label = "answer",
                               .y_label = "answer",
                               .value_label = "cosine",
                               .columns = texts,
                               .rows = texts,
                               .scale = weft::figures::Scale::kDiverging,
                               .low = -1,
                               .high = 1,
                               .cell_width = 17,
                               .cell_height = 17};
    for (int64_t i = 0; i < 16; ++i) {
      map.values.push_back((*similar[layer])[i].ToVector<double>());
      for (int64_t j = 0; j < 16; ++j) {
        const bool same_place = i % 4 == j % 4, same_question = i / 8 == j / 8;
        // Of 16 states each has 2 that share its place alone, and 6 that share its question alone.
        if (same_place && !same_question) place[layer] += map.values[i][j] / (16 * 2);
        if (!same_place && same_question) question[layer] += map.values[i][j] / (16 * 6);
      }
    }
    panels.maps.push_back(map);
    std::cout << absl::StrFormat("after block %d: same question %5.2f, same place %5.2f\n", layer,
                                 question[layer], place[layer]);
  }
  example.Draw("multi_prompt", weft::figures::ToSvg(panels));
  example.Claim(question[0] > 0.5 && place[0] < 0,
                "After block 0 states are alike that ask the same, wherever it is");
  example.Claim(place[1] > 0.5 && question[1] < 0.1,
                "After block 1 those are alike that are about the same place, whatever is asked");
}

int main(int argc, char** argv) { return weft::examples::Example::Main(argc, argv, Run); }
