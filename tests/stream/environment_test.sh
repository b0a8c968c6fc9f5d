#!/usr/bin/env bash
# attn-stream on bad files and on machines that lack something: what it says, what it
# exits with, what it leaves behind.
# Usage: environment_test.sh ATTN_STREAM MAKE_TINY_STREAM BUNDLE STAND_IN_DIR SHIPPED_MODEL
set -u
stream=$1 make=$2 bundle=$3 stand_in=$4 large=$5
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$make" "$dir/m" dense # the spec that the bundle has
model=$dir/m/step.onnx
failures=0

fail() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}
# expect CODE WORDS COMMAND...: runs it, checks its exit code and that it says WORDS.
expect() {
  local code=$1 words=$2
  shift 2
  "$@" >"$dir/out" 2>&1
  local got=$?
  if [ $got -ne "$code" ] || { [ -n "$words" ] && ! grep -qF -- "$words" "$dir/out"; }; then
    fail "$*: exit code $got, expected $code with '$words'; it said:"
    cat "$dir/out"
  fi
}
expect 0 "" "$stream" "$model" "$bundle" --frames 2 --quiet

# Options that contradict each other, and kernels that the bundle lacks.
conflict="the options conflict; leave --variant out, or change --kv"
expect 2 "variant f32 takes f32 keys, but its keys are int8, as --kv int8 asks: $conflict" \
  "$stream" "$model" "$bundle" --frames 1 --kv int8 --variant f32
expect 2 "variant int8 takes int8 keys, but its keys are f32, as --kv f32 asks: $conflict" \
  "$stream" "$model" "$bundle" --frames 1 --kv f32 --variant int8
expect 2 "variant int8 takes int8 keys, but its keys are f32: $conflict" \
  "$stream" "$model" "$bundle" --frames 1 --variant int8
expect 1 "--dtype int8,f32 -o model.attnb" "$stream" "$model" "$bundle" --frames 1 --kv int8

# Files: cut short, too long, damaged, not ours.
head -c 3000 "$bundle" >"$dir/cut.attnb"
expect 1 "cut.attnb" "$stream" "$model" "$dir/cut.attnb" --frames 1
{ cat "$bundle"; echo more; } >"$dir/long.attnb"
expect 1 "long.attnb" "$stream" "$model" "$dir/long.attnb" --frames 1
perl -pe 's/reference_dense/reference_dance/' "$bundle" >"$dir/changed.attnb"
expect 1 "checksum" "$stream" "$model" "$dir/changed.attnb" --frames 1
expect 1 "magic" "$stream" "$model" "$model" --frames 1
: >"$dir/empty.attnb"
expect 1 "empty.attnb" "$stream" "$model" "$dir/empty.attnb" --frames 1
expect 3 "missing.attnb" "$stream" "$model" "$dir/missing.attnb" --frames 1

# variant NAME PERL: a folder with a changed model.
variant() {
  cp -r "$dir/m" "$dir/$1"
  perl -0777 -pe "$2" "$model" >"$dir/$1/step.onnx"
}
variant operator 's/Tanh/Tanx/g'
expect 1 "Tanx" "$stream" "$dir/operator/step.onnx" "$bundle" --frames 1
variant opset 's/\x42\x04\x0a\x00\x10\x18/\x42\x04\x0a\x00\x10\x63/'
expect 1 "opset" "$stream" "$dir/opset/step.onnx" "$bundle" --frames 1
variant huge 's/\A(.{40})/\1\xff\xff\xff\xff\xff\xff\xff\xff\x7f/s' # a length beyond the file
expect 1 "step.onnx" "$stream" "$dir/huge/step.onnx" "$bundle" --frames 1
head -c 60 "$model" >"$dir/huge/step.onnx"
expect 1 "truncated" "$stream" "$dir/huge/step.onnx" "$bundle" --frames 1
cp -r "$dir/m" "$dir/toml"
sed -i 's/^layers = 1/layers = 2/' "$dir/toml/stream.toml"
expect 1 "stream.toml" "$stream" "$dir/toml/step.onnx" "$bundle" --frames 1
sed -i 's/^layers = 2/layers = /' "$dir/toml/stream.toml"
expect 1 "stream.toml" "$stream" "$dir/toml/step.onnx" "$bundle" --frames 1
rm "$dir/toml/vocab.txt"
cp "$dir/m/stream.toml" "$dir/toml/stream.toml"
expect 3 "vocab.txt" "$stream" "$dir/toml/step.onnx" "$bundle" --frames 1

