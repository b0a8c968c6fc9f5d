"""tools/gpu on a machine without a GPU: pack for the CPU, measure, go on where it ended.

    kit_test.py PACK BUILD_DIR SCRATCH
"""
import json
import pathlib
import subprocess
import sys

pack, build, scratch = map(pathlib.Path, sys.argv[1:])
kit = scratch / "gpu_kit"
subprocess.run([pack, kit, "--build", build, "--targets", "cpu", "--tiny"], check=True)
measure = [kit / "measure", "--device", "cpu", "--no-baselines"]


def results():
    return json.loads((kit / "results.json").read_text())


def run(*arguments):
    done = subprocess.run([*measure, *arguments], capture_output=True, text=True)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.returncode
    return done.stdout


# Time for one step: one bundle is verified, nothing is timed.
subprocess.run([*measure, "--budget", "0.001"], capture_output=True)
assert len(results().get("verified", {})) <= 1 and not results().get("timed")

run("--budget", "60")
first = results()
labels = [case["label"] for case in json.loads((kit / "manifest.json").read_text())["cases"]]
assert len(labels) == 3
assert list(first["verified"].values()) == ["ok"] * 3, first["verified"]
assert sorted(key.split(" | ")[0] for key in first["timed"]) == sorted(labels)
assert all(entry["median_ms"] > 0 and entry["tflops"] > 0 for entry in first["timed"].values())

table = run("--budget", "60")
assert results() == first, "a second call measured again"
assert all(label in table for label in labels) and "3 ok, 0 wrong" in table

# A kernel that is wrong is neither timed nor passed over in silence.
bundle = next((kit / "bundles").glob("dense64*"))
bundle.write_bytes(b"no bundle")
(kit / "results.json").unlink()
done = subprocess.run([*measure, "--budget", "60"], capture_output=True, text=True)
assert done.returncode == 1 and "2 ok, 1 wrong" in done.stdout, done.stdout
assert not any("dense d64" in key for key in results()["timed"])
