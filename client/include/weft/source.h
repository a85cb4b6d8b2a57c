#pragma once

#include <cstdint>
#include <iosfwd>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "weft/location.h"
#include "weft/var.h"

namespace weft {
namespace internal {
struct ModelState;
/// The visit that a module was given.
struct Visit {
  uint32_t number = 0;
  uint32_t around = 0;  // given to a module around it instead, which says nothing of its own

  Visit OfChild() const { return {0, number != 0 ? number : around}; }
};
}  // namespace internal

/// One operation inside a module's forward: `model["lm_head"].source()["linear_0"]`.
///
/// Whether there is such an operation is checked where it is used in a trace. Thread-safe; its
/// members that record are for the thread that records.
class Operation {
 public:
  /// What it returns. Assigning to it replaces that: `operation.output() = x`.
  Var output(Location where = Location::current()) const;
  /// Its first argument that belongs to the invoke's rows.
  Var input(Location where = Location::current()) const;
  /// `((a, none), {})`: its arguments. What does not belong to rows, such as weights, is none.
  Var inputs(Location where = Location::current()) const;

  /// `linear_0`.
  const std::string& name() const { return name_; }

 private:
  friend class Source;
  Operation(std::shared_ptr<const internal::ModelState> model, std::string path,
            internal::Visit visit, std::vector<std::pair<uint32_t, Param>> parameters,
            std::string name)
      : model_(std::move(model)),
        path_(std::move(path)),
        visit_(visit),
        parameters_(std::move(parameters)),
        name_(std::move(name)) {}
  Var Read(uint8_t point, Location where) const;

  std::shared_ptr<const internal::ModelState> model_;
  std::string path_;
  internal::Visit visit_;
  std::vector<std::pair<uint32_t, Param>> parameters_;  // components that a sweep fills in
  std::string name_;
};

/// What a module's own forward does, operation by operation; what its children do is theirs.
/// Printed, it lists them with their shapes:
///
///   add_0  (float32[B, T, 48], float32[B, T, 48], none) -> float32[B, T, 48]
class Source {
 public:
  Operation operator[](const std::string& name) const;
  /// In the order of execution; empty where a module only calls its children.
  std::vector<std::string> names() const;
  /// What is printed: a line each.
  std::string text() const;
  friend std::ostream& operator<<(std::ostream& out, const Source& source);

 private:
  friend class Module;
  Source(std::shared_ptr<const internal::ModelState> model, std::string path, internal::Visit visit,
         std::vector<std::pair<uint32_t, Param>> parameters)
      : model_(std::move(model)),
        path_(std::move(path)),
        visit_(visit),
        parameters_(std::move(parameters)) {}

  std::shared_ptr<const internal::ModelState> model_;
  std::string path_;
  internal::Visit visit_;
  std::vector<std::pair<uint32_t, Param>> parameters_;  // components that a sweep fills in
};

}  // namespace weft
