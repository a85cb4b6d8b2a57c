// What the largest requests that are let in cost a server in memory: each is taken through all that
// is done before planning, in a process of its own, whose peak is measured.

#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/graph/codec.h"
#include "engine/graph/lint.h"
#include "engine/graph/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "weft/v1/program.pb.h"
#include "weft/v1/weft.pb.h"

namespace weft::graph {
namespace {

constexpr size_t kLargest = size_t{4} << 20;
constexpr int64_t kMegabyte = 1 << 20;
/// Of 4 MiB, whatever is in them; twice what the worst of them takes. No stranger sends text: it is
/// what people hand to their own client.
constexpr int64_t kMostOfRequest = 140 * kMegabyte;
constexpr int64_t kMostOfText = 768 * kMegabyte;

/// A line of /proc/self/status in bytes, or -1.
int64_t FromStatus(const char* name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (!absl::StartsWith(line, name)) continue;
    int64_t kilobytes = 0;
    const size_t digits = line.find_first_of("0123456789");
    if (!absl::SimpleAtoi(line.substr(digits, line.find(" kB") - digits), &kilobytes)) return -1;
    return kilobytes << 10;
  }
  return -1;
}

/// By how many bytes a process grows at most while it does `work`; -1 if it could not be measured.
int64_t PeakGrowth(const std::function<void()>& work) {
  int ends[2];
  if (pipe(ends) != 0) return -1;
  const pid_t child = fork();
  if (child == 0) {
    // The peak is counted from here.
    std::ofstream("/proc/self/clear_refs") << "5";
    const int64_t before = FromStatus("VmRSS:");
    work();
    const int64_t growth = FromStatus("VmHWM:") - before;
    const bool written = write(ends[1], &growth, sizeof(growth)) == sizeof(growth);
    _exit(written ? 0 : 1);
  }
  close(ends[1]);
  int64_t growth = -1;
  const bool told = child > 0 && read(ends[0], &growth, sizeof(growth)) == sizeof(growth);
  close(ends[0]);
  int status = 0;
  if (child > 0) waitpid(child, &status, 0);
  return told && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? growth : -1;
}

/// All that a server does with the bytes of a request before it plans.
void TakeIn(const std::string& bytes) {
  v1::RunRequest request;
  if (!ParseChecked(bytes.data(), bytes.size(), &request).ok()) return;
  const absl::StatusOr<Program> program = DecodeProgram(request.program());
  if (!program.ok() || !Check(*program).ok()) return;
  (void)Lint(*program);
  (void)PrintProgram(*program);
}

std::string Varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
  bytes.push_back(static_cast<char>(value));
  return bytes;
}
/// A length-delimited field.
std::string Field(uint32_t number, const std::string& payload) {
  return absl::StrCat(Varint(number << 3 | 2), Varint(payload.size()), payload);
}
/// A request whose program's nodes are `nodes`.
std::string Request(const std::string& nodes) { return Field(1, "atlas") + Field(2, nodes); }
/// `part` as often as fits into a request, and at most `times`.
std::string Fill(const std::string& part, size_t times = SIZE_MAX) {
  std::string out;
  for (size_t i = 0; i < times && out.size() + part.size() + 64 < kLargest; ++i) out += part;
  return out;
}
/// The trace, and an invoke of one token with nothing in it.
std::string Opening() {
  v1::Program program;
  program.add_nodes()->mutable_trace()->set_mode(v1::Trace::MODE_FORWARD);
  v1::Node* const invoke = program.add_nodes();
  invoke->set_parent(1);
  invoke->mutable_invoke()->mutable_tokens()->add_rows()->add_ids(1);
  return program.SerializeAsString();
}
std::string OneNode(const std::function<void(v1::Node*)>& set) {
  v1::Program program;
  v1::Node* const node = program.add_nodes();
  node->set_parent(2);
  set(node);
  return program.SerializeAsString();
}

struct Hostile {
  const char* name;
  std::function<std::string()> request;
};

std::ostream& operator<<(std::ostream& out, const Hostile& hostile) { return out << hostile.name; }

class HostileRequestTest : public ::testing::TestWithParam<Hostile> {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(__clang__)
    GTEST_SKIP() << "a sanitizer's own memory would be measured";
#endif
  }
};

