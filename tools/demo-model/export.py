"""Write trained weights as demo/step.onnx with vocab.txt and stream.toml.

    python export.py weights.pt demo
"""
import argparse
import pathlib

import numpy as np
import torch

import world
from description import Streaming, stream_toml
from graph import Config, build
from model import Shape, time_frequencies

ABOUT = "One pass over one frame of attnc's demo model; see tools/demo-model/README.md."

STREAMING = Streaming(
    name="demo", timesteps=[1.0, 0.75, 0.5, 0.25], renoise="euler", kind="x0",
    clamp=[-1.0, 1.0], replay_frames=7, recache_sink="refresh",
    default_prompt="red circle left", self_spec="demo_self", cross_spec="demo_cross",
    value_range=[-1.0, 1.0], fps=24, scale=6)


def demo_config(patch):
    shape = Shape(patch=patch)
    return Config(frames=1, height=shape.size, width=shape.size, patch=patch, dim=shape.dim,
                  heads=shape.heads, layers=shape.layers, sink=1, window=shape.slots - 1,
                  prompt_words=3, vocabulary=len(world.VOCABULARY), theta=shape.theta)


def graph_weights(state, layers):
    """The checkpoint's tensors under the graph's names, linear weights transposed."""
    state = {name: value.float().numpy() for name, value in state.items()}
    out = {"time.frequencies": time_frequencies().numpy(),
           "words.table": state["words.weight"][:-1]}

    def linear(target, source):
        out[f"{target}.weight"] = state[f"{source}.weight"].T
        out[f"{target}.bias"] = state[f"{source}.bias"]

    def modulation(target, source, scales):
        """Scales enter as 1 + scale: the 1 is folded into the table."""
        table = state[source].copy()
        table[scales] += 1
        out[f"{target}.modulation.table"] = table[None, None]

    for target, source in (("patch_embed", "patch_embed"), ("time.fc1", "time1"),
                           ("time.fc2", "time2"), ("time.project", "time_project"),
                           ("head", "head")):
        linear(target, source)
    modulation("head", "head_modulation", [1])
    for layer in range(layers):
        base, block = f"layers.{layer}", f"blocks.{layer}"
        modulation(base, f"{block}.modulation", [1, 4])
        for target, source in (("q", "q"), ("k", "k"), ("v", "v"), ("out", "o")):
            linear(f"{base}.self_attn.{target}", f"{block}.{source}")
            linear(f"{base}.cross_attn.{target}", f"{block}.cross_{source}")
        for part in "qk":
            out[f"{base}.self_attn.{part}_norm.weight"] = state[f"{block}.{part}_norm"]
        for part in ("weight", "bias"):
            out[f"{base}.cross_attn.pre.{part}"] = state[f"{block}.cross_norm.{part}"]
        linear(f"{base}.mlp.fc1", f"{block}.fc1")
        linear(f"{base}.mlp.fc2", f"{block}.fc2")
    return out


def shorten(weights, bits):
    """Keep `bits` mantissa bits of every weight, so that the file compresses well."""
    def one(array):
        mantissa, exponent = np.frexp(array)
        return np.ldexp(np.round(mantissa * 2 ** bits) / 2 ** bits, exponent).astype(np.float32)
    return {name: one(array) if array.size > 4096 else array for name, array in weights.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--raw", action="store_true",
                        help="the last weights, not their average (after the rate has fallen)")
    parser.add_argument("--mantissa-bits", type=int, help="round the weights (preview exports)")
    options = parser.parse_args()
    checkpoint = torch.load(options.checkpoint, map_location="cpu")
    config = demo_config(checkpoint["patch"])
    state = checkpoint["raw" if options.raw else "weights"]
    weights = graph_weights(state, config.layers)
    if options.mantissa_bits:
        weights = shorten(weights, options.mantissa_bits)
    options.folder.mkdir(parents=True, exist_ok=True)
    model = build(config, weights, ABOUT).SerializeToString()
    (options.folder / "step.onnx").write_bytes(model)
    (options.folder / "vocab.txt").write_text("\n".join(world.VOCABULARY) + "\n")
    (options.folder / "stream.toml").write_text(stream_toml(config, STREAMING))
    print(f"{options.folder}/step.onnx: {len(model)} bytes, training step {checkpoint['step']}")


if __name__ == "__main__":
    main()
