#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/graph/edited_program.h"
#include "engine/graph/program.h"
#include "server/blobs/blob_store.h"
#include "server/edits/edit_store.h"
#include "server/keys/key.h"
#include "weft/v1/weft.pb.h"

// Edits that keys store, and the runs that they are applied to.

namespace weft::server {

/// What the calls about edits have.
struct EditCalls {
  Engine* engine = nullptr;
  edits::EditStore* store = nullptr;  // null: kUnimplemented
  blobs::BlobStore* blobs = nullptr;  // where constants of edits are; may be null
  uint64_t request_bytes = 0;         // of all edits of a run together

  /// Check the edit on its model, and store it. Errors name the statement.
  absl::Status Store(const keys::Key& key, const v1::StoreEditRequest& request,
                     v1::StoreEditResponse* answer) const;
  absl::Status List(const keys::Key& key, const v1::ListEditsRequest& request,
                    v1::ListEditsResponse* answer) const;
  absl::Status Get(const keys::Key& key, const v1::GetEditRequest& request,
                   v1::GetEditResponse* answer) const;
  absl::Status Delete(const keys::Key& key, const v1::DeleteEditRequest& request,
                      v1::DeleteEditResponse* answer) const;

  /// `program` with the edits that `options` names, as they are now; null if it names none.
  /// kNotFound, naming what there is.
  absl::StatusOr<std::shared_ptr<const graph::EditedProgram>> Apply(
      const keys::Key& key, const std::string& model, const v1::RunOptions& options,
      const graph::Program& program) const;
};

/// A sink that has events about `edited` speak of the statements that people wrote.
EventSink ExplainingSink(std::shared_ptr<const graph::EditedProgram> edited, EventSink sink);

}  // namespace weft::server
