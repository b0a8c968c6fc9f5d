#!/usr/bin/env bash
# attnc and attn-run on what a newcomer may try: what they say, what they exit with.
# Usage: bad_input_test.sh ATTNC ATTN_RUN SPECS PYTHON MAKE_TINY_STREAM
set -u
attnc=$1 run=$2 specs=$3 python=$4 make_tiny=$5
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 3
failures=0
# expect CODE WORDS COMMAND...: runs it, checks its exit code and that it says WORDS.
expect() {
  local code=$1 words=$2
  shift 2
  "$@" >out 2>&1
  local got=$?
  if [ $got -ne "$code" ] || { [ -n "$words" ] && ! grep -qF -- "$words" out; }; then
    echo "FAILED: $*: exit code $got, expected $code with '$words'; it said:"
    cat out
    failures=$((failures + 1))
  fi
}
to_full() { "$@" >/dev/full; }
small_memory() { (ulimit -v 900000 && exec "$@"); }

"$python" - <<'EOF'
import numpy as np
def save(name, *shape, type=np.float32): np.save(name, np.ones(shape, type))
for name in "qkv": save(name, 1, 2, 8, 64)
save("q3", 2, 8, 64); save("k3", 2, 8, 64); save("q0", 1, 2, 0, 64); save("k0", 1, 2, 0, 64)
save("two", 3, type=np.int32)
save("k2", 2, 2, 8, 64)
EOF
cat >window.attn <<'EOF'
attention window {
  param width in 1..64
  space tok(i: stream)
  query tok
  keys tok
  heads any dim 64
  mask causal(i) and window(i, width)
}
EOF
cat >ragged.attn <<'EOF'
attention ragged {
  space tok(i: ragged <= 512)
  table length[batch]: i32
  query tok
  keys tok
  heads any dim 64
  mask k.i < length[batch] and k.i < extent(i)
}
EOF
sed 's/window {/ragged {/' window.attn >other.attn
"$attnc" compile window.attn ragged.attn --dtype f32 --target cpu:avx2 -o f32.attnb || exit 1
"$attnc" compile window.attn --target cpu:avx2 -o bf16.attnb || exit 1
arrays="--q q.npy --k k.npy --v v.npy --out o.npy"
bare="run f32.attnb --kernel window"
window="$bare --set width=4"
echo 'attention no {' >no.attn
head -c 200 f32.attnb >cut.attnb
head -c 60 q.npy >broken.npy
"$attnc" compile window.attn --target spirv:t0 --dtype f32 -o other.attnb || exit 1

# The command line.
expect 0 "Exit codes: 0 done" "$attnc" --help
expect 0 "Exit codes: 0 done" "$run" --help
expect 2 "attnc: error: unknown command 'frobnicate'; commands are check, compile" "$attnc" frobnicate
expect 2 "attnc: error: unknown option '--frobnicate'; attnc check --help" "$attnc" check --frobnicate
expect 2 "attn-run: error: unknown option '--frobnicate'; attn-run verify" "$run" verify --frobnicate=3
expect 2 "attn-run: error: unexpected argument 'more'" "$run" inspect f32.attnb more
model=$specs/../tools/demo-model/demo/step.onnx
expect 1 "there is no such file for input" "$run" model "$model" --inputs nowhere --outputs outputs
cp window.attn kept.attn
expect 2 "--output kept.attn would overwrite SPEC kept.attn" "$attnc" compile kept.attn -o kept.attn
expect 2 "--output ./kept.attn would overwrite SPEC kept.attn" "$attnc" mask kept.attn --shape i=4 -o ./kept.attn
expect 2 "--out x.npy would overwrite --lse x.npy" "$run" run f32.attnb --q a.npy --k b.npy --v b.npy --out x.npy --lse x.npy
cmp window.attn kept.attn || failures=$((failures + 1))
expect 2 "--shape gives i twice" "$attnc" explain window.attn --shape i=4,i=5
expect 2 "--shape has 'heads='; write axis=n" "$attnc" explain window.attn --shape heads=
expect 2 "--set gives width twice" "$attnc" explain window.attn --set width=4 --set width=5
expect 2 "width is given by --shape and by --set" "$attnc" explain window.attn --set width=4 --shape width=4
expect 2 "--at gives i twice" "$attnc" explain window.attn --at i=1,i=2
expect 2 "a finite number" "$attnc" explain window.attn --set width=nan
expect 2 "--s is nan; a finite number" "$attnc" score window.attn --s nan -o x.npy
expect 2 "--head: '-1' is no whole number from 0 to" "$attnc" mask window.attn --head -1 -o x.npy
expect 2 "head 7 is asked for; there are 2, give 0 to 1" "$attnc" mask window.attn --head 7 --shape heads=2,i=4 -o x.npy
expect 2 "--seed: '-1' is no whole number from 0 to 18446744073709551615" "$run" verify f32.attnb --seed -1
expect 2 "--threads: '9999' is no whole number from 0 to 1024" "$run" verify f32.attnb --threads 9999
expect 2 "--scale is 'nan'; a finite number" "$run" $window $arrays --scale nan
expect 2 "--set gives width twice" "$run" $window $arrays --set width=5
expect 2 "--set width is 'inf'" "$run" run f32.attnb --kernel window --set width=inf $arrays

