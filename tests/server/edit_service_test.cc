#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

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
#include "server/edits/edit_store.h"
#include "server/keys/key_store.h"
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

constexpr char kSteer[] = "invoke { write h.0.output[...] = 2.0 }";
constexpr char kOther[] = "invoke { write h.0.output[...] = 3.0 }";
constexpr char kProgram[] = "invoke [1] { %h = read h.1.output save h = %h }";

class EditServiceTest : public ::testing::Test {
 protected:
  EditServiceTest() {
    options_.listen = "127.0.0.1:0";
    keys_ = *keys::KeyStore::Open(folder_.path());
    blobs_ = *blobs::BlobStore::Open(folder_.path());
    edits_ = *edits::EditStore::Open(folder_.path());
    secret_ = NewKey({});
  }

  std::string NewKey(keys::KeyStore::Request request) { return keys_->Create(request)->secret; }

  void Start() {
    server_.reset();
    absl::StatusOr<std::unique_ptr<Server>> server =
        Server::Start(options_, &engine_, keys_.get(), audit_.get(), blobs_.get(), edits_.get());
    ASSERT_THAT(server, IsOk());
    server_ = *std::move(server);
    stub_ = v1::Weft::NewStub(
        grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials()));
  }

  static void Encode(const std::string& text, v1::Program* message) {
    absl::StatusOr<graph::Program> program = graph::ParseProgram(text, "mine.weft");
    ASSERT_THAT(program, IsOk());
    graph::EncodeProgram(*program, message);
  }

  struct Stored {
    grpc::Status status;
    v1::StoreEditResponse response;
  };
  Stored Store(const std::string& name, const std::string& text, const std::string& secret,
               const std::string& model = "atlas") {
    v1::StoreEditRequest request;
    request.set_model(model);
    request.set_name(name);
    Encode(text, request.mutable_program());
    Stored stored;
    stored.status = stub_->StoreEdit(ContextWith(secret).get(), request, &stored.response);
    return stored;
  }
  Stored Store(const std::string& name, const std::string& text) {
    return Store(name, text, secret_);
  }
  std::vector<std::string> List(const std::string& secret, const std::string& model = "") {
    v1::ListEditsRequest request;
    request.set_model(model);
    v1::ListEditsResponse response;
    const grpc::Status status = stub_->ListEdits(ContextWith(secret).get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.quota_edits(), options_.edits.key_edits);
    std::vector<std::string> names;
    for (const v1::Edit& edit : response.edits()) {
      names.push_back(absl::StrCat(edit.name(), "@", edit.version()));
    }
    return names;
  }
  grpc::Status Get(const std::string& name, uint64_t version, const std::string& secret,
                   v1::GetEditResponse* response) {
    v1::GetEditRequest request;
    request.set_model("atlas");
    request.set_name(name);
    request.set_version(version);
    return stub_->GetEdit(ContextWith(secret).get(), request, response);
  }
  grpc::Status Delete(const std::string& name, uint64_t version, const std::string& secret) {
    v1::DeleteEditRequest request;
    request.set_model("atlas");
    request.set_name(name);
    request.set_version(version);
    v1::DeleteEditResponse response;
    return stub_->DeleteEdit(ContextWith(secret).get(), request, &response);
  }

  static v1::RunRequest Request(const std::vector<std::string>& edits,
                                const std::string& text = kProgram) {
    v1::RunRequest request;
    request.set_model("atlas");
    Encode(text, request.mutable_program());
    for (const std::string& edit : edits) request.mutable_options()->add_edits(edit);
    return request;
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
  /// What the engine gets for a run that names these edits.
  std::string Submitted(const std::vector<std::string>& edits) {
    // Of this run and of those after it.
    const auto text = std::make_shared<std::string>();
    engine_.on_submit = [text](const std::shared_ptr<FakeJob>& job,
                               const FakeEngine::Submission& submission) {
      *text = graph::PrintProgram(submission.program);
      job->Accept();
      job->Complete();
      return absl::OkStatus();
    };
    const grpc::Status status = Run(Request(edits), secret_);
    return status.ok() ? *text : status.error_message();
  }

  testing::TempFolder folder_;
  ServerOptions options_;
  FakeEngine engine_;
  std::unique_ptr<keys::KeyStore> keys_;
  std::unique_ptr<blobs::BlobStore> blobs_;
  std::unique_ptr<edits::EditStore> edits_;
  std::unique_ptr<audit::AuditLog> audit_;
  std::string secret_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<v1::Weft::Stub> stub_;
};

