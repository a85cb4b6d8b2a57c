// The contract against the one that v1 was frozen with: nothing is ever removed, renumbered,
// renamed or given another type.

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "weft/v1/program.pb.h"
#include "weft/v1/weft.pb.h"

namespace weft {
namespace {

using google::protobuf::DescriptorProto;
using google::protobuf::EnumDescriptorProto;
using google::protobuf::FieldDescriptorProto;
using google::protobuf::FileDescriptor;
using google::protobuf::FileDescriptorProto;
using google::protobuf::FileDescriptorSet;

std::string GoldenPath() { return std::string(WEFT_SOURCE_DIR) + "/tests/compatibility/v1.binpb"; }

/// What a client of a version relies on, by name: `Program.nodes` is `1 repeated .weft.v1.Node`.
using Promises = std::map<std::string, std::string>;

void Add(const EnumDescriptorProto& type, const std::string& outside, Promises* promises) {
  for (const auto& value : type.value()) {
    (*promises)[absl::StrCat(outside, type.name(), ".", value.name())] =
        absl::StrCat(value.number());
  }
}

void Add(const DescriptorProto& type, const std::string& outside, Promises* promises) {
  const std::string name = absl::StrCat(outside, type.name());
  (*promises)[name] = "message";
  for (const FieldDescriptorProto& field : type.field()) {
    const bool choice = field.has_oneof_index() && !field.proto3_optional();
    (*promises)[absl::StrCat(name, ".", field.name())] = absl::StrCat(
        field.number(), " ", FieldDescriptorProto::Label_Name(field.label()), " ",
        FieldDescriptorProto::Type_Name(field.type()), " ", field.type_name(),
        choice ? absl::StrCat(" of ", type.oneof_decl(field.oneof_index()).name()) : "",
        field.proto3_optional() ? " optional" : "");
  }
  for (const DescriptorProto& inner : type.nested_type()) Add(inner, name + ".", promises);
  for (const EnumDescriptorProto& inner : type.enum_type()) Add(inner, name + ".", promises);
}

Promises PromisesOf(const FileDescriptorSet& files) {
  Promises promises;
  for (const FileDescriptorProto& file : files.file()) {
    for (const DescriptorProto& message : file.message_type()) Add(message, "", &promises);
    for (const EnumDescriptorProto& type : file.enum_type()) Add(type, "", &promises);
    for (const auto& service : file.service()) {
      for (const auto& method : service.method()) {
        promises[absl::StrCat(service.name(), "/", method.name())] =
            absl::StrCat(method.client_streaming() ? "stream " : "", method.input_type(), " -> ",
                         method.server_streaming() ? "stream " : "", method.output_type());
      }
    }
  }
  return promises;
}

FileDescriptorSet Today() {
  FileDescriptorSet files;
  for (const FileDescriptor* file :
       {v1::Program::descriptor()->file(), v1::RunRequest::descriptor()->file()}) {
    file->CopyTo(files.add_file());
  }
  return files;
}

TEST(ContractTest, NothingOfV1IsEverChangedOrRemoved) {
  if (std::getenv("WEFT_REGENERATE_GOLDENS") != nullptr) {
    std::ofstream(GoldenPath(), std::ios::binary) << Today().SerializeAsString();
  }
  std::ifstream file(GoldenPath(), std::ios::binary);
  ASSERT_TRUE(file.is_open()) << GoldenPath();
  FileDescriptorSet frozen;
  ASSERT_TRUE(frozen.ParseFromString(
      {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()}));
  const Promises promises = PromisesOf(frozen), today = PromisesOf(Today());
  EXPECT_GT(promises.size(), 300u);
  for (const auto& [name, promise] : promises) {
    const auto found = today.find(name);
    ASSERT_NE(found, today.end()) << name << " is gone; it was " << promise;
    EXPECT_EQ(found->second, promise) << name;
  }
}

}  // namespace
}  // namespace weft
