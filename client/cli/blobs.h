#pragma once

#include <string>
#include <vector>

#include "client/cli/commands.h"

namespace weft::cli {

struct BlobsArguments {
  std::string file;                 // of upload: safetensors
  std::vector<std::string> names;   // of upload: only these of its tensors
  std::vector<std::string> hashes;  // of delete
  bool json = false;
};

int ListBlobs(const GlobalOptions& global, const BlobsArguments& arguments);
/// Upload tensors of a file, and print what stands for each in a program.
int UploadBlobs(const GlobalOptions& global, const BlobsArguments& arguments);
int DeleteBlobs(const GlobalOptions& global, const BlobsArguments& arguments);

}  // namespace weft::cli
