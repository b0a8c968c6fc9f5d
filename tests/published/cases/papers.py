"""Papers."""
import numpy as np

from . import SQUARE, Entry, bits, documents, integers, normal, of, with_tables

ONE = [(1, 1, 1, 1, 1)]
HEADS = [(1, 4, 4, 1, 1), (2, 6, 2, 1, 1), (1, 2, 1, 1, 1)]


def groups(rng, case):  # a whole number of groups
    case.queries = case.keys = case.params["g"] * 5
    case.axes["i"] = case.keys


def tokens(count, queries=None):
    def make(rng, case):
        case.keys = count(case.params)
        case.queries = queries(case.params) if queries else case.keys

    return make


frames = lambda number: tokens(lambda p: number * p["F"])
image = tokens(lambda p: p["H"] * p["W"])


def moa(rng, case):
    case.queries = case.keys = 450
    case.tables["alpha"] = rng.integers(-64, 300, case.heads).astype(np.int32)
    case.tables["beta"] = (rng.integers(0, 16, case.heads) / 64).astype(np.float32)


def references(rng, case):
    frames(7)(rng, case)
    case.tables["reference"] = (rng.random(7) < 0.3).astype(np.uint8)


def radial(rng, case):
    p = case.params
    case.queries = case.keys = p["T"] * p["F"] + case.axes.get("j", 0)


def radial_text(rng, case):
    case.axes["j"] = 7
    radial(rng, case)


def radial_blocks(rng, case):
    case.queries = case.keys = 128 * 3 + 17
    case.tables["kept"] = (rng.random((4, 4)) < 0.5).astype(np.uint8)


def svg_hunyuan(rng, case):
    p = case.params
    case.queries = case.keys = p["tpf"] * p["F"] + p["prompt"] + 9


