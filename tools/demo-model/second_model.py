"""Write a second, tiny model with random weights, unlike the demo in all that a runtime
must read from the files: two frames per block, other heads and head dim, two sink
frames, a wide picture, interleaved RoPE, other tensor and node names, flow prediction
and fresh re-noising. Needs numpy and onnx only.

    python second_model.py FOLDER
"""
import argparse
import pathlib

import numpy as np

from description import Streaming, stream_toml
from graph import Config, Names, build

WORDS = ["calm", "wild", "north", "south", "dawn", "dusk", "slow", "fast"]

NAMES = Names(
    sample="latents", timestep="sigma", prompt="tokens", write_index="slot", kv_length="filled",
    q_positions="query_places", k_positions="key_places", prediction="velocity",
    k_in="past.{layer}.key", v_in="past.{layer}.value",
    k_out="present.{layer}.key", v_out="present.{layer}.value",
    layer="blocks.{layer}", self_attention="attn1", cross_attention="attn2")

CONFIG = Config(frames=2, height=16, width=24, patch=4, dim=64, heads=2, layers=3, sink=2,
                window=6, prompt_words=2, vocabulary=len(WORDS), theta=10000.0,
                interleaved=1, names=NAMES)

STREAMING = Streaming(
    name="second", timesteps=[1.0, 0.6, 0.3], renoise="fresh", kind="flow", clamp=[-2.0, 2.0],
    replay_frames=4, recache_sink="keep", default_prompt="calm dawn",
    self_spec="second_self", cross_spec="second_cross", value_range=[-2.0, 2.0], fps=12, scale=8)


def random_weights(config, seed=7):
    """Weights that keep activations near 1, under the names that graph.build asks for."""
    rng = np.random.default_rng(seed)
    names, dim = config.names, config.dim
    weights = {"time.frequencies": 100.0 * np.exp(-np.log(1000.0) * np.arange(32) / 32),
               "words.table": rng.standard_normal((config.vocabulary, dim))}

    def linear(name, rows, columns):
        weights[f"{name}.weight"] = rng.standard_normal((rows, columns)) / rows ** 0.5
        weights[f"{name}.bias"] = 0.1 * rng.standard_normal(columns)

    def modulation(name, parts, scales):
        table = 0.3 * rng.standard_normal((1, 1, parts, dim))
        table[:, :, scales] += 1
        weights[f"{name}.modulation.table"] = table

    patch = 3 * config.patch ** 2
    linear("patch_embed", patch, dim)
    linear("time.fc1", 64, dim)
    linear("time.fc2", dim, dim)
    linear("time.project", dim, 6 * dim)
    linear("head", dim, patch)
    modulation("head", 2, [1])
    for layer in range(config.layers):
        base = names.layer.format(layer=layer)
        attention = f"{base}.{names.self_attention}"
        cross = f"{base}.{names.cross_attention}"
        modulation(base, 6, [1, 4])
        for part in ("q", "k", "v", "out"):
            linear(f"{attention}.{part}", dim, dim)
            linear(f"{cross}.{part}", dim, dim)
        for part in "qk":
            weights[f"{attention}.{part}_norm.weight"] = 1 + 0.1 * rng.standard_normal(
                config.head_dim)
        weights[f"{cross}.pre.weight"] = 1 + 0.1 * rng.standard_normal(dim)
        weights[f"{cross}.pre.bias"] = 0.1 * rng.standard_normal(dim)
        linear(f"{base}.mlp.fc1", dim, 4 * dim)
        linear(f"{base}.mlp.fc2", 4 * dim, dim)
    return {name: np.asarray(value, np.float32) for name, value in weights.items()}


def main():
    parser = argparse.ArgumentParser(description="Write a second model with random weights.")
    parser.add_argument("folder", type=pathlib.Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    model = build(CONFIG, random_weights(CONFIG), "Random weights; made by second_model.py.")
    (options.folder / "step.onnx").write_bytes(model.SerializeToString())
    (options.folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (options.folder / "stream.toml").write_text(stream_toml(CONFIG, STREAMING))


if __name__ == "__main__":
    main()
