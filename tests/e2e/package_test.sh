#!/usr/bin/env bash
# The shipped model as a package, alone in a folder: the frames of model, bundle and stream.toml,
# on cpu and vulkan and with panels of another processor, in less memory.
# Usage: package_test.sh ATTNC ATTN_RUN ATTN_STREAM MODEL_FOLDER SPECS
set -eu
attnc=$1 run=$2 stream=$3 model=$4 specs=$5
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
kernels="--spec $specs/demo_self.attn --spec $specs/demo_cross.attn --target cpu,spirv:t0"
"$attnc" model "$model/step.onnx" $kernels -o demo.attnb >log || { cat log; exit 1; }
mkdir alone
"$attnc" model "$model/step.onnx" $kernels --package -o alone/demo.attnp >log || { cat log; exit 1; }

streamed() { # NAME FRAMES MODEL...: frames and figures of a stream
  local name=$1 frames=$2
  shift 2
  "$stream" "$@" --seed 3 --frames "$frames" --switch "4:blue square right" --quiet \
    --out "$name.npy" --stats "$name.json"
}
same() { cmp "$1.npy" "$2.npy" || { echo "FAILED: frames of $1 and $2 differ"; exit 1; }; }
streamed files 24 "$model/step.onnx" demo.attnb
streamed package 24 alone/demo.attnp
same files package
ATTN_CPU_ISA=avx2 streamed files2 6 "$model/step.onnx" demo.attnb
ATTN_CPU_ISA=avx2 streamed package2 6 alone/demo.attnp
same files2 package2
streamed files3 6 "$model/step.onnx" demo.attnb --device vulkan
streamed package3 6 alone/demo.attnp --device vulkan
same files3 package3

# Weights are in panels for this processor and read where the file is mapped: they are in
# memory once, not as file and as panels.
if grep -q avx512vl /proc/cpuinfo; then
  rss() { sed -n 's/.*"peak_rss": \([0-9]*\).*/\1/p' "$1.json"; }
  [ $(($(rss files) - $(rss package))) -gt 10000000 ] || {
    echo "FAILED: $(rss files) bytes in memory for the files, $(rss package) for the package"
    exit 1
  }
fi

"$run" inspect alone/demo.attnp >out
grep -q "graph model: .* checksum right" out || { cat out; exit 1; }
# A model that is no stream, its specs derived, on arrays.
mkdir zeros bare
cp "$model/step.onnx" bare
"$attnc" model bare/step.onnx -o bare.attnb >log || { cat log; exit 1; }
"$attnc" model bare/step.onnx --package -o bare.attnp >log || { cat log; exit 1; }
"$run" model bare/step.onnx --bundle bare.attnb --inputs zeros --zeros --outputs a >/dev/null
"$run" model bare.attnp --inputs zeros --zeros --outputs b >out
grep -q "layers.0.self_attn.*dense" out || { cat out; exit 1; }
diff -r a b
# Damage among the weights is found by who looks for it.
size=$(stat -c %s alone/demo.attnp)
printf '\x7f\x7f\x7f\x7f' | dd of=alone/demo.attnp bs=1 seek=$((size - 1000001)) conv=notrunc status=none
if "$run" inspect alone/demo.attnp >out 2>&1; then echo "FAILED: damage was not seen"; exit 1; fi
grep -q "constants of graph 'model' have another checksum" out || { cat out; exit 1; }
