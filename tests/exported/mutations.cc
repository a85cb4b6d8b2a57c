// What may be wrong with an archive, one thing at a time.

#include "tests/exported/mutations.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace weft::testing {

using Json = EditedArchive::Json;

Json& Graph(Json& model) { return model["graph_module"]["graph"]; }
Json& NodeAt(Json& model, int index) { return Graph(model)["nodes"][index]; }
Json Tensor(const std::string& name) { return {{"as_tensor", {{"name", name}}}}; }

void Call(Json& model, int index, const std::string& op,
          const std::vector<std::pair<std::string, Json>>& arguments) {
  Json& node = NodeAt(model, index);
  node["target"] =
      absl::StrCat("torch.ops.aten.", op, op.find('.') == std::string::npos ? ".default" : "");
  node["inputs"] = Json::array();
  for (const auto& [name, argument] : arguments) {
    node["inputs"].push_back({{"name", name}, {"arg", argument}, {"kind", 1}});
  }
}

namespace {

Json Int(int64_t value) { return {{"as_int", value}}; }
Json None() { return {{"as_none", true}}; }

/// The first graph within the graph.
Json& Region(Json& model) {
  for (Json& node : Graph(model)["nodes"]) {
    for (Json& input : node["inputs"]) {
      if (input["arg"].contains("as_graph")) return input["arg"]["as_graph"]["graph"];
    }
  }
  return model;
}

void AddModule(Json& model, const std::string& path) {
  model["graph_module"]["module_call_graph"].push_back({{"fqn", path}, {"signature", nullptr}});
}

std::function<void(EditedArchive&)> InModel(const std::function<void(Json&)>& change) {
  return [change](EditedArchive& archive) { archive.Model(change); };
}
std::function<void(EditedArchive&)> InWeight(const std::function<void(Json&)>& change) {
  return [change](EditedArchive& archive) {
    archive.Weights([&](Json& config) { change(config["config"]["fc1.weight"]); });
  };
}

}  // namespace

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
       "torch.where"},
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
      {"ANameThatIsTooLong", "mlp",
       InModel([](Json& m) { NodeAt(m, 1)["target"] = std::string(1000, 'a'); }), "too long"},
      {"ManySmallValues", "mlp",
       [](EditedArchive& a) {
         std::string& json = a.entries()["models/model.json"] = "[0";
         for (int i = 0; i < 3'000'001; ++i) json += ",0";
         json += "]";
       },
       "more than 3000000 values"},
      {"AnotherKindOfResult", "mlp", InModel([](Json& m) {
         NodeAt(m, 1)["outputs"][0] = {{"as_sym_int", {{"as_name", "relu"}}}};
       }),
       "another kind than the program says"},
      {"ANumberForADtype", "mlp", InModel([](Json& m) {
         Call(m, 1, "to.dtype", {{"self", Tensor("linear")}, {"dtype", {{"as_int", 29}}}});
       }),
       "`dtype` is a dtype"},
      {"ANumberForALayout", "mlp", InModel([](Json& m) {
         Call(m, 1, "zeros_like", {{"self", Tensor("linear")}, {"layout", {{"as_int", 1}}}});
       }),
       "not for a program to say"},
      {"ASparseLayout", "mlp", InModel([](Json& m) {
         Call(m, 1, "zeros_like", {{"self", Tensor("linear")}, {"layout", {{"as_layout", 1}}}});
       }),
       "special layout"},
      {"DropoutThatIsNotTurnedOff", "mlp", InModel([](Json& m) {
         Call(m, 1, "native_dropout",
              {{"input", Tensor("linear")}, {"p", {{"as_float", 0.5}}}, {"train", None()}});
         NodeAt(m, 1)["outputs"].push_back(Tensor("mask"));
       }),
       "model.eval()"},
      {"ASorterOutOfRange", "mlp", InModel([](Json& m) {
         Call(m, 1, "searchsorted.Tensor",
              {{"sorted_sequence", Tensor("linear")},
               {"self", Tensor("linear")},
               {"sorter", Tensor("linear")}});
       }),
       "`sorter`, which is not served"},
      {"FewerValuesThanKeys", "mlp", InModel([](Json& m) {
         Call(m, 1, "scaled_dot_product_attention",
              {{"query", Tensor("linear")},
               {"key", Tensor("p_fc2_weight")},
               {"value", Tensor("p_fc1_weight")}});
       }),
       "must be alike"},
      {"StatisticsOfFewChannels", "mlp", InModel([](Json& m) {
         Call(m, 1, "_native_batch_norm_legit_no_training",
              {{"input", Tensor("linear")},
               {"weight", None()},
               {"bias", None()},
               {"running_mean", Tensor("p_fc2_bias")},
               {"running_var", Tensor("p_fc2_bias")},
               {"momentum", {{"as_float", 0.1}}},
               {"eps", {{"as_float", 1e-5}}}});
         NodeAt(m, 1)["outputs"].push_back(Tensor("mean"));
         NodeAt(m, 1)["outputs"].push_back(Tensor("variance"));
       }),
       "there are 8 channels"},
      {"GroupsThatAreNotThere", "mlp", InModel([](Json& m) {
         Call(m, 1, "native_group_norm",
              {{"input", Tensor("linear")},
               {"weight", None()},
               {"bias", None()},
               {"N", Int(1)},
               {"C", Int(int64_t{1} << 40)},
               {"HxW", Int(int64_t{1} << 24)},
               {"group", Int(1)},
               {"eps", {{"as_float", 1e-5}}}});
         NodeAt(m, 1)["outputs"].push_back(Tensor("mean"));
         NodeAt(m, 1)["outputs"].push_back(Tensor("rstd"));
       }),
       "are not the sizes of `input`"},
      {"AWindowOfTooFewSizes", "vision", InModel([](Json& m) {
         for (Json& input : NodeAt(m, 0)["inputs"]) {
           if (input["name"] == "stride") input["arg"] = {{"as_ints", {1, 1, 1}}};
         }
       }),
       "is a list of 2 integers"},
      // Modules.
      {"AModuleWithoutAName", "mlp", InModel([](Json& m) { AddModule(m, "fc1..weight"); }),
       "no path can hold"},
      {"AModuleOfOddCharacters", "mlp", InModel([](Json& m) { AddModule(m, "a b\n"); }),
       "no path can hold"},
      {"ModulesBeyondAllNumber", "mlp", InModel([](Json& m) {
         std::string deep;
         for (int i = 0; i < 30; ++i) deep += ".a";
         for (int i = 0; i < 1000; ++i) AddModule(m, "m" + std::to_string(i) + deep);
       }),
       "more than 20000 modules"},
      {"AKeyTwice", "twice", InModel([](Json& m) {
         Json& spec = m["graph_module"]["module_call_graph"][0]["signature"]["out_spec"];
         spec = absl::StrReplaceAll(spec.get<std::string>(), {{"both", "none"}});
       }),
       "a key twice"},
      // Graphs within the graph.
      {"ARegionThatIsGivenTooLittle", "regions",
       InModel([](Json& m) { Region(m)["inputs"].erase(Region(m)["inputs"].size() - 1); }),
       "more or fewer values than it is given"},
      {"ARegionThatGivesTooMuch", "regions",
       InModel([](Json& m) { Region(m)["outputs"].push_back(Region(m)["outputs"][0]); }),
       "more or fewer values than are used"},
      {"ARegionThatSeesWhatIsOutside", "regions", InModel([](Json& m) {
         for (Json& input : Region(m)["nodes"][0]["inputs"]) {
           if (input["name"] == "weight") input["arg"] = Tensor("p_out_weight");
         }
       }),
       "`p_out_weight` is used, and nothing before it makes it"},
      {"ARegionWhoseValuesAreUsedOutside", "regions", InModel([](Json& m) {
         Json& made = Region(m)["nodes"].back()["outputs"][0];
         for (Json& output : Region(m)["outputs"]) {
           if (output == made) output = Tensor("inner");
         }
         made = Tensor("inner");
         for (Json& node : Graph(m)["nodes"]) {
           if (node["target"] == "torch.ops.higher_order.wrap_with_set_grad_enabled") continue;
           node["inputs"][0]["arg"] = Tensor("inner");
         }
       }),
       "`inner` is used"},
      {"ARegionWithoutAGraph", "regions", InModel([](Json& m) {
         for (Json& node : Graph(m)["nodes"]) {
           if (node["target"] != "torch.ops.higher_order.wrap_with_set_grad_enabled") continue;
           node["inputs"] = Json::array({node["inputs"][0]});
         }
       }),
       "no graph"},
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
      {"ASizeOfNobodys", "several", InModel([](Json& m) {
         Graph(m)["tensor_values"]["scale"]["sizes"][0]["as_expr"]["expr_str"] = "s999";
       }),
       "dimension 0 of the input `scale` is dynamic"},
      {"AnInputThatIsFarTooLarge", "mlp", InModel([](Json& m) {
         Graph(m)["tensor_values"]["x"]["sizes"][1] = Int(int64_t{1} << 28);
         for (auto& [symbol, range] : m["range_constraints"].items()) {
           range = {{"min_val", 1 << 19}, {"max_val", 1 << 19}};
         }
       }),
       "far off"},
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
      {"ManyCopiesOfAFewBytes", "mlp",
       [](EditedArchive& a) {
         a.entries()["data/weights/big"] = std::string(size_t{4} << 16, 'x');
         for (int i = 0; i < 40; ++i) {
           const std::string name = absl::StrCat("w", i);
           a.Model([&](Json& m) {
             Graph(m)["inputs"].push_back(Tensor(name));
             m["graph_module"]["signature"]["input_specs"].push_back(
                 {{"parameter", {{"arg", {{"name", name}}}, {"parameter_name", name}}}});
           });
           a.Weights([&](Json& config) {
             Json& weight = config["config"][name] = config["config"]["fc1.weight"];
             weight["path_name"] = "big";
             weight["tensor_meta"]["sizes"] = {Int(256), Int(256)};
             weight["tensor_meta"]["strides"] = {Int(1), Int(256)};
           });
         }
       },
       "times what the archive holds"},
      {"APathOutOfTheArchive", "mlp",
       InWeight([](Json& w) { w["path_name"] = "../../../etc/passwd"; }), "no entry"},
  };
}

}  // namespace weft::testing