expect 2 "attn-run: error: no command is given; commands are run, merge" "$run"
expect 2 "--kernel is given more than once" "$run" $window --kernel ragged $arrays
expect 2 "--name names the constant of --emit obj" "$attnc" compile window.attn --name x -o x
# An option takes one word; what follows is the command's.
expect 0 "" "$attnc" compile --target cpu:avx2 --dtype f32 window.attn -o first.attnb
expect 0 "" "$run" run --set width=4 f32.attnb --kernel window $arrays
expect 2 "no target of --target has a stage 'ptx'" "$attnc" compile window.attn --target cpu:avx2 --stop-after ptx
expect 2 "--at excludes --picture" "$attnc" explain window.attn --at q=1 --picture x.png
expect 2 "the call has 0 queries and 0 keys" "$attnc" explain window.attn --shape i=0
expect 2 "--shape gives batch 0" "$attnc" explain window.attn --shape batch=0
# The second target has too many tiles: no picture of the first may stay behind.
expect 2 "are looked at; give a smaller --shape" "$attnc" explain "$specs/causal.attn" \
  --shape i=700000 --target cpu --target spirv --picture wide.png
[ ! -e wide.png ] || { echo "a refused explain left its picture"; failures=$((failures + 1)); }
expect 2 "--budget: 'nan' is no number of seconds above 0" "$attnc" tune window.attn --budget nan
expect 2 "--q-len: '-4' is no whole number from 1 to" "$attnc" tune window.attn --q-len -4
expect 2 "'abc' of ATTN_THREADS is no number of threads" env ATTN_THREADS=abc "$run" verify f32.attnb
expect 2 "--dtype gives f32 twice; give it once" "$attnc" compile window.attn --dtype f32,bf16,f32 -o x
expect 2 "--target gives cpu twice" "$attnc" compile window.attn --target cpu,cpu -o x
expect 2 "SPEC gives window.attn twice" "$attnc" compile window.attn ragged.attn window.attn -o x
expect 2 "--spec gives window.attn twice" "$attnc" model "$model" --spec window.attn --spec window.attn -o x
# One target may be part of another.
"$attnc" compile window.attn --target spirv:t0,spirv --dtype f32 -o twice.attnb
expect 0 "2 kernels" "$run" inspect twice.attnb

# Names that are not there: 2, with those that are.
expect 2 "unknown target 'tpu'; targets are cpu, ptx and spirv" "$attnc" compile window.attn --target tpu -o x
expect 2 "names 'z', which is no axis or parameter that is open; window has the axis i, the parameter width" "$attnc" explain window.attn --shape z=3
expect 2 "names 'z', which is no parameter that is open; window has" "$attnc" mask window.attn --set z=3 -o x.npy
expect 2 "--at names 'z'; axes of the query are i" "$attnc" explain window.attn --at z=1
expect 2 "no attention 'none'" "$attnc" explain window.attn --name none
expect 2 "there is no kernel 'none'; the bundle has window, ragged" "$run" run f32.attnb --kernel none $arrays
expect 2 "kernel window has no variant 'int8'; the bundle has f32" "$run" $window $arrays --variant int8
expect 2 "the bundle has no such kernel; it has ragged f32, window f32" "$run" verify f32.attnb --kernel none
expect 2 "it has no parameter z, which --set names; its parameters are width" "$run" $window $arrays --set z=1
expect 2 "give --set width=NUMBER, from 1 to 64" "$run" run f32.attnb --kernel window $arrays
expect 2 "it needs its parameter width" "$run" run f32.attnb --kernel window --set z=1 $arrays
grep -qF "no parameter z" out || { echo "FAILED: z is not mentioned"; cat out; failures=$((failures + 1)); }

