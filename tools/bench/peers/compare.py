#!/usr/bin/env python3
"""Our CPU kernels beside PyTorch, FlexAttention, ONNX Runtime and OpenVINO.

Every system gets the same arrays, shapes and threads and is checked against float64
on drawn rows. One round runs each system twice and times the second run, so that no
system pays for the threads that the one before it left spinning; the figure is the
median over the rounds. Compiling and the making of masks are not timed.
Needs numpy, ml_dtypes, torch, onnx, onnxruntime, openvino (requirements.txt)."""
import argparse
import json
import statistics
import sys
import time

import numpy as np

import cases
import oracle
import systems

# Largest error on a drawn row, relative to the largest value of the outputs.
TOLERANCE = {"f32": 1e-5, "bf16": 2e-2, "int8": 4e-2}


def cpu_name():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return next((line.split(":", 1)[1].strip() for line in file
                     if line.startswith("model name")), "unknown")


def load():
    with open("/proc/loadavg", encoding="utf-8") as file:
        return float(file.read().split()[0])


def prepare(all_systems, case, dice):
    q = dice.standard_normal((case.heads, case.q, case.dim), np.float32)
    k = dice.standard_normal((case.kv_heads, case.kv, case.dim), np.float32)
    v = dice.standard_normal((case.kv_heads, case.kv, case.dim), np.float32)
    chosen = [(int(dice.integers(case.heads)), int(dice.integers(case.q))) for _ in range(24)]
    expected = oracle.rows(case, q, k, v, chosen)
    ready, refused = {}, {}
    for name, system in all_systems.items():
        for kind in system.kinds:
            label = f"{name} {kind}"
            try:
                run, output = system.prepare(kind, case, q, k, v)
                run()
            except systems.Unsupported as error:
                refused[label] = str(error)
                continue
            except Exception as error:  # a peer's failure is a result, not ours to mend
                refused[label] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
                continue
            got = output()
            got = np.stack([got[h, r] for h, r in chosen]).astype(np.float64)
            error = float(np.abs(got - expected).max() / np.abs(expected).max())
            if error > TOLERANCE[kind] or not np.isfinite(error):
                refused[label] = f"wrong: error {error:.3g} on drawn rows"
                continue
            ready[label] = (run, error)
    return ready, refused


def measure(ready, rounds, seconds):
    """Times per system; fewer rounds for what would take longer than `seconds`."""
    times = {label: [] for label in ready}
    start = time.perf_counter()
    for done in range(rounds):
        for label, (run, _) in ready.items():
            run()
            begin = time.perf_counter()
            run()
            times[label].append(time.perf_counter() - begin)
        if done >= 2 and time.perf_counter() - start > seconds:
            break
    return times


def row_of(case, ready, refused, times):
    medians = {label: statistics.median(t) for label, t in times.items()}
    ours = {label.split()[1]: t for label, t in medians.items() if label.startswith("attnc")}
    peers = {label: t for label, t in medians.items() if not label.startswith("attnc")}
    row = {"case": case.name, "q": case.q, "kv": case.kv, "heads": case.heads,
           "kv_heads": case.kv_heads, "dim": case.dim,
           "milliseconds": {label: 1e3 * t for label, t in medians.items()},
           "rounds": min((len(t) for t in times.values()), default=0),
           "errors": {label: error for label, (_, error) in ready.items()},
           "refused": refused, "speedup": {}}
    for kind in ("f32", "bf16"):
        equal = {label: t for label, t in peers.items() if label.endswith(" " + kind)}
        if equal and kind in ours:
            best = min(equal, key=equal.get)
            row["speedup"][kind] = {"over": best, "ratio": equal[best] / ours[kind]}
    if peers and ours:
        best = min(peers, key=peers.get)
        row["speedup"]["best type"] = {"over": best, "ratio": peers[best] / min(ours.values())}
    bf16 = {label: t for label, t in peers.items() if label.endswith("bf16")}
    if bf16 and "int8" in ours:
        best = min(bf16, key=bf16.get)
        row["speedup"]["int8 over bf16"] = {"over": best, "ratio": bf16[best] / ours["int8"]}
    return row


def table(report):
    lines = ["| case | attnc f32 / bf16 / int8, ms | best peer f32, ms | best peer bf16, ms | "
             "f32 | bf16 | best type | int8 over bf16 |", "|---|---|---|---|---|---|---|---|"]
    for row in report["cases"]:
        ms = row["milliseconds"]
        ours = " / ".join(f"{ms['attnc ' + kind]:.1f}" if "attnc " + kind in ms else "-"
                          for kind in ("f32", "bf16", "int8"))
        cells = [row["case"], ours]
        for kind in ("f32", "bf16"):
            best = row["speedup"].get(kind)
            cells.append(f"{ms[best['over']]:.1f} {best['over'].split()[0]}" if best else "-")
        for what in ("f32", "bf16", "best type", "int8 over bf16"):
            best = row["speedup"].get(what)
            cells.append(f"{best['ratio']:.2f}" if best else "-")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=40, help="per case, after three rounds")
    parser.add_argument("--only", help="cases whose name contains this")
    parser.add_argument("--without", default="", help="systems to leave out, separated by commas")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", required=True, help="JSON to write; a table goes beside it (.md)")
    arguments = parser.parse_args()

    makers = {"attnc": lambda: systems.Attnc(arguments.build, arguments.threads),
              "torch": lambda: systems.Torch(arguments.threads),
              "flex": lambda: systems.Flex(arguments.threads),
              "onnxruntime": lambda: systems.OnnxRuntime(arguments.threads),
              "openvino": lambda: systems.OpenVino(arguments.threads)}
    all_systems = {name: make() for name, make in makers.items()
                   if name not in arguments.without.split(",")}
    dice = np.random.default_rng(arguments.seed)
    report = {"cpu": cpu_name(), "threads": arguments.threads, "load_before": load(),
              "versions": {name: system.version for name, system in all_systems.items()},
              "method": __doc__.split("\n\n")[1].replace("\n", " "), "cases": []}
    for case in cases.all_cases():
        if arguments.only and arguments.only not in case.name:
            continue
        ready, refused = prepare(all_systems, case, dice)
        times = measure(ready, arguments.rounds, arguments.seconds)
        row = row_of(case, ready, refused, times)
        report["cases"].append(row)
        print(case.name, {label: round(t, 2) for label, t in row["milliseconds"].items()},
              {what: round(best["ratio"], 2) for what, best in row["speedup"].items()},
              refused or "", flush=True, file=sys.stderr)
        with open(arguments.out, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=1)
            file.write("\n")
        with open(arguments.out.rsplit(".", 1)[0] + ".md", "w", encoding="utf-8") as file:
            file.write(table(report))


if __name__ == "__main__":
    main()
