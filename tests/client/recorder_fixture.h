#pragma once

#include <gtest/gtest.h>
#include <weft/client.h>

#include <memory>
#include <string>
#include <utility>

#include "engine/graph/program.h"
#include "tests/client/fake_backend.h"

namespace weft::client_test {

/// Records programs for the model `toy`, to be compared as text.
class RecorderTest : public ::testing::Test {
 protected:
  RecorderTest()
      : backend_(std::make_shared<FakeBackend>()),
        model_(Client(backend_).OpenLanguageModel("toy").value()) {}

  /// The recorded program's text, or the error's.
  std::string Text(absl::FunctionRef<void()> body) { return Text(model_.Record("hi", body)); }
  std::string TextOf(absl::FunctionRef<void(Session&)> body) { return Text(model_.Record(body)); }
  std::string Text(const absl::StatusOr<Program>& program) {
    return program.ok() ? program->text() : "ERROR " + std::string(program.status().message());
  }
  /// `text`, a whole program of the text form, as the printer prints it without names of values,
  /// which recorded ones have not.
  static std::string Printed(const std::string& text) {
    absl::StatusOr<Program> program = Program::Parse(text);
    if (!program.ok()) return "ERROR " + std::string(program.status().message());
    graph::Program unnamed = program->graph();
    for (graph::Node& node : unnamed.nodes) node.name.clear();
    return Program(std::move(unnamed)).text();
  }
  /// The same for the statements of one invoke.
  static std::string PrintedInvoke(const std::string& statements) {
    return Printed("invoke \"hi\" {\n" + statements + "\n}\n");
  }

  std::shared_ptr<FakeBackend> backend_;
  LanguageModel model_;
};

}  // namespace weft::client_test
