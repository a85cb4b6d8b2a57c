#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/exported/edited_archive.h"

namespace weft::testing {

/// A change of an archive that makes it one to be refused.
struct Mutation {
  const char* name;
  const char* archive;
  std::function<void(EditedArchive&)> change;
  const char* says;
};

std::vector<Mutation> Mutations();

/// `{"as_tensor": {"name": NAME}}`.
EditedArchive::Json Tensor(const std::string& name);
/// The graph of a program, and one of its nodes.
EditedArchive::Json& Graph(EditedArchive::Json& model);
EditedArchive::Json& NodeAt(EditedArchive::Json& model, int index);
/// Let a node call another operator: `Call(model, 1, "to.dtype", {{"self", Tensor("linear")}})`.
void Call(EditedArchive::Json& model, int index, const std::string& op,
          const std::vector<std::pair<std::string, EditedArchive::Json>>& arguments);

}  // namespace weft::testing
