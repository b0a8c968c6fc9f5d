"""Stream a generated Wan model with attn-stream and compare it with PyTorch.

    python compare_wan.py small --bin build/bin --device cpu --json wan_small_cpu.json

Per forward: PyTorch runs every pass on the sample that the runtime had, with a cache of its
own. Free: PyTorch streams by itself. Then each rule of the procedure is broken in turn in
PyTorch, which must move a frame by more than ten tolerances. Exit code 1 where it fails.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch

import wan_reference
import wan_stream
from export_wan import export
from wan_config import PRESETS
from wan_weights import Generated, word_table
from weight_file import as_stored

TOLERANCE = 1e-4
PROMPTS = ["red circle left", "blue star right"]


def relative(a, b):
    return float((a - b).norm() / b.norm())


def prompts_by_block(blocks, switch):
    return [PROMPTS[0] if block < switch else PROMPTS[1] for block in range(blocks)]


def stream_with_runtime(options, config, folder, dump):
    """Compile, then stream; every pass is written to `dump`."""
    tools = options.bin.resolve()
    specs = [f"--spec={folder / name}" for name in wan_stream.specs(config)]
    target = {"cpu": "cpu", "vulkan": "spirv"}[options.device]
    subprocess.run([tools / "attnc", "model", folder / "step.onnx", *specs, "--target", target,
                    "-o", folder / "step.attnb"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([tools / "attn-stream", folder / "step.onnx", folder / "step.attnb",
                    "--frames", str(options.blocks * config.frames), "--seed", str(options.seed),
                    "--prompt", PROMPTS[0],
                    "--switch", f"{options.switch * config.frames}:{PROMPTS[1]}",
                    "--device", options.device, "--kv", "f32", "--quiet",
                    "--dump-passes", dump], check=True)


def recorded(folder):
    """Samples and predictions of one block, in the order of its passes."""
    load = lambda path: torch.from_numpy(np.load(path))
    count = len(json.loads((folder / "passes.json").read_text()))
    samples = [load(folder / f"sample_{i:02d}.npy") for i in range(count)]
    paths = [folder / f"prediction_{i:02d}.npy" for i in range(count)]
    return samples, [load(path) for path in paths if path.exists()]


def free_stream(model, config, words, seed, prompts, rules=wan_reference.Rules(), measure=False):
    stream = wan_reference.Stream(model, config, words, seed, rules)
    stream.selectivity = [] if measure else None
    return [stream.next_block(prompt) for prompt in prompts], stream.selectivity


def stock_forward(config, tensors, words, seed):
    """A first block's first forward by diffusers' model as it is; and by the restatement."""
    model = wan_reference.load_model(config, tensors)
    stream = wan_reference.Stream(wan_reference.load_model(config, tensors), config, words, seed)
    stream.prompt = PROMPTS[0]
    noise = stream.draw(0)
    own = stream.run(stream.admit(), noise, 1.0)
    return relative(own, stream.forward(model, noise, 1.0, stream.text()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("size", choices=PRESETS)
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="attnc and attn-stream")
    parser.add_argument("--device", choices=["cpu", "vulkan"], default="cpu")
    parser.add_argument("--type", choices=["f32", "bf16", "int8"], default="f32",
                        help="of the stored weights; PyTorch has what they stand for")
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--switch", type=int, default=6, help="block of the second prompt")
    parser.add_argument("--seed", type=int, default=7, help="of the noise")
    parser.add_argument("--weights-seed", type=int, default=1)
    parser.add_argument("--record", type=pathlib.Path, help=".npz of PyTorch's frames")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    config = PRESETS[options.size]
    generated = Generated(config, options.weights_seed)
    tensors = {name: as_stored(name, generated[name], options.type) for name in generated}
    words = word_table(config, options.weights_seed)
    model = wan_reference.load_model(config, tensors)
    prompts = prompts_by_block(options.blocks, options.switch)
    stock = stock_forward(config, tensors, words, options.seed)

    forwards, shadow = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        export(config, folder, options.weights_seed, options.type)
        stream_with_runtime(options, config, folder, folder / "passes")
        stream = wan_reference.Stream(model, config, words, options.seed)
        for block, prompt in enumerate(prompts):
            samples, predictions = recorded(folder / "passes" / f"{block:05d}")
            stream.next_block(prompt, samples)
            assert len(predictions) == len(stream.predictions)
            forwards += [relative(a, b) for a, b in zip(predictions, stream.predictions)]
            shadow.append(samples[-1])     # the clean pass's sample: the runtime's frames
    free, selectivity = free_stream(model, config, words, options.seed, prompts, measure=True)
    effective = float(torch.cat(selectivity).median())
    controls = {}
    for name, rules in wan_reference.BROKEN.items():
        broken, _ = free_stream(model, config, words, options.seed, prompts, rules)
        controls[name] = max(relative(a[f], b[f]) for a, b in zip(broken, free)
                             for f in range(config.frames))
    figures = {
        "model": config.name, "device": options.device, "weights": options.type, "blocks": options.blocks,
        "switch_at_block": options.switch, "forwards": len(forwards),
        "largest_relative_error_of_a_forward": max(forwards),
        "largest_relative_error_of_a_frame_streamed_freely": max(
            relative(a[f], b[f]) for a, b in zip(shadow, free) for f in range(config.frames)),
        "restatement_against_diffusers_model_as_it_is": stock,
        "median_effective_keys": effective,
        "broken_rules_move_a_frame_by": controls,
        "tolerance": TOLERANCE,
        "versions": {"torch": torch.__version__, "diffusers": wan_reference.version()},
    }
    figures["passed"] = bool(max(forwards) < TOLERANCE and stock < TOLERANCE and
                             effective < 0.05 and
                             min(controls.values()) > 10 * TOLERANCE)
    text = json.dumps(figures, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")
    if options.record:
        np.savez_compressed(options.record, frames=torch.cat(free).numpy())
    sys.exit(0 if figures["passed"] else 1)


if __name__ == "__main__":
    main()
