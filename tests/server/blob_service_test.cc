#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "engine/graph/codec.h"
#include "engine/graph/content_hash.h"
#include "engine/graph/text.h"
#include "server/audit/audit_log.h"
#include "server/blobs/blob_store.h"
#include "server/keys/key_store.h"
#include "server/limits/limiter.h"
#include "server/server.h"
#include "tests/support/fake_engine.h"
#include "tests/support/grpc_calls.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "weft/v1/weft.grpc.pb.h"

namespace weft::server {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using weft::testing::ContextWith;
using weft::testing::FakeEngine;
using weft::testing::FakeJob;
using weft::testing::GrpcIs;
using weft::testing::IsOk;

std::string HashOf(const std::string& bytes) {
  return graph::ContentHash::Of(bytes.data(), bytes.size()).value();
}

v1::Error DetailsOf(const grpc::Status& status) {
  v1::Error error;
  EXPECT_TRUE(error.ParseFromString(status.error_details()));
  return error;
}

v1::UploadRequest Header(const std::string& hash, uint64_t bytes) {
  v1::UploadRequest header;
  header.set_sha256(hash);
  header.set_bytes(bytes);
  return header;
}
v1::UploadRequest Data(const std::string& bytes) {
  v1::UploadRequest data;
  data.set_data(bytes);
  return data;
}

class BlobServiceTest : public ::testing::Test {
 protected:
  BlobServiceTest() {
    options_.listen = "127.0.0.1:0";
    keys_ = *keys::KeyStore::Open(folder_.path());
    store_ = *blobs::BlobStore::Open(folder_.path());
    secret_ = NewKey();
  }

  std::string NewKey(uint64_t blob_bytes = 0) {
    keys::KeyStore::Request request;
    request.limits.blob_bytes = blob_bytes;
    return keys_->Create(request)->secret;
  }

  void Start() {
    absl::StatusOr<std::unique_ptr<Server>> server =
        Server::Start(options_, &engine_, keys_.get(), audit_.get(), store_.get());
    ASSERT_THAT(server, IsOk());
    server_ = *std::move(server);
    stub_ = v1::Weft::NewStub(
        grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials()));
  }

  /// An upload that the test makes message by message.
  struct Uploading {
    std::unique_ptr<grpc::ClientContext> context;
    v1::UploadResponse response;
    std::unique_ptr<grpc::ClientWriter<v1::UploadRequest>> writer;
  };
  std::unique_ptr<Uploading> Begin(const std::string& secret) {
    auto uploading = std::make_unique<Uploading>();
    uploading->context = ContextWith(secret);
    uploading->writer = stub_->Upload(uploading->context.get(), &uploading->response);
    return uploading;
  }

  struct Outcome {
    grpc::Status status;
    v1::UploadResponse response;
  };
  Outcome Upload(const std::vector<v1::UploadRequest>& messages, const std::string& secret) {
    const auto uploading = Begin(secret);
    bool more = true;
    for (size_t i = 0; i < messages.size() && more; ++i) {
      more = uploading->writer->Write(messages[i]);
    }
    if (more) uploading->writer->WritesDone();
    Outcome outcome;
    outcome.status = uploading->writer->Finish();
    outcome.response = uploading->response;
    return outcome;
  }
  Outcome Upload(const std::vector<v1::UploadRequest>& messages) {
    return Upload(messages, secret_);
  }
  Outcome UploadBytes(const std::string& bytes, const std::string& secret) {
    std::vector<v1::UploadRequest> messages = {Header(HashOf(bytes), bytes.size())};
    constexpr size_t kChunk = 1 << 20;
    for (size_t at = 0; at < bytes.size(); at += kChunk) {
      messages.push_back(Data(bytes.substr(at, kChunk)));
    }
    return Upload(messages, secret);
  }