# Two kernels of one name; nothing is written.
expect 1 "other.attn:1:11: error: kernel \`ragged\` is already made by ragged.attn:1:11; rename" \
  "$attnc" compile ragged.attn other.attn --dtype f32 -o both.attnb
expect 1 "already made by" "$attnc" compile ragged.attn other.attn --dtype f32 --emit obj -o both.o
[ ! -e both.attnb ] && [ ! -e both.o ] || { echo "FAILED: written all the same"; failures=$((failures + 1)); }

# A file that is no text: said in few words.
expect 1 "f32.attnb:1:" "$attnc" check f32.attnb
[ "$(grep -c 'error:' out)" -le 3 ] || { echo "FAILED: too many errors"; head -20 out; failures=$((failures + 1)); }

# What a target cannot do: which, at which place, said once, with a way out.
sed 's/dim 64/dim 1024/' window.attn >wide.attn
expect 1 "wide.attn:1:11: error: ptx:sm_80 bf16: needs 327680 bytes of shared memory for heads of 1024 and 1024;" \
  "$attnc" compile wide.attn --target cpu:avx2,ptx --stop-after schedule
expect 1 "give smaller head dims, or leave this target out" \
  "$attnc" compile wide.attn --target spirv:t0 --dtype int8 --stop-after schedule
[ "$(grep -c 'error:' out)" -eq 1 ] || { echo "FAILED: said more than once"; failures=$((failures + 1)); }

# What was assumed is said.
expect 0 "assumed   width = 64 (its maximum), i = 1024; give --shape width=N,i=N for others" \
  "$attnc" explain window.attn --shape heads=1 --target cpu
expect 0 '"width": 64' "$attnc" explain window.attn --shape heads=1,i=64 --target cpu --json
expect 0 "assumed heads = 1, width = 64" "$attnc" explain window.attn --shape i=64 --at q=3
expect 0 "note: assumed heads = 1, width = 64 (its maximum); give" "$attnc" mask window.attn --shape i=8 -o x.npy
"$attnc" explain window.attn --shape heads=1,i=64,width=3 --target cpu | grep assumed &&
  { echo "FAILED: nothing was assumed"; failures=$((failures + 1)); }

# Arrays that do not fit.
expect 0 "" "$run" $window $arrays
expect 1 "the arrays are f32, kernel window is there in bf16; give --variant bf16" \
  "$run" run bf16.attnb --set width=4 $arrays
expect 1 "q0.npy: array has 0 tokens; at least 1 is needed" "$run" $window --q q0.npy --k k.npy --v v.npy --out o.npy
expect 0 "" "$run" $window --q q.npy --k k0.npy --v k0.npy --out o.npy
expect 1 "k.npy: array is f32 with 4 axes, q is f32 with 3 axes" "$run" $window --q q3.npy --k k.npy --v v.npy --out o.npy
expect 0 "" "$run" $window --q q3.npy --k k3.npy --v k3.npy --out o3.npy
"$python" -c "import numpy as np; assert np.load('o3.npy').shape == (2, 8, 64)" || failures=$((failures + 1))
expect 2 "segments 0 and 1 share positions" "$run" $window $arrays --segments 0:4:0,4:4:3
expect 2 "segments 0 and 1 share slots" "$run" $window $arrays --segments 3:4:0,0:4:4
expect 0 "" "$run" $window $arrays --segments 4:4:0,0:4:4
ragged="run f32.attnb --kernel ragged $arrays"
expect 1 "table length has extent 3 on axis 0, which is \`batch\`: 1" "$run" $ragged --set len_tok=8 --table length=two.npy
"$python" -c "import numpy as np; np.save('one.npy', np.full(1, 8, np.int32))"
expect 0 "" "$run" $ragged --set len_tok=8 --table length=one.npy
expect 1 "query rows reach position 7; --set len_tok=5 leaves 5 positions" "$run" $ragged --set len_tok=5 --table length=one.npy
expect 2 "--table gives length twice" "$run" $ragged --set len_tok=8 --table length=one.npy --table length=one.npy

