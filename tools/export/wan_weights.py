"""Weights of the Wan 2.1 transformer under the names that diffusers gives them.

Generated ones are functions of the seed alone, with the same bits on every machine:
uniform numbers from the raw words of NumPy's Philox, whose stream is guaranteed.
"""
import numpy as np

from wan_config import VOCABULARY


def shapes(config):
    """{name: shape} of all tensors, in a fixed order."""
    d, out = config.dim, {}

    def linear(name, n_in, n_out):
        out[f"{name}.weight"] = (n_out, n_in)
        out[f"{name}.bias"] = (n_out,)

    area = config.patch * config.patch
    out["scale_shift_table"] = (1, 2, d)
    out["patch_embedding.weight"] = (d, config.channels, 1, config.patch, config.patch)
    out["patch_embedding.bias"] = (d,)
    linear("condition_embedder.time_embedder.linear_1", config.freq_dim, d)
    linear("condition_embedder.time_embedder.linear_2", d, d)
    linear("condition_embedder.time_proj", d, 6 * d)
    linear("condition_embedder.text_embedder.linear_1", config.text_dim, d)
    linear("condition_embedder.text_embedder.linear_2", d, d)
    for layer in range(config.layers):
        block = f"blocks.{layer}"
        out[f"{block}.scale_shift_table"] = (1, 6, d)
        for attention in ("attn1", "attn2"):
            for part in ("to_q", "to_k", "to_v", "to_out.0"):
                linear(f"{block}.{attention}.{part}", d, d)
            for part in ("norm_q", "norm_k"):
                out[f"{block}.{attention}.{part}.weight"] = (d,)
        out[f"{block}.norm2.weight"] = out[f"{block}.norm2.bias"] = (d,)
        linear(f"{block}.ffn.net.0.proj", d, config.ffn)
        linear(f"{block}.ffn.net.2", config.ffn, d)
    linear("proj_out", d, config.channels * area)
    return out


def uniform(count, seed, stream):
    """`count` float32 numbers of mean 0 and deviation 1."""
    words = np.random.Philox(key=seed * 65536 + stream).random_raw((count + 1) // 2)
    bits = words.view(np.uint32)[:count] >> np.uint32(8)
    unit = bits.astype(np.float32) * np.float32(2.0 ** -24) - np.float32(0.5)
    return unit * np.float32(12 ** 0.5)


class Generated:
    """A mapping of names to arrays, each made when it is asked for."""

    def __init__(self, config, seed):
        self.config, self.seed = config, seed
        self.shapes = shapes(config)
        self.streams = {name: i for i, name in enumerate(self.shapes)}

    def __iter__(self):
        return iter(self.shapes)

    def __getitem__(self, name):
        shape = self.shapes[name]
        x = uniform(int(np.prod(shape)), self.seed, self.streams[name]).reshape(shape)
        if name.endswith(("norm_q.weight", "norm_k.weight")):
            gain = self.config.key_gain if "attn1" in name else 1.0
            return np.float32(gain) * (1 + np.float32(0.05) * x)
        if name.endswith("norm2.weight"):
            return 1 + np.float32(0.1) * x
        if name.endswith("bias"):
            return np.float32(0.05) * x
        if name.endswith("scale_shift_table"):
            return np.float32(0.3) * x
        return x / np.float32(np.prod(shape[1:]) ** 0.5)


def word_table(config, seed):
    """Embeddings of the words, which stand in for a text encoder's output."""
    count = len(VOCABULARY) * config.text_dim
    return uniform(count, seed, 65535).reshape(len(VOCABULARY), config.text_dim)
