"""The streaming network as an ONNX graph, written node by node.

Input: a Config and a dictionary of NumPy weights (linear weights stored [in, out]).
Output: an ONNX model in which every node and initializer has a readable name, for
example `layers.0.self_attn` for the attention itself. One call of the model is one
pass over one block: it overwrites the block's keys and values in the caches, ropes
the whole key cache and lets every query see all valid slots.
"""
from dataclasses import dataclass, field

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


@dataclass
class Names:
    """Names of the graph's inputs, outputs and attention nodes; {layer} is filled in."""
    sample: str = "sample"
    timestep: str = "timestep"
    prompt: str = "prompt"
    write_index: str = "write_index"
    kv_length: str = "kv_length"
    q_positions: str = "q_position_ids"
    k_positions: str = "k_position_ids"
    prediction: str = "x0"
    k_in: str = "k_cache.{layer}"
    v_in: str = "v_cache.{layer}"
    k_out: str = "k_cache.{layer}.out"
    v_out: str = "v_cache.{layer}.out"
    layer: str = "layers.{layer}"
    self_attention: str = "self_attn"
    cross_attention: str = "cross_attn"


@dataclass
class Config:
    """Sizes and variants of the network."""
    frames: int          # frames per block
    height: int
    width: int
    patch: int
    dim: int
    heads: int
    layers: int
    sink: int            # frames
    window: int          # frames, including the current block
    prompt_words: int
    vocabulary: int
    theta: float = 100.0
    interleaved: int = 0
    opset: int = 24
    names: Names = field(default_factory=Names)

    @property
    def head_dim(self):
        return self.dim // self.heads

    @property
    def grid(self):
        return self.height // self.patch, self.width // self.patch

    @property
    def tokens(self):
        return self.grid[0] * self.grid[1]

    @property
    def slots(self):
        return (self.sink + self.window) * self.tokens