TEST_F(EditServiceTest, StoresShowsAndDeletes) {
  Start();
  const Stored stored = Store("steer", kSteer);
  ASSERT_TRUE(stored.status.ok()) << stored.status.error_message();
  EXPECT_EQ(stored.response.edit().version(), 1);
  EXPECT_EQ(stored.response.edit().model(), "atlas");
  EXPECT_FALSE(stored.response.existed());
  EXPECT_TRUE(Store("steer", kSteer).response.existed());
  EXPECT_EQ(Store("steer", kOther).response.edit().version(), 2);
  EXPECT_THAT(List(secret_), ElementsAre("steer@1", "steer@2"));
  EXPECT_THAT(List(secret_, "other"), IsEmpty());
  v1::GetEditResponse edit;
  ASSERT_TRUE(Get("steer", 1, secret_, &edit).ok());
  EXPECT_THAT(edit.text(), HasSubstr("[2.0]"));
  EXPECT_EQ(graph::PrintProgram(graph::DecodeProgram(edit.program()).value()), edit.text());
  EXPECT_EQ(edit.edit().bytes(), edit.program().ByteSizeLong());
  EXPECT_TRUE(Delete("steer", 2, secret_).ok());
  ASSERT_TRUE(Get("steer", 0, secret_, &edit).ok());
  EXPECT_EQ(edit.edit().version(), 1);
  EXPECT_THAT(Get("steer", 2, secret_, &edit),
              GrpcIs(grpc::StatusCode::NOT_FOUND, HasSubstr("has no version 2; it has 1")));
  EXPECT_TRUE(Delete("steer", 0, secret_).ok());
  EXPECT_THAT(Delete("steer", 0, secret_), GrpcIs(grpc::StatusCode::NOT_FOUND, HasSubstr("none")));
}

TEST_F(EditServiceTest, ARunHasThemFirstAndInOrder) {
  Start();
  ASSERT_TRUE(Store("steer", kSteer).status.ok());
  ASSERT_TRUE(Store("steer", kOther).status.ok());
  const auto printed = [](const std::string& text) {
    return graph::PrintProgram(graph::ParseProgram(text).value());
  };
  EXPECT_EQ(Submitted({"steer", "steer@1"}),
            printed("%1 = 3.0 %2 = 2.0 invoke [1] { write h.0.output[...] = %1 "
                    "write h.0.output[...] = %2 %h = read h.1.output save h = %h }"));
  EXPECT_EQ(Submitted({}), printed(kProgram));
  std::vector<v1::RunEvent> events;
  ASSERT_TRUE(Run(Request({"steer", "steer@1"}), secret_, &events).ok());
  ASSERT_FALSE(events.empty());
  EXPECT_THAT(events[0].accepted().edits(), ElementsAre("steer@2", "steer@1"));
  v1::ValidateResponse validated;
  ASSERT_TRUE(stub_->Validate(ContextWith(secret_).get(), Request({"steer"}), &validated).ok());
  EXPECT_THAT(validated.edits(), ElementsAre("steer@2"));
  EXPECT_THAT(validated.text(), HasSubstr("write h.0.output[...] = %"));
}

