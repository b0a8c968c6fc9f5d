#!/usr/bin/env bash
# attn-stream from the outside: exit codes, messages, Ctrl-C, files that stay whole.
# Usage: cli_test.sh ATTN_STREAM MAKE_TINY_STREAM
set -u
stream=$1 make=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$make" "$dir/m"
model=$dir/m/step.onnx
failures=0

# expect CODE WORDS ARGUMENTS...: runs attn-stream, checks its exit code and that it says WORDS.
expect() {
  local code=$1 words=$2
  shift 2
  "$stream" "$@" >"$dir/out" 2>&1
  local got=$?
  if [ $got -ne "$code" ] || { [ -n "$words" ] && ! grep -qF -- "$words" "$dir/out"; }; then
    echo "FAILED: attn-stream $*: exit code $got, expected $code with '$words'; it said:"
    cat "$dir/out"
    failures=$((failures + 1))
  fi
}

ref=(--reference-attention --quiet)
expect 0 "Example" --help
expect 2 "model" 
expect 2 "--frobnicate" "$model" --frobnicate
expect 2 "attn-stream: error: unknown option '--frobnicate'; attn-stream --help" "$model" --frobnicate
expect 2 "--frames: '-8' is no whole number from 0 to" "$model" --frames -8
expect 2 "--frames: '99999999999999999999' is no whole number" "$model" --frames 99999999999999999999
expect 2 "--frames: '010x' is no whole number" "$model" --frames 010x
expect 2 "--seed: '-1' is no whole number from 0 to 18446744073709551615" "$model" --seed -1
expect 2 "--threads: '5000' is no whole number from 0 to 1024" "$model" --threads 5000
expect 2 "--scale: '0' is no whole number from 1 to 64" "$model" --scale 0
if "$stream" --help | grep -q -- --serve; then
  expect 2 "--bind requires --serve" "$model" --bind 0.0.0.0
  expect 2 "--token requires --serve" "$model" --token x
  expect 2 "--unpaced requires --serve" "$model" --unpaced
  expect 3 "give an address of this machine with --bind" "$model" "${ref[@]}" --serve 0 --bind 203.0.113.9
fi
expect 2 "v.xyz: frames are not written as .xyz; name a file that ends in .mp4" "$model" "${ref[@]}" --out "$dir/v.xyz"
[ ! -e "$dir/v.xyz" ] || { echo "FAILED: v.xyz was made"; failures=$((failures + 1)); }
expect 0 "" "$model" "${ref[@]}" --frames 1 --out "$dir/dotted.d/"
expect 2 "leave it out" "$model" "${ref[@]}" --out "$dir/x.npy" --scale 2
expect 2 "--prompt: the prompt '' has 0 words" "$model" "${ref[@]}" --prompt ""
# Closed, standard output is no other file that is opened.
"$stream" "$model" "${ref[@]}" --frames 4 --out - >&- 2>"$dir/err"
[ $? -eq 3 ] && grep -q "cannot write it" "$dir/err" || { echo "FAILED: closed output"; cat "$dir/err"; failures=$((failures + 1)); }
# Refused before the first frame of a stream that would never end.
expect 3 "there is no folder $dir/none/" "$model" "${ref[@]}" --frames 0 --stats "$dir/none/s.json"
expect 3 "there is no folder $dir/none/" "$model" "${ref[@]}" --frames 0 --out "$dir/none/v.mp4"
expect 3 "is a folder; name a file" "$model" "${ref[@]}" --frames 0 --stats "$dir/m"
expect 3 "cannot create the folder" "$model" "${ref[@]}" --frames 0 --dump "$model/d"
expect 0 "note: --switch 9 comes after the last of 3 frames" "$model" --reference-attention --frames 3 --switch 9:south
expect 0 "note: attention nodes without a generated kernel: node 'layer0.attn' (Attention): no bundle is given" "$model" --reference-attention --frames 1
expect 2 "FRAME:PROMPT" "$model" "${ref[@]}" --switch "south"
expect 2 "must rise" "$model" "${ref[@]}" --switch 5:south --switch 5:west
expect 1 "attnc model $model --spec specs/tiny_self.attn --target cpu" "$model" --frames 1
expect 0 "" "$model" "${ref[@]}" --kv int8 --frames 6 --switch 4:south --stats "$dir/i8.json"
expect 0 "" "$model" "${ref[@]}" --frames 6 --stats "$dir/f32.json"
expect 2 "--prompt: the prompt 'upwards' has the word 'upwards', which the model does not know" "$model" "${ref[@]}" --prompt upwards
expect 2 "--switch 3: the prompt" "$model" "${ref[@]}" --switch 3:upwards
expect 3 "missing.onnx" "$dir/m/missing.onnx" "${ref[@]}"
expect 3 "missing.onnx: cannot open the file" "$dir/missing.onnx" "${ref[@]}"
cp "$model" "$dir/alone.onnx"
expect 3 "alone.onnx: is no package, and a model needs its description: $dir/stream.toml" "$dir/alone.onnx" "${ref[@]}"
for own in stream.toml vocab.txt; do
  cp "$dir/m/$own" "$dir/kept"
  expect 2 "$own: would overwrite a file of the model" "$model" "${ref[@]}" --frames 1 --stats "$dir/m/$own"
  cmp "$dir/m/$own" "$dir/kept" || exit 1
done
expect 2 "frob" "$model" "${ref[@]}" --device frob
head -c 200 "$model" >"$dir/m/cut.onnx"
expect 1 "truncated" "$dir/m/cut.onnx" "${ref[@]}"
head -c 4000 /dev/urandom >"$dir/bad.attnb"
expect 1 "bad.attnb" "$model" "$dir/bad.attnb"
ln -s /dev/full "$dir/full.npy"
expect 3 "No space left" "$model" "${ref[@]}" --frames 2000 --out "$dir/full.npy"

# A stream with two switches: figures, frames, and the same bytes again.
expect 0 "" "$model" "${ref[@]}" --frames 12 --switch 4:south --switch 8:west --out "$dir/a.npy" --stats "$dir/s.json"
expect 0 "" "$model" "${ref[@]}" --frames 12 --switch 4:south --switch 8:west --out "$dir/b.npy"
cmp -s "$dir/a.npy" "$dir/b.npy" || { echo "FAILED: a replay differs"; failures=$((failures + 1)); }
grep -q '"frames": 12' "$dir/s.json" || { echo "FAILED: stats"; cat "$dir/s.json"; failures=$((failures + 1)); }
expect 0 "frames/s" "$model" --reference-attention --frames 4 --out "$dir/png"
[ -f "$dir/png/frame_000003.png" ] || { echo "FAILED: no PNG files"; failures=$((failures + 1)); }

# Ctrl-C in an endless stream: exit code 0, and the file so far is whole.
if command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null; then
  "$stream" "$model" "${ref[@]}" --frames 0 --out "$dir/v.mp4" &
  pid=$!
  sleep 1
  kill -INT $pid
  wait $pid
  code=$?
  ffprobe -v error "$dir/v.mp4" || code=99
  [ $code -eq 0 ] || { echo "FAILED: Ctrl-C gave $code"; failures=$((failures + 1)); }
else
  echo "skipped: Ctrl-C test (no ffmpeg)"
fi
[ $failures -eq 0 ] && echo "all command-line tests passed"
exit $failures