  std::vector<std::string> List(const std::string& secret, uint64_t* quota = nullptr) {
    v1::ListBlobsResponse response;
    const auto context = ContextWith(secret);
    const grpc::Status status = stub_->ListBlobs(context.get(), {}, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    std::vector<std::string> hashes;
    for (const v1::Blob& blob : response.blobs()) hashes.push_back(blob.sha256());
    if (quota != nullptr) *quota = response.quota_bytes();
    return hashes;
  }
  grpc::Status Delete(const std::string& hash, const std::string& secret) {
    v1::DeleteBlobRequest request;
    request.set_sha256(hash);
    v1::DeleteBlobResponse response;
    const auto context = ContextWith(secret);
    return stub_->DeleteBlob(context.get(), request, &response);
  }

  static v1::RunRequest Request(const std::string& text) {
    v1::RunRequest request;
    request.set_model("atlas");
    absl::StatusOr<graph::Program> program = graph::ParseProgram(text);
    EXPECT_THAT(program, IsOk());
    if (program.ok()) graph::EncodeProgram(*program, request.mutable_program());
    return request;
  }
  static v1::RunRequest ProgramWith(const std::string& hash, const std::string& shape) {
    return Request(absl::StrCat("invoke [1] { %b = blob(uint8, ", shape, ", \"",
                                graph::ContentHash::ToText(hash), "\") save b = %b }"));
  }
  grpc::Status Run(const v1::RunRequest& request, const std::string& secret,
                   std::vector<v1::RunEvent>* events = nullptr) {
    const auto context = ContextWith(secret);
    const auto reader = stub_->Run(context.get(), request);
    v1::RunEvents message;
    while (reader->Read(&message)) {
      if (events == nullptr) continue;
      events->insert(events->end(), message.events().begin(), message.events().end());
    }
    return reader->Finish();
  }

  /// What uploads left behind, once nothing is under way.
  std::vector<std::string> LeftOver() {
    server_->Shutdown(absl::Now());
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_.File("blobs"))) {
      if (entry.is_regular_file()) names.push_back(entry.path().filename().string());
    }
    return names;
  }

  testing::TempFolder folder_;
  std::unique_ptr<keys::KeyStore> keys_;
  std::unique_ptr<audit::AuditLog> audit_;
  std::unique_ptr<blobs::BlobStore> store_;
  std::string secret_;
  FakeEngine engine_;
  ServerOptions options_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<v1::Weft::Stub> stub_;
};

TEST_F(BlobServiceTest, TakesBytesInChunksAndListsThem) {
  Start();
  const std::string bytes(3'500'000, 'x');
  const Outcome uploaded = UploadBytes(bytes, secret_);
  ASSERT_TRUE(uploaded.status.ok()) << uploaded.status.error_message();
  EXPECT_FALSE(uploaded.response.existed());
  EXPECT_EQ(uploaded.response.blob().sha256(), HashOf(bytes));
  EXPECT_EQ(uploaded.response.blob().bytes(), bytes.size());
  EXPECT_GT(uploaded.response.blob().expires_unix_seconds(), absl::ToUnixSeconds(absl::Now()));
  uint64_t quota = 0;
  EXPECT_THAT(List(secret_, &quota), ElementsAre(HashOf(bytes)));
  EXPECT_EQ(quota, uint64_t{4} << 30);
  List(NewKey(1000000), &quota);
  EXPECT_EQ(quota, 1000000);
  EXPECT_TRUE(Delete(HashOf(bytes), secret_).ok());
  EXPECT_THAT(List(secret_), IsEmpty());
  EXPECT_THAT(Delete(HashOf(bytes), secret_),
              GrpcIs(grpc::StatusCode::NOT_FOUND, HasSubstr("no blob")));
}

TEST_F(BlobServiceTest, NeedsNoBytesOfWhatItHas) {
  Start();
  ASSERT_TRUE(UploadBytes("there", secret_).status.ok());
  // The writing side stays open: the server does not wait for it.
  const auto uploading = Begin(secret_);
  uploading->writer->Write(Header(HashOf("there"), 5));
  const grpc::Status status = uploading->writer->Finish();
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(uploading->response.existed());
  EXPECT_EQ(uploading->response.blob().bytes(), 5);
}

TEST_F(BlobServiceTest, AnotherKeysBlobIsAsAbsentAsNone) {
  Start();
  const std::string other = NewKey();
  ASSERT_TRUE(UploadBytes("theirs", other).status.ok());
  EXPECT_THAT(List(secret_), IsEmpty());
  const auto same = [](const grpc::Status& theirs, const grpc::Status& nobodys) {
    EXPECT_EQ(theirs.error_code(), grpc::StatusCode::NOT_FOUND) << theirs.error_message();
    std::string text = theirs.error_message();
    const std::string hash = graph::ContentHash::ToText(HashOf("theirs"));
    for (size_t at; (at = text.find(hash)) != std::string::npos;) {
      text.replace(at, hash.size(), graph::ContentHash::ToText(HashOf("nobodys")));
    }
    EXPECT_EQ(text, nobodys.error_message());
  };
  same(Delete(HashOf("theirs"), secret_), Delete(HashOf("nobodys"), secret_));
  same(Run(ProgramWith(HashOf("theirs"), "[6]"), secret_),
       Run(ProgramWith(HashOf("nobodys"), "[6]"), secret_));
  EXPECT_TRUE(Run(ProgramWith(HashOf("theirs"), "[6]"), other).ok());
  // Nor does an upload tell that somebody has the bytes.
  EXPECT_FALSE(UploadBytes("theirs", secret_).response.existed());
}

