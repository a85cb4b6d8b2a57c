#include "client/cli/command_line.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/blobs.h"
#include "client/cli/chat.h"
#include "client/cli/commands.h"
#include "client/cli/edits.h"
#include "client/cli/generate.h"
#include "client/cli/login.h"
#include "engine/graph/version.h"

namespace weft::cli {
namespace {

constexpr char kFooter[] = R"(
Results go to standard output, everything else to standard error.

Exit codes: 0 ok; 1 other errors; 2 wrong usage; 3 the program was refused; 4 no key, a bad key,
or one without the right; 5 no answer, or the deadline passed; 6 the run failed, or a save has no
value.

Example:
  weft run - --model atlas --out r.safetensors <<'END'
  invoke "The Eiffel Tower is in the city of" {
    %h = read lm_head.output
    %t = aten::argmax(%h[:, -1], dim=-1)
    save token = %t
  }
  END
)";

/// Let a positional argument take all that is left, each as it is written: CLI11 splits [a,b] where
/// there may be extra arguments. Without them it takes as many as it expects.
void TakeTheRest(CLI::Option* argument) {
  const int many = CLI::detail::expected_max_vector_size;
  argument->expected(many, many)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
}

void AddEditOption(CLI::App* command, std::vector<std::string>* edits) {
  command
      ->add_option("--edit", *edits,
                   "A stored edit that comes first: its name, or NAME@VERSION; repeatable")
      ->type_name("NAME")
      ->allow_extra_args(false);
}

void AddProgramArguments(CLI::App* command, RunArguments* arguments) {
  command->add_option("FILE", arguments->file, "A program in text form; - is standard input")
      ->required();
  command->add_option("--model", arguments->model,
                      "The model's name; may be left out where there is one model");
  command->add_flag("--json", arguments->json,
                    "Print JSON. NaN and infinities are the strings NaN, Infinity, -Infinity");
  command->add_option("--seed", arguments->seed, "Of random operators");
  AddEditOption(command, &arguments->edits);
}

constexpr char kGenerateFooter[] = R"(
Without an option of Drawing the likeliest token is taken each time. With one of them tokens are
drawn, by --seed, from what the options leave; they are applied in transformers' order.

Examples:
  weft generate atlas "The Eiffel Tower is in the city of" --max-new-tokens 20
  weft generate atlas "Once upon a time" --temperature 0.8 --top-p 0.95 --seed 7 --stop "."
  weft generate atlas "The Eiffel Tower is in" --beams 4 --num-return-sequences 2

A program acts in the generation that it is given to: it reads, writes and saves in its one
invoke, in the steps that it names.
  weft generate atlas "The city of" --temperature 1 --program - <<'END'
  invoke {
    steps [:] {
      %l = read logits
      %l[:, 13] = -1000.0
      save chosen = read samples
    }
  }
  END
)";

/// How tokens are chosen and when a text ends.
void AddGenerateOptions(CLI::App* command, GenerateOptions* to, std::optional<uint64_t>* seed,
                        const std::string& most) {
  GenerateOptions& options = *to;
  command->add_option("--max-new-tokens", options.max_new_tokens, most);
  command->add_option("--min-new-tokens", options.min_new_tokens,
                      "Nothing ends the text before so many");
  command
      ->add_option("--stop", options.stop_strings,
                   "End when the text has this, which is not printed; repeatable")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  command
      ->add_option("--eos", options.eos_token_ids,
                   "A token that ends the text, instead of the model's own; repeatable")
      ->type_name("ID")
      ->allow_extra_args(false);
  const char* const kDrawing = "Drawing";
  command->add_flag("--sample", options.do_sample, "Draw from the model's own distribution")
      ->group(kDrawing);
  command->add_option("--temperature", options.temperature, "Sharper below 1, flatter above")
      ->group(kDrawing);
  command->add_option("--top-k", options.top_k, "Only the so many likeliest")->group(kDrawing);
  command->add_option("--top-p", options.top_p, "Only the likeliest that come to this probability")
      ->group(kDrawing);
  command
      ->add_option("--min-p", options.min_p,
                   "Only those at least so likely, relative to the likeliest")
      ->group(kDrawing);
  command->add_option("--seed", *seed, "The same one draws the same text")->group(kDrawing);
  const char* const kPenalties = "Penalties";
  command
      ->add_option("--no-repeat-ngram-size", options.no_repeat_ngram_size,
                   "No so many tokens in a row come twice")
      ->group(kPenalties);
  command
      ->add_option("--repetition-penalty", options.repetition_penalty,
                   "More than 1: what is there, prompt included, is less likely")
      ->group(kPenalties);
  command
      ->add_option("--presence-penalty", options.presence_penalty,
                   "-2 to 2: what was chosen before is less likely")
      ->group(kPenalties);
  command
      ->add_option("--frequency-penalty", options.frequency_penalty,
                   "-2 to 2: the same, by each time that it was")
      ->group(kPenalties);
}

