#pragma once

#include <sys/types.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace weft::bench {

/// transformers in a process of its own (transformers_beside.py), which runs what it is told while
/// everybody else waits. Not thread-safe.
class TransformersPeer {
 public:
  /// Start `python` with the model in `folder` on `device`; `dtype` is torch's name. kUnavailable
  /// where it does not come up.
  static absl::StatusOr<std::unique_ptr<TransformersPeer>> Start(const std::string& python,
                                                                 const std::string& folder,
                                                                 const std::string& dtype,
                                                                 const std::string& device);
  ~TransformersPeer();
  TransformersPeer(const TransformersPeer&) = delete;
  TransformersPeer& operator=(const TransformersPeer&) = delete;

  /// The seconds that a forward, or a greedy generation, of `batch` prompts of `tokens` took.
  absl::StatusOr<double> Forward(int64_t batch, int64_t tokens);
  absl::StatusOr<double> Generate(int64_t batch, int64_t tokens, int64_t new_tokens);

 private:
  TransformersPeer(pid_t pid, FILE* requests, FILE* answers)
      : pid_(pid), requests_(requests), answers_(answers) {}
  absl::StatusOr<std::string> ReadLine();
  absl::StatusOr<double> Ask(const std::string& request);

  const pid_t pid_;
  FILE* const requests_;
  FILE* const answers_;
};

}  // namespace weft::bench
