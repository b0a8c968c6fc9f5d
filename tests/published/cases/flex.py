"""FlexAttention's tests."""
import numpy as np

from . import SQUARE, Entry, bits, documents, integers, normal, of, packed, with_tables


def relative(rng, case):
    case.params["S"] = case.keys - 1
    case.tables["bias"] = rng.standard_normal(case.keys + case.queries).astype(np.float32)
    if case.params["S"] == 0:
        case.params["S"] = 1


def clamped(rng, case):
    case.tables["bias"] = rng.standard_normal(2 * case.params["w"] + 1).astype(np.float32)


def lengths(rng, case):
    case.tables["length"] = rng.integers(0, case.keys + 1, case.batch).astype(np.int32)


def short_lengths(rng, case):
    case.tables["length"] = rng.integers(-2, 3, case.batch).astype(np.int32)


def doc(rng, case):
    offsets = documents(rng, case.keys)
    case.tables["doc"] = (np.searchsorted(offsets, np.arange(case.keys), side="right") - 1).astype(np.int32)


LONG = [(1, 1, 1, 5, 2100), (1, 1, 1, 600, 601)]

CASES = {name: of() for name in (
    "identity", "times_two", "squared", "silu", "trig", "trig2", "rel_bias", "rel_causal", "alibi", "alibi8",
    "floor_div", "composed", "causal", "inverse_causal", "skip_odd_keys", "empty")}
CASES |= {
    "captured_scalar": of({"c": 2.5}, {"c": -1.0}),
    "head_offset": with_tables(tables={"v": normal("h")}),
    "all_bias": with_tables(tables={"T": normal("q"), "B": normal("b"), "H": normal("h")}),
    "bias_qk": with_tables(tables={"bias": normal("q", "k")}),
    "bias_bqk": with_tables(tables={"bias": normal("b", "q", "k")}),
    "bias_bhqk": with_tables(tables={"bias": normal("b", "h", "q", "k")}),
    "bias_transposed": with_tables(tables={"bias": normal("k", "q")}),
    "bias_bq": with_tables(tables={"bias": normal("b", "q")}),
    "bias_bhq": with_tables(tables={"bias": normal("b", "h", "q")}),
    "bias_relative": Entry(relative),
    "bias_distance": with_tables(tables={"bias": normal("n")}),
    "bias_clamped": Entry(clamped, values=[{"w": 5}, {"w": 0}, {"w": 30}]),
    "bias_k": with_tables(tables={"bias": normal("k")}),
    "bias_gather": with_tables(tables={"bias": normal(17), "offset": integers(0, 17, "q")}),
    "bias_q_plus_k": with_tables(tables={"bias": normal("n")}),
    "scale_q": with_tables(tables={"v": normal("q")}),
    "head_gate": with_tables(tables={"gate": normal("h")}),
    "euclid": with_tables(tables={"P": normal("n", 3),
                                  "L": lambda rng, case: (rng.random(case.heads) + 0.5).astype(np.float32)}),
    "decomposed_rel_pos": with_tables({"W": 7}, {"W": 1}, {"W": 8}, tables={"R": normal("b", "h", "q", "k")}),
    "seq_mask": with_tables(tables={"seg": integers(0, 4, "n")}),
    "video_causal": with_tables(tables={"n": integers(0, 41, "b")}),
    "two_ranges": of(sizes=LONG),
    "masked_rows": of({"M": 0}, {"M": 17}, {"M": 60}),
    "window512": of(sizes=LONG),
    "random_rows": with_tables(tables={"rand": bits("b", "q")}),
    "padding": Entry(lengths, SQUARE),
    "doc_causal": Entry(doc, SQUARE, repeat=3),
    "njt_causal": Entry(packed, SQUARE, repeat=3),
    "natten_2d": of({"W": 8, "window": 3}, {"W": 16, "window": 1}, {"W": 4, "window": 0}),
    "padded_dense_causal": Entry(short_lengths, repeat=2),
    "window_part": of({"w": 0}, {"w": 7}, {"w": 60}),
    "window_complement": of({"w": 0}, {"w": 7}, {"w": 60}),
}