void AddAdapterOption(CLI::App* command, std::string* adapter) {
  command->add_option("--adapter", *adapter, "A LoRA adapter of the model, as `models` lists them")
      ->type_name("NAME");
}

void AddGenerate(CLI::App* command, GenerateArguments* arguments) {
  command->footer(kGenerateFooter);
  command->add_option("MODEL", arguments->model, "The model's name")->required();
  command->add_option("PROMPT", arguments->prompt, "What it goes on with; - is standard input")
      ->required();
  AddAdapterOption(command, &arguments->adapter);
  AddGenerateOptions(command, &arguments->options, &arguments->seed,
                     absl::StrCat("At most so many (", GenerateArguments::kNewTokens,
                                  ", or as many as there is room for)"));
  command
      ->add_option("--num-return-sequences", arguments->options.num_return_sequences,
                   "So many texts, each printed when all are done")
      ->group("Drawing");
  const char* const kSearch = "Beam search";
  GenerateOptions& options = arguments->options;
  command
      ->add_option("--beams", options.num_beams,
                   "Keep so many texts and print the best, once it is found")
      ->group(kSearch);
  command
      ->add_option("--length-penalty", options.length_penalty,
                   "Above 0 favours long texts, below 0 short ones (1)")
      ->group(kSearch);
  command
      ->add_option_function<std::string>(
          "--early-stopping",
          [arguments](const std::string& when) {
            arguments->options.early_stopping = when == "true"    ? EarlyStopping::kAtOnce
                                                : when == "never" ? EarlyStopping::kNever
                                                                  : EarlyStopping::kNoneBetter;
          },
          "false: end when none that goes on looks better; true: with the first so many that end; "
          "never: when none can become better")
      ->check(CLI::IsMember({"false", "true", "never"}))
      ->group(kSearch);
  command->add_option("--program", arguments->program,
                      "Statements that act in the generation, `invoke { ... }` in text form; - is "
                      "standard input");
  AddEditOption(command, &arguments->edits);
  command->add_option(
      "--out", arguments->out,
      "Write the ids, as `result`, prompt included, and what is saved to this safetensors file");
  command->add_option("--deadline", arguments->deadline,
                      "End the run after this time: 5 or 5s, 500ms, 2m");
  command->add_flag("--no-special-tokens", arguments->no_special_tokens,
                    "Leave out those that the tokenizer puts around a prompt");
  command->add_flag("--echo", arguments->echo, "Print the prompt, too");
  command->add_flag("--json", arguments->json, "Print JSON when it is done");
}

constexpr char kChatFooter[] = R"(
Each line of standard input is a message, and what the model answers is printed as it comes. A line
that ends with a backslash goes on in the next one; /new forgets what was said, and the end of the
input (or /quit) ends the chat. An interrupt ends an answer.

Examples:
  weft chat assistant --system "Be brief." --temperature 0.7
  echo "Where is the Eiffel Tower?" | weft chat assistant
)";

void AddChat(CLI::App* command, ChatArguments* arguments) {
  command->footer(kChatFooter);
  command->add_option("MODEL", arguments->model, "The model's name")->required();
  command->add_option("--system", arguments->system, "What the model is told before all else");
  AddAdapterOption(command, &arguments->adapter);
  AddGenerateOptions(command, &arguments->options, &arguments->seed,
                     absl::StrCat("At most so many in an answer (", ChatArguments::kNewTokens,
                                  ", or as many as there is room for)"));
  AddEditOption(command, &arguments->edits);
}

