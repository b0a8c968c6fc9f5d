"""Streams a tiny Wan 2.1 transformer and compares its frames with those that PyTorch made.

wan_tiny.npz holds the frames of ten blocks, with eviction and a prompt switch, by diffusers' model
under the causal procedure restated in PyTorch (tools/export/compare_wan.py tiny --record). The
weights are generated; neither PyTorch nor diffusers is needed here. Streams without a sink and
without recache must differ, or the comparison would prove nothing.

    wan_test.py ATTNC ATTN_STREAM

Exit code 77 (skipped) where numpy or onnx is missing.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tools" / "export"))
try:
    import numpy as np
    import onnx  # noqa: F401
    import wan_stream
    from export_wan import export
    from wan_config import TINY
except ImportError as error:
    if error.name not in ("numpy", "onnx"):
        raise
    print(f"SKIPPED: {error.name} is not installed")
    sys.exit(77)

TOLERANCE, NO_DEVICE = 1e-4, 3


def stream(tool, folder, device, blocks, *options):
    """Frames [frames, C, H, W]; None where the machine lacks the device."""
    passes = folder / "-".join(["passes", device, *options])
    command = [tool, folder / "step.onnx", folder / "step.attnb", "--device", device, "--quiet",
               "--frames", str(blocks * TINY.frames), "--seed", "7", "--prompt", "red circle left",
               "--switch", f"{6 * TINY.frames}:blue star right", "--dump-passes", passes, *options]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode == NO_DEVICE and device != "cpu":
        print(f"{device}: not on this machine: {done.stderr.strip()}")
        return None
    if done.returncode:
        sys.exit(f"attn-stream failed ({done.returncode}): {done.stderr}")
    frames = []
    for block in range(blocks):
        of = passes / f"{block:05d}"
        last = len(json.loads((of / "passes.json").read_text())) - 1   # the clean pass
        frames.append(np.load(of / f"sample_{last:02d}.npy"))
    return np.concatenate(frames)


def deviation(frames, expected):
    """Of the frame that is farthest from what was expected, relative."""
    norm = lambda x: np.sqrt((x.astype(np.float64) ** 2).sum((1, 2, 3)))
    return float((norm(frames - expected) / norm(expected)).max())


def main():
    attnc, attn_stream = sys.argv[1:]
    expected = np.load(HERE / "wan_tiny.npz")["frames"]
    blocks = len(expected) // TINY.frames
    failed = False
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        export(TINY, folder)
        specs = [f"--spec={folder / spec}" for spec in wan_stream.specs(TINY)]
        subprocess.run([attnc, "model", folder / "step.onnx", *specs, "--target", "cpu,spirv",
                        "-o", folder / "step.attnb"], check=True, stdout=subprocess.DEVNULL)
        for device in ("cpu", "vulkan"):
            frames = stream(attn_stream, folder, device, blocks)
            if frames is None:
                continue
            error = deviation(frames, expected)
            print(f"{device}: {error:.2e} from PyTorch's frames")
            failed |= not error < TOLERANCE
        for options in (["--no-sink"], ["--recache", "stale"]):
            moved = deviation(stream(attn_stream, folder, "cpu", blocks, *options), expected)
            print(f"{' '.join(options)}: {moved:.2e}")
            failed |= not moved > 10 * TOLERANCE
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
