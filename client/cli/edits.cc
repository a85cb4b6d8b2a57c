#include "client/cli/edits.h"

#include <iostream>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/key_text.h"
#include "client/cli/results.h"
#include "weft/client.h"

namespace weft::cli {
namespace {

using nlohmann::json;

json Describe(const EditVersion& edit) {
  return {{"model", edit.model},
          {"name", edit.name},
          {"version", edit.version},
          {"bytes", edit.bytes},
          {"created_unix_seconds", absl::ToUnixSeconds(edit.created)}};
}

/// A client, and the model that the edits are for.
struct Place {
  Client client;
  std::string model;
};
absl::StatusOr<Place> Open(const GlobalOptions& global, const EditsArguments& arguments) {
  Place place{Client(MakeRemoteBackend(global.target, ToRemoteOptions(global))), ""};
  absl::StatusOr<std::string> model = ChooseModel(place.client.backend().get(), arguments.model);
  if (!model.ok()) return model.status();
  place.model = *std::move(model);
  return place;
}

}  // namespace

int ListEdits(const GlobalOptions& global, const EditsArguments& arguments) {
  const Client client(MakeRemoteBackend(global.target, ToRemoteOptions(global)));
  absl::StatusOr<EditList> list = client.ListEdits(arguments.model);
  if (!list.ok()) return Report(list.status(), arguments.json);
  uint64_t bytes = 0;
  json edits = json::array();
  for (const EditVersion& edit : list->edits) {
    bytes += edit.bytes;
    if (arguments.json) {
      edits.push_back(Describe(edit));
    } else {
      std::cout << edit.model << "  " << edit.ToString() << "  " << Bytes(edit.bytes) << "  of "
                << absl::FormatTime("%Y-%m-%d %H:%M UTC", edit.created, absl::UTCTimeZone())
                << "\n";
    }
  }
  if (arguments.json) {
    std::cout << json{{"edits", edits},
                      {"quota_bytes", list->quota_bytes},
                      {"quota_edits", list->quota_edits}}
                     .dump(2)
              << "\n";
    return kOk;
  }
  std::cout << list->edits.size();
  if (list->quota_edits != 0) std::cout << " of " << list->quota_edits;
  std::cout << " versions, " << Bytes(bytes);
  if (list->quota_bytes != 0) std::cout << " of " << Bytes(list->quota_bytes);
  std::cout << "\n";
  return kOk;
}

int ShowEdit(const GlobalOptions& global, const EditsArguments& arguments) {
  absl::StatusOr<Place> place = Open(global, arguments);
  if (!place.ok()) return Report(place.status(), arguments.json);
  absl::StatusOr<StoredEdit> edit = place->client.GetEdit(place->model, arguments.name);
  if (!edit.ok()) return Report(edit.status(), arguments.json);
  if (arguments.json) {
    json object = Describe(edit->version);
    object["text"] = edit->program.text();
    std::cout << object.dump(2) << "\n";
    return kOk;
  }
  std::cout << "# " << edit->version.model << "  " << edit->version.ToString() << "\n"
            << edit->program.text() << "\n";
  return kOk;
}

int StoreEdit(const GlobalOptions& global, const EditsArguments& arguments) {
  absl::StatusOr<std::string> text = ReadSource(arguments.file);
  if (!text.ok()) {
    Report(text.status(), arguments.json);
    return kUsage;
  }
  absl::StatusOr<Program> program =
      Program::Parse(*text, arguments.file == "-" ? "<stdin>" : arguments.file);
  if (!program.ok()) return Report(program.status(), arguments.json);
  absl::StatusOr<Place> place = Open(global, arguments);
  if (!place.ok()) return Report(place.status(), arguments.json);
  absl::StatusOr<EditVersion> stored =
      place->client.StoreEdit(place->model, arguments.name, *program, {.tokens = arguments.tokens});
  if (!stored.ok()) return Report(stored.status(), arguments.json);
  if (arguments.json) {
    std::cout << Describe(*stored).dump(2) << "\n";
  } else {
    std::cout << stored->ToString() << "\n";
  }
  return kOk;
}

int DeleteEdit(const GlobalOptions& global, const EditsArguments& arguments) {
  absl::StatusOr<Place> place = Open(global, arguments);
  if (!place.ok()) return Report(place.status());
  absl::StatusOr<uint64_t> deleted = place->client.DeleteEdit(place->model, arguments.name);
  return deleted.ok() ? kOk : Report(deleted.status());
}

}  // namespace weft::cli
