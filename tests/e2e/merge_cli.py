"""attn-run on parts: a causal window merged with its complement is causal, from arrays to arrays.

usage: merge_cli.py ATTN-RUN BUNDLE DEVICE
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

attn_run, bundle, device = sys.argv[1:]
rng = np.random.default_rng(5)
with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    for name, heads in (("q", 4), ("k", 2), ("v", 2)):
        np.save(folder / f"{name}.npy", rng.standard_normal((2, heads, 70, 64), np.float32))

    def run(command, kernel, *arguments):
        call = [attn_run, command, bundle, "--device", device, "--kernel", kernel, *arguments]
        done = subprocess.run(call, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done

    arrays = ["--q", "q.npy", "--k", "k.npy", "--v", "v.npy"]
    for part in ("window_part", "window_complement"):
        run("run", part, *arrays, "--set", "w=9", "--out", f"{part}.npy", "--lse", f"{part}_lse.npy")
    run("run", "causal", *arrays, "--out", "whole.npy", "--lse", "whole_lse.npy")
    parts = []
    for part in ("window_part", "window_complement"):
        parts += ["--o", f"{part}.npy", "--lse", f"{part}_lse.npy"]
    run("merge", "window_part_merge", *parts, "--set", "w=9", "--out", "o.npy", "--out-lse", "lse.npy")
    for merged, whole in (("o", "whole"), ("lse", "whole_lse")):
        error = np.abs(np.load(folder / f"{merged}.npy") - np.load(folder / f"{whole}.npy")).max()
        assert error < 5e-6, f"{merged} is off by {error}"

    # A part too few is refused, with what is missing.
    call = [attn_run, "merge", bundle, "--device", device, "--kernel", "window_part_merge", "--set", "w=9",
            "--o", "o.npy", "--o", "whole.npy", "--lse", "lse.npy", "--out", "x.npy"]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 2 and "2 outputs and 1 log-sum-exps" in done.stderr, done.stderr
