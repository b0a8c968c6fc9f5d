#!/usr/bin/env python3
"""Judge attn-stream's own frames: adherence after prompt switches, memory of unprompted
detail, under the cache policies and element types that the runtime offers.

    judge_stream.py ATTN_STREAM MODEL.onnx [BUNDLE] [--streams 64] [--frames 48] [--json FILE]

Every configuration uses the same seeds and schedules, so differences are due to the
configuration alone. Needs numpy; the model is the shipped one (its world has a judge).
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "demo-model"))
import world  # noqa: E402
from judge import judge, load_schedule  # noqa: E402

CONFIGURATIONS = {
    "recache": [],
    "stale": ["--recache", "stale"],
    "flush": ["--recache", "flush"],
    "no-sink": ["--no-sink"],
    "kv-int8": ["--kv", "int8"],
    "weights-bf16": ["--precision", "bf16"],
    "weights-bf16-kv-int8": ["--precision", "bf16", "--kv", "int8"],
}


def make_schedule(count, switches, seed=1):
    """Random prompts; at a switch colour, shape and motion all change."""
    rng = np.random.default_rng(seed)
    pick = lambda words, old: words[rng.choice([i for i, w in enumerate(words) if w != old])]
    streams = []
    for _ in range(count):
        words, entry = [None] * 3, {}
        for frame in [0] + switches:
            words = [pick(w, old) for w, old in
                     zip((world.COLORS, world.SHAPES, world.MOTIONS), words)]
            entry[str(frame)] = " ".join(words)
        streams.append(entry)
    return {"streams": streams}


def run(options, seed, prompts, extra, folder):
    out = folder / "frames.npy"
    command = [options.attn_stream, options.model,
               *([options.bundle] if options.bundle else ["--reference-attention"]),
               "--frames", str(options.frames), "--seed", str(seed), "--device", options.device,
               "--prompt", prompts["0"], "--out", str(out), "--quiet", *extra]
    for frame, text in prompts.items():
        if frame != "0":
            command += ["--switch", f"{frame}:{text}"]
    subprocess.run(command, check=True)
    return np.load(out)[0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("attn_stream")
    parser.add_argument("model")
    parser.add_argument("bundle", nargs="?")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--switches", default="16,32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--configurations", default=",".join(CONFIGURATIONS))
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    switches = [int(s) for s in options.switches.split(",") if s]
    schedule = make_schedule(options.streams, switches)
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "schedule.json").write_text(json.dumps(schedule))
        prompts, switch_frames = load_schedule(folder / "schedule.json", options.frames)
        for configuration in options.configurations.split(","):
            pictures = [run(options, seed, entry, CONFIGURATIONS[configuration], folder)
                        for seed, entry in enumerate(schedule["streams"])]
            frames = np.stack(pictures).astype(np.float32) / 127.5 - 1
            results[configuration] = judge(frames, prompts, switch_frames)["summary"]
            print(json.dumps({"configuration": configuration, **results[configuration]}), flush=True)
    if options.json:
        options.json.write_text(json.dumps({
            "model": pathlib.Path(options.model).name, "device": options.device,
            "streams": options.streams, "frames": options.frames, "switches": switches,
            "configurations": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
