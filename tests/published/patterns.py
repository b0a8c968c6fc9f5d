#!/usr/bin/env python3
"""Writes specs/PATTERNS.md, the table of published patterns.

    patterns.py            writes the table from the specs and results/*.json
    patterns.py --check    fails if the table is not what would be written
    patterns.py --explain ATTNC [--only TEXT]   fills results/density.json first

results/kernels.json comes from kernels.py.
"""
import argparse
import json
import os
import subprocess
import sys

from papers_rows import ROWS

HERE = os.path.dirname(os.path.abspath(__file__))
SPECS = os.path.join(HERE, "..", "..", "specs")
TABLE = os.path.join(SPECS, "PATTERNS.md")
TITLES = {"gym": "attention-gym", "flex": "FlexAttention's tests", "fa4": "FlashAttention 4's tests",
          "natten": "NATTEN", "flashinfer": "FlashInfer", "fastvideo": "FastVideo, Matrix-Game and LongLive",
          "papers": "Papers"}

SECONDS = 60  # of one explanation

# Where density is stated: the published defaults, or common sizes. What is not here is dense, or its
# mask is a table's.
VIDEO = "F=1560,B=3,frames=21,t=21"
SHAPES = {
    "gym/causal": "i=4096", "gym/sliding_window": "i=4096,window=512",
    "gym/dilated_sliding_window": "i=4096,window=512,dilation=4", "gym/prefix_lm": "i=4096,prefix=512",
    "gym/batchify_causal": "i=4096,n=512", "gym/batchify_full": "i=4096,n=512",
    "gym/block_diffusion": "S=2048,L=32", "gym/jetspec_train": "q=512,kv=2560,prefix=2048,block=16",
    "gym/natten2d": "W=64,H=64,KW=13,KH=13,x=64", "gym/tiled_natten": "W=64,H=64,KW=13,KH=13,TW=8,TH=8,ty=8",
    "gym/morton_natten": "W=64,H=64,KW=13,KH=13,i=4096",
    "gym/sta2d": "CH=8,CW=8,N=64,KH=3,KW=3,text=0,j=0",
    "gym/sta3d": "CT=5,CH=6,CW=10,N=384,KT=3,KH=3,KW=3,text=0,j=0",
    "gym/svg_spatial": "i=17776,prompt=226,tpf=1350,width=2,round=128",
    "gym/svg_spatial_sink": "i=17776,prompt=226,tpf=1350,width=2,round=128",
    "gym/svg_temporal": "i=17776,prompt=226,tpf=1350,width=2,F=13",
    "flex/causal": "i=2048", "flex/inverse_causal": "i=2048", "flex/rel_causal": "i=2048", "flex/composed": "i=2048",
    "flex/skip_odd_keys": "i=2048", "flex/two_ranges": "q=2048,kv=4096", "flex/masked_rows": "i=2048,M=1024",
    "flex/empty": "i=2048", "flex/window512": "i=2048", "flex/natten_2d": "i=2048,W=64,window=3",
    "flex/window_part": "i=2048,w=256", "flex/window_complement": "i=2048,w=256",
    "fa4/causal": "i=4224,offset=0", "fa4/block_causal": "i=4224,offset=0",
    "fa4/sliding_window": "i=4224,offset=0,left=512,right=512", "fa4/block_diagonal": "i=4224",
    "fa4/mini_causal": "i=4224", "fa4/prefix_lm": "i=4224", "fa4/dilated_sliding_window": "i=4224",
    "fa4/score_sliding_window": "i=4224", "fa4/score_block_diagonal": "i=4224",
    "natten/natten1d": "X=4096", "natten/natten2d": "Y=64,X=64", "natten/natten3d": "T=16,Y=16,X=16",
    "flashinfer/causal": "i=1999", "flashinfer/sliding_window": "i=1999,window_left=128",
    "flashinfer/sliding_window_open": "i=1999,window_left=128", "flashinfer/attention_sink": "i=1999",
    "fastvideo/block_causal": VIDEO, "fastvideo/block_causal_window": VIDEO + ",W=9",
    "fastvideo/teacher_forcing": "F=390,B=3,frames=21,t=42", "fastvideo/matrix_game": "F=880,B=3,frames=9,t=9,S=0,W=6",
    "fastvideo/longlive": "F=1560,B=3,S=3,W=12,t=21", "fastvideo/block_causal_i2v": "F=880,B=3,frames=31,t=31",
    "fastvideo/sta_flex": "CT=5,CH=6,CW=10,N=384,KT=3,KH=3,KW=3,text=0,j=0",
    "papers/s2_attn": "i=8192,g=2048,heads=2,head=1", "papers/s2_attn_no_wrap": "i=8192,g=2048,heads=2,head=1",
    "papers/s2_dkernel": "i=8192,n=64,near=16,stride=16,dense=0,heads=8",
    "papers/streaming_llm": "i=8192,sinks=4,recent=2000", "papers/streaming_llm_past": "i=8192,sinks=4,recent=2000",
    "papers/gated_attention": "i=4096", "papers/next_frame_diffusion": "F=256,t=16",
    "papers/rolling_forcing": "q=23400,kv=32760,q_position=9360,F=1560,start=6",
    "papers/rain": "F=256", "papers/video_booth": "F=1024,t=16", "papers/frame_painter": "F=1024,t=16",
    "papers/radial_wan": "T=21,F=1560,decay=1", "papers/radial_hunyuan": "T=33,F=900,decay=1,j=0",
    "papers/svg_wan": "i=32760,tpf=1560,width=2", "papers/svg_hunyuan": "i=28800,tpf=900,width=2,F=32,prompt=0",
    "papers/hidiffusion": "HH=32,HW=32,turn=1", "papers/swin": "H=56,W=56,n=7,shift=3",
    "papers/davit_window": "H=56,W=56", "papers/vision_remember": "H=12,W=12,n=2,level=3",
    "papers/simple_gvr": "H=32,W=32,n=8,m=4,t=16",
}