TEST_F(EditServiceTest, ARunThatWaitsKeepsWhatItWasAcceptedWith) {
  Start();
  ASSERT_TRUE(Store("steer", kSteer).status.ok());
  std::shared_ptr<FakeJob> job;
  absl::Notification submitted;
  std::string text;
  engine_.on_submit = [&](std::shared_ptr<FakeJob> fake, const FakeEngine::Submission& submission) {
    text = graph::PrintProgram(submission.program);
    fake->Accept();
    job = std::move(fake);
    submitted.Notify();
    return absl::OkStatus();
  };
  const auto context = ContextWith(secret_);
  const auto reader = stub_->Run(context.get(), Request({"steer"}));
  submitted.WaitForNotification();
  EXPECT_EQ(Store("steer", kOther).response.edit().version(), 2);
  EXPECT_TRUE(Delete("steer", 0, secret_).ok());
  // What is said of it still speaks of the edit that it has.
  graph::Error error;
  error.code = absl::StatusCode::kInternal;
  error.message = "broken";
  error.node = 4;
  error.statement = "write h.0.output[...] = %2";
  job->Emit(Failed{error});
  v1::RunEvents message;
  std::vector<v1::RunEvent> events;
  while (reader->Read(&message)) {
    events.insert(events.end(), message.events().begin(), message.events().end());
  }
  EXPECT_THAT(reader->Finish(), GrpcIs(grpc::StatusCode::INTERNAL, HasSubstr("edit `steer@1`")));
  ASSERT_EQ(events.size(), 2);
  EXPECT_THAT(events[0].accepted().edits(), ElementsAre("steer@1"));
  EXPECT_EQ(events[1].failed().node(), 0);
  EXPECT_THAT(events[1].failed().message(), HasSubstr("edit `steer@1`: broken"));
  EXPECT_THAT(text, HasSubstr("[2.0]"));
}

TEST_F(EditServiceTest, EventsNumberTheProgramsOwnStatements) {
  Start();
  ASSERT_TRUE(Store("steer", kSteer).status.ok());
  // trace, the edit's constant, invoke, the edit's write, read, save
  engine_.on_submit = [&](const std::shared_ptr<FakeJob>& job, const FakeEngine::Submission&) {
    graph::Error warning;
    warning.code = absl::StatusCode::kOk;
    warning.node = 5;
    job->Emit(Accepted{.job_id = "job", .fingerprint = "fake", .warnings = {warning}});
    job->Emit(LogLine{.node = 5, .text = "of the program"});
    job->Emit(LogLine{.node = 4, .text = "of the edit"});
    graph::Error reason;
    reason.code = absl::StatusCode::kFailedPrecondition;
    reason.message = "none";
    reason.node = 6;
    job->Emit(Missing{.name = "h", .reason = reason});
    job->Complete();
    return absl::OkStatus();
  };
  std::vector<v1::RunEvent> events;
  ASSERT_TRUE(Run(Request({"steer"}), secret_, &events).ok());
  ASSERT_EQ(events.size(), 5);
  EXPECT_EQ(events[0].accepted().warnings(0).node(), 3);
  EXPECT_EQ(events[0].accepted().warnings(0).statement(), "%h = read h.1.output");
  EXPECT_EQ(events[1].log().node(), 3);
  EXPECT_EQ(events[2].log().node(), 0);
  EXPECT_EQ(events[3].missing().reason().node(), 4);
}

TEST_F(EditServiceTest, AnotherKeysEditIsAsAbsentAsNone) {
  Start();
  ASSERT_TRUE(Store("steer", kSteer).status.ok());
  const std::string other = NewKey({});
  v1::GetEditResponse edit;
  EXPECT_THAT(Get("steer", 0, other, &edit),
              GrpcIs(grpc::StatusCode::NOT_FOUND,
                     HasSubstr("no edit `steer` for the model 'atlas'; it has none")));
  EXPECT_THAT(Delete("steer", 0, other), GrpcIs(grpc::StatusCode::NOT_FOUND, HasSubstr("none")));
  EXPECT_THAT(Run(Request({"steer"}), other),
              GrpcIs(grpc::StatusCode::NOT_FOUND, HasSubstr("it has none")));
  EXPECT_THAT(List(other), IsEmpty());
  // A new secret of the same key sees them.
  const std::string id = keys_->List()->front().id;
  secret_ = keys_->Rotate(id, absl::ZeroDuration())->secret;
  EXPECT_THAT(List(secret_), ElementsAre("steer@1"));
}

