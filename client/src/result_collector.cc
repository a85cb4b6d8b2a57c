#include "client/src/result_collector.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace weft::internal {

ResultCollector::ResultCollector(const graph::Program& program) {
  for (graph::NodeId id = 1; id <= program.nodes.size(); ++id) {
    const auto& kind = program.at(id).kind;
    if (const auto* save = std::get_if<graph::Save>(&kind)) {
      AddShape(program, id, save->name, false);
    } else if (const auto* cache = std::get_if<graph::Cache>(&kind)) {
      AddShape(program, id, cache->name, true);
    }
  }
}

void ResultCollector::AddShape(const graph::Program& program, graph::NodeId node,
                               const std::string& name, bool cache) {
  Shape& shape = shapes_[name];
  shape.cache = cache;
  if (const graph::NodeId sweep = program.SweepOf(node); sweep != graph::kNoNode) {
    shape.points = true;
    const auto& parameters = std::get<graph::Sweep>(program.at(sweep).kind).parameters;
    shape.point_count = parameters.empty() ? 0 : static_cast<uint32_t>(parameters[0].size());
  }
  const graph::NodeId steps = program.StepsOf(node);
  if (steps == graph::kNoNode || cache) return;
  shape.steps = true;
  shape.selection = std::get<graph::Steps>(program.at(steps).kind);
  if (const auto& use = shape.selection.range.start_parameter; use.has_value()) {
    const auto& sweep = std::get<graph::Sweep>(program.at(use->sweep).kind);
    const auto* starts =
        std::get_if<std::vector<int64_t>>(&sweep.parameters[use->parameter].values);
    if (starts != nullptr) shape.starts = *starts;
  }
  const auto& trace = std::get<graph::Trace>(program.at(program.TraceOf(node)).kind);
  shape.most_steps = trace.generate ? trace.generate->max_new_tokens : 1;
}

const ResultCollector::Shape& ResultCollector::ShapeOf(const event::Result& result) const {
  // Of a name that is not the program's (an edit's, say) what comes says what it is.
  static const Shape* const kOther = [] {
    auto* shapes = new Shape[8];
    for (int i = 0; i < 8; ++i) {
      shapes[i].points = (i & 1) != 0;
      shapes[i].steps = (i & 2) != 0;
      shapes[i].cache = (i & 4) != 0;
    }
    return shapes;
  }();
  const auto found = shapes_.find(result.name);
  if (found != shapes_.end()) return found->second;
  return kOther[(result.point ? 1 : 0) + (result.step && !result.entry ? 2 : 0) +
                (result.entry ? 4 : 0)];
}

uint32_t ResultCollector::IndexOf(const Shape& shape, uint32_t point, uint32_t step) {
  const std::vector<int64_t>& list = shape.selection.list;
  if (!list.empty()) {
    const auto found = std::lower_bound(list.begin(), list.end(), step);
    return static_cast<uint32_t>(found - list.begin());
  }
  const int64_t start =
      point < shape.starts.size() ? shape.starts[point] : shape.selection.range.start.value_or(0);
  const int64_t stride = std::max<int64_t>(1, shape.selection.range.step.value_or(1));
  return step < start ? step : static_cast<uint32_t>((step - start) / stride);
}

std::string ResultCollector::NameOf(const event::Result& result) const {
  const Shape& shape = ShapeOf(result);
  std::string name = result.name;
  if (shape.points && result.point) absl::StrAppend(&name, ".", *result.point);
  if (result.entry) return absl::StrCat(name, ".", result.entry->ToString());
  if (shape.steps && result.step) {
    absl::StrAppend(&name, ".", IndexOf(shape, result.point.value_or(0), *result.step));
  }
  return name;
}

bool ResultCollector::IsList(const std::string& name) const {
  const auto found = shapes_.find(name);
  return found != shapes_.end() &&
         (found->second.points || found->second.steps || found->second.cache);
}

void ResultCollector::Take(const RunEvent& event) {
  if (const auto* accepted = std::get_if<event::Accepted>(&event)) {
    result_.job_id = accepted->job_id;
    result_.fingerprint = accepted->fingerprint;
    result_.warnings = accepted->warnings;
    result_.edits = accepted->edits;
  } else if (const auto* log = std::get_if<event::Log>(&event)) {
    result_.log.push_back({log->label, log->text});
  } else if (const auto* saved = std::get_if<event::Result>(&event)) {
    const Shape& shape = ShapeOf(*saved);
    shapes_.emplace(saved->name, shape);
    Part& part = parts_[saved->name][shape.points ? saved->point.value_or(0) : 0];
    if (saved->entry) {
      part.entries.entries.emplace_back(saved->entry->ToString(), saved->value);
    } else {
      part.items[shape.steps ? saved->step.value_or(0) : 0] = saved->value;
    }
  } else if (const auto* missing = std::get_if<event::Missing>(&event)) {
    result_.missing[missing->name] = missing->reason;
  } else if (const auto* completed = std::get_if<event::Completed>(&event)) {
    result_.fingerprint = completed->fingerprint;
    result_.cost = completed->cost;
  }
}

Value ResultCollector::Whole(const Shape& shape, uint32_t point, Part part) {
  if (shape.cache) return Value(std::move(part.entries));
  if (!shape.steps) {
    return part.items.empty() ? Value() : std::move(part.items.begin()->second);
  }
  Value::List list;
  for (auto& [step, item] : part.items) {
    // A step that gave nothing between two that did; within what the generation may come to.
    const uint32_t index = IndexOf(shape, point, step);
    if (index < shape.most_steps) {
      while (list.items.size() < index) list.items.emplace_back();
    }
    list.items.push_back(std::move(item));
  }
  return Value(std::move(list));
}

RunResult ResultCollector::Finish(bool complete) {
  for (auto& [name, shape] : shapes_) {
    std::map<uint32_t, Part>& parts = parts_[name];
    const bool list = shape.points || shape.steps || shape.cache;
    // A list that nothing came for is empty where that is told, and else unknown.
    if (parts.empty() && !(list && complete && result_.missing.contains(name))) continue;
    if (!shape.points) {
      result_.saves[name] =
          Whole(shape, 0, parts.empty() ? Part() : std::move(parts.begin()->second));
      continue;
    }
    Value::List points;
    for (auto& [point, part] : parts) {
      if (point < shape.point_count) {
        while (points.items.size() < point) points.items.emplace_back();
      }
      points.items.push_back(Whole(shape, point, std::move(part)));
    }
    if (complete && !parts.empty()) {
      while (points.items.size() < shape.point_count) points.items.emplace_back();
    }
    result_.saves[name] = Value(std::move(points));
  }
  return std::move(result_);
}

}  // namespace weft::internal

namespace weft::event {

std::string CacheEntry::ToString() const {
  return absl::StrCat(module, visit == 0 ? "" : absl::StrCat("@", visit), ".", point);
}

}  // namespace weft::event
