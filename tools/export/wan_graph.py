"""The Wan 2.1 transformer as one streaming pass, an ONNX graph written node by node.

One call is one pass over one block of frames. It rotates the block's keys by the numbers
of its frames, overwrites the block's place in the caches with them, and lets every query
see all slots that are valid. Initializers come from a mapping with diffusers' names.
"""
import pathlib
import sys

import numpy as np
from onnx import TensorProto, helper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo-model"))
from graph import Builder  # noqa: E402
from weight_file import initializer, is_narrow, to_bf16, to_int8  # noqa: E402

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
EPSILON = 1e-6


def time_frequencies(config):
    half = config.freq_dim // 2
    exponent = -np.log(10000.0) * np.arange(half, dtype=np.float32)
    return np.exp((exponent / half).astype(np.float32))


def rope_table(dims, count, theta):
    """cos and sin [count, dims / 2] of positions 0 to count - 1."""
    frequency = theta ** -(np.arange(0, dims, 2, dtype=np.float64) / dims)
    angle = np.arange(count, dtype=np.float64)[:, None] * frequency
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


class WanBuilder(Builder):
    """Nodes of the network; large weights go where `store` puts them."""

    def __init__(self, config, weights, store, kind):
        super().__init__(weights)
        self.config, self.store, self.kind = config, store, kind

    def constant(self, name, value, dtype=np.float32):
        return self.stored(name, np.asarray(value, dtype))

    def stored(self, name, array, data_type=None):
        if name not in self.known:
            self.known.add(name)
            self.initializers.append(initializer(name, array, self.store, data_type))
        return name

    def matrix(self, name):
        """A linear layer's weight as [in, out], widened where it is stored in a narrow type."""
        weight = self.weights[name]
        if not is_narrow(name, weight, self.kind):
            return self.constant(name, weight.T)
        if self.kind == "bf16":
            bits = self.stored(f"{name}.bf16", to_bf16(weight).T, TensorProto.BFLOAT16)
            return self.op("Cast", name, bits, to=FLOAT)
        values, scales = to_int8(weight)
        return self.op("DequantizeLinear", name, self.stored(f"{name}.int8", values.T),
                       self.stored(f"{name}.scale", scales), axis=1)

    def linear(self, name, x):
        y = self.op("MatMul", f"{name}.matmul", x, self.matrix(f"{name}.weight"))
        return self.op("Add", name, y, self.weight(f"{name}.bias"))

    def heads(self, name, x, count):
        """[1, ..., d] -> [1, heads, count, D]."""
        c = self.config
        x = self.reshape(f"{name}.split", x, 1, count, c.heads, c.head_dim)
        return self.op("Transpose", f"{name}.heads", x, perm=[0, 2, 1, 3])

    def merge(self, name, x):
        c = self.config
        x = self.op("Transpose", f"{name}.tokens", x, perm=[0, 2, 1, 3])
        return self.reshape(f"{name}.merge", x, 1, c.frames, c.frame_tokens, c.dim)

    def rms(self, name, x):
        """Over all heads at once, as Wan has it."""
        return self.op("RMSNormalization", name, x, self.weight(f"{name}.weight"), axis=-1,
                       epsilon=EPSILON)

    def modulated(self, name, x, shift, scale):
        ones = self.constant("ones", np.ones(self.config.dim))
        x = self.op("LayerNormalization", f"{name}.plain", x, ones, axis=-1, epsilon=EPSILON)
        return self.op("Add", name, self.op("Mul", f"{name}.scaled", x, scale), shift)

    def modulation(self, name, time, scales):
        """Shifts, scales and gates: a learned table plus the time's; a scale counts from 1."""
        table = np.array(self.weights[name])
        table[:, scales] += 1
        parts = table.shape[1]
        table = self.constant(name, table[:, None])                     # [1, 1, parts, d]
        m = self.op("Add", f"{name}.sum", time, table)
        return self.op("Split", f"{name}.parts", m, axis=2, num_outputs=parts,
                       outputs=[f"{name}.{i}" for i in range(parts)])


