"""A plain transformer runs its attention through generated kernels, without a spec or a stream.toml.

The model, made with the `onnx` package, has attention as nodes (causal and grouped, soft cap with a
mask that is an input, window) and spelled out (MatMul, scale, causal mask, Softmax, MatMul). attnc
model derives the specs; attn-run model runs the bundle on cpu and vulkan, and the plain operators.
All are compared with onnx.reference. Then an emitted spec is edited, and the result must follow.

    derive.py ATTNC ATTN_RUN

Exit 77: the onnx package is missing.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np

BATCH, TOKENS, HIDDEN, HEADS, KV = 2, 37, 64, 4, 2
DIM = HIDDEN // HEADS
RNG = np.random.default_rng(7)


def make_model():
    import onnx
    from onnx import helper, numpy_helper

    nodes, constants = [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def emit(op, inputs, name, **attributes):
        nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def linear(x, name, columns):
        weight = constant(f"{name}.w", (RNG.standard_normal((HIDDEN, columns)) / 4).astype(np.float32))
        return emit("MatMul", [x, weight], name)

    def block(x, layer, attend):
        gain = constant(f"{layer}.gain", RNG.uniform(0.5, 2, HIDDEN).astype(np.float32))
        y = emit("RMSNormalization", [x, gain], f"{layer}.norm", axis=-1)
        return emit("Add", [x, attend(y, layer)], f"{layer}.out")

    def node(kv_heads, mask=None, **attributes):
        def attend(x, layer):
            q, k, v = linear(x, f"{layer}.q", HIDDEN), linear(x, f"{layer}.k", DIM * kv_heads), linear(x, f"{layer}.v", DIM * kv_heads)
            return emit("Attention", [q, k, v] + ([mask] if mask else []), f"{layer}.attention",
                        q_num_heads=HEADS, kv_num_heads=kv_heads, **attributes)
        return attend

    heads = constant("heads", np.array([BATCH, TOKENS, HEADS, DIM]))
    flat = constant("flat", np.array([BATCH, TOKENS, HIDDEN]))
    scale = constant("scale", np.float32(0.2))
    never = np.where(np.tri(TOKENS, dtype=bool), 0, -np.inf).astype(np.float32)

    def spelled_out(x, layer):
        def split(part, perm):
            y = emit("Reshape", [linear(x, f"{layer}.{part}", HIDDEN), heads], f"{layer}.{part}.split")
            return emit("Transpose", [y], f"{layer}.{part}.turned", perm=perm)
        q, k, v = split("q", [0, 2, 1, 3]), split("k", [0, 2, 3, 1]), split("v", [0, 2, 1, 3])
        s = emit("MatMul", [q, k], f"{layer}.scores")
        s = emit("Mul", [s, scale], f"{layer}.scaled")
        s = emit("Add", [s, constant(f"{layer}.mask", never)], f"{layer}.masked")
        p = emit("Softmax", [s], f"{layer}.weights")
        o = emit("MatMul", [p, v], f"{layer}.values")
        o = emit("Transpose", [o], f"{layer}.joined", perm=[0, 2, 1, 3])
        return emit("Reshape", [o, flat], f"{layer}.flat")

    x = block("x", "grouped", node(KV, is_causal=1))
    x = block(x, "spelled", spelled_out)
    x = block(x, "capped", node(HEADS, mask="mask", softcap=2.0))
    x = block(x, "windowed", node(HEADS, is_causal=1, left_window_size=5))
    graph = helper.make_graph(
        nodes, "plain",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [BATCH, TOKENS, HIDDEN]),
         helper.make_tensor_value_info("mask", onnx.TensorProto.FLOAT, [BATCH, 1, TOKENS, TOKENS])],
        [helper.make_tensor_value_info(x, onnx.TensorProto.FLOAT, [BATCH, TOKENS, HIDDEN])], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=11), x


def call(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def main():
    try:
        import onnx
        from onnx.reference import ReferenceEvaluator
    except ImportError:
        print("skipped: the onnx package is missing; tools/setup installs it into build/python")
        return 77
    attnc, attn_run = sys.argv[1:]
    model, output = make_model()
    mask = RNG.standard_normal((BATCH, 1, TOKENS, TOKENS)).astype(np.float32)
    mask[RNG.random(mask.shape) < 0.3] = -np.inf
    mask[0, 0, 5] = -np.inf  # a row that sees nothing
    inputs = {"x": RNG.standard_normal((BATCH, TOKENS, HIDDEN)).astype(np.float32), "mask": mask}
    with np.errstate(all="ignore"):
        expected, = ReferenceEvaluator(model).run(None, inputs)

    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        onnx.save(model, folder / "plain.onnx")
        (folder / "in").mkdir()
        for name, value in inputs.items():
            np.save(folder / "in" / f"{name}.npy", value)

        def error_of(*options):
            text = call(attn_run, "model", folder / "plain.onnx", "--inputs", folder / "in", "--outputs", folder / "out", *options)
            made = np.load(folder / "out" / f"{output}.npy")
            return float(np.linalg.norm(made - expected) / np.linalg.norm(expected)), text

        report = call(attnc, "model", folder / "plain.onnx", "--target", "cpu,spirv", "-o", folder / "plain.attnb",
                      "--emit-specs", folder / "specs")
        print(report, end="")
        assert report.count("(derived)") == 4 and "plain operator" not in report, report
        for kind in ("grouped.attention' (Attention): causal_h4_kv2_d16", "spelled.values' (Attention): causal_h4_d16",
                     "capped.attention' (Attention): masked_h4_d16", "windowed.attention' (Attention): window_h4_d16"):
            assert kind in report, kind

        kernels = ["--bundle", folder / "plain.attnb"]
        runs = {"plain operators": [], "cpu": kernels, "vulkan": [*kernels, "--device", "vulkan"]}
        for title, options in runs.items():
            error, text = error_of(*options)
            print(f"{title}: {error:.1e} from onnx.reference")
            assert error < 2e-6, text
            assert not options or text.count(" f32 ") == 4, text

        # The emitted specs are a place to go on from: they are taken where they are given.
        specs = sorted((folder / "specs").iterdir())
        window = next(spec for spec in specs if spec.name.startswith("window"))
        text = window.read_text()
        assert "causal(i) and window(i, 6)" in text, text
        window.write_text(text.replace("window(i, 6)", "window(i, 3)"))
        given = [word for spec in specs for word in ("--spec", spec)]
        report = call(attnc, "model", folder / "plain.onnx", *given, "-o", folder / "edited.attnb")
        assert report.count("(given)") == 4, report
        error, _ = error_of("--bundle", folder / "edited.attnb")
        print(f"window of 3 keys instead of 6: {error:.1e}")
        assert error > 1e-3
    return 0


if __name__ == "__main__":
    sys.exit(main())
