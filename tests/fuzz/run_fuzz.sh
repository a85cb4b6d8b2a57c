#!/usr/bin/env bash
# run_fuzz.sh BUILD NAME SECONDS: run one fuzz program from its seeds and what earlier runs found.
# Says how far it came; fails, and shows why, if an input made it fail.
set -euo pipefail

build=$1 name=$2 seconds=$3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
found=$build/fuzz/$name
log=$build/fuzz/$name.log
mkdir -p "$found" "$build/fuzz/failed"
dictionary=()
[[ ! -f $here/$name.dict ]] || dictionary=("-dict=$here/$name.dict")

# A program in an archive is longer than what people write.
longest=4096
[[ $name != archive ]] || longest=16384

# LibTorch is not instrumented: what it puts into a container has no redzones of ours.
export ASAN_OPTIONS=detect_container_overflow=0:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1
# The first folder takes what it finds, so it is not the one with the seeds.
if ! "$build/tests/${name}_fuzz" -max_total_time="$seconds" -max_len="$longest" -timeout=10 \
  -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$build/fuzz/failed/$name-" \
  "${dictionary[@]}" "$found" "$here/corpus/$name" >"$log" 2>&1; then
  tail -n 40 "$log"
  echo "$name: failed; the input is in $build/fuzz/failed, the whole log is $log"
  exit 1
fi
awk -v name="$name" -v seconds="$seconds" '
  /number_of_executed_units/ { runs = $2 }
  match($0, /cov: [0-9]+/) { edges = substr($0, RSTART + 5, RLENGTH - 5) }
  match($0, /corp: [0-9]+/) { inputs = substr($0, RSTART + 6, RLENGTH - 6) }
  END { printf "%s: clean after %d s, %d executions, %d inputs, %d edges\n", name, seconds, runs, inputs, edges }
' "$log"
