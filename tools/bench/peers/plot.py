#!/usr/bin/env python3
"""Draws what compare.py measured: per case, how many times faster we are than the best
peer of the same type. plot.py RESULT.json PICTURE.svg (needs matplotlib)."""
import json
import sys

import matplotlib
matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "attnc"  # the same picture for the same figures
from matplotlib import pyplot as plt  # noqa: E402

SERIES = [("f32", "f32", "#4878a8"), ("bf16", "bf16", "#e08a3c"),
          ("int8 over bf16", "int8 over the best bf16", "#5a9c5a")]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        report = json.load(file)
    rows = report["cases"]
    figure, axes = plt.subplots(figsize=(9, 0.55 * len(rows) + 1.2))
    for i, (key, label, colour) in enumerate(SERIES):
        places = [y - 0.26 + 0.26 * i for y in range(len(rows))]
        values = [row["speedup"].get(key, {}).get("ratio", 0) for row in rows]
        bars = axes.barh(places, values, 0.24, label=label, color=colour)
        axes.bar_label(bars, [f"{v:.2f}" if v else "" for v in values], padding=2, fontsize=7)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [row["case"] for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(f"times the best peer's speed; {report['cpu']}, {report['threads']} threads")
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(sys.argv[2], metadata={"Date": None})


if __name__ == "__main__":
    main()
