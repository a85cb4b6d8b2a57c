#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/cli/commands.h"
#include "weft/tracer.h"

namespace weft::cli {

struct ChatArguments {
  std::string model;
  std::string adapter;             // of the model; empty for none
  std::string system;              // empty: none
  GenerateOptions options;         // max_new_tokens 0: kNewTokens, or as many as there is room for
  std::optional<uint64_t> seed;    // none: a new one for each answer
  std::vector<std::string> edits;  // stored ones, `steer` or `steer@2`

  static constexpr uint32_t kNewTokens = 512;
};

/// Talk with a model: lines of standard input are messages, and its answers are printed as they
/// come. Ends with the input, or with an answer that there is none of.
int HoldChat(const GlobalOptions& global, const ChatArguments& arguments);

}  // namespace weft::cli
