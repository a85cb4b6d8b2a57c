#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "server/config/sources.h"

namespace weft::server {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::TextFormat;

struct Error {
  int line = 0;  // from 0; -1 at the end of the file
  int column = 0;
  std::string text;
};

class Errors final : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {
    errors_.push_back({line, column, message});
  }
  // The parser warns of unknown fields where it is told to go on.
  void AddWarning(int line, int column, const std::string& message) override {
    const size_t what = message.find("no field named");
    unknown_.push_back({line, column,
                        what == std::string::npos ? message
                                                  : absl::StrCat("there is ", message.substr(what),
                                                                 " --help lists what there is.")});
  }

  std::vector<Error>& errors() { return errors_; }
  std::vector<Error>& unknown() { return unknown_; }

 private:
  std::vector<Error> errors_;
  std::vector<Error> unknown_;
};

// True if the value of a `name: value` line is what is wrong: without that line the rest of the
// file can still be read.
bool IsOfOneLine(const std::string& line, int column) {
  const size_t colon = line.find(':');
  return colon != std::string::npos && static_cast<size_t>(column) > colon &&
         line.find_first_of("{}[]") == std::string::npos;
}

}  // namespace

void ReadConfigFile(const std::string& path, Config* config, Problems* problems) {
  std::ifstream file(path, std::ios::binary);
  std::error_code ignored;
  if (!file.is_open() || std::filesystem::is_directory(path, ignored)) {
    problems->AddLine(absl::StrCat("--config: cannot read the file '", path, "': ",
                                   file.is_open() ? "it is a folder" : std::strerror(errno)));
    return;
  }
  std::ostringstream text;
  text << file.rdbuf();

  // The parser stops at its first error. Where that is one line's value, go on without the line.
  std::vector<std::string> lines = absl::StrSplit(text.str(), '\n');
  std::vector<Error> found;
  std::optional<TextFormat::ParseInfoTree> places;
  while (true) {
    Errors errors;
    places.emplace();
    TextFormat::Parser parser;
    parser.RecordErrorsTo(&errors);
    parser.AllowUnknownField(true);
    parser.WriteLocationsTo(&*places);
    const bool parsed = parser.ParseFromString(absl::StrJoin(lines, "\n"), config);
    found.insert(found.end(), errors.errors().begin(), errors.errors().end());
    const Error* last = errors.errors().empty() ? nullptr : &errors.errors().back();
    if (!parsed && last != nullptr && last->line >= 0 &&
        IsOfOneLine(lines[static_cast<size_t>(last->line)], last->column)) {
      lines[static_cast<size_t>(last->line)].clear();
      continue;
    }
    found.insert(found.end(), errors.unknown().begin(), errors.unknown().end());
    break;
  }
  std::stable_sort(found.begin(), found.end(), [](const Error& a, const Error& b) {
    return static_cast<unsigned>(a.line) < static_cast<unsigned>(b.line);
  });
  for (const Error& error : found) {
    problems->AddLine(error.line < 0 ? absl::StrCat(path, ": ", error.text)
                                     : absl::StrCat(path, ":", error.line + 1, ": ", error.text));
  }

  const auto place = [&](const FieldDescriptor& field, int index) {
    const int line = places->GetLocation(&field, index).line;
    if (line >= 0) problems->SetPlace(field, index, absl::StrCat(path, ":", line + 1));
  };
  for (int i = 0; i < Config::descriptor()->field_count(); ++i) {
    const FieldDescriptor& field = *Config::descriptor()->field(i);
    if (!field.is_repeated()) {
      place(field, -1);
      continue;
    }
    for (int j = 0; j < config->GetReflection()->FieldSize(*config, &field); ++j) place(field, j);
  }
}

}  // namespace weft::server
