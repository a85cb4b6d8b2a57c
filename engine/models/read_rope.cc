#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/models/rotary.h"

namespace weft::models {
namespace {

using nlohmann::json;

/// Reads the fields of one object of a configuration.
class ObjectReader {
 public:
  ObjectReader(ConfigReader& read, const std::string& name, const json& object)
      : read_(read), name_(name), object_(object) {}

  const json* Find(const std::string& field) const {
    const auto it = object_.find(field);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }
  std::optional<double> Number(const std::string& field) {
    const json* value = Find(field);
    if (value == nullptr) return std::nullopt;
    if (value->is_number() && std::isfinite(value->get<double>())) return value->get<double>();
    read_.Invalid(Path(field), "must be a number");
    return std::nullopt;
  }
  double Needed(const std::string& field, double fallback) {
    const std::optional<double> value = Number(field);
    if (!value) read_.Invalid(Path(field), "is missing");
    return value.value_or(fallback);
  }
  std::vector<double> Numbers(const std::string& field) {
    std::vector<double> numbers;
    const json* value = Find(field);
    if (value == nullptr || !value->is_array()) {
      read_.Invalid(Path(field), "must be a list of numbers");
      return numbers;
    }
    for (const json& number : *value) {
      if (number.is_number()) numbers.push_back(number.get<double>());
    }
    if (numbers.size() != value->size()) read_.Invalid(Path(field), "must be a list of numbers");
    return numbers;
  }
  std::string Path(const std::string& field) const { return absl::StrCat(name_, ".", field); }

 private:
  ConfigReader& read_;
  const std::string& name_;
  const json& object_;
};

}  // namespace

RopeParameters ReadRopeObject(ConfigReader& read, const std::string& name, const json& object,
                              int64_t max_positions, const RopeDefaults& defaults) {
  RopeParameters rope;
  rope.max_positions = static_cast<double>(max_positions);
  if (!object.is_object()) {
    read.Invalid(name, "must be an object");
    return rope;
  }
  static constexpr const char* kFields[] = {
      "rope_type", "type", "rope_theta", "partial_rotary_factor", "factor", "attention_factor",
      "low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim",
      "truncate", "short_factor", "long_factor", "original_max_position_embeddings",
      // Others' code takes these; transformers does not.
      "attn_factor", "finetuned"};
  ObjectReader fields(read, name, object);
  for (const auto& [field, value] : object.items()) {
    const bool known =
        std::find(std::begin(kFields), std::end(kFields), field) != std::end(kFields);
    if (!known && !value.is_null()) read.Refuse(fields.Path(field), "this field is not served");
  }
  for (const char* field : {"rope_type", "type"}) {
    const json* type = fields.Find(field);
    if (type == nullptr) continue;
    if (!type->is_string()) {
      read.Invalid(fields.Path(field), "must be a string");
      return rope;
    }
    rope.type = type->get<std::string>();
    break;
  }
  if (rope.type == "su") rope.type = "longrope";  // its name in Phi-3's first configurations
  rope.theta = fields.Number("rope_theta").value_or(defaults.theta);
  rope.partial = fields.Number("partial_rotary_factor").value_or(defaults.partial);
  rope.factor = fields.Number("factor");
  rope.attention_factor = fields.Number("attention_factor");
  const double original = defaults.original_max_positions > 0
                              ? static_cast<double>(defaults.original_max_positions)
                              : rope.max_positions;
  // A field of the configuration itself goes before that of the object, as in transformers.
  rope.original_max_positions =
      defaults.original_max_positions > 0
          ? original
          : fields.Number("original_max_position_embeddings").value_or(original);
  if (rope.type == "default") return rope;
  if (rope.type == "linear" || rope.type == "dynamic") {
    rope.factor = fields.Needed("factor", 1);
  } else if (rope.type == "llama3") {
    rope.factor = fields.Needed("factor", 1);
    rope.low_freq_factor = fields.Needed("low_freq_factor", 1);
    rope.high_freq_factor = fields.Needed("high_freq_factor", 4);
  } else if (rope.type == "yarn") {
    rope.beta_fast = fields.Number("beta_fast");
    rope.beta_slow = fields.Number("beta_slow");
    rope.mscale = fields.Number("mscale");
    rope.mscale_all_dim = fields.Number("mscale_all_dim");
    if (const auto truncate = object.find("truncate"); truncate != object.end()) {
      rope.truncate = *truncate == json(true);  // null is false, as in Python
      if (!truncate->is_boolean() && !truncate->is_null()) {
        read.Invalid(fields.Path("truncate"), "must be true or false");
      }
    }
  } else if (rope.type == "longrope") {
    rope.short_factor = fields.Numbers("short_factor");
    rope.long_factor = fields.Numbers("long_factor");
  } else {
    read.Refuse(fields.Path("rope_type"),
                absl::StrCat("\"", rope.type,
                             "\" is not served; there are default, linear, dynamic, llama3, yarn "
                             "and longrope"));
  }
  return rope;
}

RopeParameters ReadRope(ConfigReader& read, int64_t max_positions, const RopeDefaults& given) {
  RopeDefaults defaults = given;
  if (!defaults.own_names) {
    defaults.theta = read.Get<double>("rope_theta", defaults.theta);
    // In transformers null is all of a head, whatever the family's share is.
    if (read.SaysNone("partial_rotary_factor")) defaults.partial = 1;
    defaults.partial = read.Get<double>("partial_rotary_factor", defaults.partial);
  }
  if (read.Has("original_max_position_embeddings")) {
    defaults.original_max_positions = read.Size("original_max_position_embeddings", 1);
  }
  // The older name goes first, as in transformers, unless it is empty.
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    if (!read.Has(name)) continue;
    const json& object = read.config().json()[name];
    if (object.is_object() && object.empty()) continue;
    return ReadRopeObject(read, name, object, max_positions, defaults);
  }
  return ReadRopeObject(read, "rope_parameters", json::object(), max_positions, defaults);
}

int64_t MostTokens(const RopeParameters& rope) {
  double most = 0;
  if (rope.type == "linear" || rope.type == "dynamic") {
    most = rope.max_positions * rope.factor.value_or(1);
  } else if (rope.type == "yarn") {
    most = rope.original_max_positions * rope.factor.value_or(1);
  }
  return static_cast<int64_t>(std::max(rope.max_positions, std::min(most, 1e9)));
}

}  // namespace weft::models