TEST_F(BlobServiceTest, RefusesUploadsThatAreNotWhatTheySay) {
  Start();
  const std::string hash = HashOf("twelve bytes");
  const auto refuses = [&](const std::vector<v1::UploadRequest>& messages,
                           const std::string& reason) {
    EXPECT_THAT(Upload(messages).status,
                GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr(reason)));
  };
  refuses({Header(hash, 12), Data("twelve Bytes")}, "SHA-256");
  refuses({Header(hash, 11), Data("twelve bytes")}, "more bytes than the 11");
  refuses({Header(hash, 12), Data("twelve bytes"), Data("!")}, "more bytes than the 12");
  refuses({Header(hash, 13), Data("twelve bytes")}, "after 12 of the 13");
  refuses({Header(hash, 12)}, "after 0 of the 12");
  refuses({Header("short", 12)}, "32 bytes");
  refuses({Data("twelve bytes")}, "first message");
  refuses({}, "begins with a message");
  refuses({Header(hash, 12), Header(hash, 12)}, "data alone");
  refuses({Header(hash, 12), Data("")}, "1 to 1048576 bytes");
  refuses({Header(hash, 2 << 20), Data(std::string((1 << 20) + 1, 'x'))}, "1 to 1048576 bytes");
  EXPECT_THAT(Upload({Header(hash, 3 << 20), Data(std::string(3 << 20, 'x'))}).status,
              GrpcIs(grpc::StatusCode::RESOURCE_EXHAUSTED, HasSubstr("bytes")));
  EXPECT_THAT(List(secret_), IsEmpty());
  EXPECT_THAT(LeftOver(), IsEmpty());
}

TEST_F(BlobServiceTest, TheQuotaIsCheckedBeforeAnyByteIsTaken) {
  Start();
  const std::string poor = NewKey(1 << 20);
  ASSERT_TRUE(UploadBytes(std::string(600 << 10, 'a'), poor).status.ok());
  const auto uploading = Begin(poor);
  uploading->writer->Write(Header(HashOf("b"), 600 << 10));
  const grpc::Status status = uploading->writer->Finish();
  EXPECT_THAT(status, GrpcIs(grpc::StatusCode::RESOURCE_EXHAUSTED, HasSubstr("blob_bytes")));
  EXPECT_GT(DetailsOf(status).retry_after_seconds(), 0);
  EXPECT_TRUE(UploadBytes("small", secret_).status.ok());
}

TEST_F(BlobServiceTest, AClientThatGoesAwayLeavesNothing) {
  Start();
  const auto uploading = Begin(secret_);
  uploading->writer->Write(Header(HashOf("b"), 3 << 20));
  uploading->writer->Write(Data(std::string(1 << 20, 'x')));
  uploading->context->TryCancel();
  uploading->writer->Finish();
  EXPECT_THAT(LeftOver(), IsEmpty());
}

TEST_F(BlobServiceTest, AClientMayGoAwayWhileItsBlobIsPutInItsPlace) {
  Start();
  for (int i = 0; i < 100; ++i) {
    const std::string bytes = absl::StrCat("blob ", i);
    const auto uploading = Begin(secret_);
    uploading->writer->Write(Header(HashOf(bytes), bytes.size()));
    uploading->writer->Write(Data(bytes));
    uploading->writer->WritesDone();
    // Between the last message and the answer, which takes longer than that: it waits for a disk.
    absl::SleepFor(absl::Microseconds(20 * i));
    uploading->context->TryCancel();
    uploading->writer->Finish();
  }
  // What was in its place by then stays, whole.
  for (const std::string& name : LeftOver()) {
    EXPECT_EQ(name.size(), 2 * graph::ContentHash::kBytes);
  }
}

