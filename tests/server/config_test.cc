#include "server/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "server/config/sources.h"
#include "tests/support/certificates.h"
#include "tests/support/environment.h"
#include "tests/support/temp_folder.h"

namespace weft::server {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ConfigTest : public ::testing::Test {
 protected:
  ConfigTest() {
    for (const char* name : {"a", "b"}) {
      std::filesystem::create_directory(folder_.File(name));
      folder_.Write(absl::StrCat(name, "/config.json"), "{}");
    }
    a_ = absl::StrCat("a=", folder_.File("a"));
    b_ = absl::StrCat("b=", folder_.File("b"));
  }

  static ParsedConfig Parse(const std::vector<std::string>& arguments) {
    std::vector<const char*> argv = {"weftd"};
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    return ParseConfig(static_cast<int>(argv.size()), argv.data());
  }

  /// A file that is whole but for `more`: model `a` on lines 1 and 2.
  std::string File(const std::string& more) const {
    return folder_.Write("weftd.textproto", absl::StrCat("data: 'd'\nmodel { name: 'a' folder: '",
                                                         folder_.File("a"), "' }\n", more));
  }

  /// What is wrong, a line each, without the line about --help.
  static std::vector<std::string> Lines(const ParsedConfig& parsed) {
    std::vector<std::string> lines = absl::StrSplit(parsed.text, '\n', absl::SkipEmpty());
    if (!lines.empty()) lines.pop_back();
    return lines;
  }