def paro(rng, case):
    p = case.params
    case.queries = case.keys = p["T"] * p["H"] * p["W"] + p["prompt"]
    blocks = -(-case.keys // 64)
    case.tables["order"] = rng.permutation(6)[: case.heads].astype(np.int32)
    case.tables["kept"] = (rng.random((3, case.heads, blocks, blocks)) < 0.5).astype(np.uint8)


def halonet(rng, case):
    p = case.params
    case.queries = p["H"] * p["W"]
    case.keys = (p["H"] + 2 * p["halo"]) * (p["W"] + 2 * p["halo"])
    for name in ("rel_y", "rel_x"):
        shape = (case.batch, case.heads, case.queries, p["n"] + 2 * p["halo"])
        case.tables[name] = rng.standard_normal(shape).astype(np.float32)


def overlock(rng, case):
    image(rng, case)
    case.tables["logits"] = rng.standard_normal((case.batch, case.heads, case.queries, 289)).astype(np.float32)


def infinity(rng, case):
    p = case.params
    case.axes["g"] = 5
    case.queries, case.keys = p["L"], p["L"] + 2 * p["P"] + 5


def ir_diffusion(rng, case):
    case.keys = case.params["R"] + case.queries
    case.axes["i"] = case.queries
    case.tables["ref_subject"] = rng.integers(0, 3, case.params["R"]).astype(np.int32)
    case.tables["subject"] = rng.integers(0, 3, case.queries).astype(np.int32)


def masked_words(rng, case):
    case.tables["object"] = rng.integers(0, 3, case.keys).astype(np.int32)
    case.tables["inside"] = (rng.random((3, case.queries)) < 0.5).astype(np.uint8)


def blocks(rng, case):  # what a selection leaves behind
    p = case.params
    rows, columns = (-(-case.keys // p.get(name, p["C"])) for name in ("R", "C"))
    case.tables["map"] = (rng.random((case.batch, case.heads, rows, columns)) < 0.4).astype(np.uint8)


def selected(rng, case):
    columns = -(-case.keys // case.params["C"])
    case.tables["selected"] = (rng.random((case.batch, case.heads, case.keys, columns)) < 0.3).astype(np.uint8)


def routed(rng, case):
    image(rng, case)
    case.tables["topk"] = np.argsort(rng.random((case.batch, 49, 49)))[..., :16].astype(np.int32)


def streaming_vlm(rng, case):
    case.queries = case.keys = 90
    text = (rng.random(90) < 0.4).astype(np.uint8)
    case.tables |= {"is_text": text, "number": (np.cumsum(text) - text).astype(np.int32),
                    "second": np.sort(rng.integers(0, 9, 90)).astype(np.int32)}


frame_sizes = [{"F": 5}, {"F": 1}, {"F": 8}]
relative = {"relative": normal("b", "h", "q", "n")}
CASES = {name: of() for name in ("cab_self", "cab_self_causal", "cab_cross", "cab_cross_causal", "gated_attention",
                                 "gated_attention_headwise", "slow_fast_cross")}
CASES |= {
    "s2_attn": Entry(groups, HEADS, [{"g": 8}, {"g": 2}, {"g": 6}]),
    "s2_attn_no_wrap": Entry(groups, HEADS, [{"g": 8}, {"g": 2}, {"g": 6}]),
    "s2_dkernel": of(dict(n=4, near=2, stride=3, dense=0), dict(n=8, near=1, stride=8, dense=1),
                     dict(n=1, near=3, stride=5, dense=0), sizes=[(1, 4, 4, 61, 61), (1, 6, 3, 61, 61), (1, 2, 1, 40, 40)]),
    "streaming_llm": of(dict(sinks=4, recent=8), dict(sinks=0, recent=1), dict(sinks=2, recent=50), sizes=SQUARE),
    "streaming_llm_past": of(dict(sinks=4, recent=8), dict(sinks=0, recent=1), dict(sinks=2, recent=50), sizes=SQUARE),
    "moa_prefill": Entry(moa, HEADS, [{"N": 400}, {"N": 0}, {"N": 1000}]),
    "moa_decode": Entry(moa, HEADS, [{"N": 400}, {"N": 0}, {"N": 1000}]),
    "vision_aware_heads": with_tables(tables={"factor": normal("h")}),
    "rcmha": with_tables(sizes=SQUARE, tables=relative),
    "streaming_vlm": Entry(streaming_vlm, ONE, [dict(sinks=4, window=6, seconds=2), dict(sinks=0, window=1, seconds=1),
                                                dict(sinks=9, window=30, seconds=5)]),
    "next_frame_diffusion": Entry(frames(6), SQUARE, frame_sizes),
    "rolling_forcing": Entry(frames(30), ONE, [dict(F=2, start=s) for s in (0, 3, 6, 12)]),
    "rolling_forcing_clean": Entry(frames(30), ONE, [dict(F=2, start=s) for s in (0, 3, 21, 27)]),
    "rain": Entry(frames(16), ONE, [{"F": 5}, {"F": 1}]),
    "video_infinity": Entry(infinity, values=[dict(L=9, P=2, local_bias=10.0, global_bias=0.0),
                                              dict(L=4, P=0, local_bias=0.0, global_bias=10.0)]),
    "frame_painter": Entry(frames(6), ONE, [p | {"factor": 0.5} for p in frame_sizes]),
    "video_booth": Entry(frames(6), ONE, frame_sizes),
    "efficient_vdit": Entry(references, ONE, frame_sizes),
    "radial_wan": Entry(radial, ONE, [dict(T=9, F=40, decay=0.25), dict(T=3, F=200, decay=0.25),
                                      dict(T=20, F=16, decay=0.5)]),
    "radial_hunyuan": Entry(radial_text, ONE, [dict(T=9, F=40, decay=0.25), dict(T=3, F=200, decay=0.5),
                                               dict(T=20, F=16, decay=0.875)]),
    "radial_blocks": Entry(radial_blocks, ONE, repeat=2),
    "svg_wan": Entry(tokens(lambda p: p["tpf"] * 6), ONE, [dict(tpf=70, width=1), dict(tpf=60, width=3),
                                                           dict(tpf=128, width=1)]),
    "svg_hunyuan": Entry(svg_hunyuan, ONE, [dict(tpf=70, width=2, F=5, prompt=11), dict(tpf=90, width=3, F=4, prompt=0)]),
    "paro_attention": Entry(paro, [(1, 6, 6, 1, 1), (1, 3, 1, 1, 1)],
                            [dict(T=3, H=7, W=10, prompt=26, bin=1), dict(T=4, H=5, W=9, prompt=0, bin=2)]),
    "hidiffusion": Entry(tokens(lambda p: 4 * p["HH"] * p["HW"]), ONE,
                         [dict(HH=4, HW=5, turn=t) for t in range(4)] + [dict(HH=3, HW=8, turn=2), dict(HH=9, HW=3, turn=3)]),
    "swin": Entry(image, ONE, [dict(H=8, W=12, n=4, shift=2), dict(H=7, W=7, n=7, shift=0), dict(H=9, W=6, n=3, shift=1)]),
    "davit_window": Entry(image, ONE, [dict(H=14, W=7), dict(H=8, W=15)]),
    "shvit": of(sizes=[(2, 1, 1, 196, 196)]),
    "halonet": Entry(halonet, [(1, 2, 2, 1, 1)], [dict(H=8, W=12, n=4, halo=2), dict(H=6, W=6, n=3, halo=3),
                                                  dict(H=8, W=4, n=4, halo=0)]),
    "overlock": Entry(overlock, [(1, 2, 2, 1, 1)], [dict(H=7, W=9, K=5), dict(H=5, W=5, K=5), dict(H=18, W=17, K=17)]),
    "vision_remember": Entry(tokens(lambda p: 2 * p["H"] * p["W"] * p["n"] ** 2, lambda p: p["H"] * p["W"]), ONE,
                             [dict(H=3, W=4, n=2), dict(H=2, W=5, n=3), dict(H=4, W=4, n=1)]),
    "simple_gvr": Entry(tokens(lambda p: 7 * p["H"] * p["W"]), ONE,
                        [dict(H=4, W=6, n=2, m=4), dict(H=3, W=3, n=3, m=2), dict(H=4, W=4, n=3, m=3)]),
    "ir_diffusion": Entry(ir_diffusion, SQUARE, [{"R": 13}, {"R": 1}, {"R": 30}]),
    "through_the_mask_cross": Entry(masked_words),
    "through_the_mask_self": with_tables(sizes=SQUARE, tables={"object": integers(0, 4, "n")}),
    "prime_composer": with_tables(tables={"of_object": bits("k"), "region": bits("q")}),
    "soft_pag": with_tables(sizes=SQUARE, tables={"share": normal("h")}),
    "warp_cross_frame": Entry(frames(6), ONE, [p | {"source": s} for p, s in zip(frame_sizes, (0, 3, 5))]),
    "subject_frames": with_tables(dict(F=2, n=3), dict(F=7, n=1), dict(F=1, n=5), sizes=SQUARE, tables={"subject": bits("k")}),
    "block_map": Entry(blocks, SQUARE, [dict(R=8, C=5), dict(R=3, C=16), dict(R=1, C=1)]),
    "vmoba": Entry(selected, SQUARE, [dict(C=8), dict(C=3), dict(C=64)]),
    "biformer": Entry(routed, [(1, 1, 1, 1, 1), (2, 2, 2, 1, 1)], [dict(H=14, W=21, top=2), dict(H=7, W=7, top=16),
                                                                 dict(H=7, W=28, top=1)]),
    "boxes": with_tables(tables={"box": normal("b", "q", "k")}),
}
