#include "client/remote/constants.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "engine/graph/content_hash.h"
#include "tests/support/status_matchers.h"

namespace weft::remote {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using weft::testing::IsOk;
using weft::testing::StatusIs;

graph::HostTensor TensorOf(size_t bytes, char fill = 'a') {
  return graph::HostTensor::Make(graph::DType::kU8, {static_cast<int64_t>(bytes)},
                                 std::string(bytes, fill))
      .value();
}

graph::Program ProgramOf(const std::vector<graph::HostTensor>& constants) {
  graph::Program program;
  program.nodes.push_back({.kind = graph::Trace{}});
  for (const graph::HostTensor& tensor : constants) {
    program.nodes.push_back({.parent = 1, .kind = graph::Constant{tensor}});
  }
  return program;
}

class ConstantsTest : public ::testing::Test {
 protected:
  /// Which constants of the program that is sent are blobs, by place.
  std::vector<size_t> Encode(const graph::Program& program) {
    v1::RunRequest request;
    status_ = constants_.Encode(
        program,
        [this](const graph::HostTensor& tensor,
               const std::string& hash) -> absl::StatusOr<absl::Time> {
          EXPECT_EQ(hash, graph::ContentHash::Of(tensor.data, tensor.bytes).value());
          uploads_.push_back(tensor.bytes);
          if (uploads_.size() > most_uploads_) return refusal_;
          return absl::Now() + kept_for_;
        },
        &request, &uploaded_);
    std::vector<size_t> blobs;
    for (int i = 0; i < request.program().nodes_size(); ++i) {
      const v1::Node& node = request.program().nodes(i);
      if (!node.has_constant() || !node.constant().has_blob()) continue;
      EXPECT_EQ(node.constant().blob().dtype(), v1::DTYPE_U8);
      EXPECT_THAT(node.constant().blob().shape(), SizeIs(1));
      blobs.push_back(static_cast<size_t>(i) - 1);
    }
    EXPECT_EQ(blobs.size(), uploaded_.size());
    return blobs;
  }

  Constants constants_;
  absl::Status status_;
  std::vector<std::string> uploaded_;
  std::vector<uint64_t> uploads_;  // bytes of each
  size_t most_uploads_ = 1000;
  absl::Status refusal_ = absl::UnimplementedError("no blobs");
  absl::Duration kept_for_ = absl::Hours(1);
};

TEST_F(ConstantsTest, SmallOnesTravelWithTheProgram) {
  EXPECT_THAT(Encode(ProgramOf({TensorOf(kUploadedBytes - 1), TensorOf(1)})), IsEmpty());
  EXPECT_THAT(status_, IsOk());
  EXPECT_THAT(uploads_, IsEmpty());
}

TEST_F(ConstantsTest, LargeOnesAreUploadedOnceForEachContent) {
  const graph::Program program =
      ProgramOf({TensorOf(10), TensorOf(kUploadedBytes, 'a'), TensorOf(kUploadedBytes, 'b'),
                 TensorOf(kUploadedBytes, 'a')});
  EXPECT_THAT(Encode(program), ElementsAre(1, 2, 3));
  EXPECT_THAT(uploads_, SizeIs(2));
  EXPECT_THAT(Encode(program), ElementsAre(1, 2, 3));
  // The same bytes elsewhere in memory, too.
  EXPECT_THAT(Encode(ProgramOf({TensorOf(kUploadedBytes, 'a')})), ElementsAre(0));
  EXPECT_THAT(uploads_, SizeIs(2));
}

TEST_F(ConstantsTest, BytesThatTookThePlaceOfOthersAreNotTakenForThem) {
  for (char fill : {'a', 'b', 'c'}) {
    const graph::Program program = ProgramOf({TensorOf(kUploadedBytes, fill)});
    EXPECT_THAT(Encode(program), ElementsAre(0));
  }
  EXPECT_THAT(uploads_, SizeIs(3));
}

TEST_F(ConstantsTest, UploadsAgainWhatEndsSoonOrIsGone) {
  const graph::Program program = ProgramOf({TensorOf(kUploadedBytes)});
  kept_for_ = absl::Seconds(30);
  Encode(program);
  kept_for_ = absl::Hours(1);
  Encode(program);
  EXPECT_THAT(uploads_, SizeIs(2));
  Encode(program);
  EXPECT_THAT(uploads_, SizeIs(2));
  constants_.Forget(uploaded_);
  Encode(program);
  EXPECT_THAT(uploads_, SizeIs(3));
}

TEST_F(ConstantsTest, ManySmallOnesAreUploadedUntilTheRestFits) {
  std::vector<graph::HostTensor> tensors;
  for (size_t i = 0; i < 16; ++i) tensors.push_back(TensorOf((200 << 10) + i, 'a' + i));
  // 3.1 MiB of them: the largest is the last.
  EXPECT_THAT(Encode(ProgramOf(tensors)), ElementsAre(15));
  EXPECT_THAT(uploads_, ElementsAre((200 << 10) + 15));
}

TEST_F(ConstantsTest, WhatFitsIsSentWhereTheServerTakesNoBlobs) {
  most_uploads_ = 0;
  for (const absl::Status& refusal :
       {absl::UnimplementedError("no blobs"), absl::ResourceExhaustedError("full")}) {
    refusal_ = refusal;
    EXPECT_THAT(Encode(ProgramOf({TensorOf(1 << 20, 'a'), TensorOf(1 << 20, 'b')})), IsEmpty());
    EXPECT_THAT(status_, IsOk());
    // What does not fit is refused with the server's own reason.
    Encode(ProgramOf({TensorOf(4 << 20)}));
    EXPECT_EQ(status_, refusal);
  }
  refusal_ = absl::UnavailableError("gone");
  Encode(ProgramOf({TensorOf(1 << 20)}));
  EXPECT_THAT(status_, StatusIs(absl::StatusCode::kUnavailable, "gone"));
}

TEST_F(ConstantsTest, WhatIsLeftOfAFullQuotaIsSentInline) {
  most_uploads_ = 1;
  refusal_ = absl::ResourceExhaustedError("full");
  EXPECT_THAT(Encode(ProgramOf({TensorOf(1 << 20, 'a'), TensorOf(5 << 20, 'b')})), ElementsAre(1));
  EXPECT_THAT(status_, IsOk());
}

TEST_F(ConstantsTest, BlobsOfTheUsersStayAsTheyAre) {
  graph::Program program = ProgramOf({TensorOf(0)});
  std::get<graph::Constant>(program.nodes[1].kind).blob = std::string(32, 'h');
  v1::RunRequest request;
  ASSERT_THAT(constants_.Encode(
                  program, [](const auto&, const auto&) { return absl::InternalError("upload"); },
                  &request, &uploaded_),
              IsOk());
  EXPECT_EQ(request.program().nodes(1).constant().blob().sha256(), std::string(32, 'h'));
  EXPECT_THAT(uploaded_, IsEmpty());
}

}  // namespace
}  // namespace weft::remote