for text in "" "0:4:0," ",0:4:0" "0:4" "0:4:0;4:4:4" "-1:4:0" "0:-4:0" "0:4:99999999999" "0:4:0:"; do
  expect 2 "is not SLOT:LENGTH:POSITION" "$run" $window $arrays --segments "$text"
done
expect 2 "--scale is ''" "$run" $window $arrays --scale ""

# The rule of exit codes: 2 for what the command line says, by the tool's, the spec's or the
# bundle's measure; 1 for what a file holds.
while IFS='|' read -r code words command; do
  eval "expect $code \"$words\" $command"
done <<'EOF'
2|width is 0; 1 to 64 is allowed|"$run" $bare --set width=0 $arrays
2|width is 65; 1 to 64 is allowed|"$run" $bare --set width=65 $arrays
2|a whole number is needed, from 1 to 64|"$run" $bare --set width=2.5 $arrays
2|width is 0; the spec allows 1 to 64|"$attnc" explain window.attn --set width=0
2|width is 0; the spec allows 1 to 64|"$attnc" mask window.attn --set width=0 -o x.npy
2|width is 2.5; the spec allows whole numbers|"$attnc" diff window.attn window.attn --set width=2.5
2|head 2 is asked for; there are 2|"$attnc" mask window.attn --shape heads=2,i=4 --head 2 -o x.npy
2|head 2 is asked for; there are 2|"$attnc" explain window.attn --shape heads=2,head=2
2|--at q takes no axes beside it and lies in 0..3|"$attnc" explain window.attn --shape i=4 --at q=4
2|no query of the call has the coordinates|"$attnc" explain window.attn --shape i=4 --at i=4
2|cannot share 3 KV heads|"$attnc" explain window.attn --shape heads=4,kv_heads=3
2|has no recache clause|"$attnc" mask window.attn --recache -o x.npy
2|length|"$attnc" mask ragged.attn --shape i=8 -o x.npy
2|length|"$attnc" explain ragged.attn --shape i=8
2|length|"$run" run f32.attnb --kernel ragged $arrays --set len_tok=8
2|segment 0 has slots 4 + 8; the array of keys has 8|"$run" $bare --set width=4 $arrays --segments 4:8:0
2|segment 0 has slots 0 + 2147483647|"$run" $bare --set width=4 $arrays --segments 0:2147483647:0
2|segment 0 has positions 2147483647 + 8|"$run" $bare --set width=4 $arrays --segments 0:8:2147483647
2|is no whole number from 0 to 1073741823|"$run" $bare --set width=4 $arrays --q-position 2147483647
2|--scale is 1e+300; it must fit in f32|"$run" $bare --set width=4 $arrays --scale 1e300
2|'' names no file|"$run" inspect ''
2|'' names no file|"$attnc" check ''
2|'' names no file to write|"$run" $bare --set width=4 --q q.npy --k k.npy --v v.npy --out ''
2|tiles; at most 100000000 are looked at|"$attnc" explain window.attn --shape i=100000000 --target cpu
2|elements; at most 4294967296 are written|"$attnc" mask window.attn --shape i=100000 -o x.npy
2|--heads is 3|"$run" bench f32.attnb --kernel window --heads 3 --kv-heads 2
1|no.attn:|"$attnc" compile no.attn -o x
1|cut.attnb|"$run" inspect cut.attnb
1|broken.npy|"$run" $bare --set width=4 --q broken.npy --k k.npy --v v.npy --out o.npy
1|table length has extent 3|"$run" run f32.attnb --kernel ragged $arrays --set len_tok=8 --table length=two.npy
3|none.attn|"$attnc" compile none.attn -o x
3|none.attnb|"$run" inspect none.attnb
EOF
# A bundle for another device, a part that is given twice.
expect 1 "other.attnb: it has no kernel for cpu; compile its spec with --target cpu" "$run" verify other.attnb
for twice in q.npy ./q.npy; do
  expect 2 "parts are over disjoint keys" "$run" merge f32.attnb --kernel window --o q.npy --lse a.npy --o $twice --lse b.npy --out x.npy
done