TEST_F(EditServiceTest, NeedsTheScopeAndTheModelThatARunNeeds) {
  engine_.AddModel("gpt2");
  Start();
  const std::string admin = NewKey({.scopes = {"admin"}});
  EXPECT_THAT(Store("steer", kSteer, admin).status,
              GrpcIs(grpc::StatusCode::PERMISSION_DENIED, HasSubstr("'trace'")));
  v1::GetEditResponse edit;
  EXPECT_THAT(Get("steer", 0, admin, &edit),
              GrpcIs(grpc::StatusCode::PERMISSION_DENIED, HasSubstr("'trace'")));
  EXPECT_THAT(Delete("steer", 0, admin),
              GrpcIs(grpc::StatusCode::PERMISSION_DENIED, HasSubstr("'trace'")));
  const std::string one = NewKey({.models = {"atlas"}});
  EXPECT_THAT(Store("steer", kSteer, one, "gpt2").status,
              GrpcIs(grpc::StatusCode::PERMISSION_DENIED, HasSubstr("'gpt2'")));
  EXPECT_THAT(Store("steer", kSteer, secret_, "gone").status,
              GrpcIs(grpc::StatusCode::NOT_FOUND, HasSubstr("'gone'")));
}

TEST_F(EditServiceTest, WhatCannotBeAnEditOfTheModelIsRefused) {
  Start();
  EXPECT_THAT(Store("steer@2", kSteer).status,
              GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("letters, digits")));
  EXPECT_THAT(Store("", kSteer).status,
              GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("letters, digits")));
  EXPECT_THAT(Store(std::string(129, 'a'), kSteer).status,
              GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("letters, digits")));
  EXPECT_THAT(Store("steer", "invoke [1] { }").status,
              GrpcIs(grpc::StatusCode::INVALID_ARGUMENT,
                     AllOf(HasSubstr("edit `steer`"), HasSubstr("no input of its own"))));
  // What the model's planner says of the program that it is tried in is told of the edit.
  engine_.on_validate = [](const FakeEngine::Submission& tried) -> absl::StatusOr<Validation> {
    return graph::StatementError(absl::StatusCode::kNotFound, tried.program, 4, "no such site");
  };
  const Stored refused = Store("steer", kSteer);
  EXPECT_THAT(refused.status,
              GrpcIs(grpc::StatusCode::NOT_FOUND,
                     AllOf(HasSubstr("edit `steer`: no such site"), HasSubstr("mine.weft:1"))));
  v1::Error error;
  ASSERT_TRUE(error.ParseFromString(refused.status.error_details()));
  EXPECT_EQ(error.node(), 4);
  EXPECT_THAT(List(secret_), IsEmpty());
}

TEST_F(EditServiceTest, QuotasAreNamed) {
  options_.edits.key_edits = 1;
  Start();
  ASSERT_TRUE(Store("steer", kSteer).status.ok());
  EXPECT_THAT(Store("steer", kOther).status,
              GrpcIs(grpc::StatusCode::RESOURCE_EXHAUSTED, HasSubstr("--max-key-edits")));
}

