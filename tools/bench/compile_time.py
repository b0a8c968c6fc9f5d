#!/usr/bin/env python3
"""Times `attnc compile` of each spec for each target, start of the process to the written
bundle, and writes one JSON file. Processor time counts ptxas too, and is what a busy machine
leaves comparable; wall-clock time is what a user waits."""
import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

# What a user should wait for one spec at most, in milliseconds of wall-clock time.
BARS = {"cpu": 300, "ptx": 500, "spirv": 100}
TARGETS = ["cpu:avx512", "cpu:avx2", "ptx:sm_80", "spirv"]


def cpu_name():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def run(command):
    """(wall, processor, user) ms of the process and what it waited for; its exit code, its words."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    message = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    times = (1e3 * wall, 1e3 * (usage.ru_utime + usage.ru_stime), 1e3 * usage.ru_utime)
    return times, process.returncode, message


def measure(command, rounds):
    samples = []
    for _ in range(rounds):
        times, code, message = run(command)
        if code:
            return {"refused": message.strip().splitlines()[0] if message.strip() else str(code)}
        samples.append(times)
    case = {}
    for name, values in zip(("wall_ms", "cpu_ms", "user_ms"), zip(*samples)):
        case[name] = {"min": round(min(values), 1), "median": round(statistics.median(values), 1)}
    return case


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("specs", nargs="*", help="default: specs/*.attn")
    parser.add_argument("--attnc", default="build/bin/attnc")
    parser.add_argument("--target", nargs="+", default=TARGETS)
    parser.add_argument("--dtype", help="default: each spec's own")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--out", help="JSON to write")
    arguments = parser.parse_args()

    specs = arguments.specs or sorted(map(str, pathlib.Path("specs").glob("*.attn")))
    cases, over = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for target in arguments.target:
            bar = BARS[target.split(":")[0]]
            for spec in specs:
                command = [arguments.attnc, "compile", spec, "--target", target, "-o",
                           str(pathlib.Path(folder, "out.attnb"))]
                if arguments.dtype:
                    command += ["--dtype", arguments.dtype]
                case = {"spec": spec, "target": target, "bar_ms": bar,
                        **measure(command, arguments.repeat)}
                cases.append(case)
                if "refused" in case:
                    print(f"{target:11} {spec:34} {case['refused']}", flush=True)
                    continue
                late = case["wall_ms"]["min"] > bar
                over += late
                print(f"{target:11} {spec:34} wall {case['wall_ms']['min']:6.0f} (median "
                      f"{case['wall_ms']['median']:6.0f})  cpu {case['cpu_ms']['min']:6.0f} (median "
                      f"{case['cpu_ms']['median']:6.0f}) ms"
                      + (f"  over {bar} ms" if late else ""), flush=True)
    report = {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "method": f"{arguments.repeat} runs of attnc compile each, caches of the file system warm; "
                  "cpu_ms (user and system) includes ptxas",
        "cases": cases,
    }
    if arguments.out:
        with open(arguments.out, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=1)
            file.write("\n")
    print(f"{over} of {len(cases)} cases over their bar", file=sys.stderr)


if __name__ == "__main__":
    main()
