#pragma once

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace weft {

/// One name, or several in braces.
class Names {
 public:
  Names(const char* name) : values_{name} {}             // NOLINT: names are
  Names(std::string name) : values_{std::move(name)} {}  // NOLINT: written as
  Names(std::initializer_list<const char*> names) : values_(names.begin(), names.end()) {}
  Names(std::vector<std::string> names) : values_(std::move(names)) {}  // NOLINT: they are
  const std::vector<std::string>& values() const { return values_; }

 private:
  std::vector<std::string> values_;
};

/// Other names for modules, by key. A key is
///
///   a name            `{"mlp", "ffn"}`: wherever a module is called so; in lists `{"0", "first"}`
///   a path            `{"transformer.h", "blocks"}`: on the model itself; with a name that begins
///                     as the key does, on that module: `{"attn.c_proj", "attn.o_proj"}`
///   a path with `*`   `{"*.h", "blocks"}`: `*` is any one component; must match one module
///   a type            `{"GPT2MLP", "ffn"}`: wherever one child has this type
///
/// The names that modules have stay as they are. A leading dot means nothing; what a key does not
/// find is passed over.
using Rename = std::vector<std::pair<std::string, Names>>;

/// How a model is opened.
struct ModelOptions {
  Rename rename;
  /// Show what decoder blocks return as a tuple of one tensor, `output()[0]`, as older versions of
  /// transformers did.
  bool tuple_outputs = false;
  /// The LoRA adapter that traces of this handle pass through, one of HostedModel::adapters;
  /// none if empty.
  std::string adapter = {};
};

}  // namespace weft
