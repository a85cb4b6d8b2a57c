#!/bin/sh
# Build the static library: build.sh CARGO CACHE_FOLDER OUTPUT
#
# The result is kept under a hash of all that it is made from, since cargo would build it again for
# each clone's path. The lock keeps clones from taking each other's.
set -eu
cargo=$1 cache=$2 output=$3
cd "$(dirname "$0")"
key=$({ "$cargo" --version && cat Cargo.toml Cargo.lock src/*.rs; } | sha256sum | cut -c 1-16)
library=$cache/libweft_tokenizers-$key.a

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [ ! -f "$library" ]; then
  "$cargo" build --release --locked --quiet --target-dir "$cache/target"
  cp "$cache/target/release/libweft_tokenizers.a" "$library.new"
  mv "$library.new" "$library"
fi
cp "$library" "$output"
