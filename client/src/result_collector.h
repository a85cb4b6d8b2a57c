#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/graph/program.h"
#include "weft/backend.h"
#include "weft/run.h"

namespace weft::internal {

/// Puts a run's events together: what saves inside `steps` and sweeps gave becomes lists, and what
/// caches gave dicts. Used by the CLI as well. Not thread-safe.
class ResultCollector {
 public:
  explicit ResultCollector(const graph::Program& program);

  void Take(const RunEvent& event);
  /// The name of a result that may be part of a whole: `h`, `h.3`, `acts.h.0.output`.
  std::string NameOf(const event::Result& result) const;
  /// What came; of a run that is `complete` the lists are filled up. To be called once.
  RunResult Finish(bool complete);
  /// Whether a name stands for a list of values.
  bool IsList(const std::string& name) const;

 private:
  /// What a name's values are, from where in the program it is saved.
  struct Shape {
    bool points = false;  // in a sweep: a list of this many
    uint32_t point_count = 0;
    bool steps = false;  // a list, of those that were selected
    graph::Steps selection;
    std::vector<int64_t> starts;  // of its range, by point, where a sweep fills them in
    uint32_t most_steps = 0;
    bool cache = false;
  };
  /// What came of a name at one point.
  struct Part {
    std::map<uint32_t, Value> items;  // by step; of what is no list, 0
    Value::Dict entries;
  };

  void AddShape(const graph::Program& program, graph::NodeId node, const std::string& name,
                bool cache);
  const Shape& ShapeOf(const event::Result& result) const;
  /// The place of a step among those that were selected at a point.
  static uint32_t IndexOf(const Shape& shape, uint32_t point, uint32_t step);
  static Value Whole(const Shape& shape, uint32_t point, Part part);

  std::map<std::string, Shape> shapes_;
  std::map<std::string, std::map<uint32_t, Part>> parts_;  // by name, then point
  RunResult result_;
};

}  // namespace weft::internal