void AddKeySettings(CLI::App* command, KeySettings* settings) {
  command->add_option("--label", settings->label, "Whose it is, for the list");
  // Without extra arguments CLI11 leaves [a] as it is.
  command
      ->add_option("--scope", settings->scopes,
                   "trace (run programs; a new key's default), weights (read parameters), "
                   "admin; repeatable")
      ->allow_extra_args(false);
  command
      ->add_option("--model", settings->models,
                   "Models it is for, as globs (a new key's default: all); repeatable")
      ->allow_extra_args(false);
  command->add_option("--expires", settings->expires, "After this time: 12h, 30d, or never");
  const char* const kLimits = "Limits (0: none)";
  const CLI::AsSizeValue bytes(/*kb_is_1000=*/false);
  command->add_option("--requests-per-minute", settings->requests_per_minute, "Calls of any method")
      ->group(kLimits);
  command
      ->add_option("--tokens-per-minute", settings->tokens_per_minute,
                   "Rows of its runs' passes, pads included")
      ->group(kLimits);
  command
      ->add_option("--concurrent-runs", settings->concurrent_runs,
                   "Runs at once, waiting ones included")
      ->group(kLimits);
  command->add_option("--result-bytes", settings->result_bytes, "Results of one run: 64MiB, 1GiB")
      ->transform(bytes)
      ->group(kLimits);
  command->add_option("--run-seconds", settings->run_seconds, "Time of one run, from its start")
      ->group(kLimits);
  command
      ->add_option("--generated-tokens", settings->generated_tokens, "New tokens of one generation")
      ->group(kLimits);
  command->add_option("--blob-bytes", settings->blob_bytes, "All of its blobs: 64MiB, 1GiB")
      ->transform(bytes)
      ->group(kLimits);
}

void AddKeys(CLI::App* app, KeysArguments* arguments,
             const std::function<void(KeysAction)>& choose) {
  CLI::App* keys = app->add_subcommand(
      "keys",
      "Manage API keys: in a data folder on the server's machine, or with a key that has "
      "the scope admin");
  keys->require_subcommand(1);
  const auto add = [&](const char* name, const char* help, KeysAction action) {
    CLI::App* command = keys->add_subcommand(name, help);
    command->add_option("--data", arguments->data,
                        "The server's data folder, instead of --target and --api-key");
    command->add_flag("--json", arguments->json, "Print JSON");
    command->callback([choose, action] { choose(action); });
    return command;
  };
  const auto add_id = [&](CLI::App* command) {
    command->add_option("ID", arguments->id, "The key's id, from the list")->required();
  };
  AddKeySettings(add("create", "Make a key and show it, this once", KeysAction::kCreate),
                 &arguments->settings);
  add("list", "List the keys, revoked and expired ones too", KeysAction::kList);
  add_id(add("show", "Show one key", KeysAction::kShow));
  CLI::App* command = add("update", "Change what is given of a key", KeysAction::kUpdate);
  add_id(command);
  AddKeySettings(command, &arguments->settings);
  command = add("rotate", "Give a key a new secret and show it, this once", KeysAction::kRotate);
  add_id(command);
  command->add_option("--old-for", arguments->old_for,
                      "How long the old secret goes on working: 24h; not at all if left out");
  add_id(add("revoke", "End a key and its runs, at once and for ever", KeysAction::kRevoke));
  command = add("audit", "Show who called what when, newest first", KeysAction::kAudit);
  command->add_option("--key", arguments->id, "Only what this key did");
  command->add_option("--since", arguments->since, "Only the last 2h, 7d");
  command->add_option("--limit", arguments->limit, "At most so many lines")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
}

void AddBlobs(
    CLI::App* app, BlobsArguments* arguments,
    const std::function<void(int (*)(const GlobalOptions&, const BlobsArguments&))>& choose) {
  CLI::App* blobs = app->add_subcommand(
      "blobs", "Tensors that the key keeps on the server, by the hash of their bytes");
  blobs->require_subcommand(1);
  CLI::App* command = blobs->add_subcommand("list", "List them, the next to expire first");
  command->add_flag("--json", arguments->json, "Print JSON");
  command->callback([choose] { choose(ListBlobs); });
  command = blobs->add_subcommand(
      "upload", "Upload the tensors of a safetensors file, and print what names each in a program");
  command->add_option("FILE", arguments->file, "The file")->required();
  TakeTheRest(command->add_option("NAME", arguments->names, "Only these of its tensors"));
  command->add_flag("--json", arguments->json, "Print JSON");
  command->callback([choose] { choose(UploadBlobs); });
  command = blobs->add_subcommand("delete", "Delete them");
  command->add_option("SHA256", arguments->hashes, "64 hexadecimal digits, from the list")
      ->required();
  command->callback([choose] { choose(DeleteBlobs); });
}