  testing::TempFolder folder_;
  std::string a_;
  std::string b_;
};

TEST_F(ConfigTest, ReadsModelsAddressAndLimits) {
  const ParsedConfig parsed =
      Parse({"--listen", "127.0.0.1:0", "--data", "d", "--model", a_, "--model", b_, "--threads",
             "3", "--max-pending-bytes", "2GiB", "--max-nodes", "10", "--drain-seconds", "1.5",
             "--insecure", "--no-reflection"});
  ASSERT_TRUE(parsed.config.has_value()) << parsed.text;
  const Config& config = *parsed.config;
  ASSERT_EQ(config.model_size(), 2);
  EXPECT_EQ(config.model(0).name(), "a");
  EXPECT_EQ(config.model(1).folder(), folder_.File("b"));
  EXPECT_EQ(config.drain_seconds(), 1.5);
  EXPECT_TRUE(config.keys());
  const EngineOptions engine = MakeEngineOptions(config);
  EXPECT_EQ(engine.threads, 3);
  EXPECT_EQ(engine.limits.nodes, 10u);
  const ServerOptions server = MakeServerOptions(config);
  EXPECT_EQ(server.listen, "127.0.0.1:0");
  EXPECT_EQ(server.max_pending_bytes, uint64_t{2} << 30);
  EXPECT_TRUE(server.insecure);
  EXPECT_FALSE(server.reflection);
}

TEST_F(ConfigTest, DefaultsAreThoseOfTheEngineAndTheServer) {
  const ParsedConfig parsed = Parse({"--data", "d", "--model", a_});
  ASSERT_TRUE(parsed.config.has_value()) << parsed.text;
  EXPECT_TRUE(parsed.config->keys());
  const EngineOptions engine = MakeEngineOptions(*parsed.config);
  EXPECT_EQ(engine.threads, EngineOptions().threads);
  EXPECT_EQ(engine.limits.nodes, Limits().nodes);
  EXPECT_EQ(engine.limits.constant_bytes, Limits().constant_bytes);
  EXPECT_EQ(engine.limits.value_elements, Limits().value_elements);
  EXPECT_EQ(engine.limits.result_bytes, Limits().result_bytes);
  EXPECT_EQ(engine.limits.peak_bytes, Limits().peak_bytes);
  EXPECT_EQ(engine.limits.operator_seconds, Limits().operator_seconds);
  EXPECT_EQ(engine.limits.pass_tokens, Limits().pass_tokens);
  const ServerOptions server = MakeServerOptions(*parsed.config);
  const ServerOptions own;
  EXPECT_EQ(server.listen, own.listen);
  EXPECT_EQ(server.insecure, own.insecure);
  EXPECT_EQ(server.reflection, own.reflection);
  EXPECT_EQ(server.request_bytes, own.request_bytes);
  EXPECT_EQ(server.max_runs, own.max_runs);
  EXPECT_EQ(server.max_pending_bytes, own.max_pending_bytes);
  EXPECT_EQ(server.slow_reader_timeout, own.slow_reader_timeout);
}

TEST_F(ConfigTest, HelpTeachesWithExamples) {
  const ParsedConfig parsed = Parse({"--help"});
  EXPECT_FALSE(parsed.config.has_value());
  EXPECT_EQ(parsed.exit_code, 0);
  EXPECT_THAT(parsed.text, AllOf(HasSubstr("weft keys create"),
                                 HasSubstr("--model atlas=models/atlas"), HasSubstr("SIGTERM")));
}

TEST_F(ConfigTest, EveryFieldIsAFlagWithHelpAndEveryFlagAField) {
  std::set<std::string> flags = {"--help", "--version", "--config", "--check-config"};
  const google::protobuf::Descriptor& schema = *Config::descriptor();
  for (int i = 0; i < schema.field_count(); ++i) {
    const google::protobuf::FieldDescriptor& field = *schema.field(i);
    EXPECT_FALSE(field.options().GetExtension(about).help().empty()) << field.name();
    flags.insert(FlagOf(field));
    if (field.cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_BOOL) {
      flags.insert(absl::StrCat("--no-", FlagOf(field).substr(2)));
    }
  }
  std::set<std::string> helped;
  const std::string help = Parse({"--help"}).text;
  for (const auto& line : absl::StrSplit(help, '\n')) {
    // Options stand two spaces in, some behind a letter.
    const std::vector<std::string> words = absl::StrSplit(line, absl::ByAnyChar(" ,"));
    if (words.size() < 3 || !words[0].empty() || !words[1].empty()) continue;
    for (size_t j = 2; j < std::min<size_t>(words.size(), 4); ++j) {
      if (words[j].rfind("--", 0) == 0) helped.insert(words[j]);
    }
  }
  EXPECT_EQ(helped, flags);
}

std::string Read(const std::string& path) {
  std::ifstream file(std::string(WEFT_SOURCE_DIR) + "/" + path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TEST_F(ConfigTest, ThePageHasARowForEveryField) {
  const std::string page = Read("docs/configuration.md");
  const google::protobuf::Descriptor& schema = *Config::descriptor();
  for (int i = 0; i < schema.field_count(); ++i) {
    const google::protobuf::FieldDescriptor& field = *schema.field(i);
    const About& about = field.options().GetExtension(server::about);
    const std::string flag = FlagOf(field);
    const bool is_bool = field.cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_BOOL;
    // Field, flag, default, and whether SIGHUP reloads it; what it means follows.
    const std::string row = absl::StrCat(
        "\n| `", field.name(), "` | ",
        is_bool ? absl::StrCat("`", flag, "`, `--no-", flag.substr(2), "`")
                : absl::StrCat("`", flag, " ", about.value(), "`"),
        " | ", is_bool ? (field.default_value_bool() ? "true" : "false") : DefaultOf(field), " | ",
        about.reloads() ? "yes" : "", " | ");
    EXPECT_THAT(page, HasSubstr(row)) << about.help();
  }
}

TEST_F(ConfigTest, TheExampleIsGood) {
  const testing::Identity identity = testing::CertificateAuthority().Issue("server");
  folder_.Write("cert.pem", identity.cert);
  ASSERT_EQ(chmod(folder_.Write("key.pem", identity.key).c_str(), 0600), 0);
  const std::string example = absl::StrReplaceAll(
      Read("deploy/weftd.textproto"),
      {{"/etc/weft/tls", folder_.path()}, {"/models/atlas", folder_.File("a")}});
  const ParsedConfig parsed = Parse({"--config", folder_.Write("weftd.textproto", example)});
  ASSERT_TRUE(parsed.config.has_value()) << parsed.text;
  EXPECT_THAT(parsed.warnings, IsEmpty());
  EXPECT_EQ(parsed.config->model_size(), 1);
  EXPECT_EQ(MakeEngineOptions(*parsed.config).limits.peak_bytes, uint64_t{4} << 30);
}

TEST_F(ConfigTest, AFileAndFlagsSayTheSameAndFlagsWin) {
  const std::string file = File(R"(
    max_nodes: 10
    max_runs: 7
    max_pending_bytes: "2GiB"  # a comment
    keys: true
    slow_reader_timeout: 1.5
  )");
  const ParsedConfig plain = Parse({"--config", file});
  ASSERT_TRUE(plain.config.has_value()) << plain.text;
  EXPECT_EQ(plain.config->max_nodes(), 10u);
  EXPECT_EQ(MakeServerOptions(*plain.config).max_pending_bytes, uint64_t{2} << 30);
  EXPECT_EQ(MakeServerOptions(*plain.config).slow_reader_timeout, absl::Milliseconds(1500));
  const ParsedConfig both =
      Parse({"--config", file, "--max-nodes", "11", "--model", b_, "--no-keys"});
  ASSERT_TRUE(both.config.has_value()) << both.text;
  EXPECT_EQ(both.config->max_nodes(), 11u);
  EXPECT_EQ(both.config->max_runs(), 7u);
  EXPECT_FALSE(both.config->keys());
  ASSERT_EQ(both.config->model_size(), 2);
  const ParsedConfig moved = Parse({"--config", file, "--model", "a=" + folder_.File("b")});
  ASSERT_TRUE(moved.config.has_value()) << moved.text;
  ASSERT_EQ(moved.config->model_size(), 1);
  EXPECT_EQ(moved.config->model(0).folder(), folder_.File("b"));
}

TEST_F(ConfigTest, AModelHasADtype) {
  const ParsedConfig flags =
      Parse({"--data", "d", "--model", a_ + ",dtype=bfloat16", "--model", b_});
  ASSERT_TRUE(flags.config.has_value()) << flags.text;
  EXPECT_EQ(flags.config->model(0).folder(), folder_.File("a"));
  EXPECT_EQ(flags.config->model(0).dtype(), "bfloat16");
  EXPECT_EQ(flags.config->model(1).dtype(), "auto");
  const std::string file =
      File(absl::StrCat("model { name: 'b' folder: '", folder_.File("b"), "' dtype: 'float16' }"));
  const ParsedConfig parsed = Parse({"--config", file});
  ASSERT_TRUE(parsed.config.has_value()) << parsed.text;
  EXPECT_EQ(parsed.config->model(1).dtype(), "float16");
  const ParsedConfig wrong = Parse({"--data", "d", "--model", a_ + ",dtype=int4"});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.text, HasSubstr("'int4' is none of auto, float32, bfloat16, float16"));
}

TEST_F(ConfigTest, AModelHasAdapters) {
  for (const char* name : {"one", "two,with:marks"}) {
    std::filesystem::create_directories(folder_.File(name));
    folder_.Write(absl::StrCat(name, "/adapter_config.json"), "{}");
  }
  const std::string one = folder_.File("one"), two = folder_.File("two,with:marks");
  const auto adapters = [](const ParsedConfig& parsed, int model) {
    std::map<std::string, std::string> folders;
    for (const Adapter& adapter : parsed.config->model(model).adapter()) {
      folders[adapter.name()] = adapter.folder();
    }
    return folders;
  };
  const std::map<std::string, std::string> both = {{"a", one}, {"b", two}};
  const ParsedConfig flags =
      Parse({"--data", "d", "--model",
             absl::StrCat(a_, ",adapter=a:", one, ",dtype=bfloat16,adapter=b:", two)});
  ASSERT_TRUE(flags.config.has_value()) << flags.text;
  EXPECT_EQ(adapters(flags, 0), both);
  EXPECT_EQ(flags.config->model(0).folder(), folder_.File("a"));
  EXPECT_EQ(flags.config->model(0).dtype(), "bfloat16");
  const ParsedConfig parsed =
      Parse({"--config", File(absl::StrCat("model { name: 'b' folder: '", folder_.File("b"),
                                           "' adapter { name: 'a' folder: '", one,
                                           "' } adapter { name: 'b' folder: '", two, "' } }"))});
  ASSERT_TRUE(parsed.config.has_value()) << parsed.text;
  EXPECT_EQ(adapters(parsed, 1), both);
  const auto wrong = [&](const std::string& options) {
    const ParsedConfig refused = Parse({"--data", "d", "--model", a_ + options});
    EXPECT_EQ(refused.exit_code, 2);
    return refused.text;
  };
  EXPECT_THAT(wrong(",adapter=a:" + one + ",adapter=a:" + two), HasSubstr("'a' is given twice"));
  EXPECT_THAT(wrong(",adapter=a b:" + one), HasSubstr("'a b' is not made of"));
  EXPECT_THAT(wrong(",adapter=a:" + folder_.File("b")), HasSubstr("has no adapter_config.json"));
  EXPECT_THAT(wrong(",adapter=a:" + folder_.File("none")), HasSubstr("there is no folder"));
}

TEST_F(ConfigTest, AModelOfTheHubsCacheIsGivenByItsId) {
  testing::Environment environment;
  environment.Set("HF_HUB_CACHE", folder_.File("hub"));
  const std::string model = folder_.File("hub/models--org--net");
  std::filesystem::create_directories(model + "/refs");
  std::filesystem::create_directories(model + "/snapshots/abc");
  folder_.Write("hub/models--org--net/refs/main", "abc");
  folder_.Write("hub/models--org--net/snapshots/abc/config.json", "{}");
  const ParsedConfig parsed = Parse({"--data", "d", "--model", "net=org/net,dtype=auto"});
  ASSERT_TRUE(parsed.config.has_value()) << parsed.text;
  EXPECT_EQ(parsed.config->model(0).folder(), model + "/snapshots/abc");
  const ParsedConfig other = Parse({"--data", "d", "--model", "net=org/other"});
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_THAT(other.text, AllOf(HasSubstr("'org/other'"), HasSubstr("org/net")));
}

TEST_F(ConfigTest, AllErrorsOfAFileAreSaidAtOnceWithTheirLines) {
  std::filesystem::create_directory(folder_.File("empty"));
  const std::string file =
      File(absl::StrCat("listne: '127.0.0.1:1'\n"           // 3
                        "threads: 'many'\n"                 // 4
                        "max_runs: 0\n"                     // 5
                        "max_pending_bytes: '4 bananas'\n"  // 6
                        "log_level: 'loud'\n"               // 7
                        "listen: '0.0.0.0:50051'\n"         // 8
                        "model { name: 'a' folder: '",
                        folder_.File("b"),
                        "' }\n"  // 9
                        "model { name: 'c' folder: '",
                        folder_.File("no-such"),
                        "' }\n"  // 10
                        "model {\n  name: 'd'\n  folder: '",
                        folder_.File("empty"),
                        "'\n}\n"                           // 11
                        "max_nodes: 1\nmax_nodes: 2\n"));  // 15, 16
  const ParsedConfig parsed = Parse({"--config", file, "--drain-seconds", "-1"});
  EXPECT_FALSE(parsed.config.has_value());
  EXPECT_EQ(parsed.exit_code, 2);
  const auto at = [&](int line, const std::string& what) {
    return AllOf(HasSubstr(absl::StrCat(file, ":", line, ":")), HasSubstr(what));
  };
  EXPECT_THAT(Lines(parsed),
              ElementsAre(at(3, "\"listne\""), at(4, "Expected integer"), at(16, "max_nodes"),
                          HasSubstr("--drain-seconds: -1 is out of range: write 0 to 86400"),
                          at(7, "'loud' is none of debug, info, warn, error"),
                          at(5, "max_runs: 0 is out of range: write 1 to 1048576"),
                          at(6, "max_pending_bytes: '4 bananas' is not a number of bytes"),
                          at(8, "--insecure"), at(9, "'a' is given twice"),
                          at(10, "there is no folder"), at(11, "has no config.json")));
}

TEST_F(ConfigTest, TlsOpensOtherAddressesAndItsFilesAreLookedAt) {
  const testing::Identity identity = testing::CertificateAuthority().Issue("server");
  const std::string cert = folder_.Write("cert.pem", identity.cert);
  const std::string key = folder_.Write("key.pem", identity.key);
  ASSERT_EQ(chmod(key.c_str(), 0604), 0);
  const std::string files = absl::StrCat("listen: '0.0.0.0:1'\ntls_cert: '", cert, "'\n");
  const ParsedConfig good = Parse({"--config", File(absl::StrCat(files, "tls_key: '", key, "'"))});
  ASSERT_TRUE(good.config.has_value()) << good.text;
  EXPECT_EQ(MakeServerOptions(*good.config).tls.key, key);
  EXPECT_THAT(good.warnings, ElementsAre(AllOf(HasSubstr(":5: tls_key"), HasSubstr("chmod 600"))));
  EXPECT_THAT(Lines(Parse({"--config", File(files)})),
              ElementsAre(HasSubstr("tls_key (--tls-key): is needed")));
  EXPECT_THAT(Lines(Parse({"--config", File(files), "--tls-key", folder_.File("none")})),
              ElementsAre(AllOf(HasSubstr("--tls-key: cannot read"), HasSubstr("No such file"))));
}

TEST_F(ConfigTest, CheckConfigSaysWhetherItIsGoodAndEnds) {
  const ParsedConfig good = Parse({"--config", File(""), "--check-config"});
  EXPECT_FALSE(good.config.has_value());
  EXPECT_EQ(good.exit_code, 0);
  EXPECT_THAT(good.text, HasSubstr("is good: 1 model on 127.0.0.1:50051"));
  const ParsedConfig bad = Parse({"--config", File("max_runs: 0"), "--check-config"});
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_THAT(bad.text, HasSubstr("max_runs"));
}

TEST_F(ConfigTest, ABrokenFileIsAnErrorAndNotACrash) {
  for (const std::string& text :
       {std::string("model {"), std::string("model { name: 'x'"), std::string("}"),
        std::string("threads:\nlisten: 'x:1'"), std::string("\0\xff", 2), std::string("listen 'x'"),
        std::string("data: 'd"), std::string("model: 5"), std::string("keys: maybe")}) {
    const ParsedConfig parsed = Parse({"--config", folder_.Write("broken", text), "--no-keys"});
    EXPECT_FALSE(parsed.config.has_value()) << text;
    EXPECT_EQ(parsed.exit_code, 2) << text;
    EXPECT_THAT(parsed.text, HasSubstr(folder_.File("broken"))) << text;
  }
  EXPECT_THAT(Parse({"--config", folder_.File("no-such")}).text,
              HasSubstr("cannot read the file '" + folder_.File("no-such")));
  EXPECT_THAT(Parse({"--config", folder_.path()}).text, HasSubstr("cannot read"));
}

TEST_F(ConfigTest, RefusesWrongLinesSayingWhy) {
  struct Case {
    std::vector<std::string> arguments;
    const char* message;
  };
  for (const Case& c : std::vector<Case>{
           {{}, "--model"},
           {{"--model", a_}, "data (--data): a folder is needed"},
           {{"--data", "d", "--model", "atlas"}, "NAME=FOLDER"},
           {{"--data", "d", "--model", "atlas="}, "there is no folder ''"},
           {{"--data", "d", "--model", "a b=x"}, "letters, digits"},
           {{"--data", "d", "--model", a_, "--model", a_}, "given twice"},
           {{"--data", "d", "--model", a_, "--threads", "-1"}, "--threads"},
           {{"--data", "d", "--model", a_, "--threads", "5000"}, "--threads"},
           {{"--data", "d", "--model", a_, "--threads", "1", "--threads", "2"}, "--threads"},
           {{"--data", "d", "--model", a_, "--drain-seconds", "nan"}, "--drain-seconds"},
           {{"--data", "d", "--model", a_, "--listen", "localhost"}, "--listen: 'localhost'"},
           {{"--data", "d", "--model", a_, "--listen", "0.0.0.0:1"}, "--insecure"},
           {{"--data", "d", "--model", a_, "--max-request-bytes", "8GiB"}, "--max-request-bytes"},
           {{"--data", "d", "--model", a_, "--max-request-bytes", "99999999999999999999"},
            "--max-request-bytes"},
           {{"--data", "d", "--model", a_, "--metrics", "9464"}, "--metrics: '9464'"},
           {{"--data", "d", "--model", a_, "--unknown"}, "--unknown"},
       }) {
    const ParsedConfig parsed = Parse(c.arguments);
    EXPECT_FALSE(parsed.config.has_value()) << c.message;
    EXPECT_EQ(parsed.exit_code, 2) << c.message;
    EXPECT_THAT(parsed.text, HasSubstr(c.message));
  }
}

TEST_F(ConfigTest, BytesHaveUnits) {
  for (const auto& [text, bytes] : std::map<std::string, uint64_t>{{"0", 0},
                                                                   {"12", 12},
                                                                   {"12B", 12},
                                                                   {"4KiB", 4096},
                                                                   {"4 kb", 4096},
                                                                   {"3M", uint64_t{3} << 20},
                                                                   {"2GiB", uint64_t{2} << 30},
                                                                   {"1Ti", uint64_t{1} << 40}}) {
    const absl::StatusOr<uint64_t> parsed = ParseBytes(text);
    ASSERT_TRUE(parsed.ok()) << text;
    EXPECT_EQ(*parsed, bytes) << text;
  }
  for (const char* text : {"", "MiB", "-1", "1.5GiB", "4 bananas", "4GiBB", "1 1", "17179869184GiB",
                           "99999999999999999999"}) {
    EXPECT_FALSE(ParseBytes(text).ok()) << text;
  }
}

}  // namespace
}  // namespace weft::server
