#pragma once

#include <cstdint>
#include <string>

#include "client/cli/commands.h"

namespace weft::cli {

struct EditsArguments {
  std::string model;  // empty: the only one; of list: all
  std::string name;   // `steer`, or `steer@2`
  std::string file;   // of store; `-` is standard input
  uint32_t tokens = 0;
  bool json = false;
};

int ListEdits(const GlobalOptions& global, const EditsArguments& arguments);
/// Print its text, which can be stored again.
int ShowEdit(const GlobalOptions& global, const EditsArguments& arguments);
int StoreEdit(const GlobalOptions& global, const EditsArguments& arguments);
int DeleteEdit(const GlobalOptions& global, const EditsArguments& arguments);

}  // namespace weft::cli