def specs(folder):
    return sorted(f[:-5] for f in os.listdir(os.path.join(SPECS, folder)) if f.endswith(".attn"))


def described(spec):
    """The comment above a spec, as one line."""
    lines = []
    for line in open(os.path.join(SPECS, spec + ".attn")):
        if not line.startswith("#"):
            break
        lines.append(line[1:].strip())
    text = " ".join(lines).replace("|", "\\|")
    return text if len(text) <= 130 else text[: text.rfind(" ", 0, 127)] + " ..."


def results(name):
    path = os.path.join(HERE, "results", name + ".json")
    return json.load(open(path)) if os.path.exists(path) else {}


def explain(attnc, only):
    known = results("density")
    for spec, shape in SHAPES.items():
        if only not in spec or known.get(spec, {}).get("shape") == shape:
            continue
        command = [attnc, "explain", os.path.join(SPECS, spec + ".attn"), "--shape", shape, "--dtype", "f32", "--json"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            print(f"{spec}: takes longer than {SECONDS} s")
            continue
        if done.returncode:
            print(f"{spec}: {done.stderr}", end="")
            continue
        facts = json.loads(done.stdout)["targets"][0]
        known[spec] = {"shape": shape, "density": round(facts["density"], 4),
                       "tiles": round(facts["visited_density"], 4),
                       "speedup": round(facts["expected_speedup"], 2), "estimated": facts["estimated"]}
        os.makedirs(os.path.join(HERE, "results"), exist_ok=True)
        with open(os.path.join(HERE, "results", "density.json"), "w") as file:
            json.dump(known, file, indent=1, sort_keys=True)
            file.write("\n")


def mark(entry):
    return "not run" if not entry else "yes" if entry["ok"] else "**no**"


def table():
    kernels, density = results("kernels"), results("density")
    out = ["# Published patterns", "",
           "Generated by `tests/published/patterns.py`; do not edit. Every spec's mask and score is compared, pair by",
           "pair, with a NumPy definition written from the publication (`tests/published`). *cpu* and *spirv*: the f32",
           "kernel agrees with the float64 oracle and its mask is recovered exactly (`attn-run verify`; spirv on Mesa's",
           "lavapipe). *ptx*: assembled by ptxas and executed in our emulator on small shapes. *density*: the share of",
           "pairs that attend; *tiles*: the share of pairs in tiles that are loaded; *speedup*: what `attnc explain`",
           "expects over dense attention on the CPU, from tiles, not measured. A dash: dense, or the mask is a table's.", ""]
    for folder, title in TITLES.items():
        names = specs(folder)
        out += [f"## {title}", "", "| spec | says | cpu | spirv | ptx | shape | density | tiles | speedup |",
                "|---|---|---|---|---|---|---|---|---|"]
        for name in names:
            spec = f"{folder}/{name}"
            run, facts = kernels.get(spec, {}), density.get(spec)
            shown = [facts["shape"], f"{facts['density']:.3f}", f"{facts['tiles']:.3f}", f"{facts['speedup']:.1f}x"] \
                if facts else ["-"] * 4
            cells = [f"[{name}]({spec}.attn)", described(spec)] + [mark(run.get(t)) for t in ("cpu", "spirv", "ptx")] + shown
            out.append("| " + " | ".join(cells) + " |")
        out.append("")
    out += ["## Cache policies", "",
            "What a stream keeps, evicts and computes anew, as published systems do it: `tests/stream/policies` runs each",
            "on the runtime's cache with CPU kernels and compares every call over hundreds of blocks, the keys it attends",
            "exactly, with a restatement in NumPy.", "", "| spec | says |", "|---|---|"]
    out += [f"| [{name}](streaming/{name}.attn) | {described('streaming/' + name)} |" for name in specs("streaming")]
    out += ["", "## The papers the project was founded on", "",
            "By their number in the project's list: the specs that express a row, or why none does.", "",
            "| row | paper | specs | not expressed |", "|---|---|---|---|"]
    for number, name, found, reason in ROWS:
        links = ", ".join(f"[{spec}]({spec}.attn)" for spec in found)
        out.append(f"| {number} | {name} | {links or '-'} | {reason or '-'} |")
    return "\n".join(out) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--explain", metavar="ATTNC")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    wrong = [spec for _, _, found, _ in ROWS for spec in found if not os.path.exists(os.path.join(SPECS, spec + ".attn"))]
    wrong += [spec for spec in SHAPES if not os.path.exists(os.path.join(SPECS, spec + ".attn"))]
    if wrong:
        print("no such spec: " + ", ".join(wrong))
        return 1
    if options.explain:
        explain(options.explain, options.only)
    text = table()
    if options.check:
        same = os.path.exists(TABLE) and open(TABLE).read() == text
        print("specs/PATTERNS.md is " + ("up to date" if same else "out of date; run tests/published/patterns.py"))
        return 0 if same else 1
    with open(TABLE, "w") as file:
        file.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
