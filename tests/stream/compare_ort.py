#!/usr/bin/env python3
"""Compare attn-stream with ONNX Runtime block by block.

attn-stream runs a whole stream with two prompt switches and writes its state after
every block. Each block is then computed by ONNX Runtime from the state before it,
and its clean frames must agree within 1e-4 relative. The divergence of a free-running
ONNX Runtime stream is printed as well.

    compare_ort.py ATTN_STREAM [MODEL.onnx [BUNDLE]] [--frames N] [--limit X] [--json FILE]

Exit code 77 (skipped) where onnxruntime or the model is missing.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "tools" / "demo-model"


def skip(reason):
    print(f"SKIPPED: {reason}")
    sys.exit(77)


try:
    import numpy as np
    import onnxruntime  # noqa: F401
except ImportError as error:
    skip(f"{error.name} is not installed")
sys.path.insert(0, str(DEMO))
try:
    import ort_stream
except ImportError as error:
    skip(f"ort_stream needs {error.name}")


def relative(a, b):
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("attn_stream")
    parser.add_argument("model", nargs="?", default=str(DEMO / "demo" / "step.onnx"))
    parser.add_argument("bundle", nargs="?")
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--limit", type=float, default=1e-4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--recache", default="full")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    model = pathlib.Path(options.model)
    if not model.exists():
        skip(f"{model} does not exist")
    ours = ort_stream.Streamer(model.parent, options.seed, options.recache, model=model.name)
    free = ort_stream.Streamer(model.parent, options.seed, options.recache, model=model.name)
    words, count = ours.words, ours.toml["prompt"]["words"]
    default = ours.toml["prompt"]["default"]
    # Two switches, to prompts that take every word from elsewhere in the vocabulary.
    if default.split()[0] == "red":
        others = ["blue square right", "yellow triangle up"]
    else:
        others = [" ".join((words[k:] + words[:k])[:count]) for k in (1, 3)]
    third = options.frames // 3 // ours.frames * ours.frames
    prompts = {0: default, third: others[0], 2 * third: others[1]}
    with tempfile.TemporaryDirectory() as folder:
        command = [options.attn_stream, str(model), *([options.bundle] if options.bundle else []),
                   "--frames", str(options.frames), "--seed", str(options.seed), "--device",
                   options.device, "--prompt", default, "--recache", options.recache,
                   "--dump", folder, "--quiet"]
        for frame in sorted(prompts)[1:]:
            command += ["--switch", f"{frame}:{prompts[frame]}"]
        if not options.bundle:
            command.append("--reference-attention")
        subprocess.run(command, check=True)
        curve, drift = compare(pathlib.Path(folder), ours, free, prompts)
    worst = max(curve)
    print(f"{len(curve)} blocks, each from the same state: worst {worst:.2e}, "
          f"median {np.median(curve):.2e} relative (limit {options.limit:.0e})")
    print("free running: " + " ".join(f"{i}:{drift[i]:.1e}"
                                      for i in range(0, len(drift), max(1, len(drift) // 8))))
    if options.json:
        options.json.write_text(json.dumps({"from_same_state": curve, "free_running": drift,
                                            "limit": options.limit}, indent=1) + "\n")
    if not worst <= options.limit:
        print(f"FAILED: block {int(np.argmax(curve))} is above the limit")
        return 1
    return 0


def compare(folder, ours, free, prompts):
    curve, drift = [], []
    blocks = sorted(folder.iterdir())
    for index, block in enumerate(blocks):
        if index * ours.frames in prompts:
            ours.set_prompt(prompts[index * ours.frames])
            free.set_prompt(prompts[index * ours.frames])
        expected = ours.next_block()
        got = np.load(block / "x0.npy")
        curve.append(relative(got, expected))
        drift.append(relative(got, free.next_block()))
        # The next block starts from attn-stream's state: its caches and clean frames.
        ours.cache = {name: np.load(block / f"{name}.npy") for name in ours.cache}
        ours.kept[-1][1] = got[None]
    return curve, drift


if __name__ == "__main__":
    sys.exit(main())
