"""attention-gym."""
import numpy as np

from . import SQUARE, Case, Entry, bits, documents, integers, normal, of, packed, with_tables


def shared_prefix(rng, case):
    packed(rng, case)
    count = len(case.tables["offsets"]) - 1
    case.tables["prefix"] = np.minimum(rng.integers(0, count, count), np.arange(count)).astype(np.int32)


def jetspec_tree(rng, case):
    prefix, nodes = case.params["prefix"], case.queries
    case.keys, case.params["nodes"] = prefix + nodes + 3, nodes
    parents = [rng.integers(0, n) if n else 0 for n in range(nodes)]
    seen = np.eye(nodes, dtype=np.uint8)
    for node in range(1, nodes):
        seen[node] |= seen[parents[node]]
    case.tables["ancestor"] = seen


def jetspec_train(rng, case):
    case.keys = case.params["prefix"] + case.queries


def flamingo(rng, case):
    images = -(-case.keys // case.params["T"])
    start = rng.integers(0, case.queries + 1, images)
    case.tables["intervals"] = np.stack([start, start + rng.integers(0, 20, images)], 1).astype(np.int32)


def canvas(rng, case):
    p = case.params
    case.queries = case.keys = p["W"] * p["H"]


def morton(rng, case):  # the least power of two that holds both sides
    side = 1 << (max(case.params["W"], case.params["H"]) - 1).bit_length()
    case.queries = case.keys = side * side


def tiles(*axes):
    def make(rng, case):
        p, padding = case.params, case.said.pop("padding", 3)
        tokens = p["N"]
        for axis in axes:
            tokens *= p["C" + axis]
        case.axes["j"] = p["text"] + padding
        case.queries = case.keys = tokens + p["text"] + padding
    return make


def svg(rng, case):
    p = case.params
    case.queries = case.keys = p["prompt"] + p["tpf"] * p.get("F", 4) + 2


def video_tiles(rng, case):
    count = -(-case.keys // case.params["T"])
    p, rows = case.params, -(-case.queries // case.params["T"])
    case.tables["sizes"] = rng.integers(0, p["T"] + 1, count).astype(np.int32)
    case.tables["map"] = (rng.random((case.batch, case.heads, rows, count)) < 0.4).astype(np.uint8)
    listed = rng.integers(0, count, (case.batch, case.heads, rows, 16)).astype(np.int32)
    case.tables["topk"] = listed
    if "top" in p:  # the definition's list ends where the spec stops reading
        case.said_tables["topk"] = listed[..., : p["top"]]


windows = [{"window": w} for w in (0, 1, 5, 36)]
small_canvas = [dict(W=7, H=7, KW=3, KH=5), dict(W=9, H=5, KW=4, KH=3), dict(W=5, H=9, KW=3, KH=2),
                dict(W=6, H=6, KW=6, KH=6)]
activations = [{"N": 1.0}, {"N": 0.5}, {"N": 2.0}]

CASES = {
    "causal": of(),
    "sliding_window": of(*windows),
    "dilated_sliding_window": of(*({"window": w, "dilation": d} for w, d in ((0, 1), (9, 3), (12, 2), (30, 7)))),
    "global_sliding_window": with_tables(*windows, sizes=SQUARE, tables={"is_global": bits("n", density=0.1)}),
    "prefix_lm": of({"prefix": 0}, {"prefix": 11}, {"prefix": 100}),
    "document_causal": Entry(packed, SQUARE, repeat=3),
    "document_full": Entry(packed, SQUARE, repeat=3),
    "document_sliding_window": Entry(packed, SQUARE, windows, repeat=2),
    "document_prefix_lm": Entry(packed, SQUARE, [{"prefix": 3}, {"prefix": 0}, {"prefix": 20}], repeat=2),
    "packed_causal_document": Entry(packed, SQUARE, repeat=3),
    "shared_prefix": Entry(shared_prefix, SQUARE, repeat=3),
    "batchify_causal": of({"n": 1}, {"n": 7}, {"n": 16}),
    "batchify_full": of({"n": 1}, {"n": 7}, {"n": 16}),
    "block_diffusion": of(*({"S": s, "L": l} for s, l in ((12, 3), (15, 4), (16, 16), (20, 1))),
                          sizes=[(1, 1, 1, 24, 24), (1, 1, 1, 30, 30), (1, 2, 1, 32, 32), (2, 1, 1, 40, 40)]),
    "jetspec_tree": Entry(jetspec_tree, values=[{"prefix": 5}, {"prefix": 0}, {"prefix": 13}]),
    "jetspec_train": Entry(jetspec_train, values=[{"prefix": 5, "block": 4}, {"prefix": 0, "block": 7},
                                                  {"prefix": 9, "block": 1}]),
    "flamingo": Entry(flamingo, values=[{"T": 5}, {"T": 1}, {"T": 16}]),
    "natten2d": Entry(canvas, SQUARE, small_canvas),
    "tiled_natten": Entry(canvas, SQUARE, [dict(W=8, H=6, KW=3, KH=5, TW=4, TH=3),
                                           dict(W=6, H=8, KW=4, KH=3, TW=2, TH=4),
                                           dict(W=9, H=9, KW=5, KH=5, TW=3, TH=3)]),
    "morton_natten": Entry(morton, SQUARE, [dict(W=8, H=8, KW=3, KH=5), dict(W=8, H=6, KW=3, KH=4),
                                            dict(W=5, H=7, KW=5, KH=3)]),
    "sta2d": Entry(tiles("H", "W"), SQUARE, [
        dict(CH=3, CW=4, N=4, KH=2, KW=3, text=5), dict(CH=5, CW=2, N=3, KH=3, KW=2, text=0),
        dict(CH=4, CW=4, N=2, KH=1, KW=4, text=2), dict(CH=3, CW=3, N=4, KH=3, KW=3, text=1)]),
    "sta3d": Entry(tiles("T", "H", "W"), SQUARE, [
        dict(CT=3, CH=3, CW=4, N=2, KT=2, KH=2, KW=3, text=5), dict(CT=4, CH=2, CW=2, N=3, KT=3, KH=2, KW=1, text=0),
        dict(CT=2, CH=4, CW=3, N=2, KT=1, KH=3, KW=3, text=3)]),
    "svg_spatial": Entry(svg, SQUARE, [dict(prompt=5, tpf=9, width=2, round=4), dict(prompt=0, tpf=14, width=1, round=8),
                                       dict(prompt=3, tpf=10, width=2, round=32)]),
    "svg_spatial_sink": Entry(svg, SQUARE, [dict(prompt=5, tpf=9, width=2, round=4),
                                            dict(prompt=0, tpf=14, width=1, round=8)]),
    "svg_temporal": Entry(svg, SQUARE, [dict(prompt=5, tpf=9, width=2, F=5), dict(prompt=0, tpf=14, width=1, F=4),
                                        dict(prompt=4, tpf=7, width=3, F=6)]),
    "vsa": Entry(video_tiles, values=[dict(T=8, top=2), dict(T=5, top=16), dict(T=16, top=1)]),
    "vsa_block_map": Entry(video_tiles, values=[dict(T=8), dict(T=5), dict(T=16)]),
    "alibi": of(),
    "softcap": of({"cap": 30.0}, {"cap": 1.0}),
    "sandwich": of(),
    "graphormer_spatial": with_tables(tables={"bias": normal("h", 9), "distance": integers(0, 9, "b", "q", "k")}),
    "graphormer_edge": with_tables(tables={"edge": normal("h", 5, 4), "type": integers(0, 4, "b", "q", "k", 5),
                                           "length": integers(0, 6, "b", "q", "k")}),
    "activation_sigmoid": of(*activations),
    "activation_relu": of(*activations, {"N": 0.0}),
    "activation_gelu": of(*activations),
    "mla_rope": with_tables({"scaling": 0.125}, {"scaling": 1.0},
                            tables={"q_rope": normal("b", "h", "q", 64), "k_rope": normal("b", 1, "k", 64)}),
}


def approximate_erf(rng, case):
    case.tolerance = 1e-6


CASES["activation_gelu"].make = approximate_erf