def rope_tables(config):
    """cos and sin [slots, head_dim / 2] of the positions (time, y, x)."""
    time_pairs = config.head_dim // 8
    space_pairs = (config.head_dim // 2 - time_pairs) // 2
    token = np.arange(config.slots)
    rows, columns = config.grid
    axes = [(token // (rows * columns), time_pairs), (token // columns % rows, space_pairs),
            (token % columns, space_pairs)]
    angle = np.concatenate([p[:, None] * config.theta ** (-np.arange(n) / n) for p, n in axes], 1)
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


class Builder:
    """Collects nodes and initializers; a node's first output carries the node's name."""

    def __init__(self, weights):
        self.weights, self.nodes, self.initializers, self.known = weights, [], [], set()

    def constant(self, name, value, dtype=np.float32):
        if name not in self.known:
            self.known.add(name)
            array = np.ascontiguousarray(np.asarray(value, dtype))
            self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, name):
        return self.constant(name, self.weights[name])

    def op(self, kind, name, *inputs, outputs=None, **attributes):
        outputs = outputs or [name]
        self.nodes.append(helper.make_node(kind, list(inputs), outputs, name, **attributes))
        return outputs[0] if len(outputs) == 1 else outputs

    def reshape(self, name, x, *shape):
        label = "shape." + "x".join(map(str, shape))
        return self.op("Reshape", name, x, self.constant(label, shape, np.int64))

    def linear(self, name, x):
        y = self.op("MatMul", f"{name}.matmul", x, self.weight(f"{name}.weight"))
        return self.op("Add", name, y, self.weight(f"{name}.bias"))

    def silu(self, name, x):
        return self.op("Mul", name, x, self.op("Sigmoid", f"{name}.sigmoid", x))


def _heads(g, config, name, x, count):
    """[.., count tokens, d] -> [1, heads, count, D]."""
    x = g.reshape(f"{name}.split", x, 1, count, config.heads, config.head_dim)
    return g.op("Transpose", f"{name}.heads", x, perm=[0, 2, 1, 3])


def _norm_heads(g, config, name, x, count):
    """Split into heads with an RMS norm over each head."""
    x = g.reshape(f"{name}.split", x, 1, count, config.heads, config.head_dim)
    x = g.op("RMSNormalization", f"{name}.norm", x, g.weight(f"{name}_norm.weight"),
             axis=-1, epsilon=1e-6)
    return g.op("Transpose", f"{name}.heads", x, perm=[0, 2, 1, 3])


def _merge_heads(g, config, name, x):
    """[1, heads, F T, D] -> [1, F, T, d]."""
    x = g.op("Transpose", f"{name}.tokens", x, perm=[0, 2, 1, 3])
    return g.reshape(f"{name}.merge", x, 1, config.frames, config.tokens, config.dim)


def _modulated_norm(g, config, name, x, shift, scale):
    """LayerNorm without weights, times `scale` (1 is already inside), plus `shift`."""
    ones = g.constant("ones", np.ones(config.dim))
    x = g.op("LayerNormalization", f"{name}.plain", x, ones, axis=-1, epsilon=1e-6)
    return g.op("Add", name, g.op("Mul", f"{name}.scaled", x, scale), shift)


def _self_attention(g, config, layer, name, y):
    names, count = config.names, config.frames * config.tokens
    q = _norm_heads(g, config, f"{name}.q", g.linear(f"{name}.q", y), count)
    k = _norm_heads(g, config, f"{name}.k", g.linear(f"{name}.k", y), count)
    v = _heads(g, config, f"{name}.v", g.linear(f"{name}.v", y), count)
    caches = []
    for label, new, old, out in (("k", k, names.k_in, names.k_out),
                                 ("v", v, names.v_in, names.v_out)):
        caches.append(g.op("TensorScatter", f"{name}.{label}.write", old.format(layer=layer), new,
                           names.write_index, outputs=[out.format(layer=layer)], axis=-2))
    cos, sin = rope_tables(config)
    tables = g.constant("rope.cos", cos), g.constant("rope.sin", sin)
    q = g.op("RotaryEmbedding", f"{name}.q.rope", q, *tables, names.q_positions,
             interleaved=config.interleaved)
    k = g.op("RotaryEmbedding", f"{name}.k.rope", caches[0], *tables, names.k_positions,
             interleaved=config.interleaved)
    out = g.op("Attention", name, q, k, caches[1], "", "", "", names.kv_length)
    return g.linear(f"{name}.out", _merge_heads(g, config, name, out))


def _cross_attention(g, config, name, x, words):
    count = config.frames * config.tokens
    x = g.op("LayerNormalization", f"{name}.pre", x, g.weight(f"{name}.pre.weight"),
             g.weight(f"{name}.pre.bias"), axis=-1, epsilon=1e-6)
    q = _heads(g, config, f"{name}.q", g.linear(f"{name}.q", x), count)
    k = _heads(g, config, f"{name}.k", g.linear(f"{name}.k", words), config.prompt_words)
    v = _heads(g, config, f"{name}.v", g.linear(f"{name}.v", words), config.prompt_words)
    out = g.op("Attention", name, q, k, v)
    return g.linear(f"{name}.out", _merge_heads(g, config, name, out))


def _layer(g, config, layer, x, time, words):
    names = config.names
    base = names.layer.format(layer=layer)
    m = g.op("Add", f"{base}.modulation", time, g.weight(f"{base}.modulation.table"))
    m = g.op("Split", f"{base}.modulation.parts", m, axis=2, num_outputs=6,
             outputs=[f"{base}.{part}" for part in ("shift1", "scale1", "gate1",
                                                    "shift2", "scale2", "gate2")])
    y = _modulated_norm(g, config, f"{base}.norm1", x, m[0], m[1])
    y = _self_attention(g, config, layer, f"{base}.{names.self_attention}", y)
    x = g.op("Add", f"{base}.after_self", x, g.op("Mul", f"{base}.gated_self", y, m[2]))
    y = _cross_attention(g, config, f"{base}.{names.cross_attention}", x, words)
    x = g.op("Add", f"{base}.after_cross", x, y)
    y = _modulated_norm(g, config, f"{base}.norm2", x, m[3], m[4])
    y = g.op("Gelu", f"{base}.mlp.gelu", g.linear(f"{base}.mlp.fc1", y), approximate="tanh")
    y = g.linear(f"{base}.mlp.fc2", y)
    return g.op("Add", f"{base}.after_mlp", x, g.op("Mul", f"{base}.gated_mlp", y, m[5]))


def _embed(g, config):
    """Patch tokens [1, F, T, d]; time embedding [1, F, d] and modulations [1, F, 6, d];
    word embeddings [1, words, d]."""
    f, (rows, columns), p, names = config.frames, config.grid, config.patch, config.names
    x = g.reshape("patches.split", names.sample, f, 3, rows, p, columns, p)
    x = g.op("Transpose", "patches.order", x, perm=[0, 2, 4, 1, 3, 5])
    x = g.reshape("patches", x, 1, f, config.tokens, 3 * p * p)
    x = g.linear("patch_embed", x)
    t = g.reshape("time.column", names.timestep, 1, f, 1)
    angle = g.op("Mul", "time.angle", t, g.weight("time.frequencies"))
    e = g.op("Concat", "time.waves", g.op("Cos", "time.cos", angle),
             g.op("Sin", "time.sin", angle), axis=-1)
    e = g.linear("time.fc2", g.silu("time.silu", g.linear("time.fc1", e)))
    m = g.linear("time.project", g.silu("time.silu2", e))
    words = g.op("Gather", "words", g.weight("words.table"), names.prompt, axis=0)
    return x, e, g.reshape("time.modulation", m, 1, f, 6, config.dim), words


def _head(g, config, x, e):
    """Tokens to frames [1, F, 3, H, W]."""
    f, (rows, columns), p = config.frames, config.grid, config.patch
    m = g.op("Add", "head.modulation", g.reshape("head.time", e, 1, f, 1, config.dim),
             g.weight("head.modulation.table"))
    shift, scale = g.op("Split", "head.modulation.parts", m, axis=2, num_outputs=2,
                        outputs=["head.shift", "head.scale"])
    x = g.linear("head", _modulated_norm(g, config, "head.norm", x, shift, scale))
    x = g.reshape("frames.split", x, f, rows, columns, 3, p, p)
    x = g.op("Transpose", "frames.order", x, perm=[0, 3, 1, 4, 2, 5])
    shape = g.constant("shape.frames", [1, f, 3, config.height, config.width], np.int64)
    return g.op("Reshape", "frames", x, shape, outputs=[config.names.prediction])


def build(config, weights, description):
    """The checked ONNX model of one streaming pass."""
    g, names, f = Builder(weights), config.names, config.frames
    x, e, time, words = _embed(g, config)
    for layer in range(config.layers):
        x = _layer(g, config, layer, x, time, words)
    _head(g, config, x, e)
    frame = [1, f, 3, config.height, config.width]
    cache = [1, config.heads, config.slots, config.head_dim]
    value = helper.make_tensor_value_info
    inputs = [value(names.sample, FLOAT, frame), value(names.timestep, FLOAT, [1, f]),
              value(names.prompt, INT64, [1, config.prompt_words]),
              value(names.write_index, INT64, [1]), value(names.kv_length, INT64, [1]),
              value(names.q_positions, INT64, [1, f * config.tokens]),
              value(names.k_positions, INT64, [1, config.slots])]
    outputs = [value(names.prediction, FLOAT, frame)]
    for layer in range(config.layers):
        for cache_in, cache_out in ((names.k_in, names.k_out), (names.v_in, names.v_out)):
            inputs.append(value(cache_in.format(layer=layer), FLOAT, cache))
            outputs.append(value(cache_out.format(layer=layer), FLOAT, cache))
    graph = helper.make_graph(g.nodes, "step", inputs, outputs, g.initializers,
                              doc_string=description)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", config.opset)],
                              ir_version=11, producer_name="attnc demo model")
    checker.check_model(model, full_check=True)
    return model