void AddEdits(
    CLI::App* app, EditsArguments* arguments,
    const std::function<void(int (*)(const GlobalOptions&, const EditsArguments&))>& choose) {
  CLI::App* edits =
      app->add_subcommand("edits", "Edits that the key keeps on the server, for `run --edit NAME`");
  edits->require_subcommand(1);
  const auto add = [&](const char* name, const char* help,
                       int (*command)(const GlobalOptions&, const EditsArguments&)) {
    CLI::App* added = edits->add_subcommand(name, help);
    added->add_option("--model", arguments->model,
                      "The model that they are for; may be left out where there is one");
    added->callback([choose, command] { choose(command); });
    return added;
  };
  const auto add_name = [&](CLI::App* command, const char* help) {
    command->add_option("NAME", arguments->name, help)->required();
  };
  const auto add_json = [&](CLI::App* command) {
    command->add_flag("--json", arguments->json, "Print JSON");
  };
  CLI::App* command = add("list", "List them: of one model, or of all", ListEdits);
  add_json(command);
  command = add("show", "Print one in text form, as `store` takes it", ShowEdit);
  add_name(command, "Its name, or NAME@VERSION for one that is not the latest");
  add_json(command);
  command = add("store", "Store one: under a name that is taken, as the next version", StoreEdit);
  add_name(command, "1 to 128 letters, digits and ._-");
  command
      ->add_option("FILE", arguments->file, "In text form, `invoke { ... }`; - is standard input")
      ->required();
  command->add_option("--tokens", arguments->tokens,
                      "Check it on an input of so many tokens, if it fits no other");
  add_json(command);
  command = add("delete", "Delete one with all its versions, or one version", DeleteEdit);
  add_name(command, "Its name, or NAME@VERSION");
}

/// Go on as weft-local, which lies beside this program. Returns only if there is none.
int BecomeLocal(char** argv) {
  std::error_code error;
  const std::filesystem::path program =
      std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "weft-local";
  execv(program.c_str(), argv);
  std::cerr << "weft: cannot start " << program.string()
            << ", which --local needs: " << std::strerror(errno) << "\n";
  return kOther;
}

}  // namespace

