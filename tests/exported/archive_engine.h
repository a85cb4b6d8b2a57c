#pragma once

#include <ATen/ATen.h>

#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "engine/engine.h"

namespace weft::testing {

/// archives/NAME.pt2, made by make_exported.py.
std::string ArchivePath(const std::string& name);

/// `%x = tensor(...)`: a constant of the text form, to the bit.
std::string ConstantText(const std::string& name, const at::Tensor& tensor);

/// An engine with one exported program, in which programs in the text form run.
class ArchiveEngine {
 public:
  /// Ends the test program, with the reason, if it cannot be hosted.
  explicit ArchiveEngine(const std::string& path);

  struct Result {
    absl::Status status;
    /// What was saved, by name; of a structure `name/0`, `name/key`.
    std::map<std::string, at::Tensor> saved;
    /// A saved tensor; fails the test and is undefined if there is none.
    at::Tensor operator[](const std::string& name) const;
  };
  Result Run(const std::string& text);

  const ModelInfo& info() const { return *info_; }
  Engine& engine() { return *engine_; }

 private:
  std::unique_ptr<Engine> engine_;
  std::shared_ptr<const ModelInfo> info_;
};

}  // namespace weft::testing
