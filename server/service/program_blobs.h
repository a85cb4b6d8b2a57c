#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/graph/program.h"
#include "engine/graph/value.h"
#include "server/blobs/blob_store.h"
#include "server/keys/key.h"
#include "weft/v1/weft.pb.h"

// Blobs that go into a program, and those that come out of it.

namespace weft::server {

/// What a program uses of the store.
using UsedBlobs = std::vector<std::shared_ptr<const blobs::UsedBlob>>;

/// Give each blob constant of `program` its bytes, which it keeps alive; the blobs are in use as
/// long as what is returned. kNotFound, naming the statement, for a blob that the key does not
/// have, whether it is another's or nobody's; kInvalidArgument where dtype and shape take another
/// number of bytes. `store` may be null: then kUnimplemented.
absl::StatusOr<UsedBlobs> FindBlobs(const keys::Key& key, blobs::BlobStore* store,
                                    graph::Program* program);

/// Store the tensors of `value` as blobs of `key`: all of them, or none. The message is the value
/// with a hash for each tensor.
absl::StatusOr<v1::Value> KeepValue(const keys::Key& key, blobs::BlobStore* store,
                                    const graph::HostValue& value);

void EncodeBlob(const blobs::Blob& blob, v1::Blob* message);

}  // namespace weft::server
