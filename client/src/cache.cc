#include "weft/cache.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace weft {
namespace {

/// A key of a cache's dict: `h.0@1.output`.
struct Key {
  std::string module;
  uint32_t visit = 0;
  std::string point;
};

Key ParseKey(const std::string& text) {
  Key key;
  const size_t dot = text.rfind('.');
  if (dot == std::string::npos) return key;
  key.module = text.substr(0, dot);
  key.point = text.substr(dot + 1);
  const size_t at = key.module.rfind('@');
  if (at != std::string::npos && absl::SimpleAtoi(key.module.substr(at + 1), &key.visit)) {
    key.module.resize(at);
  }
  return key;
}

}  // namespace

SavedCache SavedCache::operator[](const std::string& name) const {
  SavedCache below = *this;
  below.path_ = path_.empty() ? name : absl::StrCat(path_, ".", name);
  if (state_ != nullptr && state_->resolve) below.path_ = state_->resolve(below.path_);
  return below;
}

SavedCache SavedCache::point(uint32_t point) const {
  SavedCache there = *this;
  there.point_ = point;
  return there;
}

absl::Status SavedCache::status() const { return Find().status(); }

absl::Status SavedCache::incomplete() const {
  return state_ == nullptr ? internal::UnassignedSave() : state_->incomplete;
}

absl::StatusOr<const Value::Dict*> SavedCache::Find() const {
  if (state_ == nullptr) return internal::UnassignedSave();
  if (!state_->status.ok()) return state_->status;
  const Value* value = &state_->value;
  if (const auto* points = value->FindAs<Value::List>()) {
    if (!point_) {
      return absl::FailedPreconditionError(
          absl::StrCat("cache ", state_->name, " was filled at ", points->items.size(),
                       " points of a sweep; point(i) is one of them"));
    }
    if (*point_ >= points->items.size()) {
      return absl::NotFoundError(absl::StrCat("cache ", state_->name, " has no point ", *point_,
                                              "; it has ", points->items.size()));
    }
    value = &points->items[*point_];
  }
  const auto* dict = value->FindAs<Value::Dict>();
  if (dict == nullptr) return internal::WrongSaveType(*state_, "cache");
  return dict;
}

Saved<Value> SavedCache::Get(const std::string& point, std::optional<uint32_t> visit) const {
  auto found = std::make_shared<internal::SaveState>();
  found->name = absl::StrCat(name(), "[\"", path_, "\"].", point);
  const absl::StatusOr<const Value::Dict*> dict = Find();
  if (!dict.ok()) {
    found->status = dict.status();
    return Saved<Value>(std::move(found));
  }
  Value::List visits;
  bool module = false;
  for (const auto& [text, value] : (*dict)->entries) {
    const Key key = ParseKey(text);
    if (key.module != path_) continue;
    module = true;
    if (key.point != point || (visit && key.visit != *visit)) continue;
    visits.items.push_back(value);
  }
  if (!module) {
    const std::vector<std::string> cached = Root().keys();
    found->status = absl::NotFoundError(absl::StrCat(
        "\"", path_,
        "\" was not cached; what was: ", cached.empty() ? "nothing" : absl::StrJoin(cached, ", ")));
  } else if (visits.items.empty()) {
    found->status =
        absl::NotFoundError(visit ? absl::StrCat("\"", path_, "\" has no visit ", *visit,
                                                 "; it was visited ", this->visits(), " times")
                                  : absl::StrCat("\"", path_, "\" was cached without its ", point,
                                                 "; CacheOptions::include_inputs asks for them"));
  } else if (visits.items.size() == 1) {
    found->value = std::move(visits.items[0]);
  } else {
    found->value = Value(std::move(visits));
  }
  return Saved<Value>(std::move(found));
}

SavedCache SavedCache::Root() const {
  SavedCache root = *this;
  root.path_.clear();
  return root;
}

std::vector<std::string> SavedCache::keys() const {
  std::vector<std::string> keys;
  const absl::StatusOr<const Value::Dict*> dict = Find();
  if (!dict.ok()) return keys;
  for (const auto& [text, value] : (*dict)->entries) {
    std::string module = ParseKey(text).module;
    if (!path_.empty() && module != path_ && !absl::StartsWith(module, path_ + ".")) continue;
    if (std::find(keys.begin(), keys.end(), module) == keys.end())
      keys.push_back(std::move(module));
  }
  return keys;
}

bool SavedCache::contains(const std::string& path) const { return (*this)[path].visits() > 0; }

uint32_t SavedCache::visits() const {
  const absl::StatusOr<const Value::Dict*> dict = Find();
  if (!dict.ok()) return 0;
  uint32_t visits = 0;
  for (const auto& [text, value] : (*dict)->entries) {
    const Key key = ParseKey(text);
    if (key.module == path_) visits = std::max(visits, key.visit + 1);
  }
  return visits;
}

}  // namespace weft
