#!/usr/bin/env python3
"""Runs cpu_decode over the cases of record and writes one JSON file: each figure is a
ratio to reading the keys and values once, and to what bounds the case."""
import argparse

import driver

ARCHS = {"f32": "avx512", "bf16": "avx512-bf16", "int8": "avx512-vnni-bf16"}
KV_HEADS = 8
LARGEST = 600 << 20  # bytes of keys and values


def cases(lengths):
    for kind, size in (("f32", 4), ("bf16", 2), ("int8", 1)):
        for dim in (64, 128):
            for group in (1, 4, 8):
                for length in lengths:
                    if 2 * size * dim * KV_HEADS * length <= LARGEST:
                        yield {"--arch": ARCHS[kind], "--type": kind, "--dim": dim,
                               "--heads": group * KV_HEADS, "--kv-heads": KV_HEADS,
                               "--kv": length}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", default="build/bin/cpu_decode")
    parser.add_argument("--out", required=True, help="JSON to write")
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--kv", type=int, nargs="+", default=[1024, 4096, 16384, 65536])
    arguments = parser.parse_args()

    results = []
    for threads in arguments.threads:
        for options in cases(arguments.kv):
            options = {**options, "--threads": threads, "--repeat": arguments.repeat}
            result = driver.measure(arguments.program, options)
            if not result:
                continue
            results.append(result)
            print(f"{result['type']:6}{result['dim']:4}{result['heads']:4}/{result['kv_heads']}"
                  f"{result['kv']:7}  x{threads}  {result['gigabytes_per_second']:6.1f} of "
                  f"{result['read_gigabytes_per_second']:6.1f} GB/s  bandwidth "
                  f"{result['of_bandwidth']:.3f}  bound {result['of_bound']:.3f}", flush=True)
    driver.write(arguments.out,
                 "processor time of the slowest thread, medians; before and after each run the "
                 "same memory is read once and the case's multiplications are run from registers",
                 cases=results)


if __name__ == "__main__":
    main()