TEST_F(BlobServiceTest, AnUploadThatStopsIsEnded) {
  options_.slow_reader_timeout = absl::Milliseconds(50);
  Start();
  const auto uploading = Begin(secret_);
  uploading->writer->Write(Header(HashOf("b"), 3 << 20));
  uploading->writer->Write(Data("a little"));
  EXPECT_THAT(uploading->writer->Finish(),
              GrpcIs(grpc::StatusCode::DEADLINE_EXCEEDED, HasSubstr("--slow-reader-timeout")));
  EXPECT_THAT(LeftOver(), IsEmpty());
}

TEST_F(BlobServiceTest, UploadsAtOnceAreBounded) {
  Start();
  std::vector<std::unique_ptr<Uploading>> open;
  Outcome refused;
  // A call begins when a thread of the server takes up its headers, so one that was sent later may
  // come first, and another be the one that is refused: then all of it is done again.
  for (int attempt = 0; refused.status.ok() && attempt < 50; ++attempt) {
    for (const auto& uploading : open) {
      uploading->writer->WritesDone();
      EXPECT_FALSE(uploading->writer->Finish().ok());
    }
    open.clear();
    for (uint32_t i = 0; i < limits::kUploadsOfAKey; ++i) {
      open.push_back(Begin(secret_));
      open.back()->writer->Write(Header(HashOf(absl::StrCat(i)), 1 << 20));
    }
    refused = UploadBytes(absl::StrCat("one more ", attempt), secret_);
  }
  EXPECT_THAT(refused.status,
              GrpcIs(grpc::StatusCode::RESOURCE_EXHAUSTED, HasSubstr("8 uploads at once")));
  EXPECT_GT(DetailsOf(refused.status).retry_after_seconds(), 0);
  EXPECT_TRUE(UploadBytes("another key's", NewKey()).status.ok());
  for (const auto& uploading : open) {
    uploading->writer->WritesDone();
    EXPECT_FALSE(uploading->writer->Finish().ok());
  }
  EXPECT_TRUE(UploadBytes("one more", secret_).status.ok());
}

TEST_F(BlobServiceTest, ARevokedKeyLosesItsUpload) {
  options_.slow_reader_timeout = absl::Seconds(1);
  Start();
  const keys::NewKey key = *keys_->Create({});
  const auto uploading = Begin(key.secret);
  uploading->writer->Write(Header(HashOf("b"), 3 << 20));
  ASSERT_THAT(keys_->Revoke(key.key.id), IsOk());
  EXPECT_THAT(uploading->writer->Finish(),
              GrpcIs(grpc::StatusCode::UNAUTHENTICATED, HasSubstr("revoked")));
}

TEST_F(BlobServiceTest, AProgramGetsTheBytesOfItsBlob) {
  Start();
  std::string got;
  std::vector<int64_t> shape;
  engine_.on_submit = [&](const std::shared_ptr<FakeJob>& job,
                          const FakeEngine::Submission& submission) {
    const auto& constant = std::get<graph::Constant>(submission.program.at(3).kind);
    got.assign(constant.tensor.data, constant.tensor.bytes);
    shape = constant.tensor.shape;
    job->Accept();
    job->Complete();
    return absl::OkStatus();
  };
  ASSERT_TRUE(UploadBytes("abcdef", secret_).status.ok());
  EXPECT_TRUE(Run(ProgramWith(HashOf("abcdef"), "[2, 3]"), secret_).ok());
  EXPECT_EQ(got, "abcdef");
  EXPECT_THAT(shape, ElementsAre(2, 3));

  const grpc::Status missing = Run(ProgramWith(HashOf("other"), "[5]"), secret_);
  EXPECT_THAT(missing, GrpcIs(grpc::StatusCode::NOT_FOUND, HasSubstr("no blob")));
  EXPECT_EQ(DetailsOf(missing).node(), 3);
  EXPECT_THAT(DetailsOf(missing).hint(), HasSubstr("upload it"));
  EXPECT_THAT(Run(ProgramWith(HashOf("abcdef"), "[2, 4]"), secret_),
              GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("takes 8 bytes, but 6")));

  v1::ValidateResponse validated;
  const auto context = ContextWith(secret_);
  EXPECT_TRUE(
      stub_->Validate(context.get(), ProgramWith(HashOf("abcdef"), "[6]"), &validated).ok());
  EXPECT_THAT(validated.text(), HasSubstr(graph::ContentHash::ToText(HashOf("abcdef"))));
}

