#pragma once

#include <weft/client.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace weft::examples {

/// What the programs of the cookbook share: a model to work on, claims that are checked, pictures.
/// An error ends the program with its text and exit code 1, as does a claim that does not hold.
class Example {
 public:
  /// `main` of an example: open the model that the command line names, and call `body`.
  ///
  ///   NAME [--local FOLDER | --target HOST:PORT] [--api-key KEY] [--ca FILE] [--tls]
  ///        [--profile NAME] [--model NAME] [--pictures FOLDER]
  ///
  /// Without --local the server and the key are those that this user has configured
  /// (docs/client.md). Pictures go to the current folder unless told otherwise.
  static int Main(int argc, char** argv, void (*body)(Example&));

  Example(const Example&) = delete;
  Example& operator=(const Example&) = delete;

  /// A handle of the example's own: it may be edited and have modules attached.
  LanguageModel& model() { return model_; }

  /// Go on if `status` is OK.
  static void Check(const absl::Status& status);
  /// Print what was found. Where `holds` is false, say so; the program then ends with exit code 1.
  void Claim(bool holds, const std::string& text);
  /// Write a document of examples/figures as `name`.svg, and print where it lies.
  void Draw(const std::string& name, const std::string& svg);

  /// The texts of a prompt's tokens, without the spaces before them.
  std::vector<std::string> Tokens(const std::string& prompt) const;
  /// The text of each of these tokens.
  std::vector<std::string> Texts(const Tensor& ids) const;
  /// The tensors of a safetensors file, by name.
  std::map<std::string, Tensor> Load(const std::string& path) const;
  /// The id of the first token of `text`; an answer begins with a space, `" Paris"`.
  int64_t Token(const std::string& text) const;

 private:
  Example(LanguageModel model, std::string pictures)
      : model_(std::move(model)), pictures_(std::move(pictures)) {}

  LanguageModel model_;
  std::string pictures_;
  bool all_hold_ = true;
};

}  // namespace weft::examples