TEST_P(HostileRequestTest, TakesBoundedMemory) {
  const std::string bytes = GetParam().request();
  ASSERT_LE(bytes.size(), kLargest + (kLargest >> 4));
  const int64_t growth = PeakGrowth([&] { TakeIn(bytes); });
  ASSERT_GE(growth, 0);
  std::printf("%s: %zu bytes take %ld MiB\n", GetParam().name, bytes.size(),
              static_cast<long>(growth / kMegabyte));
  EXPECT_LT(growth, kMostOfRequest);
}

INSTANTIATE_TEST_SUITE_P(
    All, HostileRequestTest,
    ::testing::Values(
        Hostile{"EmptyNodes", [] { return Request(Fill(Field(1, ""))); }},
        Hostile{"AsManyNodesAsAreLetIn",
                [] {
                  return Request(
                      Opening() +
                      Fill(OneNode([](v1::Node* node) { node->mutable_stop(); }), 190000));
                }},
        Hostile{"ManySmallArguments",
                [] {
                  return Request(Opening() +
                                 Field(1, Field(22, Fill(Field(2, "\x18\x01"), 390000))));
                }},
        Hostile{"ManySmallLists",
                [] {
                  const std::string list = Field(2, Field(9, ""));
                  return Request(Opening() + Field(1, Field(22, Fill(list, 190000))));
                }},
        Hostile{"DeepArguments",
                [] {
                  std::string inside;
                  for (int i = 0; i < 3000; ++i) inside = Field(9, Field(1, inside));
                  return Request(Opening() + Field(1, Field(22, Field(2, inside))));
                }},
        Hostile{"ManyTokens",
                [] {
                  const std::string ids = Field(1, std::string(kLargest - 256, '\x01'));
                  return Request(Field(1, Field(12, Field(2, Field(1, ids)))));
                }},
        Hostile{"ManyPrompts",
                [] { return Request(Field(1, Field(12, Field(1, Fill(Field(1, "a"), 390000))))); }},
        Hostile{"OneConstant",
                [] {
                  return Request(Opening() + OneNode([](v1::Node* node) {
                                   v1::Tensor* const tensor =
                                       node->mutable_constant()->mutable_tensor();
                                   tensor->set_dtype(v1::DTYPE_U8);
                                   tensor->add_shape(kLargest - 256);
                                   tensor->set_data(std::string(kLargest - 256, 'x'));
                                 }));
                }},
        Hostile{"ManyEmptyConstants",
                [] {
                  return Request(Opening() + Fill(OneNode([](v1::Node* node) {
                                                    auto* tensor =
                                                        node->mutable_constant()->mutable_tensor();
                                                    tensor->set_dtype(v1::DTYPE_F32);
                                                    tensor->add_shape(0);
                                                  }),
                                                  130000));
                }},
        Hostile{"LongNames",
                [] {
                  return Request(Opening() + OneNode([](v1::Node* node) {
                                   node->set_name(std::string(kLargest / 2 - 512, 'n'));
                                   node->mutable_read()->mutable_site()->set_module(
                                       std::string(kLargest / 2 - 512, 'm'));
                                   node->mutable_read()->mutable_site()->set_point(
                                       v1::Site::POINT_OUTPUT);
                                 }));
                }}),
    [](const auto& info) { return std::string(info.param.name); });

class HostileTextTest : public HostileRequestTest {};

TEST_P(HostileTextTest, TakesBoundedMemory) {
  const std::string text = GetParam().request();
  const int64_t growth = PeakGrowth([&] { (void)ParseProgram(text); });
  ASSERT_GE(growth, 0);
  std::printf("%s: %zu bytes take %ld MiB\n", GetParam().name, text.size(),
              static_cast<long>(growth / kMegabyte));
  EXPECT_LT(growth, kMostOfText);
}

INSTANTIATE_TEST_SUITE_P(
    All, HostileTextTest,
    ::testing::Values(
        Hostile{"Brackets", [] { return "invoke [1] {\n%x = " + Fill("["); }},
        Hostile{"Parentheses", [] { return "invoke [1] {\n%x = " + Fill("("); }},
        Hostile{"Indices", [] { return "invoke [1] {\n%x = read a.output" + Fill("[0]"); }},
        Hostile{"Stops", [] { return "invoke [1] {\n" + Fill("stop "); }},
        Hostile{"Lists", [] { return "invoke [1] {\n aten::f(" + Fill("[],"); }},
        Hostile{"Calls",
                [] { return "invoke [1] {\n" + Fill("aten::f(aten::f(aten::f(aten::f(1)))) "); }}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace weft::graph
