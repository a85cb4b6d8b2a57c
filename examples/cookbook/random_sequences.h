#pragma once

#include <weft/client.h>

#include <cstdint>
#include <vector>

namespace weft::examples {

/// `rows` random sequences of `length` tokens, each told twice: what a model does with them it can
/// only do by copying. [rows, 2 * length].
inline Tensor TwiceToldSequences(int64_t rows, int64_t length, int64_t vocabulary) {
  std::vector<int64_t> ids;
  uint64_t state = 1;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < length; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      ids.push_back(1 +
                    static_cast<int64_t>((state >> 33) % static_cast<uint64_t>(vocabulary - 1)));
    }
    for (int64_t i = 0; i < length; ++i) ids.push_back(ids[ids.size() - length]);
  }
  return Tensor::From(ids, {rows, 2 * length});
}

}  // namespace weft::examples
