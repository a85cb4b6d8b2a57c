#!/usr/bin/env bash
# Install the client into a folder of its own, look at what lies there, and build and run a project
# that has nothing but that: consumer_test.sh CMAKE BUILD COMPILER FLAGS WEFTD. WEFTD may be empty.
set -euo pipefail

cmake=$1 build=$2 compiler=$3 flags=$4 weftd=$5
source=$PWD
folder=$(mktemp -d)
server=
cleanup() {
  [[ -z $server ]] || kill "$server" 2>/dev/null || true
  rm -rf "$folder"
}
trap cleanup EXIT
fail() { printf '%s\n' "$*" >&2; exit 1; }

"$cmake" --install "$build" --component client --prefix "$folder/first" >/dev/null
# What is installed may be moved.
mv "$folder/first" "$folder/installed"
installed=$folder/installed

# Each must be there.
ls "$installed"/include/weft/client.h "$installed"/share/weft/proto/weft/v1/{program,weft}.proto \
  "$installed"/bin/weft >/dev/null
"$installed/bin/weft" --version | grep -qx 'weft [0-9.]*' || fail "weft --version says no version"
if grep -rIlF -e "$source" -e "$build" -e "$folder" "$installed"; then
  fail "these name folders of this machine"
fi
if grep -rnE '#include [<"](grpc|google|weft/v1|engine|client|torch|ATen|c10)' "$installed/include" |
  grep -v '/weft/torch.h:'; then
  fail "public headers include more than Abseil and the standard library"
fi

launcher=()
if command -v ccache >/dev/null; then launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
cp -r "$source/tests/consumer/project" "$folder/project"
make_consumer() {
  "$cmake" -G Ninja -S "$folder/project" -B "$folder/build" "-DCMAKE_PREFIX_PATH=$installed" \
    "-DCMAKE_CXX_COMPILER=$compiler" "-DCMAKE_CXX_FLAGS=$flags" "${launcher[@]}" &&
    "$cmake" --build "$folder/build"
}
make_consumer >"$folder/log" 2>&1 || { cat "$folder/log"; fail "the consumer does not build"; }

target=()
if [[ -n $weftd ]]; then
  mkfifo "$folder/says"
  "$weftd" --no-keys --listen 127.0.0.1:0 --model "tiny=$source/tests/parity/gpt2-tiny" \
    >"$folder/says" 2>"$folder/weftd.log" &
  server=$!
  read -r line <"$folder/says" || { cat "$folder/weftd.log"; fail "weftd ended"; }
  target=("${line#listening on }")
fi
"$folder/build/consumer" "${target[@]}" | tee "$folder/output"
grep -q 'save token = ' "$folder/output" || fail "no program was recorded"
[[ -z $weftd ]] || grep -qx 'ran: int64\[1\]' "$folder/output" || fail "no program was run"
