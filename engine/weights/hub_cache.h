#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace weft::weights {

/// Return the folder of the Hub's cache on this machine, as huggingface_hub finds it:
/// `$HF_HUB_CACHE`, else `$HF_HOME/hub`, else `$XDG_CACHE_HOME/huggingface/hub`, else
/// `~/.cache/huggingface/hub`. It need not exist.
std::string HubCacheFolder();

/// Return the folder of a model that is given as a folder, or by its id on the Hub.
///
/// What is a folder is that folder. Otherwise `org/name` is what was downloaded as that, in the
/// revision `main`, and `org/name@revision` another revision: a branch, a tag or a commit. Nothing
/// is downloaded. kNotFound, saying what there is, and how to download.
absl::StatusOr<std::string> FindModelFolder(const std::string& folder_or_id);

}  // namespace weft::weights