int Main(int argc, char** argv, LocalBackendMaker make_local) {
  // What gRPC would print beside the error that we do.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  CLI::App app("weft runs programs inside the models that a weftd server hosts.", "weft");
  app.footer(kFooter);
  app.set_version_flag("--version", absl::StrCat("weft ", kVersion));
  app.require_subcommand(1);
  app.fallthrough();

  GlobalOptions global;
  global.make_local = make_local;
  // By the names of settings: what is not given here comes from the environment or the file.
  std::map<std::string, std::string> flags;
  std::string profile;
  bool tls = false;
  app.add_option("--target", flags["target"], "The server, HOST:PORT or unix:PATH [WEFT_TARGET]");
  app.add_option("--api-key", flags["api_key"],
                 "weft_<id>_<secret>; better by `weft login` or in the environment, where others "
                 "do not see it [WEFT_API_KEY]");
  app.add_option("--profile", profile,
                 "Which part of the configuration file to use [WEFT_PROFILE]");
  app.add_flag("--tls", tls, "Encrypt the connection; so do --ca, --cert and --key [WEFT_TLS]");
  app.add_option("--ca", flags["ca"], "Roots to trust instead of the system's, PEM [WEFT_CA_FILE]")
      ->check(CLI::ExistingFile);
  app.add_option("--cert", flags["cert"],
                 "Your certificate, for a server that asks, PEM [WEFT_CERT_FILE]")
      ->check(CLI::ExistingFile);
  app.add_option("--key", flags["key"], "The private key of --cert, PEM [WEFT_KEY_FILE]")
      ->check(CLI::ExistingFile);
  app.add_flag("--wait", global.wait, "Where a limit refuses, wait as long as it says");
  app.add_option("--local", global.local_folder,
                 "Load the model from this folder, or by its id from the Hub's cache, and run in "
                 "this process, without a server")
      ->type_name("FOLDER");
  app.add_option(
         "--local-adapter", global.local_adapters,
         "A LoRA adapter beside the model of --local, a folder as peft saves it; repeatable")
      ->type_name("NAME=FOLDER")
      ->allow_extra_args(false);
  app.add_option("--local-device", global.local_device,
                 "Where the model of --local lies: auto, cpu, cuda, cuda:1")
      ->type_name("DEVICE");
  app.add_flag("--local-without-weights", global.local_without_weights,
               "Load no weights: the model of --local can be looked at (tree), and programs be "
               "validated");

  std::function<int()> action;
  RunArguments run;
  CLI::App* command = app.add_subcommand("run", "Run a program and print what it saves");
  AddProgramArguments(command, &run);
  command->add_option("--out", run.out, "Write the saves to this safetensors file");
  command->add_option("--deadline", run.deadline,
                      "End the run after this time: 5 or 5s, 500ms, 2m");
  command->add_flag("--exclusive", run.exclusive, "Share no forward pass with other users");
  command->add_flag("--exact", run.exact, "The same bits each time, whoever else is there");
  command->callback([&] { action = [&] { return Run(global, run); }; });

  GenerateArguments generate;
  command = app.add_subcommand("generate", "Print the text that a model goes on with, as it comes");
  AddGenerate(command, &generate);
  command->callback([&] { action = [&] { return Generate(global, generate); }; });

  ChatArguments chat;
  command = app.add_subcommand("chat", "Talk with a model, line by line");
  AddChat(command, &chat);
  command->callback([&] { action = [&] { return HoldChat(global, chat); }; });

  RunArguments validate;
  command = app.add_subcommand("validate", "Check and price a program without running it");
  AddProgramArguments(command, &validate);
  command->callback([&] { action = [&] { return Validate(global, validate); }; });

  command = app.add_subcommand("models", "List the models");
  command->callback([&] { action = [&] { return ListModels(global); }; });

  std::string model, path, pattern;
  bool no_sites = false, operations = false;
  command = app.add_subcommand("tree", "Print a model's modules, sites and shapes");
  command->add_option("MODEL", model, "The model's name")->required();
  command->add_option("PATH", path, "Begin at this module");
  command->add_flag("--no-sites", no_sites, "Modules only");
  command->add_flag("--ops", operations, "The operations inside each module, too");
  command->callback(
      [&] { action = [&] { return PrintModelTree(global, model, path, !no_sites, operations); }; });

  command = app.add_subcommand("operators", "List the operators that programs may use");
  command->add_option("PATTERN", pattern, "Only those whose names contain this");
  command->callback([&] { action = [&] { return ListOperators(global, pattern); }; });

  std::string health_model;
  command = app.add_subcommand("health", "Say whether the server serves: exit code 0, or 5 if not");
  command->add_option("--model", health_model, "Whether this model is well, in particular");
  command->callback([&] { action = [&] { return Health(global, health_model); }; });

  bool whoami_json = false;
  command = app.add_subcommand("whoami", "Show what the key may do");
  command->add_flag("--json", whoami_json, "Print JSON");
  command->callback([&] { action = [&] { return WhoAmI(global, whoami_json); }; });

  bool no_check = false, login = false;
  command = app.add_subcommand(
      "login", "Keep a key, read from standard input, in the configuration file, with the flags");
  command->add_flag("--no-check", no_check, "Do not ask the server whether the key is good");
  command->callback([&] {
    login = true;
    action = [&] { return Login(flags, profile, !no_check); };
  });

  Configuration configuration;
  command =
      app.add_subcommand("config", "Show target, key and the rest, and where each comes from");
  command->callback([&] { action = [&] { return ShowConfiguration(configuration); }; });

  KeysArguments keys;
  AddKeys(&app, &keys,
          [&](KeysAction what) { action = [&, what] { return ManageKeys(global, what, keys); }; });

  BlobsArguments blobs;
  AddBlobs(&app, &blobs, [&](int (*what)(const GlobalOptions&, const BlobsArguments&)) {
    action = [&, what] { return what(global, blobs); };
  });
  EditsArguments edits;
  AddEdits(&app, &edits, [&](int (*what)(const GlobalOptions&, const EditsArguments&)) {
    action = [&, what] { return what(global, edits); };
  });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kOk : kUsage;
  }
  if (!global.local_folder.empty()) {
    for (const char* name : {"blobs", "edits", "health", "keys"}) {
      if (!app.got_subcommand(name)) continue;
      std::cerr << "weft: --local runs in this process and keeps nothing between commands; `weft "
                << name << "` is about a server: leave --local out\n";
      return kUsage;
    }
    if (make_local == nullptr) return BecomeLocal(argv);
  }
  if (tls) flags["tls"] = "true";
  std::erase_if(flags, [](const auto& flag) { return flag.second.empty(); });
  if (login) return action();

  absl::StatusOr<Configuration> loaded = LoadConfiguration(flags, profile);
  if (!loaded.ok()) {
    std::cerr << "weft: " << std::string(loaded.status().message()) << "\n";
    return kUsage;
  }
  configuration = *std::move(loaded);
  for (const std::string& warning : configuration.warnings)
    std::cerr << "weft: " << warning << "\n";
  global.target = configuration.target;
  global.api_key = configuration.options.api_key;
  global.tls = configuration.options.tls;
  global.ca_file = configuration.options.ca_file;
  global.cert_file = configuration.options.cert_file;
  global.key_file = configuration.options.key_file;
  const int code = action();
  if (code != kOk || std::cout.flush()) return code;
  std::cerr << "weft: what was to be printed could not be written to standard output\n";
  return kOther;
}

}  // namespace weft::cli
