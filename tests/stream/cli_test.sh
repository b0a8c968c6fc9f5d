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
expect 2 "FRAME:PROMPT" "$model" "${ref[@]}" --switch "south"
expect 2 "must rise" "$model" "${ref[@]}" --switch 5:south --switch 5:west
expect 1 "attnc model $model --spec specs/tiny_self.attn --target cpu" "$model" --frames 1
expect 0 "" "$model" "${ref[@]}" --kv int8 --frames 6 --switch 4:south --stats "$dir/i8.json"
expect 0 "" "$model" "${ref[@]}" --frames 6 --stats "$dir/f32.json"
expect 1 "does not know" "$model" "${ref[@]}" --prompt upwards
expect 1 "does not know" "$model" "${ref[@]}" --switch 3:upwards
expect 3 "missing.onnx" "$dir/m/missing.onnx" "${ref[@]}"
expect 3 "stream.toml" "$dir/missing.onnx" "${ref[@]}"
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
