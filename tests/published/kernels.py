#!/usr/bin/env python3
"""Compiles published specs and runs their kernels against the float64 oracle.

    kernels.py BIN_DIR [RESULTS.json] [--only TEXT] [--targets cpu,spirv,ptx] [--seconds N] [--quick]

cpu and spirv: `attn-run verify` compares values and recovers the mask exactly. ptx: compiled
and, where ptxas is there, assembled; and executed in the emulator by ptx_spec_test. Results
go into the file after each step; what passed before with the same spec and the same sources
of the compiler is not run again. Exit code 1: a kernel fails.
"""
import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
SPECS = os.path.join(HERE, "..", "..", "specs")
FOLDERS = ["gym", "flex", "fa4", "natten", "flashinfer", "fastvideo", "papers"]
DEVICES = {"cpu": "cpu", "spirv": "vulkan"}
ROOT = os.path.join(HERE, "..", "..")
COMPILER = ["compiler", "dialects", "kernels-gen", "runtime/bundle", "specs/std"]  # what a kernel is made by


def all_specs():
    return [f"{folder}/{name[:-5]}" for folder in FOLDERS
            for name in sorted(os.listdir(os.path.join(SPECS, folder))) if name.endswith(".attn")]


def compiler():
    """A hash of the sources of the compiler."""
    found = hashlib.sha256()
    for root in COMPILER:
        for folder, folders, names in os.walk(os.path.join(ROOT, root)):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                found.update(os.path.relpath(path, ROOT).encode() + b"\0" + open(path, "rb").read())
    return found.hexdigest()[:16]


def run(seconds, *command, **environment):
    """What a command printed, or its failure."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds,
                              env={**os.environ, **environment})
    except subprocess.TimeoutExpired:
        return None, f"{os.path.basename(command[0])} {command[1]} takes longer than {seconds} s"
    if done.returncode:
        return None, (done.stderr + done.stdout).strip()[-600:] or f"exit code {done.returncode}"
    return done.stdout, None


def verify(options, spec, target):
    """The result of one spec on one target: {"ok": ...} and figures or the failure."""
    bin_dir, seconds = options.bin_dir, options.seconds
    path, started = os.path.join(SPECS, spec + ".attn"), time.time()
    with tempfile.TemporaryDirectory() as folder:
        bundle = os.path.join(folder, "kernel.attnb")
        _, failure = run(seconds, f"{bin_dir}/attnc", "compile", path, "--target", target, "--dtype", "f32", "-o", bundle)
        result = {"compile_seconds": round(time.time() - started, 1)}
        if not failure and target in DEVICES:
            text, failure = run(seconds, f"{bin_dir}/attn-run", "verify", bundle, "--device", DEVICES[target], "--json",
                                *(["--quick"] if options.quick else []))
            if not failure:
                kernels = [k for k in json.loads(text)["kernels"] if k["target"] == target]
                result |= {"error": max(k["error"] for k in kernels), "mask_pairs": sum(k["mask_pairs"] for k in kernels)}
        elif not failure:
            name = spec.replace("/", "_")
            text, failure = run(seconds, f"{bin_dir}/ptx_spec_test", f"--gtest_filter=Published/PtxSpec.SinglePrecision*/{name}",
                                ATTN_PUBLISHED_SPECS=spec)
            if not failure and "[  PASSED  ] 1 test" not in text:
                failure = "was not executed in the emulator"
    return {"ok": not failure, **result, **({"failure": failure} if failure else {})}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bin_dir")
    parser.add_argument("results", nargs="?")
    parser.add_argument("--only", default="", help="texts, separated by commas, one of which a spec has")
    parser.add_argument("--targets", default="cpu,spirv,ptx")
    parser.add_argument("--seconds", type=int, default=900, help="limit of one step")
    parser.add_argument("--quick", action="store_true", help="fewer shapes")
    options = parser.parse_args()
    known = {}
    if options.results and os.path.exists(options.results):
        known = json.load(open(options.results))
    sources = compiler()
    failures = count = 0
    for target in options.targets.split(","):
        for spec in all_specs():
            if not any(text in spec for text in options.only.split(",")):
                continue
            text = zlib.crc32(open(os.path.join(SPECS, spec + ".attn"), "rb").read())
            entry = known.setdefault(spec, {})
            count += 1
            old = entry.get(target)
            if old and old["ok"] and (old["spec"], old.get("compiler")) == (text, sources):
                continue
            entry[target] = verify(options, spec, target) | {"spec": text, "compiler": sources}
            if not entry[target]["ok"]:
                failures += 1
                print(f"FAIL {spec} {target}: {entry[target]['failure']}", flush=True)
            if options.results:
                with open(options.results + ".new", "w") as file:
                    json.dump(known, file, indent=1, sort_keys=True)
                os.replace(options.results + ".new", options.results)
    print(f"{count} kernels, {failures} failures")
    return 1 if failures or not count else 0


if __name__ == "__main__":
    sys.exit(main())
