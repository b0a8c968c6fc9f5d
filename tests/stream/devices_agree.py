"""A stream on a device gives the frames that the CPU gives, prompt switch and recache included.

    devices_agree.py ATTN_STREAM MODEL BUNDLE DEVICE [OPTION...]

The bundle has kernels for both; options go to both streams. Skipped (77) without the device.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

attn_stream, model, bundle, device, *options = sys.argv[1:]
NO_DEVICE, SKIPPED = 3, 77
MOST_LEVELS = 2  # of 255: what differs is rounding


def stream(folder, on):
    command = [attn_stream, model, bundle, "--device", on, "--frames", "5", "--seed", "7",
               "--prompt", "red circle left", "--switch", "3:blue square right", "--quiet",
               "--out", f"{on}.npy", "--stats", f"{on}.json", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode == NO_DEVICE:
        print(done.stderr)
        sys.exit(SKIPPED)
    assert done.returncode == 0, f"{on}: exit code {done.returncode}: {done.stderr}"
    stats = json.loads((folder / f"{on}.json").read_text())
    assert stats["device"].startswith(on), stats["device"]
    return np.load(folder / f"{on}.npy").astype(int), stats


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    want, on_cpu = stream(folder, "cpu")
    got, stats = stream(folder, device)
assert got.shape == want.shape and want.std() > 10, (got.shape, want.std())
assert stats["attention_launches"] == on_cpu["attention_launches"] > 0
assert stats["prompt_switches"] == 1 and stats["kernels"] != on_cpu["kernels"], stats["kernels"]
difference = np.abs(got - want)
print(f"{stats['device_name']}: at most {difference.max()} levels of 255 from the cpu, "
      f"{(difference > 0).mean():.1e} of all values differ; {stats['kernels'][0]}")
assert difference.max() <= MOST_LEVELS, difference.max()
