#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "engine/weights/hub_cache.h"
#include "server/config/config.h"
#include "server/config/sources.h"

namespace weft::server {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Reflection;

constexpr int kUsageError = 2;

constexpr char kDescription[] =
    R"(weftd hosts models and runs Weft programs inside them, over gRPC (weft.v1.Weft).

It prints one line on stdout once it serves, 'listening on HOST:PORT'; the log goes to stderr.
SIGTERM or SIGINT drains: runs that were accepted finish, new ones are refused; a second signal
ends at once. SIGHUP reads the file of --config again: models and limits change without a restart.)";

constexpr char kExamples[] =
    R"(Examples:
  weft keys create --data ./data --label me     make a key; it is shown once
  weftd --data ./data --model atlas=models/atlas
  weftd --data ./data --model atlas=models/atlas --model gpt2=/models/gpt2 --threads 8
  weftd --no-keys --listen 127.0.0.1:0 --model atlas=models/atlas
                                                no keys, any free port: for trying things out
  weftd --config weftd.textproto --check-config
                                                say everything that is wrong with a file

A model is a folder as the Hugging Face Hub lays it out: config.json, *.safetensors, tokenizer.json;
or ORG/NAME, one that was downloaded into the Hub's cache on this machine (ORG/NAME@REVISION);
or a file NAME.pt2 of torch.export.save.
Bytes may be written as 64MiB or 4GiB. Exit codes: 0 after a drain, 1 when the server cannot start,
2 for a wrong command line or file.)";

// Shows `--keys,--no-keys` without the `{false}` that CLI11 would add.
class Help final : public CLI::Formatter {
 public:
  std::string make_option_name(const CLI::Option* option, bool is_positional) const override {
    return absl::StrReplaceAll(CLI::Formatter::make_option_name(option, is_positional),
                               {{"{false}", ""}});
  }
};

// What the command line says, by field.
using Given = std::map<const FieldDescriptor*, std::vector<std::string>>;

void AddFlag(const FieldDescriptor& field, CLI::App* app, Given* given) {
  const About& about = field.options().GetExtension(server::about);
  std::vector<std::string>& values = (*given)[&field];
  const std::string flag = FlagOf(field);
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL) {
    app->add_flag(absl::StrCat(flag, ",!--no-", flag.substr(2)), values,
                  absl::StrCat(about.help(), field.default_value_bool() ? " (default)" : ""))
        ->default_str("")
        ->group(about.group());
    return;
  }
  CLI::Option* option = app->add_option(flag, values, about.help());
  option->type_name(about.value())->group(about.group());
  option->allow_extra_args(false);
  if (!field.is_repeated()) option->expected(1);
  option->default_str(DefaultOf(field));
}

// Put what the command line says over what the file says.
void Override(const Given& given, Config* config, Problems* problems) {
  const Reflection& reflection = *config->GetReflection();
  for (int i = 0; i < Config::descriptor()->field_count(); ++i) {
    const FieldDescriptor& field = *Config::descriptor()->field(i);
    const std::vector<std::string>& values = given.at(&field);
    if (values.empty()) continue;
    Config said;
    for (const std::string& value : values) {
      if (absl::Status set = SetField(field, value, &said); !set.ok()) {
        problems->AddLine(absl::StrCat(FlagOf(field), ": ", std::string(set.message())));
      }
    }
    if (field.number() == Config::kModelFieldNumber) {
      std::set<std::string> names;
      for (const Model& model : said.model()) names.insert(model.name());
      int kept = 0;
      for (int j = 0; j < config->model_size(); ++j) {
        if (names.contains(config->model(j).name())) continue;
        problems->MovePlace(field, j, kept);
        config->mutable_model()->SwapElements(kept++, j);
      }
      while (config->model_size() > kept) config->mutable_model()->RemoveLast();
    } else {
      reflection.ClearField(config, &field);
    }
    if (field.is_repeated()) {
      const int before = reflection.FieldSize(*config, &field);
      config->MergeFrom(said);
      for (int j = before; j < reflection.FieldSize(*config, &field); ++j) {
        problems->SetPlace(field, j, FlagOf(field));
      }
    } else {
      config->MergeFrom(said);
      problems->SetPlace(field, -1, FlagOf(field));
    }
  }
}

}  // namespace

ParsedConfig ParseConfig(int argc, const char* const* argv) {
  CLI::App app(kDescription, "weftd");
  app.footer(kExamples);
  app.formatter(std::make_shared<Help>());
  app.get_formatter()->column_width(34);
  app.set_version_flag("--version", absl::StrCat("weftd ", kVersion));
  ParsedConfig parsed;
  bool check_only = false;
  app.add_option("--config", parsed.file, "read this file first; flags win over it")
      ->type_name("FILE");
  app.add_flag("--check-config", check_only, "say what is wrong with the configuration, and end");
  Given given;
  for (int i = 0; i < Config::descriptor()->field_count(); ++i) {
    AddFlag(*Config::descriptor()->field(i), &app, &given);
  }

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() != 0) {
      parsed.text = absl::StrCat("weftd: ", e.what(), "\nRun with --help for more information.\n");
      parsed.exit_code = kUsageError;
      return parsed;
    }
    std::ostringstream text;
    app.exit(e, text, text);
    parsed.text = text.str();
    return parsed;
  }

  Config config;
  Problems problems;
  if (!parsed.file.empty()) ReadConfigFile(parsed.file, &config, &problems);
  Override(given, &config, &problems);
  CheckConfig(config, &problems);
  parsed.warnings = problems.warnings();
  if (!problems.lines().empty()) {
    for (const std::string& line : problems.lines()) {
      absl::StrAppend(&parsed.text, "weftd: ", line, "\n");
    }
    parsed.text += "Run with --help for more information.\n";
    parsed.exit_code = kUsageError;
  } else if (check_only) {
    for (const std::string& warning : parsed.warnings) {
      absl::StrAppend(&parsed.text, "warning: ", warning, "\n");
    }
    absl::StrAppend(&parsed.text, "the configuration is good: ", config.model_size(), " model",
                    config.model_size() == 1 ? "" : "s", " on ", config.listen(), "\n");
  } else {
    // Written out, so that a new snapshot of an id is another folder at the next reload.
    for (Model& model : *config.mutable_model()) {
      const auto resolve = [](const std::string& folder) {
        return weights::FindModelFolder(folder).value_or(folder);
      };
      model.set_folder(resolve(model.folder()));
      for (Adapter& adapter : *model.mutable_adapter()) {
        adapter.set_folder(resolve(adapter.folder()));
      }
    }
    parsed.config = std::move(config);
  }
  return parsed;
}

}  // namespace weft::server
