// Archives of a stranger: bytes as they are; and, since a changed byte of a file spoils a checksum
// first, bytes as the JSON of an archive that is whole: the program's, and behind a zero the
// weights'. What is read names nothing that is not there.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "engine/exported/archive.h"
#include "engine/exported/program.h"

namespace {

using weft::exported::Archive;
using weft::exported::Argument;
using weft::exported::Program;
using weft::exported::ValueId;

uint32_t Checksum(const std::string& bytes) {
  static const std::array<uint32_t, 256> kTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit)
        value = (value & 1) != 0 ? 0xEDB88320U ^ (value >> 1) : value >> 1;
      table[i] = value;
    }
    return table;
  }();
  uint32_t sum = ~uint32_t{0};
  for (const char c : bytes) sum = kTable[(sum ^ static_cast<uint8_t>(c)) & 0xFF] ^ (sum >> 8);
  return ~sum;
}

void Append(std::string& to, uint64_t number, int bytes) {
  for (int i = 0; i < bytes; ++i) to.push_back(static_cast<char>(number >> (8 * i)));
}

/// A zip archive of stored entries.
std::string ZipOf(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string zip, directory;
  for (const auto& [name, bytes] : entries) {
    std::string about;  // what both of an entry's records say
    Append(about, 20, 2);
    Append(about, 0, 2 + 2);  // flags; stored
    Append(about, 0, 4);      // time
    Append(about, Checksum(bytes), 4);
    Append(about, static_cast<uint32_t>(bytes.size()), 4);
    Append(about, static_cast<uint32_t>(bytes.size()), 4);
    Append(about, static_cast<uint32_t>(name.size()), 2);
    Append(about, 0, 2);
    directory += "PK\1\2";
    Append(directory, 20, 2);
    directory += about;
    Append(directory, 0, 2 + 2 + 2);
    Append(directory, 0, 4);
    Append(directory, static_cast<uint32_t>(zip.size()), 4);
    directory += name;
    zip += "PK\3\4" + about + name + bytes;
  }
  const auto start = static_cast<uint32_t>(zip.size());
  zip += directory + "PK\5\6";
  Append(zip, 0, 4);
  Append(zip, static_cast<uint32_t>(entries.size()), 2);
  Append(zip, static_cast<uint32_t>(entries.size()), 2);
  Append(zip, static_cast<uint32_t>(directory.size()), 4);
  Append(zip, start, 4);
  Append(zip, 0, 2);
  return zip;
}

void Expect(bool holds) {
  if (!holds) std::abort();
}

void ExpectValue(const Program& program, ValueId value, bool maybe_none) {
  Expect(value < static_cast<ValueId>(program.values.size()));
  Expect(value >= 0 || (maybe_none && value == weft::exported::kNoValue));
}

void ExpectUses(const Program& program, const Argument& argument) {
  if (const auto* use = std::get_if<Argument::Use>(&argument.value)) {
    ExpectValue(program, use->value, false);
  }
  if (const auto* list = std::get_if<Argument::List>(&argument.value)) {
    for (const Argument& item : list->items) ExpectUses(program, item);
  }
}

void Check(const Program& program) {
  for (const weft::exported::Input& input : program.inputs) {
    ExpectValue(program, input.value, input.kind == weft::exported::Input::Kind::kUser);
    (void)program.FindPayload(input);
  }
  for (const weft::exported::Node& node : program.nodes) {
    for (const weft::exported::NamedArgument& argument : node.arguments) {
      ExpectUses(program, argument.argument);
    }
    for (const weft::exported::Output& output : node.outputs) {
      for (const ValueId value : output.values) ExpectValue(program, value, true);
    }
  }
  for (const ValueId output : program.outputs) ExpectValue(program, output, true);
  for (const weft::exported::ModuleEntry& module : program.modules) {
    if (!module.signature) continue;
    for (const ValueId value : module.signature->inputs) ExpectValue(program, value, true);
    for (const ValueId value : module.signature->outputs) ExpectValue(program, value, true);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  if (!absl::StartsWith(bytes, "PK")) {
    const size_t zero = bytes.find('\0');
    std::vector<std::pair<std::string, std::string>> entries = {
        {"m/models/model.json", bytes.substr(0, zero)}};
    if (zero != std::string::npos) {
      entries.emplace_back("m/data/weights/model_weights_config.json", bytes.substr(zero + 1));
    }
    bytes = ZipOf(entries);
  }
  const absl::StatusOr<Archive> archive = Archive::FromBytes("fuzz.pt2", std::move(bytes));
  if (!archive.ok()) return 0;
  for (const std::string& name : archive->Names()) (void)archive->Read(name, 1 << 20);
  const absl::StatusOr<Program> program = weft::exported::ReadProgram(*archive);
  if (program.ok()) Check(*program);
  return 0;
}
