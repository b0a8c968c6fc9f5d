#!/usr/bin/env bash
# Installs into a fresh folder, builds tests/install/embed against it, runs it; the
# same once more through pkg-config.
# Usage: install_test.sh BUILD_DIR SOURCE_DIR MAKE_TINY_STREAM CC CXX
set -eu
build=$1 source=$2 make=$3 cc=$4 cxx=$5
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cmake --install "$build" --prefix "$dir/first" >"$dir/log" || { cat "$dir/log"; exit 1; }
mv "$dir/first" "$dir/moved" # nothing installed may know where it was
cmake -S "$source/tests/install/embed" -B "$dir/embed" -DCMAKE_PREFIX_PATH="$dir/moved" \
  -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" >"$dir/log" 2>&1 &&
  cmake --build "$dir/embed" >>"$dir/log" 2>&1 || { cat "$dir/log"; exit 1; }
"$make" "$dir/tiny"
cat >"$dir/tiny_self.attn" <<'EOF'
attention tiny_self {
  space tok(i: stream)
  query tok
  keys  tok
  heads 1 dim 16
  mask  all
}
EOF
"$dir"/moved/bin/attnc model "$dir/tiny/step.onnx" --spec "$dir/tiny_self.attn" --package \
  -o "$dir/tiny.attnp" >"$dir/log" || { cat "$dir/log"; exit 1; }
"$dir/embed/embed_c"
"$dir/embed/embed_static"
"$dir/embed/embed_cpp" "$dir/tiny/step.onnx" "$dir/tiny.attnp"

# Versioned symbols, and none but the interface's.
exported=$(nm -D --defined-only "$dir"/moved/lib*/libattn.so "$dir"/moved/lib/*/libattn.so 2>/dev/null | awk '{print $3}' | grep -v '^$' | sort -u)
echo "$exported" | grep -q '^attn_stream_next@@ATTN_0$' || { echo "attn_stream_next has no version"; exit 1; }
others=$(echo "$exported" | grep -vE '^(attn_[a-z0-9_]+@@ATTN_0|ATTN_0(@@ATTN_0)?)$' || true)
[ -z "$others" ] || { echo "exported beside the interface: $others"; exit 1; }

if command -v pkg-config >/dev/null; then
  pc=$(dirname "$(find "$dir/moved" -name attn.pc)")
  flags=$(PKG_CONFIG_PATH=$pc pkg-config --cflags --libs attn)
  "$cc" "$source/tests/install/embed/embed.c" "$dir"/embed/libembedded.a $flags -o "$dir/by_pc"
  LD_LIBRARY_PATH=$(PKG_CONFIG_PATH=$pc pkg-config --variable=libdir attn) "$dir/by_pc"
else
  echo "skipped: pkg-config is not here"
fi
