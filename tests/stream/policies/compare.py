#!/usr/bin/env python3
"""The runtime's caches against restated procedures, call by call.

    compare.py RUN_POLICY BUNDLE POLICY [--show CALLS]

published.py says what every call of a policy sees and computes; run_policy plays the same
calls on a cache that a spec declares, with compiled kernels. Of each query row the keys
that it attends must be the same ones: the same frame and token, computed by the same call,
rotated by the same frame number. Results must agree within the numeric contract. Then the
same calls again on flat copies, over a snapshot, and with int8 keys and values.
--show prints what each query block attends, one line a call.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

import numpy as np

import published as p

F32, INT8 = 1e-5, 2e-2  # relative Frobenius; a row: four times that and a floor

# specs; frames of a block, tokens of a frame, heads; seed; the procedure's arguments
SWITCHES = {1, 2, 3, 4, 5, 9, 10, 40, 41, 77, 130, 200, 201, 202, 290}
SPANS = [128, 192, 256, 320]
CASES = {
    "longlive": dict(specs=["longlive"], shape=(3, 4, 2), make=lambda s: p.longlive(s, 300, SWITCHES)),
    "longlive_new_sink": dict(specs=["longlive_new_sink"], shape=(3, 4, 2),
                              make=lambda s: p.longlive(s, 300, SWITCHES, global_sink=False)),
    "longlive_infinity": dict(specs=["longlive_infinity"], shape=(3, 4, 2),
                              make=lambda s: p.longlive(s, 300, SWITCHES, infinity=True), moves=True),
    "self_forcing": dict(specs=["self_forcing"], shape=(3, 3, 2), make=lambda s: p.self_forcing(s, 300)),
    "rolling_forcing": dict(specs=["rolling_forcing", "rolling_forcing_clean"], shape=(3, 3, 2),
                            make=lambda s: p.rolling_forcing(s, 300), moves=True),
    "stream_diffusion_v2": dict(specs=["stream_diffusion_v2"], shape=(1, 7, 2),
                                make=lambda s: p.stream_diffusion(s, 400)),
    "streaming_vlm": dict(specs=["streaming_vlm"], shape=(1, 1, 2), params={}, moves=True,
                          make=lambda s: p.streaming_vlm(s, 120)),
    "next_frame_diffusion": dict(specs=["next_frame_diffusion"], shape=(1, 4, 2),
                                 make=lambda s: p.next_frame_diffusion(s, 500)),
    "rain": dict(specs=["rain"], shape=(4, 5, 2), make=lambda s: p.rain(s, 300), unrotated=True),
    "krea": dict(specs=["krea"], shape=(3, 5, 2), make=lambda s: p.krea(s, 200)),
    "moa": dict(specs=["moa_decode", "moa_prefill"], shape=(1, 1, 4), params={},
                make=lambda s: p.moa(s, 256, 400, SPANS), tables={"span": SPANS}),
}
KINDS = {"block": 0, "denoise": 0, "clean": 1, "prefill": 1}
EVENTS = {"block": 0, "lanes": 0, "prompt": 1, "rebuild": 1, "discard": 2, "kind": 3}


def write_calls(path, calls):
    """One record of all lanes that run together."""
    with open(path, "wb") as f:
        for call in calls:
            if call.lane:
                continue
            words = [EVENTS[call.event], KINDS.get(call.kind, 0), call.first, call.count, call.keep, len(call.given)]
            f.write(np.array(words, np.int32).tobytes())
            for block, qkv in call.given.items():
                f.write(np.int32(block).tobytes() + qkv.tobytes())


class Output:
    def __init__(self, path, heads, tokens):
        self.data, self.at, self.heads, self.tokens = np.fromfile(path, np.uint8), 0, heads, tokens

    def take(self, kind, shape):
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        part = self.data[self.at:self.at + size].view(kind).reshape(shape)
        self.at += size
        return part

    def call(self, frames):
        lane, first, count, rows, n = self.take(np.int32, 5)
        block, row, written, place = self.take(np.int32, (n, 4)).T
        frame = row // self.tokens
        keys = np.stack([block * frames + frame, row % self.tokens, written, place * frames + frame], -1)
        mask = self.take(np.uint8, (self.heads, rows, n)).astype(bool)
        return lane, first, count, keys, mask, self.take(np.float32, (self.heads, rows, p.DIM))


def attended(keys, mask):
    """Keys that some row attends, in an order of their own, and the mask over them."""
    used = mask.any((0, 1))
    keys, mask = keys[used], mask[..., used]
    order = np.lexsort(keys.T)
    return keys[order], mask[..., order]


def deviation(got, want, bound, where):
    """Relative Frobenius; ends the program if it, or one row, is out of bounds."""
    norm = np.linalg.norm(want)
    error = np.linalg.norm(got - want) / norm
    rows, size = np.linalg.norm(got - want, axis=-1), np.linalg.norm(want, axis=-1)
    floor = norm / np.sqrt(rows.size)
    if error > bound or (rows > 4 * bound * np.maximum(size, floor)).any():
        sys.exit(f"{where}: results are {error:.2e} away, {bound:.0e} is allowed")
    return error


def show(number, call):
    keys, mask = attended(call.keys, call.mask)
    frames = []
    for frame, written, rotated in dict.fromkeys(map(tuple, keys[:, [0, 2, 3]])):
        frames.append(f"{frame}" + (f"@{rotated}" if rotated != frame else "") + f"/{written}")
    print(f"call {number} {call.kind} lane {call.lane} blocks {call.run}: frames {' '.join(frames)}"
          f" ({mask.sum()} pairs)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run_policy")
    parser.add_argument("bundle")
    parser.add_argument("policy", choices=sorted(CASES))
    parser.add_argument("--show", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--specs", help="instead of the policy's own, separated by commas")
    options = parser.parse_args()
    case = dict(CASES[options.policy])
    if options.specs:
        case["specs"] = options.specs.split(",")
    frames, tokens, heads = case["shape"]
    source = p.Source(len(options.policy), heads, frames, tokens)
    calls = list(case["make"](source))
    seen = [c for c in calls if c.event != "discard"]
    for number, call in enumerate(seen[:options.show]):
        show(number, call)

    with tempfile.TemporaryDirectory() as folder:
        script = os.path.join(folder, "calls")
        write_calls(script, calls)

        def run(name, *more):
            out = os.path.join(folder, name)
            command = [options.run_policy, options.bundle, script, out, "--specs", ",".join(case["specs"]),
                       "--shape", f"{frames},{tokens},{heads}", "--device", options.device]
            for param, value in case.get("params", {"F": tokens}).items():
                command += ["--param", f"{param}={value}"]
            for table, values in case.get("tables", {}).items():
                command += ["--table", f"{table}={','.join(map(str, values))}"]
            if case.get("unrotated"):
                command.append("--unrotated")
            done = subprocess.run(command + list(more), capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{options.policy} {' '.join(more)}: {done.stderr}")
            return out, done.stdout

        out, said = run("plain", "--flat")
        result, worst, pairs = Output(out, heads, tokens), 0, 0
        for number, want in enumerate(seen):
            lane, first, count, keys, mask, o = result.call(frames)
            where = f"{options.policy}, call {number} ({want.kind}, blocks {want.run}, lane {want.lane})"
            if list(range(first, first + count)) != list(want.run) or lane != want.lane:
                sys.exit(f"{where}: the cache runs blocks {first}..{first + count - 1} of lane {lane}")
            keys, mask = attended(keys, mask)
            wanted, wanted_mask = attended(want.keys, want.mask)
            if keys.shape != wanted.shape or (keys != wanted).any() or (mask != wanted_mask).any():
                extra = [k for k in map(tuple, keys.tolist()) if k not in set(map(tuple, wanted.tolist()))]
                lost = [k for k in map(tuple, wanted.tolist()) if k not in set(map(tuple, keys.tolist()))]
                sys.exit(f"{where}: other keys are attended: not {lost[:4]} but {extra[:4]} "
                         f"(frame, token, call, rotated by); {(mask.sum(), wanted_mask.sum())} pairs")
            worst = max(worst, deviation(o, want.out, F32, where))
            pairs += int(mask.sum())
        if result.at != len(result.data):
            sys.exit(f"{options.policy}: the cache makes more calls than the procedure")

        flat = float(re.search(r"flat (\S+)", said)[1])
        if flat > F32:
            sys.exit(f"{options.policy}: flat copies give results {flat} away")
        # Eviction copies nothing: what is moved are the calls' own rows, and keys whose place changed.
        rows = sum(c.given[b].shape[2] for c in seen for b in c.run)
        written, rotated = (int(re.search(name + r" (\d+)", said)[1]) for name in ("written", "rotated"))
        if written != rows * heads * 2 * p.DIM * 4:
            sys.exit(f"{options.policy}: {written} bytes were written for {rows} rows")
        if rotated and not case.get("moves"):
            sys.exit(f"{options.policy}: {rotated} bytes of keys were rotated again")

        again, _ = run("restored", "--restore-at", str(len(calls) // 2))
        if open(again, "rb").read() != open(out, "rb").read():
            sys.exit(f"{options.policy}: what follows a snapshot has other bits")

        narrow, _ = run("int8", "--int8")
        result, int8 = Output(narrow, heads, tokens), 0
        for number, want in enumerate(seen):
            int8 = max(int8, deviation(result.call(frames)[5], want.out, INT8, f"{options.policy} in int8, call {number}"))
    print(f"{options.policy}: {len(seen)} calls, {pairs} pairs attended as published; f32 within {worst:.1e}, flat copies "
          f"within {flat:.1e}, int8 within {int8:.1e}; {written} bytes written, {rotated} rotated again")


if __name__ == "__main__":
    main()