# Devices: kernels for another one, none there, no driver.
expect 1 "--target=ptx" env LD_LIBRARY_PATH="$stand_in" "$stream" "$model" "$bundle" --device cuda --frames 1
expect 3 "cuda" env LD_LIBRARY_PATH= "$stream" "$model" "$bundle" --device cuda:7 --frames 1
expect 3 "vulkan" env VK_ICD_FILENAMES=/nonexistent.json VK_DRIVER_FILES=/nonexistent.json \
  "$stream" "$model" "$bundle" --device vulkan --frames 1
expect 2 "'frobnicate' of ATTN_CPU_ISA is no table of inner loops of this machine; it has" \
  env ATTN_CPU_ISA=frobnicate "$stream" "$model" "$bundle" --frames 1
expect 0 "" env ATTN_CPU_ISA=portable "$stream" "$model" "$bundle" --frames 1 --quiet
expect 2 "avx" env ATTN_CPU_FEATURES=frobnicate "$stream" "$model" "$bundle" --frames 1

# A disk that fills up: the stream says so and ends; what is there can be read.
small() { # KiB, then the command
  (ulimit -f "$1" && shift && exec "$@")
}
expect 3 "full.npy" small 200 "$stream" "$model" "$bundle" --frames 60000 --quiet --out "$dir/full.npy"
expect 3 "ffmpeg failed" small 48 "$stream" "$model" "$bundle" --frames 3000 --quiet --scale 32 --out "$dir/full.mkv"
expect 3 "full.y4m" small 200 "$stream" "$model" "$bundle" --frames 60000 --quiet --out "$dir/full.y4m"
expect 3 "/nonexistent/s.json" "$stream" "$model" "$bundle" --frames 1 --quiet --stats /nonexistent/s.json
expect 3 "/nonexistent/f.npy" "$stream" "$model" "$bundle" --frames 1 --quiet --out /nonexistent/f.npy
ln -s /dev/full "$dir/s.json"
expect 3 "s.json" "$stream" "$model" "$bundle" --frames 1 --quiet --stats "$dir/s.json/x"

# Too little memory for the shipped model, at every size on the way up to enough: a
# message and code 3, never a signal.
if ! ldd "$stream" | grep -q libasan; then
  refused=0 enough=0
  for ((kib = 10000; kib < 400000; kib = kib * 6 / 5)); do
    (ulimit -v $kib && exec "$stream" "$large" --reference-attention --frames 1 --quiet) >"$dir/out" 2>&1
    code=$?
    [ $code -eq 0 ] && { enough=$kib; break; }
    if [ $code -eq 3 ] && grep -q "memory" "$dir/out"; then
      refused=$((refused + 1))
    elif ! grep -q "error while loading shared libraries" "$dir/out"; then
      fail "$kib KiB of memory gave $code:"
      cat "$dir/out"
    fi
  done
  [ $refused -ge 3 ] && [ $enough -gt 0 ] || fail "memory: refused $refused times, enough at $enough KiB"
fi

# Ctrl-C, a termination, a closed terminal in the middle: the files so far are whole.
for signal in INT TERM HUP; do
  "$stream" "$model" "$bundle" --frames 0 --quiet --out "$dir/cut.npy" &
  pid=$!
  while [ ! -s "$dir/cut.npy" ]; do sleep 0.05; done
  sleep 0.2
  kill -$signal $pid
  [ $signal != HUP ] || kill -HUP $pid # the shell's beside the terminal's
  wait $pid || fail "$signal gave $?"
  # One frame is 2 x 2 x 3 bytes, the header 128.
  frames=$(head -c 128 "$dir/cut.npy" | tr -d '\0' | grep -aoE '\(1, [0-9]+, 2, 2, 3\)' | cut -d, -f2)
  bytes=$(stat -c %s "$dir/cut.npy")
  [ -n "$frames" ] && [ "$bytes" -eq $((128 + 12 * frames)) ] || fail "$signal: $frames frames in $bytes bytes"
  rm -f "$dir/cut.npy"
done
[ $failures -eq 0 ] && echo "all environment tests passed"
exit $failures
