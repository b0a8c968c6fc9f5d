"""Compares com.microsoft's MultiHeadAttention and GroupQueryAttention with their definition.

Small models are made with the `onnx` package, run by attn-run model on random inputs, and compared with
NumPy in float64, and with ONNX Runtime where its package is installed as well.

    contrib.py ATTN_RUN

Exit 77: the onnx package is missing.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np

MICROSOFT = "com.microsoft"
RNG = np.random.default_rng(20240607)


def floats(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def heads_of(x, heads):
    """(batch, token, head * dim) -> (batch, head, token, dim)"""
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def attention(q, k, v, bias, scale, softcap=0.0):
    """q, k, v: (batch, head, token, dim), fewer KV heads than query heads allowed; float64."""
    group = q.shape[1] // k.shape[1]
    k, v = (np.repeat(x.astype(np.float64), group, axis=1) for x in (k, v))
    s = q.astype(np.float64) @ k.transpose(0, 1, 3, 2) * (scale or 1 / np.sqrt(q.shape[3]))
    if softcap:
        s = softcap * np.tanh(s / softcap)
    s = s + bias
    p = np.exp(s - s.max(-1, keepdims=True))
    o = p / p.sum(-1, keepdims=True) @ v
    return o.transpose(0, 2, 1, 3).reshape(q.shape[0], q.shape[2], -1)


def hidden(seen):
    return np.where(seen, 0.0, -np.inf)


def multi_head(x, a):
    heads = a["num_heads"]
    if x["query"].ndim == 5:  # (batch, token, head, 3, dim)
        q, k, v = (x["query"][:, :, :, i].transpose(0, 2, 1, 3) for i in range(3))
    else:
        parts = [x["query"], x.get("key"), x.get("value")]
        if "bias" in x:
            at = np.cumsum([0] + [p.shape[2] for p in parts])
            parts = [p + x["bias"][at[i] : at[i + 1]] for i, p in enumerate(parts)]
        q = heads_of(parts[0], heads)
        if parts[1].ndim == 5:  # (batch, token, head, 2, dim)
            k, v = (parts[1][:, :, :, i].transpose(0, 2, 1, 3) for i in range(2))
        elif parts[1].ndim == 4:
            k, v = parts[1:]
        else:
            k, v = (heads_of(p, heads) for p in parts[1:])
    if "past_key" in x:
        k, v = (np.concatenate(p, axis=2) for p in ((x["past_key"], k), (x["past_value"], v)))
    bias = x.get("attention_bias", np.zeros(1)).astype(np.float64)
    if "key_padding_mask" in x:
        bias = bias + np.where(x["key_padding_mask"], 0.0, a.get("mask_filter_value", -10000.0))[:, None, None]
    if a.get("unidirectional"):
        rows, keys = q.shape[2], k.shape[2]
        bias = bias + hidden(np.arange(keys) <= np.arange(rows)[:, None] + keys - rows)
    made = {"output": attention(q, k, v, bias, a.get("scale", 0))}
    return made | {"present_key": k, "present_value": v}


def rotate(x, cosine, sine, positions, interleaved):
    """x: (batch, head, token, dim); tables (row, half)"""
    half = cosine.shape[1]
    c, s = (t[positions][:, None] for t in (cosine, sine))
    first, second = (np.s_[..., 0 : 2 * half : 2], np.s_[..., 1 : 2 * half : 2]) if interleaved else (
        np.s_[..., :half], np.s_[..., half : 2 * half])
    y = x.copy()
    y[first] = c * x[first] - s * x[second]
    y[second] = s * x[first] + c * x[second]
    return y


def group_query(x, a):
    heads, kv_heads = a["num_heads"], a["kv_num_heads"]
    if "key" in x:
        q, k, v = x["query"], x["key"], x["value"]
    else:
        dim = x["query"].shape[2] // (heads + 2 * kv_heads)
        q, k, v = np.split(x["query"], [heads * dim, (heads + kv_heads) * dim], axis=2)
    q, k, v = heads_of(q, heads), heads_of(k, kv_heads), heads_of(v, kv_heads)
    batch, rows = q.shape[0], q.shape[2]
    total = x["seqlens_k"].reshape(-1).astype(int) + 1
    first = np.maximum(total - rows, 0)
    positions = first[:, None] + np.arange(rows)
    if a.get("do_rotary"):
        tables = x["cos_cache"], x["sin_cache"], x.get("position_ids", positions), a.get("rotary_interleaved", 0)
        q, k = rotate(q, *tables), rotate(k, *tables)
    past = x["past_key"].shape[2]
    keys = max(past, int(x["total_sequence_length"])) if past else rows
    caches = []
    for old, new in ((x["past_key"], k), (x["past_value"], v)):
        cache = np.zeros((batch, kv_heads, keys, new.shape[3]), np.float32)
        cache[:, :, :past] = old
        for b in range(batch):
            cache[b, :, first[b] : first[b] + rows] = new[b]
        caches.append(cache)
    distance = positions[:, None, :, None] - np.arange(keys)
    seen = distance >= 0
    if a.get("local_window_size", -1) > 0:
        seen &= distance < a["local_window_size"]
    bias = hidden(seen)
    if "attention_bias" in x:
        short = [(0, 0)] * 3 + [(0, keys - x["attention_bias"].shape[3])]
        bias = bias + np.pad(x["attention_bias"], short)
    made = {"output": attention(q, *caches, bias, a.get("scale", 0), a.get("softcap", 0))}
    return made | {"present_key": caches[0], "present_value": caches[1]}


MULTI_HEAD = ["query", "key", "value", "bias", "key_padding_mask", "attention_bias", "past_key", "past_value"]
GROUP_QUERY = ["query", "key", "value", "past_key", "past_value", "seqlens_k", "total_sequence_length",
               "cos_cache", "sin_cache", "position_ids", "attention_bias"]


def multi_head_cases():
    b, s, n, d, t = 2, 3, 4, 8, 5
    three = {"query": floats(b, s, n * d), "key": floats(b, t, n * d), "value": floats(b, t, n * d)}
    past = {"past_key": floats(b, n, 6, d), "past_value": floats(b, n, 6, d)}
    yield "separate", three, {}
    yield "scaled", three, {"scale": 0.2}
    yield "bias of Q, K, V", three | {"bias": floats(3 * n * d)}, {}
    yield "packed K and V", {"query": floats(b, s, n * d), "key": floats(b, t, n, 2, d)}, {}
    yield "packed Q, K and V", {"query": floats(b, s, n, 3, d)}, {}
    yield "whole K and V", {"query": floats(b, s, n * d), "key": floats(b, n, t, d), "value": floats(b, n, t, d)}, {}
    mask = np.array([[1, 0, 1, 1, 0], [0, 1, 0, 0, 1]], np.int32)
    yield "padding mask", three | {"key_padding_mask": mask}, {}
    yield "masked wholly", three | {"key_padding_mask": mask * np.array([[0], [1]], np.int32)}, {"mask_filter_value": -30.0}
    yield "bias of scores", three | {"attention_bias": floats(1, n, s, t)}, {}
    yield "both", three | {"attention_bias": floats(b, 1, s, t), "key_padding_mask": mask}, {}
    yield "past", three | past, {}
    own = {"query": floats(b, s, n * d), "key": floats(b, s, n * d), "value": floats(b, s, n * d)}
    yield "causal", own, {"unidirectional": 1}
    yield "causal with past", own | past, {"unidirectional": 1}


def group_query_cases():
    b, n, m, d = 2, 4, 2, 16
    def inputs(rows, past, total, packed=False):
        x = {"query": floats(b, rows, (n + 2 * m) * d)} if packed else {
            "query": floats(b, rows, n * d), "key": floats(b, rows, m * d), "value": floats(b, rows, m * d)}
        return x | {
            "past_key": floats(b, m, past, d), "past_value": floats(b, m, past, d),
            "seqlens_k": np.array(total, np.int32) - 1, "total_sequence_length": np.array(max(total), np.int32)}
    tables = {"cos_cache": floats(20, d // 2), "sin_cache": floats(20, d // 2)}
    partial = {"cos_cache": floats(20, d // 4), "sin_cache": floats(20, d // 4)}  # ONNX Runtime wants 8, 16, ...
    yield "prompt", inputs(5, 0, [5, 5]), {}
    yield "packed prompt", inputs(5, 0, [5, 5], packed=True), {}
    yield "next token", inputs(1, 7, [8, 8]), {}
    yield "next token of unequal lengths", inputs(1, 12, [4, 9]), {}
    yield "softcap and scale", inputs(1, 7, [8, 8]), {"softcap": 3.0, "scale": 0.4}
    yield "window", inputs(6, 0, [6, 6]), {"local_window_size": 3}
    yield "window at the next token", inputs(1, 12, [12, 9]), {"local_window_size": 4}
    yield "rotary prompt", inputs(5, 0, [5, 5]) | tables, {"do_rotary": 1}
    yield "rotary next token", inputs(1, 12, [4, 9]) | tables, {"do_rotary": 1}
    yield "rotary, interleaved, packed", inputs(1, 12, [4, 9], packed=True) | tables, {"do_rotary": 1, "rotary_interleaved": 1}
    yield "rotary, in part", inputs(1, 12, [4, 9]) | partial, {"do_rotary": 1}
    yield "bias of scores", inputs(1, 12, [9, 9]) | {"attention_bias": floats(1, n, 1, 9)}, {}


def make_model(op, order, x, attributes, made):
    import onnx
    from onnx import helper

    types = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in x.items()}
    names = [name if name in x else "" for name in order]
    while not names[-1]:
        names.pop()
    node = helper.make_node(op, names, list(made), name="attend", domain=MICROSOFT, **attributes)
    graph = helper.make_graph(
        [node], "case",
        [helper.make_tensor_value_info(name, types[name], x[name].shape) for name in order if name in x],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, value.shape) for name, value in made.items()])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def run_ours(program, model, x, names):
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        (folder / "in").mkdir()
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        for name, value in x.items():
            np.save(folder / "in" / f"{name}.npy", value)
        done = subprocess.run([program, "model", folder / "model.onnx", "--inputs", folder / "in", "--outputs", folder / "out"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return {name: np.load(folder / "out" / f"{name}.npy") for name in names}


def run_onnxruntime(model, x):
    """None where the package is missing, or where its CPU kernels lack the form."""
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    try:
        return dict(zip([o.name for o in session.get_outputs()], session.run(None, x)))
    except Exception as refused:  # onnxruntime.capi has no public base class
        print(f"ONNX Runtime: {str(refused).splitlines()[0]}")
        return None


def worst(made, expected, names):
    return max(float(np.abs(made[n] - expected[n]).max()) if made[n].shape == expected[n].shape else np.inf
               for n in names)


def main():
    try:
        import onnx  # noqa: F401
    except ImportError:
        print("skipped: the onnx package is missing; tools/setup installs it into build/python")
        return 77
    failed = compared = 0
    for op, order, define, cases in (
        ("MultiHeadAttention", MULTI_HEAD, multi_head, multi_head_cases()),
        ("GroupQueryAttention", GROUP_QUERY, group_query, group_query_cases()),
    ):
        for title, x, attributes in cases:
            attributes = {"num_heads": 4} | ({"kv_num_heads": 2} if op == "GroupQueryAttention" else {}) | attributes
            expected = define(x, attributes)
            if op == "MultiHeadAttention" and "past_key" not in x:
                expected = {"output": expected["output"]}
            model = make_model(op, order, x, attributes, expected)
            ours = run_ours(sys.argv[1], model, x, expected)
            theirs = run_onnxruntime(model, x)
            error = worst(ours, expected, expected)
            line = f"{op}, {title}: {error:.1e} from the definition"
            if theirs is not None:
                compared += 1
                # Slots of the cache behind the last key are nobody's.
                other = worst(theirs, expected, ["output"])
                line += f"; ONNX Runtime {other:.1e}"
                error = max(error, other)
            failed += error > 2e-5
            print(line + ("  FAILED" if error > 2e-5 else ""))
    print(f"{failed} failed; {compared} were compared with ONNX Runtime, too")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
