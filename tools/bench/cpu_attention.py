#!/usr/bin/env python3
"""Runs cpu_attention over the cases of record and shapes drawn at random, and writes
one JSON file: every figure is a ratio to what the core could do beside it."""
import argparse
import random

import driver

# arch, type, dim, goal of the median ratio to the burst
CASES = [
    ("avx512", "f32", 64, 0.88),
    ("avx512", "f32", 128, 0.88),
    ("avx512-bf16", "bf16", 64, 0.83),
    ("avx512-bf16", "bf16", 128, 0.88),
    ("avx512-vnni-bf16", "int8", 64, None),
    ("avx512-vnni-bf16", "int8", 128, 0.78),
    ("avx512-vnni", "int8", 128, None),
    ("avx512", "bf16", 128, None),
    ("avx2", "f32", 64, 0.82),
    ("avx2", "f32", 128, 0.82),
]
ARCHS = [("avx512", "f32"), ("avx512-bf16", "bf16"), ("avx512-vnni-bf16", "int8"), ("avx2", "f32")]


def drawn(seed, count):
    """Head dims 16 to 256 of any multiple of 8, lengths that no block divides."""
    dice = random.Random(seed)
    for _ in range(count):
        arch, kind = dice.choice(ARCHS)
        dim, v_dim = 8 * dice.randint(2, 32), 8 * dice.randint(2, 32)
        yield {"--arch": arch, "--type": kind, "--dim": dim,
               "--v-dim": dice.choice([dim, dim, v_dim]), "--q": dice.randint(300, 1600),
               "--kv": dice.randint(1000, 9000), "--heads": dice.randint(1, 3)}


def measure(program, options, repeat):
    result = driver.measure(program, {**options, "--repeat": repeat})
    if not result:
        return None
    print(f"{result['arch']:18}{result['type']:6}{result['dim']:4}{result['v_dim']:4}"
          f"{result['q']:6}{result['kv']:6}{result['heads']:3}  "
          f"median {result['ratio_median']:.3f}  best {result['ratio_best']:.3f}  "
          f"{result['gflops_median']:.0f} Gop/s", flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", default="build/bin/cpu_attention")
    parser.add_argument("--out", required=True, help="JSON to write")
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--random", type=int, default=10, help="shapes drawn at random")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    cases = []
    for arch, kind, dim, goal in CASES:
        options = {"--arch": arch, "--type": kind, "--dim": dim, "--q": 1536, "--kv": 9600}
        if arch == "avx512-vnni":
            options["--float"] = "f32"
        result = measure(arguments.program, options, arguments.repeat)
        if result:
            cases.append({**result, "goal": goal})
    shapes = [measure(arguments.program, options, arguments.repeat)
              for options in drawn(arguments.seed, arguments.random)]
    driver.write(arguments.out,
                 "one thread, its own processor time; each run between two bursts of the "
                 "instruction it is made of (their harmonic mean where QK and PV differ)",
                 cases=cases,
                 random={"seed": arguments.seed, "shapes": [s for s in shapes if s]})


if __name__ == "__main__":
    main()
