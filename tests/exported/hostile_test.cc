// Archives are data from strangers: whatever is wrong with one is refused by name, and nothing
// crashes, reads beyond it, or takes more than it may.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/exported/exported_model.h"
#include "engine/models/hosted_model.h"
#include "tests/exported/edited_archive.h"
#include "tests/support/status_matchers.h"

namespace weft::testing {
namespace {

using Json = EditedArchive::Json;

constexpr uint64_t kMemory = uint64_t{256} << 20;

/// Read it, and try it out as hosting does.
absl::Status Host(const std::string& bytes) {
  const auto archive = exported::Archive::FromBytes("strange.pt2", bytes);
  if (!archive.ok()) return archive.status();
  auto network = exported::MakeNetwork(*archive, {.memory_bytes = kMemory});
  if (!network.ok()) return network.status();
  return models::HostedModel::Host(*std::move(network), true).status();
}

/// Refused by name, and by nobody's fault but the archive's.
MATCHER_P(Refused, what, "") {
  *result_listener << "whose status is " << arg.ToString();
  const bool fault = arg.code() == absl::StatusCode::kInvalidArgument ||
                     arg.code() == absl::StatusCode::kUnimplemented ||
                     arg.code() == absl::StatusCode::kResourceExhausted ||
                     arg.code() == absl::StatusCode::kNotFound;
  const std::string message(arg.message());
  return fault && absl::StrContains(message, "strange.pt2") && absl::StrContains(message, what);
}

// --- the archive --------------------------------------------------------------------------------

TEST(HostileArchiveTest, StoredAndDeflatedEntriesAreRead) {
  EXPECT_THAT(Host(EditedArchive("mlp").Bytes()), IsOk());
  EXPECT_THAT(Host(EditedArchive("mlp").Bytes(/*deflated=*/true)), IsOk());
}

TEST(HostileArchiveTest, APartOfAnArchiveIsNone) {
  const std::string whole = EditedArchive("mlp").Bytes();
  for (const double part : {0.0, 0.01, 0.3, 0.9, 0.999}) {
    const auto bytes = static_cast<size_t>(part * static_cast<double>(whole.size()));
    EXPECT_THAT(Host(whole.substr(0, bytes)),
                Refused(bytes == 0 ? "without entries" : "zip archive"))
        << part;
  }
  EXPECT_THAT(Host("not a zip archive at all"), Refused("torch.export.save"));
}

TEST(HostileArchiveTest, AChangedByteOfAWeightIsNoticed) {
  std::string bytes = EditedArchive("mlp").Bytes();
  const EditedArchive edited("mlp");
  const std::string weight =
      const_cast<EditedArchive&>(edited).entries().at("data/weights/weight_0");
  const size_t at = bytes.find(weight);
  ASSERT_NE(at, std::string::npos);
  bytes[at + 5] ^= 1;
  EXPECT_THAT(Host(bytes), Refused("weight_0"));
}

TEST(HostileArchiveTest, ABombIsRefusedByItsDirectory) {
  EditedArchive bomb("mlp");
  bomb.entries()["data/weights/weight_0"] = std::string(size_t{64} << 20, '\0');
  EXPECT_THAT(Host(bomb.Bytes(/*deflated=*/true)), Refused("unpack"));
}

TEST(HostileArchiveTest, EntriesLieInOneFolderOnce) {
  std::map<std::string, std::string> entries;
  EditedArchive whole("mlp");
  for (const auto& [name, bytes] : whole.entries()) {
    entries[absl::StrCat("m/", name)] = bytes;
  }
  entries["other/models/model.json"] = "{}";
  EXPECT_THAT(Host(ZipOf(entries, false)), Refused("one folder"));
  EXPECT_THAT(Host(ZipOf({{"plain", "x"}}, false)), Refused("one folder"));
}

TEST(HostileArchiveTest, ManyEntriesAreRefused) {
  std::map<std::string, std::string> entries;
  for (int i = 0; i <= static_cast<int>(exported::Archive::kMostEntries); ++i) {
    entries[absl::StrCat("m/", i)] = "";
  }
  EXPECT_THAT(Host(ZipOf(entries, false)), Refused("entries"));
}

// --- what the archive says ----------------------------------------------------------------------

struct Mutation {
  const char* name;
  const char* archive;
  std::function<void(EditedArchive&)> change;
  const char* says;
};

Json& Graph(Json& model) { return model["graph_module"]["graph"]; }
Json& NodeAt(Json& model, int index) { return Graph(model)["nodes"][index]; }
Json Int(int64_t value) { return {{"as_int", value}}; }

std::function<void(EditedArchive&)> InModel(const std::function<void(Json&)>& change) {
  return [change](EditedArchive& archive) { archive.Model(change); };
}
std::function<void(EditedArchive&)> InWeight(const std::function<void(Json&)>& change) {
  return [change](EditedArchive& archive) {
    archive.Weights([&](Json& config) { change(config["config"]["fc1.weight"]); });
  };
}

std::vector<Mutation> Mutations() {
  return {
      // Versions and entries.
      {"AnotherMajorVersion", "mlp", InModel([](Json& m) { m["schema_version"]["major"] = 9; }),
       "version 9"},
      {"NoVersion", "mlp", InModel([](Json& m) { m.erase("schema_version"); }), "schema_version"},
      {"AVersionOfText", "mlp", InModel([](Json& m) { m["schema_version"]["major"] = "8"; }),
       "integer"},
      {"NoProgram", "mlp", [](EditedArchive& a) { a.entries().erase("models/model.json"); },
       "no program"},
      {"TwoPrograms", "mlp",
       [](EditedArchive& a) { a.entries()["models/b.json"] = a.entries()["models/model.json"]; },
       "several programs"},
      {"AProgramOfAnOlderTorch", "mlp",
       [](EditedArchive& a) { a.entries()["serialized_exported_program.json"] = "{}"; },
       "before 2.8"},
      {"BigEndian", "mlp", [](EditedArchive& a) { a.entries()["byteorder"] = "big"; },
       "little-endian"},
      {"BrokenJson", "mlp", [](EditedArchive& a) { a.entries()["models/model.json"].resize(1000); },
       "not valid JSON"},
      {"DeepJson", "mlp",
       [](EditedArchive& a) {
         a.entries()["models/model.json"] = std::string(100000, '[') + std::string(100000, ']');
       },
       "nests deeper"},
      {"JsonOfAnotherKind", "mlp",
       [](EditedArchive& a) { a.entries()["models/model.json"] = "[1, 2]"; }, "schema_version"},
      {"NoGraph", "mlp", InModel([](Json& m) { m["graph_module"].erase("graph"); }), "graph"},
      // Values.
      {"AnUndefinedValue", "mlp",
       InModel([](Json& m) { NodeAt(m, 0)["inputs"][0]["arg"]["as_tensor"]["name"] = "nobody"; }),
       "`nobody` is used"},
      {"ACycle", "mlp",
       InModel([](Json& m) { NodeAt(m, 0)["inputs"][0]["arg"]["as_tensor"]["name"] = "linear_1"; }),
       "nothing before it makes it"},
      {"AValueThatIsMadeTwice", "mlp",
       InModel([](Json& m) { NodeAt(m, 1)["outputs"][0]["as_tensor"]["name"] = "linear"; }),
       "made twice"},
      {"AValueWithoutAName", "mlp",
       InModel([](Json& m) { NodeAt(m, 1)["outputs"][0]["as_tensor"]["name"] = ""; }),
       "without a name"},
      {"AnOutputThatNobodyMakes", "mlp", InModel([](Json& m) {
         m["graph_module"]["signature"]["output_specs"][0]["user_output"]["arg"]["as_tensor"]
          ["name"] = "nobody";
       }),
       "`nobody` is used"},
      {"NoOutputs", "mlp",
       InModel([](Json& m) { m["graph_module"]["signature"]["output_specs"] = Json::array(); }),
       "results are put together"},
      {"HugeNumbersOfNodes", "mlp", InModel([](Json& m) {
         Json nodes = Json::array();
         for (int i = 0; i < 100'001; ++i) nodes.push_back(Json::object());
         Graph(m)["nodes"] = nodes;
       }),
       "100001 items"},
      {"AnUnknownDType", "mlp",
       InModel([](Json& m) { Graph(m)["tensor_values"]["linear"]["dtype"] = 29; }), "dtype 29"},
      {"ASparseTensor", "mlp",
       InModel([](Json& m) { Graph(m)["tensor_values"]["linear"]["layout"] = 1; }), "layouts"},
      {"AnInputOfNoKind", "mlp",
       InModel([](Json& m) { m["graph_module"]["signature"]["input_specs"][0] = Json::object(); }),
       "no one kind"},
      {"FewerInputsThanTheSignature", "mlp",
       InModel([](Json& m) { Graph(m)["inputs"].erase(Graph(m)["inputs"].begin()); }), "signature"},
      {"ACustomObject", "mlp", InModel([](Json& m) {
         m["graph_module"]["signature"]["input_specs"][0] = {
             {"custom_obj",
              {{"arg", {{"name", "o"}, {"class_fqn", "c"}}}, {"custom_obj_name", "o"}}}};
       }),
       "pickled Python"},
      {"CustomObjectsInTheGraph", "mlp", InModel([](Json& m) {
         Graph(m)["custom_obj_values"] = {{"o", Json::object()}};
       }),
       "pickled Python"},
      // Operators.
      {"AnUnknownOperator", "mlp",
       InModel([](Json& m) { NodeAt(m, 1)["target"] = "torch.ops.aten.frobnicate.default"; }),
       "`aten::frobnicate` is not served"},
      {"AnOperatorOfAnotherLibrary", "mlp",
       InModel([](Json& m) { NodeAt(m, 1)["target"] = "torch.ops.evil.run.default"; }),
       "`evil::run`"},
      {"UninitialisedMemory", "mlp",
       InModel([](Json& m) { NodeAt(m, 1)["target"] = "torch.ops.aten.empty_like.default"; }),
       "`aten::empty_like` is not served"},
      {"Strides", "mlp",
       InModel([](Json& m) { NodeAt(m, 1)["target"] = "torch.ops.aten.as_strided.default"; }),
       "as_strided"},
      {"APythonFunction", "mlp", InModel([](Json& m) { NodeAt(m, 1)["target"] = "os.system"; }),
       "no operator of PyTorch's own"},
      {"AHigherOrderOperator", "mlp",
       InModel([](Json& m) { NodeAt(m, 1)["target"] = "torch.ops.higher_order.cond"; }),
       "no operator of PyTorch's own"},
      {"TheLineOfAnUnknownOperator", "mlp",
       InModel([](Json& m) { NodeAt(m, 1)["target"] = "torch.ops.aten.frobnicate.default"; }),
       "activation.py:"},
      {"RandomNumbers", "mlp",
       InModel([](Json& m) { NodeAt(m, 1)["target"] = "torch.ops.aten.bernoulli.default"; }),
       "random numbers"},
      {"AnArgumentThatThereIsNot", "mlp",
       InModel([](Json& m) { NodeAt(m, 1)["inputs"][0]["name"] = "selves"; }),
       "no argument `selves`"},
      {"AnArgumentTwice", "mlp",
       InModel([](Json& m) { NodeAt(m, 1)["inputs"].push_back(NodeAt(m, 1)["inputs"][0]); }),
       "given twice"},
      {"AnArgumentThatIsMissing", "mlp", InModel([](Json& m) { NodeAt(m, 0)["inputs"].erase(1); }),
       "lacks its argument"},
      {"AnArgumentOfAnotherKind", "mlp", InModel([](Json& m) {
         NodeAt(m, 0)["inputs"][1]["arg"] = {{"as_string", "text"}};
       }),
       "node `linear`"},
      {"AnArgumentOfTwoKinds", "mlp",
       InModel([](Json& m) { NodeAt(m, 0)["inputs"][1]["arg"]["as_int"] = 1; }), "no one kind"},
      {"MoreResultsThanThereAre", "mlp", InModel([](Json& m) {
         NodeAt(m, 1)["outputs"].push_back({{"as_tensor", {{"name", "another"}}}});
       }),
       "results"},
      {"AListOfResultsWhereThereIsOne", "mlp", InModel([](Json& m) {
         NodeAt(m, 1)["outputs"][0] = {{"as_tensors", {{{"name", "relu"}}, {{"name", "b"}}}}};
       }),
       "list of results"},
      {"BatchNormInTraining", "vision", InModel([](Json& m) {
         for (Json& node : Graph(m)["nodes"]) {
           if (node["target"] != "torch.ops.aten.batch_norm.default") continue;
           for (Json& input : node["inputs"]) {
             if (input["name"] == "training") input["arg"] = {{"as_bool", true}};
           }
         }
       }),
       "model.eval()"},
      {"AWriteToAWeight", "mlp", InModel([](Json& m) {
         NodeAt(m, 1)["target"] = "torch.ops.aten.relu_.default";
         NodeAt(m, 1)["inputs"][0]["arg"]["as_tensor"]["name"] = "p_fc1_weight";
       }),
       "changes `fc1.weight`"},
      {"AWriteToTheInput", "mlp", InModel([](Json& m) {
         NodeAt(m, 1)["target"] = "torch.ops.aten.relu_.default";
         NodeAt(m, 1)["inputs"][0]["arg"]["as_tensor"]["name"] = "x";
       }),
       "changes `x`"},
      {"AStrideOfZero", "vision", InModel([](Json& m) {
         for (Json& input : NodeAt(m, 0)["inputs"]) {
           if (input["name"] == "stride") input["arg"] = {{"as_ints", {0, 0}}};
         }
       }),
       "node `conv2d`"},
      {"AWindowBeyondAllMeasure", "vision", InModel([](Json& m) {
         NodeAt(m, 0)["inputs"].push_back(
             {{"name", "padding"},
              {"arg", {{"as_ints", {int64_t{1} << 40, int64_t{1} << 40}}}},
              {"kind", 1}});
       }),
       "node `conv2d`"},
      {"MemoryBeyondTheBound", "mlp", InModel([](Json& m) {
         NodeAt(m, 1)["target"] = "torch.ops.aten.repeat.default";
         NodeAt(m, 1)["inputs"].push_back(
             {{"name", "repeats"}, {"arg", {{"as_ints", {int64_t{1} << 30, 4}}}}, {"kind", 1}});
       }),
       "node `relu`"},
      {"AnOverflowOfSizes", "mlp", InModel([](Json& m) {
         NodeAt(m, 1)["target"] = "torch.ops.aten.repeat.default";
         NodeAt(m, 1)["inputs"].push_back(
             {{"name", "repeats"},
              {"arg", {{"as_ints", {int64_t{1} << 62, int64_t{1} << 62}}}},
              {"kind", 1}});
       }),
       "node `relu`"},
      {"AShapeThatDoesNotFit", "mlp", InModel([](Json& m) {
         NodeAt(m, 2)["inputs"][1]["arg"]["as_tensor"]["name"] = "p_fc1_weight";
       }),
       "node `linear_1`"},
      // Modules.
      {"ModulesBeyondAllDepth", "mlp", InModel([](Json& m) {
         std::string path = "a";
         for (int i = 0; i < 100; ++i) path += ".a";
         m["graph_module"]["module_call_graph"].push_back({{"fqn", path}, {"signature", nullptr}});
       }),
       "nest deeper"},
      {"NoRoot", "mlp",
       InModel([](Json& m) { m["graph_module"]["module_call_graph"] = Json::array(); }),
       "root is not the first"},
      {"AStructureThatCannotBeRead", "mlp", InModel([](Json& m) {
         m["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = "[1, ";
       }),
       "structure"},
      {"AStructureOfAnotherSize", "twice", InModel([](Json& m) {
         m["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] =
             R"([1, {"type": null, "context": null, "children_spec": []}])";
       }),
       "put together"},
      // The input.
      {"AnInputWithoutElements", "fixed",
       InModel([](Json& m) { Graph(m)["tensor_values"]["x"]["sizes"][0] = Int(0); }), "elements"},
      {"AnInputOfTooManyElements", "fixed",
       InModel([](Json& m) { Graph(m)["tensor_values"]["x"]["sizes"][0] = Int(int64_t{1} << 40); }),
       "elements"},
      {"AnEmptyRange", "mlp", InModel([](Json& m) {
         for (auto& [symbol, range] : m["range_constraints"].items()) {
           range = {{"min_val", 7}, {"max_val", 3}};
         }
       }),
       "range"},
      // Weights.
      {"PickledWeights", "mlp", InWeight([](Json& w) { w["use_pickle"] = true; }),
       "pickled Python"},
      {"AWeightWithoutBytes", "mlp",
       [](EditedArchive& a) { a.entries().erase("data/weights/weight_0"); }, "weight_0"},
      {"AWeightThatNobodyStored", "mlp",
       [](EditedArchive& a) {
         a.Weights([](Json& config) { config["config"].erase("fc1.weight"); });
       },
       "no bytes for `fc1.weight`"},
      {"AWeightOfAnotherShape", "mlp",
       InWeight([](Json& w) { w["tensor_meta"]["sizes"][0] = Int(7); }), "another type"},
      {"AWeightThatReachesBeyondItsBytes", "mlp",
       InWeight([](Json& w) { w["tensor_meta"]["storage_offset"] = Int(1); }), "reaches to"},
      {"AWeightBeforeItsBytes", "mlp",
       InWeight([](Json& w) { w["tensor_meta"]["storage_offset"] = Int(-4); }), "cannot be"},
      {"StridesThatOverflow", "mlp", InWeight([](Json& w) {
         w["tensor_meta"]["strides"][0] = Int(std::numeric_limits<int64_t>::max());
       }),
       "cannot be"},
      {"NegativeStrides", "mlp",
       InWeight([](Json& w) { w["tensor_meta"]["strides"][0] = Int(-4); }), "cannot be"},
      {"FewBytesThatClaimToBeMany", "mlp",
       [](EditedArchive& a) {
         a.entries()["data/weights/weight_0"].resize(4);
         a.Weights([](Json& config) {
           config["config"]["fc1.weight"]["tensor_meta"]["strides"] = {Int(0), Int(0)};
         });
       },
       "reaches to"},
      {"BytesThatAreNoElements", "mlp",
       [](EditedArchive& a) { a.entries()["data/weights/weight_0"].push_back('x'); },
       "no elements"},
      {"APathOutOfTheArchive", "mlp",
       InWeight([](Json& w) { w["path_name"] = "../../../etc/passwd"; }), "no entry"},
  };
}

TEST(HostileProgramTest, EveryNamedMutationIsRefusedByName) {
  const std::vector<Mutation> mutations = Mutations();
  EXPECT_GE(mutations.size(), 60);
  for (const Mutation& mutation : mutations) {
    EditedArchive archive(mutation.archive);
    mutation.change(archive);
    EXPECT_THAT(Host(archive.Bytes()), Refused(mutation.says)) << mutation.name;
  }
}

// --- whatever else ------------------------------------------------------------------------------

/// A place in a JSON tree, at random.
Json& Pick(Json& root, std::mt19937_64& random) {
  Json* at = &root;
  for (int depth = 0; depth < 12; ++depth) {
    if (!at->is_structured() || at->empty() || (depth > 2 && random() % 6 == 0)) break;
    auto item = at->begin();
    std::advance(item, random() % at->size());
    at = &*item;
  }
  return *at;
}

void Mutate(Json& root, std::mt19937_64& random) {
  Json& place = Pick(root, random);
  switch (random() % 9) {
    case 0:
      place = static_cast<int64_t>(random());
      break;
    case 1:
      place = static_cast<int64_t>(random() % 7) - 3;
      break;
    case 2:
      place = nullptr;
      break;
    case 3:
      place = "x";
      break;
    case 4:
      place = Json::array();
      break;
    case 5:
      place = random() % 2 == 0;
      break;
    case 6:
      if (place.is_array() && !place.empty()) place.erase(random() % place.size());
      break;
    case 7:
      if (place.is_array() && !place.empty()) place.push_back(place[random() % place.size()]);
      break;
    default:
      place = Pick(root, random);
      break;
  }
}

TEST(HostileProgramTest, RandomMutationsAreRefusedOrRun) {
  int hosted = 0, refused = 0;
  for (const char* name : {"mlp", "vision", "twice", "structures", "transformer", "assign"}) {
    const EditedArchive original(name);
    for (uint64_t seed = 0; seed < 60; ++seed) {
      std::mt19937_64 random(seed);
      EditedArchive archive = original;
      for (uint64_t i = 0; i <= seed % 3; ++i) {
        if (random() % 4 == 0) {
          archive.Weights([&](Json& config) { Mutate(config, random); });
        } else {
          archive.Model([&](Json& model) { Mutate(model, random); });
        }
      }
      const absl::Status status = Host(archive.Bytes());
      (status.ok() ? hosted : refused) += 1;
      EXPECT_NE(status.code(), absl::StatusCode::kInternal) << name << " " << seed << status;
    }
  }
  EXPECT_GT(hosted, 0);
  EXPECT_GT(refused, 100);
}

TEST(HostileArchiveTest, RandomBytesOfAnArchiveMayChange) {
  const std::string whole = EditedArchive("mlp").Bytes(/*deflated=*/true);
  for (uint64_t seed = 0; seed < 300; ++seed) {
    std::mt19937_64 random(seed);
    std::string bytes = whole;
    for (uint64_t i = 0; i <= seed % 4; ++i) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    if (seed % 5 == 0) bytes.erase(random() % bytes.size(), random() % 64);
    const absl::Status status = Host(bytes);
    EXPECT_NE(status.code(), absl::StatusCode::kInternal) << seed << status;
  }
}

}  // namespace
}  // namespace weft::testing