TEST_F(BlobServiceTest, ABlobOfBoolsHasBools) {
  Start();
  ASSERT_TRUE(UploadBytes("\x02", secret_).status.ok());
  v1::RunRequest request = ProgramWith(HashOf("\x02"), "[1]");
  request.mutable_program()->mutable_nodes(2)->mutable_constant()->mutable_blob()->set_dtype(
      v1::DTYPE_BOOL);
  EXPECT_THAT(Run(request, secret_),
              GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("neither 0 nor 1")));
}

TEST_F(BlobServiceTest, WhatARunUsesCannotBeDeleted) {
  Start();
  ASSERT_TRUE(UploadBytes("abcdef", secret_).status.ok());
  std::shared_ptr<FakeJob> job;
  FakeEngine::Submission held;
  absl::Notification submitted;
  engine_.on_submit = [&](std::shared_ptr<FakeJob> fake, const FakeEngine::Submission& submission) {
    fake->Accept();
    job = std::move(fake);
    held = submission;
    submitted.Notify();
    return absl::OkStatus();
  };
  const auto context = ContextWith(secret_);
  const auto reader = stub_->Run(context.get(), ProgramWith(HashOf("abcdef"), "[6]"));
  submitted.WaitForNotification();
  EXPECT_THAT(Delete(HashOf("abcdef"), secret_),
              GrpcIs(grpc::StatusCode::FAILED_PRECONDITION, HasSubstr("a run uses")));
  held = {};
  job->Complete();
  v1::RunEvents message;
  while (reader->Read(&message)) {
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_TRUE(Delete(HashOf("abcdef"), secret_).ok());
}

graph::HostValue TensorOf(const std::string& bytes) {
  return {graph::HostTensor::Make(graph::DType::kU8, {static_cast<int64_t>(bytes.size())}, bytes)
              .value()};
}

// A run that keeps a structure of two tensors, and saves a number after it.
void KeepTwo(FakeEngine* engine, const std::string& first, const std::string& second) {
  engine->on_submit = [=](const std::shared_ptr<FakeJob>& job, const FakeEngine::Submission&) {
    job->Accept();
    graph::HostValue::Dict dict;
    dict.entries.emplace_back("a", TensorOf(first));
    dict.entries.emplace_back(
        "b", graph::HostValue{graph::HostValue::List{{TensorOf(second), {int64_t{7}}}}});
    job->Emit(Result{.name = "kept", .value = {dict}, .more_follows = true, .keep = true});
    job->Emit(Result{.name = "number", .value = {int64_t{3}}, .more_follows = true});
    job->Complete();
    return absl::OkStatus();
  };
}

TEST_F(BlobServiceTest, WhatIsKeptStaysAndItsHashesCome) {
  Start();
  KeepTwo(&engine_, "first", "second");
  std::vector<v1::RunEvent> events;
  ASSERT_TRUE(Run(Request("invoke [1] { }"), secret_, &events).ok());
  ASSERT_EQ(events.size(), 4);
  const v1::Value& kept = events[1].result().value();
  ASSERT_EQ(kept.dict().entries_size(), 2) << kept.DebugString();
  const v1::TensorRef& first = kept.dict().entries(0).value().tensor();
  EXPECT_EQ(first.blob(), HashOf("first"));
  EXPECT_EQ(first.dtype(), v1::DTYPE_U8);
  EXPECT_THAT(first.shape(), ElementsAre(5));
  EXPECT_EQ(kept.dict().entries(1).value().list().items(0).tensor().blob(), HashOf("second"));
  EXPECT_EQ(kept.dict().entries(1).value().list().items(1).integer(), 7);
  // In order, with nothing between but what was told.
  EXPECT_EQ(events[2].result().name(), "number");
  EXPECT_TRUE(events[3].has_completed());
  for (size_t i = 0; i < events.size(); ++i) EXPECT_EQ(events[i].sequence(), i + 1);
  EXPECT_THAT(List(secret_), AllOf(Contains(HashOf("first")), Contains(HashOf("second"))));
  // Another run uses them.
  EXPECT_TRUE(Run(ProgramWith(HashOf("second"), "[6]"), secret_).ok());
}

TEST_F(BlobServiceTest, WhatFindsNoRoomIsMissingWithTheReason) {
  Start();
  const std::string poor = NewKey(100 << 10);
  KeepTwo(&engine_, "first", "second");  // each counts as 64 KiB
  std::vector<v1::RunEvent> events;
  ASSERT_TRUE(Run(Request("invoke [1] { }"), poor, &events).ok());
  ASSERT_EQ(events.size(), 4);
  EXPECT_EQ(events[1].missing().name(), "kept");
  EXPECT_EQ(events[1].missing().reason().code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(events[1].missing().reason().message(), HasSubstr("blob_bytes"));
  EXPECT_EQ(events[2].result().name(), "number");
  // Nor is a part of it left.
  EXPECT_THAT(List(poor), IsEmpty());
}

TEST_F(BlobServiceTest, BytesOfWhatIsKeptAreGivenBackWhoeverGoesAway) {
  options_.max_pending_bytes = 8 << 20;
  Start();
  engine_.on_submit = [](const std::shared_ptr<FakeJob>& job, const FakeEngine::Submission&) {
    job->Accept();
    job->Emit(Result{.name = "kept", .value = TensorOf(std::string(5 << 20, 'k')), .keep = true});
    return absl::OkStatus();
  };
  // Who goes away leaves what the store is about to write, or has just written.
  for (int i = 0; i < 20; ++i) {
    const auto context = ContextWith(secret_);
    const auto reader = stub_->Run(context.get(), Request("invoke [1] { }"));
    v1::RunEvents message;
    reader->Read(&message);
    context->TryCancel();
    reader->Finish();
  }
  engine_.on_submit = [](const std::shared_ptr<FakeJob>& job, const FakeEngine::Submission&) {
    job->Accept();
    job->Emit(Result{.name = "r", .value = TensorOf(std::string(5 << 20, 'r'))});
    job->Complete();
    return absl::OkStatus();
  };
  // All of it is given back: there is room again for as much.
  grpc::Status status;
  for (int i = 0; i < 500 && (i == 0 || !status.ok()); ++i) {
    absl::SleepFor(absl::Milliseconds(10));
    status = Run(Request("invoke [1] { }"), secret_);
  }
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(BlobServiceTest, IsWrittenDownWithTheHashItWasAbout) {
  audit_ = *audit::AuditLog::Open(folder_.path());
  Start();
  ASSERT_TRUE(UploadBytes("audited", secret_).status.ok());
  EXPECT_TRUE(Delete(HashOf("audited"), secret_).ok());
  const auto entries = audit_->List({});
  ASSERT_THAT(entries, IsOk());
  ASSERT_EQ(entries->size(), 2);
  EXPECT_EQ((*entries)[0].method, "weft.v1.Weft/DeleteBlob");
  EXPECT_EQ((*entries)[1].method, "weft.v1.Weft/Upload");
  for (const audit::Entry& entry : *entries) {
    EXPECT_EQ(entry.subject, graph::ContentHash::ToText(HashOf("audited")));
    EXPECT_FALSE(entry.key_id.empty());
  }
}

TEST_F(BlobServiceTest, ShuttingDownEndsUploads) {
  Start();
  const auto uploading = Begin(secret_);
  uploading->writer->Write(Header(HashOf("b"), 3 << 20));
  // Other calls go on until the server has taken this one up.
  for (int i = 0; i < 10000 && std::filesystem::is_empty(folder_.File("blobs/.incoming")); ++i) {
    List(secret_);
  }
  EXPECT_THAT(LeftOver(), IsEmpty());
  EXPECT_THAT(uploading->writer->Finish(),
              GrpcIs(grpc::StatusCode::UNAVAILABLE, HasSubstr("shut down")));
}

TEST_F(BlobServiceTest, AServerWithoutAStoreSaysSo) {
  store_.reset();
  Start();
  EXPECT_THAT(UploadBytes("x", secret_).status,
              GrpcIs(grpc::StatusCode::UNIMPLEMENTED, HasSubstr("keeps no blobs")));
  EXPECT_THAT(Run(ProgramWith(HashOf("x"), "[1]"), secret_),
              GrpcIs(grpc::StatusCode::UNIMPLEMENTED, HasSubstr("keeps no blobs")));
  v1::ServerInfo info;
  const auto context = ContextWith(secret_);
  ASSERT_TRUE(stub_->GetServerInfo(context.get(), {}, &info).ok());
  EXPECT_THAT(info.features(), Not(Contains("blobs")));
}

}  // namespace
}  // namespace weft::server