TEST_F(EditServiceTest, WhatARunMayHaveIsBounded) {
  Start();
  ASSERT_TRUE(Store("steer", kSteer).status.ok());
  EXPECT_THAT(Run(Request(std::vector<std::string>(33, "steer")), secret_),
              GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("at most 32 edits")));
  std::string large = "%c = tensor(int64, [4000], [";
  for (int i = 0; i < 4000; ++i) absl::StrAppend(&large, i, ", ");
  large += "]) invoke { write h.0.output[...] = %c }";
  options_.request_bytes = 64 << 10;
  Start();
  ASSERT_TRUE(Store("large", large).status.ok());
  EXPECT_THAT(Run(Request({"large", "large", "large"}), secret_),
              GrpcIs(grpc::StatusCode::RESOURCE_EXHAUSTED, HasSubstr("--max-request-bytes")));
  EXPECT_THAT(Run(Request({"steer@0"}), secret_),
              GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("no version")));
}

TEST_F(EditServiceTest, WhatDoesNotGoTogetherIsRefusedNamingTheEdit) {
  Start();
  ASSERT_TRUE(Store("watch", "invoke { save h = read h.0.output }").status.ok());
  EXPECT_THAT(Run(Request({"watch"}), secret_),
              GrpcIs(grpc::StatusCode::INVALID_ARGUMENT,
                     AllOf(HasSubstr("edit `watch@1`"),
                           HasSubstr("the name `h` is saved by the program as well"),
                           HasSubstr("edit watch@1, mine.weft:1"))));
}

TEST_F(EditServiceTest, BlobsOfEditsAreTheKeysOwn) {
  Start();
  const std::string hash = graph::ContentHash::Of("abcd", 4).value();
  const std::string text =
      absl::StrCat("%b = blob(uint8, [4], \"", graph::ContentHash::ToText(hash),
                   "\") invoke { write h.0.output[...] = %b }");
  EXPECT_THAT(Store("blob", text).status,
              GrpcIs(grpc::StatusCode::NOT_FOUND, HasSubstr("no blob")));
  const keys::Key key = keys_->List()->front();
  ASSERT_THAT(blobs_->Keep(key, {{"abcd", 4}}), IsOk());
  ASSERT_TRUE(Store("blob", text).status.ok());
  EXPECT_TRUE(Run(Request({"blob"}), secret_).ok());
  ASSERT_THAT(blobs_->Delete(key, hash), IsOk());
  EXPECT_THAT(
      Run(Request({"blob"}), secret_),
      GrpcIs(grpc::StatusCode::NOT_FOUND, AllOf(HasSubstr("edit `blob@1`"), HasSubstr("no blob"))));
}

TEST_F(EditServiceTest, IsWrittenDownWithTheEditItWasAbout) {
  audit_ = *audit::AuditLog::Open(folder_.path());
  Start();
  ASSERT_TRUE(Store("steer", kSteer).status.ok());
  ASSERT_TRUE(Delete("steer", 1, secret_).ok());
  const auto entries = audit_->List({});
  ASSERT_THAT(entries, IsOk());
  ASSERT_EQ(entries->size(), 2);
  EXPECT_EQ((*entries)[0].method, "weft.v1.Weft/DeleteEdit");
  EXPECT_EQ((*entries)[1].method, "weft.v1.Weft/StoreEdit");
  for (const audit::Entry& entry : *entries) {
    EXPECT_EQ(entry.subject, "steer@1");
    EXPECT_EQ(entry.model, "atlas");
  }
}

TEST_F(EditServiceTest, AServerWithoutAStoreSaysSo) {
  edits_.reset();
  Start();
  EXPECT_THAT(Store("steer", kSteer).status,
              GrpcIs(grpc::StatusCode::UNIMPLEMENTED, HasSubstr("keeps no edits")));
  EXPECT_THAT(Run(Request({"steer"}), secret_),
              GrpcIs(grpc::StatusCode::UNIMPLEMENTED, HasSubstr("keeps no edits")));
  v1::ServerInfo info;
  ASSERT_TRUE(stub_->GetServerInfo(ContextWith(secret_).get(), {}, &info).ok());
  EXPECT_THAT(info.features(), Not(Contains("edits")));
}

}  // namespace
}  // namespace weft::server
