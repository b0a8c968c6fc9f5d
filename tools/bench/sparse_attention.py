#!/usr/bin/env python3
"""Runs sparse_attention over masks of video models at several densities and writes one
JSON file: each mask beside the dense kernel of its shape."""
import argparse

import driver

ARCHS = {"f32": "avx512", "bf16": "avx512-bf16", "int8": "avx512-vnni-bf16"}

FRAMES = "space video(t: stream, y: 30, x: 52)"  # LongLive's
TOKENS = "space video(i: stream)"
HUNYUAN = "space video(t: 30, y: 48, x: 80)"
TILES = " order tiled (t: 6, y: 8, x: 8)\n  axis a = video.t // 6\n  axis b = video.y // 8\n" \
        "  axis c = video.x // 8"
NATTEN = "space video(t: 12, y: 24, x: 24)"
SQUARES = " order tiled (y: 4, x: 4)"  # a vector of 16 query rows is a square


def frames(count, sink):
    near = f"window(t, {count})"
    return "causal(t) and " + (f"(sink(t, {sink}) or {near})" if sink else near)


def window(count):
    return f"causal(i) and (sink(i, 64) or window(i, {count}))"


def around(t, y, x):
    return f"neighborhood(t: {t}, y: {y}, x: {x})"


def sliding_tiles(t, y, x):
    return f"sliding_tile(a, {t}) and sliding_tile(b, {y}) and sliding_tile(c, {x})"


def longlive(name, mask, **more):
    return {"name": name, "declarations": FRAMES, "mask": mask, "q": 4680, "kv": 18720, **more}


def tokens(name, count):
    return {"name": name, "declarations": TOKENS, "mask": window(count), "q": 4680, "kv": 18720}


def hunyuan(name, mask, order="", q=1920):
    return {"name": name, "declarations": HUNYUAN + order, "mask": mask, "q": q, "kv": 115200,
            "position": 57600}


def natten(name, mask, order=""):
    return {"name": name, "declarations": NATTEN + order, "mask": mask, "q": 6912, "kv": 6912}


CASES = [
    longlive("frames 6 + sink", frames(6, 1)),
    longlive("frames 3 + sink", frames(3, 1)),
    longlive("frames 1", frames(1, 0)),
    longlive("frames 6 + sink, d 128", frames(6, 1), dim=128),
    longlive("frames 3 + sink, d 128, 2 heads", frames(3, 1), dim=128, heads=2),
    longlive("frames 1, d 128", frames(1, 0), dim=128),
    tokens("window + sink .3", 5600),
    tokens("window + sink .08", 1434),
    tokens("window + sink .025", 404),
    hunyuan("sliding tiles 5x3x6", sliding_tiles(5, 3, 6), TILES),
    hunyuan("sliding tiles 3x3x3", sliding_tiles(3, 3, 3), TILES),
    hunyuan("hunyuan 24x36x40, rows", around(24, 36, 40)),
    hunyuan("hunyuan 24x36x40, tiled", around(24, 36, 40), TILES),
    hunyuan("hunyuan 24x36x40, squares", around(24, 36, 40), SQUARES),
    hunyuan("hunyuan 18x24x24, rows", around(18, 24, 24)),
    hunyuan("hunyuan 18x24x24, tiled", around(18, 24, 24), TILES),
    hunyuan("hunyuan 18x24x24, squares", around(18, 24, 24), SQUARES),
    hunyuan("hunyuan 15x23 of t, y", "band(t, 7, 7) and band(y, 11, 11)"),
    natten("natten 9x15x15, rows", around(9, 15, 15)),
    natten("natten 9x15x15, squares", around(9, 15, 15), SQUARES),
    natten("natten 5x11x11, rows", around(5, 11, 11)),
    natten("natten 5x11x11, squares", around(5, 11, 11), SQUARES),
    natten("natten 5x7x7, rows", around(5, 7, 7)),
    natten("natten 5x7x7, squares", around(5, 7, 7), SQUARES),
    {"name": "radial", "declarations": "space video(t: 8, i: 1024)", "q": 8192, "kv": 8192,
     "mask": "k.t == 0 or radial(t, i, 1024)"},
    {"name": "documents", "declarations": "space tok(doc: packed, i: ragged <= 65536)",
     "space": "tok", "mask": "same(doc) and causal(i)", "q": 8192, "kv": 8192, "documents": 8},
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", default="build/bin/sparse_attention")
    parser.add_argument("--out", help="JSON to write")
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--types", nargs="+", default=["f32"], choices=ARCHS)
    parser.add_argument("--only", default="", help="part of a case's name")
    arguments = parser.parse_args()

    results = []
    for kind in arguments.types:
        for case in CASES:
            if arguments.only not in case["name"]:
                continue
            options = {**case, "arch": ARCHS[kind], "type": kind, "repeat": arguments.repeat}
            result = driver.measure(arguments.program,
                                    {f"--{name}": value for name, value in options.items()})
            if not result:
                continue
            results.append(result)
            print(f"{result['case']:32}{result['type']:5} density {result['density']:.4f}"
                  f"  visited {result['visited']:.4f}  {result['ms']:9.2f} ms"
                  f"  of ideal {result['of_ideal']:.3f} of {result['bound']:.3f}"
                  f"  derivation {result['derivation']:.4f}",
                  flush=True)
    if arguments.out:
        driver.write(arguments.out, "one thread, its own processor time, medians; each run between "
                     "two of the dense kernel of its shape", cases=results)


if __name__ == "__main__":
    main()