# Models. Specs that were edited, given in vain, and sizes that no input has.
"$make_tiny" tiny && cp tiny/step.onnx tiny.onnx || exit 1
expect 0 "(derived)" "$attnc" model tiny.onnx --emit-specs derived -o tiny.attnb
spec=$(echo derived/*.attn)
expect 0 "" "$attnc" model tiny.onnx --emit-specs derived
cp $spec unedited && echo "# mine" >>$spec && cp $spec mine
expect 2 "$spec: --emit-specs would overwrite it, and it differs" "$attnc" model tiny.onnx --emit-specs derived
cmp $spec mine || failures=$((failures + 1))
expect 0 "" "$attnc" model tiny.onnx --emit-specs derived --force
cmp $spec unedited || failures=$((failures + 1))
expect 0 "(given)" "$attnc" model tiny.onnx --spec $spec -o given.attnb
expect 1 "window.attn: no attention node of tiny.onnx takes window; its nodes take" "$attnc" model tiny.onnx --spec window.attn -o x.attnb
[ ! -e x.attnb ] || { echo "FAILED: written all the same"; failures=$((failures + 1)); }
expect 2 "--size has 'n'; write NAME=N" "$attnc" model tiny.onnx --size n -o x.attnb
expect 2 "--size has 'n=0'; write NAME=N" "$attnc" model tiny.onnx --size n=0 -o x.attnb
expect 2 "--size gives n twice" "$attnc" model tiny.onnx --size n=1 --size n=2 -o x.attnb
expect 2 "--force requires --emit-specs" "$attnc" model tiny.onnx --force -o x.attnb
expect 2 "--size names 'batch', which no input has; symbolic dimensions are none" "$attnc" model tiny.onnx --size batch=1 -o x.attnb
"$python" - <<'EOF'
import os
import numpy as np
for name in ("zeros", "nothing", "one", "batch"): os.mkdir(name)
shapes = {"sample": (1, 1, 3, 2, 2), "t": (1, 1), "words": (1, 1), "at": (1,), "length": (1,), "qp": (1, 4),
          "kp": (1, 16), "k0": (1, 1, 16, 16), "v0": (1, 1, 16, 16)}
for name, shape in shapes.items():
    kind = np.int64 if name in ("words", "at", "length", "qp", "kp") else np.float32
    np.save(f"zeros/{name}", np.zeros(shape, kind))
np.save("one/sample", np.ones((1, 1, 3, 2, 2), np.float32))
np.save("batch/sample", np.zeros((2, 1, 3, 2, 2), np.float32))
EOF
model="model tiny.onnx --outputs made"
expect 1 "nothing/sample.npy: there is no such file for input 'sample' of the model; write it, or give --zeros" "$run" $model --inputs nothing
expect 0 "note: 1 attention nodes run as plain operators" "$run" $model --inputs nothing --zeros
cp made/x0.npy zeros.npy
expect 0 "" "$run" $model --inputs zeros
cmp made/x0.npy zeros.npy || failures=$((failures + 1))
expect 0 "" "$run" $model --inputs one --zeros # the array that is there is taken
cmp -s made/x0.npy zeros.npy && { echo "FAILED: the sample is not read"; failures=$((failures + 1)); }
expect 1 "graph input 'sample': is given with shape [2, 1, 3, 2, 2]; the model declares [1, 1, 3, 2, 2]" "$run" $model --inputs batch --zeros
expect 0 "cpu avx" "$run" $model --inputs zeros --bundle tiny.attnb
expect 1 "f32.attnb: no kernel fits an attention node" "$run" $model --inputs zeros --bundle f32.attnb

# Sizes are looked at before memory is taken for them.
bench="bench f32.attnb --kernel window"
expect 2 "q would have" "$run" $bench --heads 16777216 --q-len 16777216
expect 2 "no multiple of the 2 KV heads" "$run" $bench --heads 3 --kv-heads 2
if ! ldd "$run" | grep -q libasan; then
  expect 3 "out of memory" small_memory "$run" $bench --heads 64 --q-len 65536 --kv-len 64
fi

# Files that are no text, or have no end; editors' byte order mark is no part of the text.
(printf '\xef\xbb\xbf' && sed 's/$/\r/' window.attn) >windows.attn
expect 0 "" "$attnc" check windows.attn
(printf '\xff\xfe' && cat window.attn) >utf16.attn
expect 1 "utf16.attn: the text is UTF-16; save it as UTF-8" "$attnc" check utf16.attn
expect 1 "/dev/zero: is longer than 4194304 bytes" timeout 20 "$attnc" check /dev/zero
expect 3 ".: cannot be read: Is a directory" "$attnc" check .
expect 3 ".: cannot be read: Is a directory" "$attnc" compile window.attn --schedules . -o x.attnb
expect 3 ".: cannot be read: Is a directory" timeout 20 "$attnc" tune window.attn --budget 600 --table .
expect 1 "/dev/full: is longer than" timeout 20 "$attnc" tune window.attn --budget 600 --table /dev/full
expect 1 "window.attn: line 1" timeout 20 "$attnc" tune window.attn --budget 600 --table window.attn
sed 's/64 }/64 } 99999999999999999999/; s/1..64/1..99999999999999999999/' window.attn >large.attn
expect 1 "1099511627776 or more does not fit in 32 bits" "$attnc" check large.attn
mkfifo pipe.attnb
expect 3 "pipe.attnb: not a regular file" timeout 20 "$run" inspect pipe.attnb
if ! ldd "$attnc" | grep -q libasan; then
  # Limits from that on under which the libraries can be loaded at all.
  little() { (ulimit -v $1 && exec "$attnc" compile window.attn --target cpu:avx2 -o little.attnb); }
  limit=200000
  until little $limit >out 2>&1 || [ $? -ne 127 ]; do limit=$((limit + 20000)); done
  for more in 0 20000 60000 100000; do
    expect 3 "out of memory: the address space is limited to" little $((limit + more))
  done
  expect 0 "" little $((limit + 500000))
fi

# Packages.
expect 2 "--package requires --output" "$attnc" model tiny.onnx --package --emit-specs derived
expect 0 "" "$attnc" model tiny.onnx --package -o tiny.attnp
expect 0 "checksum right" "$run" inspect tiny.attnp
expect 2 "tiny.attnp: a package has its own kernels; leave --bundle out" "$run" model tiny.attnp --bundle tiny.attnb --inputs nothing --zeros --outputs made
expect 1 "tiny.attnb: the bundle holds kernels alone, no model" "$run" model tiny.attnb --inputs nothing --zeros --outputs made
expect 1 "nothing/sample.npy: there is no such file for input 'sample'" "$run" model tiny.attnp --inputs nothing --outputs made
expect 1 "make the package again with a --target for this device" "$run" model tiny.attnp --inputs nothing --zeros --outputs made --device vulkan
head -c 3000 tiny.attnp >cut.attnp
expect 1 "cut.attnp: truncated bundle: its header says" "$run" model cut.attnp --inputs nothing --zeros --outputs made
expect 3 "No space left" "$attnc" model tiny.onnx --package -o /dev/full

# What is no bundle is not written over.
echo kept >kept.toml
expect 2 "kept.toml: is there already and is no bundle" "$attnc" compile window.attn -o kept.toml
expect 2 "kept.toml: is there already and is no bundle" "$attnc" model tiny.onnx --package -o kept.toml
[ "$(cat kept.toml)" = kept ] || { echo "kept.toml is lost"; failures=$((failures + 1)); }
expect 1 "'/bin/true' wrote nothing" env ATTN_PTXAS=/bin/true "$attnc" compile window.attn --target ptx -o none.attnb

# A full disk behind every kind of output.
for command in "$run inspect f32.attnb" "$run inspect f32.attnb --json" "$run devices" "$run --help" \
  "$attnc explain window.attn --shape i=64" "$attnc explain window.attn --shape i=64 --json" \
  "$attnc explain window.attn --shape i=64 --at q=3" "$attnc diff window.attn window.attn --shape i=8" \
  "$attnc compile window.attn --stop-after attn" "$attnc compile window.attn -o -" "$attnc --help"; do
  expect 3 "cannot write standard output: No space left on device" to_full $command
done
closed() { "$@" >&-; }
expect 3 "cannot write standard output: Bad file descriptor" closed "$run" inspect f32.attnb
expect 3 "cannot write standard output: Bad file descriptor" closed "$attnc" explain window.attn --shape i=64
expect 3 "No space left" "$attnc" compile window.attn -o /dev/full
expect 3 "No space left" "$attnc" mask window.attn --shape i=8 -o /dev/full
[ $failures -eq 0 ] && echo "all bad-input tests passed"
exit $failures
