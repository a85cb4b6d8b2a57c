#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/graph/program.h"
#include "tests/exported/archive_engine.h"
#include "tests/support/golden.h"

namespace weft::testing {

using Tensors = std::map<std::string, at::Tensor>;

/// A program, hosted once for the test program, and its goldens.
struct Exported {
  explicit Exported(const std::string& name)
      : engine(ArchivePath(name)),
        golden(LoadGolden(
            absl::StrCat(WEFT_SOURCE_DIR, "/tests/exported/archives/", name, ".safetensors"))),
        x(golden.at("x")) {
    inputs = "%x";
    constants = ConstantText("x", x);
    for (const auto& [key, tensor] : golden) {
      if (!absl::StartsWith(key, "in/")) continue;
      const std::string input = key.substr(3);
      absl::StrAppend(&inputs, ", ", input, "=%", input);
      absl::StrAppend(&constants, ConstantText(input, tensor));
    }
  }

  static Exported& Of(const std::string& name) {
    static auto* const kAll = new std::map<std::string, std::unique_ptr<Exported>>();
    auto& one = (*kAll)[name];
    if (one == nullptr) one = std::make_unique<Exported>(name);
    return *one;
  }

  ArchiveEngine::Result Run(const std::string& body) {
    return engine.Run(absl::StrCat(constants, "invoke (", inputs, ") {\n", body, "\n}"));
  }
  bool Has(const std::string& site) const {
    const auto is = [&](const SiteInfo& info) { return graph::ToString(info.site) == site; };
    const ModelInfo& info = engine.info();
    return std::any_of(info.sites.begin(), info.sites.end(), is);
  }

  ArchiveEngine engine;
  const Tensors golden;
  const at::Tensor x;
  std::string inputs, constants;  // what the program is called with, as text
};

}  // namespace weft::testing
