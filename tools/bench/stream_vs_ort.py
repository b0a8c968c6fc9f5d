#!/usr/bin/env python3
"""Time attn-stream's loop against ONNX Runtime's over the same model.

ONNX Runtime gets its fastest equivalent: all graph optimisations, one session for
denoising and one without the prediction head for the clean pass, IO binding with the
caches bound as input and output of one memory (updated in place, never copied), the
same number of threads. Its loop is timed without decoding or writing, as ours is.
The two alternate, and the best of the repetitions counts for each.

    stream_vs_ort.py ATTN_STREAM MODEL.onnx [BUNDLE] [--threads N] [--json FILE]

Needs numpy, onnx and onnxruntime.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime as ort

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "demo-model"))
import noise  # noqa: E402
import ort_stream  # noqa: E402


def session_options(threads):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    return options


class BoundLoop(ort_stream.Streamer):
    """The reference streamer with IO binding; only `run` differs."""

    def __init__(self, model, threads, seed):
        providers = ["CPUExecutionProvider"]
        full = ort.InferenceSession(str(model), session_options(threads), providers)
        super().__init__(model.parent, seed, model=model.name, session=full)
        clean = onnx.load(str(model))
        head = self.toml["outputs"]["prediction"]
        kept = [out for out in clean.graph.output if out.name != head]
        del clean.graph.output[:]
        clean.graph.output.extend(kept)
        short = ort.InferenceSession(clean.SerializeToString(), session_options(threads), providers)
        self.values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in
                       self.cache.items()}
        names = self.toml["inputs"]
        shapes = {i.name: i.shape for i in full.get_inputs()}
        self.feeds = {}
        for role, name in names.items():
            kind = np.float32 if role in ("sample", "timestep") else np.int64
            self.feeds[role] = np.zeros(shapes[name], kind)
        self.prediction = np.zeros(self.shape, np.float32)
        self.bindings = []
        for session, with_head in ((full, True), (short, False)):
            binding = session.io_binding()
            for role, name in names.items():
                binding.bind_ortvalue_input(name, self.wrap(self.feeds[role]))
            for name, out in self.caches:
                binding.bind_ortvalue_input(name, self.values[name])
                binding.bind_ortvalue_output(out, self.values[name])
            if with_head:
                binding.bind_ortvalue_output(head, self.wrap(self.prediction))
            self.bindings.append((session, binding))

    @staticmethod
    def wrap(array):
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(
            array, onnx.TensorProto.FLOAT if array.dtype == np.float32 else onnx.TensorProto.INT64)

    def run(self, sample, timestep, rank):
        n, feeds = self.block_tokens, self.feeds
        token = np.arange(n)
        feeds["sample"][...] = sample
        feeds["timestep"][...] = timestep
        feeds["prompt"][...] = self.prompt
        feeds["write_index"][...] = self.kept[rank][0] * n
        feeds["kv_length"][...] = len(self.kept) * n
        feeds["q_positions"][...] = rank * n + token
        for order, (slot, _) in enumerate(self.kept):
            feeds["k_positions"][0, slot * n:(slot + 1) * n] = order * n + token
        clean = timestep == self.toml["schedule"]["clean_timestep"]
        session, binding = self.bindings[1 if clean else 0]
        session.run_with_iobinding(binding)
        return self.prediction

    def draw(self, step):  # not what is compared: cheap
        return self.noise[(self.block + step) % len(self.noise)]


def ort_loop(model, threads, frames, seed):
    """(frames per second, first block's clean frames) of ONNX Runtime's loop."""
    loop = BoundLoop(model, threads, seed)
    count = int(np.prod(loop.shape))
    loop.noise = [noise.normal(count, seed, block, 0).reshape(loop.shape) for block in range(64)]
    loop.set_prompt(loop.toml["prompt"]["default"])
    first = loop.next_block().copy()
    warm = 2 * (loop.sink_blocks + loop.window_blocks)
    for _ in range(warm):
        loop.next_block()
    start = time.perf_counter()
    blocks = frames // loop.frames
    for _ in range(blocks):
        loop.next_block()
    return blocks * loop.frames / (time.perf_counter() - start), first


def our_loop(binary, model, bundle, threads, frames, seed, extra):
    with tempfile.TemporaryDirectory() as folder:
        stats = pathlib.Path(folder) / "stats.json"
        command = [binary, str(model), *([bundle] if bundle else ["--reference-attention"]), "--frames",
                   str(frames), "--seed", str(seed), "--threads", str(threads), "--stats", str(stats),
                   "--quiet", *extra]
        subprocess.run(command, check=True)
        return json.loads(stats.read_text())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("attn_stream")
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("bundle", nargs="?")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--extra", action="append", default=[],
                        help="a further option of attn-stream, such as --extra=--precision=bf16")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    theirs, ours = [], []
    for _ in range(options.repeat):
        theirs.append(ort_loop(options.model, options.threads, options.frames, options.seed)[0])
        ours.append(our_loop(options.attn_stream, options.model, options.bundle, options.threads,
                             options.frames, options.seed, options.extra))
    best = max(ours, key=lambda s: s["loop_fps"])
    result = {"model": str(options.model.name), "threads": options.threads, "frames": options.frames,
              "options": options.extra, "attn_stream_loop_fps": best["loop_fps"],
              "attn_stream_frame_ms_p50": best["frame_ms_p50"],
              "onnxruntime_loop_fps": max(theirs), "onnxruntime": ort.__version__,
              "ratio": best["loop_fps"] / max(theirs),
              "all_attn_stream": [s["loop_fps"] for s in ours], "all_onnxruntime": theirs,
              "kernels": best["kernels"][:2]}
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