def rotation(g):
    """cos and sin [1, tokens, D / 2] of the block, from the numbers of its frames."""
    c, (rows, columns) = g.config, g.config.grid
    grid = (1, c.frames, rows, columns)
    tables = []
    for i, name in enumerate(("cos", "sin")):
        time, row, column = (rope_table(dims, count, c.theta)[i] for dims, count in
                             zip(c.rope_dims, (c.most_frames, rows, columns)))
        place = np.concatenate([
            np.broadcast_to(row[None, None, :, None], grid + row.shape[1:]),
            np.broadcast_to(column[None, None, None, :], grid + column.shape[1:])], -1)
        t = g.op("Gather", f"rope.{name}.frames", g.constant(f"rope.{name}.time", time),
                 "q_frames", axis=0)
        t = g.reshape(f"rope.{name}.column", t, 1, c.frames, 1, 1, time.shape[1])
        shape = g.constant(f"shape.rope.{name}", [*grid, time.shape[1]], np.int64)
        t = g.op("Expand", f"rope.{name}.grid", t, shape)
        t = g.op("Concat", f"rope.{name}.axes", t, g.constant(f"rope.{name}.place", place), axis=-1)
        tables.append(g.reshape(f"rope.{name}", t, 1, c.tokens, c.head_dim // 2))
    return tables


def embed(g):
    """Tokens [1, F, T, d]; time [1, F, d]; modulations [1, F, 6, d]; text [1, L, d]."""
    c = g.config
    x = g.op("Transpose", "sample.channels", "sample", perm=[0, 2, 1, 3, 4])
    stride = [1, c.patch, c.patch]
    x = g.op("Conv", "patch_embedding", x, g.weight("patch_embedding.weight"),
             g.weight("patch_embedding.bias"), kernel_shape=stride, strides=stride)
    x = g.reshape("patches.flat", x, 1, c.dim, c.tokens)
    x = g.op("Transpose", "patches.order", x, perm=[0, 2, 1])
    x = g.reshape("patches", x, 1, c.frames, c.frame_tokens, c.dim)

    t = g.op("Mul", "time.level", "timestep", g.constant("time.thousand", 1000.0))
    t = g.reshape("time.column", t, 1, c.frames, 1)
    angle = g.op("Mul", "time.angle", t, g.constant("time.frequencies", time_frequencies(c)))
    e = g.op("Concat", "time.waves", g.op("Cos", "time.cos", angle),
             g.op("Sin", "time.sin", angle), axis=-1)
    base = "condition_embedder"
    e = g.silu("time.silu", g.linear(f"{base}.time_embedder.linear_1", e))
    e = g.linear(f"{base}.time_embedder.linear_2", e)
    m = g.linear(f"{base}.time_proj", g.silu("time.silu2", e))
    m = g.reshape("time.modulation", m, 1, c.frames, 6, c.dim)

    words = g.op("Gather", "text.words", g.weight("words.table"), "prompt", axis=0)
    pads = g.constant("text.padding", np.zeros((1, c.text_tokens - c.words, c.text_dim)))
    text = g.op("Concat", "text", words, pads, axis=1)
    text = g.linear(f"{base}.text_embedder.linear_1", text)
    text = g.op("Gelu", "text.gelu", text, approximate="tanh")
    return x, e, m, g.linear(f"{base}.text_embedder.linear_2", text)


def self_attention(g, layer, name, y, tables):
    c = g.config
    q = g.heads(f"{name}.q", g.rms(f"{name}.norm_q", g.linear(f"{name}.to_q", y)), c.tokens)
    k = g.heads(f"{name}.k", g.rms(f"{name}.norm_k", g.linear(f"{name}.to_k", y)), c.tokens)
    v = g.heads(f"{name}.v", g.linear(f"{name}.to_v", y), c.tokens)
    q = g.op("RotaryEmbedding", f"{name}.q.rope", q, *tables, interleaved=1)
    k = g.op("RotaryEmbedding", f"{name}.k.rope", k, *tables, interleaved=1)
    caches = [g.op("TensorScatter", f"{name}.{label}.write", f"{label}_cache.{layer}", new,
                   "write_index", outputs=[f"{label}_cache.{layer}.out"], axis=-2)
              for label, new in (("k", k), ("v", v))]
    out = g.op("Attention", name, q, *caches, "", "", "", "kv_length")
    return g.linear(f"{name}.to_out.0", g.merge(name, out))


def cross_attention(g, name, x, text):
    c = g.config
    q = g.heads(f"{name}.q", g.rms(f"{name}.norm_q", g.linear(f"{name}.to_q", x)), c.tokens)
    k = g.rms(f"{name}.norm_k", g.linear(f"{name}.to_k", text))
    k = g.heads(f"{name}.k", k, c.text_tokens)
    v = g.heads(f"{name}.v", g.linear(f"{name}.to_v", text), c.text_tokens)
    out = g.op("Attention", name, q, k, v)
    return g.linear(f"{name}.to_out.0", g.merge(name, out))


def block(g, layer, x, time, text, tables):
    name = f"blocks.{layer}"
    shift1, scale1, gate1, shift2, scale2, gate2 = g.modulation(f"{name}.scale_shift_table", time,
                                                                [1, 4])
    y = g.modulated(f"{name}.norm1", x, shift1, scale1)
    y = self_attention(g, layer, f"{name}.attn1", y, tables)
    x = g.op("Add", f"{name}.after_self", x, g.op("Mul", f"{name}.gated_self", y, gate1))
    y = g.op("LayerNormalization", f"{name}.norm2", x,
             g.weight(f"{name}.norm2.weight"), g.weight(f"{name}.norm2.bias"), axis=-1,
             epsilon=EPSILON)
    x = g.op("Add", f"{name}.after_cross", x, cross_attention(g, f"{name}.attn2", y, text))
    y = g.modulated(f"{name}.norm3", x, shift2, scale2)
    y = g.op("Gelu", f"{name}.ffn.gelu", g.linear(f"{name}.ffn.net.0.proj", y), approximate="tanh")
    y = g.linear(f"{name}.ffn.net.2", y)
    return g.op("Add", f"{name}.after_ffn", x, g.op("Mul", f"{name}.gated_ffn", y, gate2))


def head(g, x, e):
    """Tokens to the flow, frames [1, F, C, H, W]."""
    c, (rows, columns) = g.config, g.config.grid
    shift, scale = g.modulation("scale_shift_table", g.reshape("head.time", e, 1, c.frames, 1, c.dim),
                                [1])
    x = g.linear("proj_out", g.modulated("norm_out", x, shift, scale))
    x = g.reshape("flow.split", x, c.frames, rows, columns, c.patch, c.patch, c.channels)
    x = g.op("Transpose", "flow.order", x, perm=[0, 5, 1, 3, 2, 4])
    shape = g.constant("shape.flow", [1, c.frames, c.channels, c.height, c.width], np.int64)
    return g.op("Reshape", "flow.frames", x, shape, outputs=["flow"])


def build(config, weights, store=None, kind="f32", about=""):
    """The ONNX model of one pass; `weights` has diffusers' names and "words.table". They go into
    `store`, or into the model where that is None, matrices in the type `kind`."""
    g, c = WanBuilder(config, weights, store, kind), config
    x, e, time, text = embed(g)
    tables = rotation(g)
    for layer in range(c.layers):
        x = block(g, layer, x, time, text, tables)
    head(g, x, e)
    frames = [1, c.frames, c.channels, c.height, c.width]
    cache = [1, c.heads, c.slots, c.head_dim]
    value = helper.make_tensor_value_info
    inputs = [value("sample", FLOAT, frames), value("timestep", FLOAT, [1, c.frames]),
              value("prompt", INT64, [1, c.words]), value("write_index", INT64, [1]),
              value("kv_length", INT64, [1]), value("q_frames", INT64, [1, c.frames])]
    outputs = [value("flow", FLOAT, frames)]
    for layer in range(c.layers):
        for label in "kv":
            inputs.append(value(f"{label}_cache.{layer}", FLOAT, cache))
            outputs.append(value(f"{label}_cache.{layer}.out", FLOAT, cache))
    graph = helper.make_graph(g.nodes, c.name, inputs, outputs, g.initializers, doc_string=about)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=11,
                             producer_name="attnc tools/export")
