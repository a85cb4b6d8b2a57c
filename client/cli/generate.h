#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/commands.h"
#include "engine/graph/program.h"
#include "weft/tracer.h"

namespace weft::cli {

/// A generation of one invoke that saves its ids as `result`. What is wrong with it names the
/// statement.
absl::StatusOr<graph::Program> MakeGeneration(const GenerateOptions& options,
                                              const std::string& adapter, graph::Invoke invoke);

struct GenerateArguments {
  std::string model;
  std::string adapter;             // of the model; empty for none
  std::string prompt;              // `-` is standard input
  GenerateOptions options;         // max_new_tokens 0: kNewTokens, or as many as there is room for
  std::optional<uint64_t> seed;    // none: a new one each time
  std::string program;             // a file, `invoke { ... }`: what happens meanwhile
  std::vector<std::string> edits;  // stored ones, `steer` or `steer@2`
  std::string out;
  std::string deadline;
  bool no_special_tokens = false;
  bool echo = false;  // print the prompt, too
  bool json = false;

  static constexpr uint32_t kNewTokens = 64;
};

/// Print the text that a model goes on with, as it comes.
int Generate(const GlobalOptions& global, const GenerateArguments& arguments);

}  // namespace weft::cli
