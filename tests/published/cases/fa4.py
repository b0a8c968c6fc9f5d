"""FlashAttention 4's tests."""
import numpy as np

from . import SQUARE, Entry, integers, normal, of, with_tables

PAIRS = [(1, 1, 1, 1, 1), (1, 2, 1, 61, 7), (2, 1, 1, 33, 91), (1, 1, 1, 40, 41), (1, 3, 3, 41, 40)]
LONG = [(1, 1, 1, 300, 310), (1, 2, 1, 531, 37), (1, 1, 1, 37, 531)]
VARLEN = [(1, 1, 1, 1, 1), (3, 4, 2, 37, 41), (2, 3, 1, 61, 53)]


def offset(rng, case):
    case.params["offset"] = case.keys - case.queries


def cumulative(rng, case):
    """Batches of one packed sequence: where each begins, and tables over all tokens."""
    for side, tokens in (("q", case.queries), ("k", case.keys)):
        case.tables["cu_" + side] = (np.arange(case.batch + 1) * tokens).astype(np.int32)
        total = tokens * case.batch
        case.tables["doc_" + side] = rng.integers(0, 3, total).astype(np.int32)
        case.tables[("q" if side == "q" else "kv") + "_bias"] = rng.standard_normal(total).astype(np.float32)
    case.tables["threshold"] = rng.integers(0, case.keys + 1, case.keys * case.batch).astype(np.int32)
    case.tables["window"] = rng.integers(0, 20, case.queries * case.batch).astype(np.int32)
    case.tables["head_scale"] = rng.standard_normal(case.heads).astype(np.float32)
    case.tables["batch_bias"] = rng.standard_normal(case.batch).astype(np.float32)
    case.tables["rel_scale"] = rng.standard_normal(1025).astype(np.float32)


CASES = {name: of() for name in ("mini_causal", "identity", "rel_bias_x2", "times_two", "squared", "alibi",
                                 "rel_bias")}
CASES |= {name: of(sizes=LONG) for name in ("block_diagonal", "dilated_sliding_window", "rel_bias_clamped",
                                            "score_sliding_window", "score_block_diagonal")}
CASES |= {name: Entry(offset, PAIRS) for name in ("causal", "block_causal")}
CASES |= {name: Entry(cumulative, VARLEN) for name in (
    "global_packed_document", "global_ima", "global_causal_window", "global_kv_bias", "global_q_bias",
    "global_q_and_kv_bias", "global_rel_plus_kv_bias", "global_logical_rel_plus_kv_bias", "complex_arithmetic",
    "multi_buffer", "xor_pattern", "debug_global_index")}
CASES |= {
    "mini_causal": of(sizes=LONG),
    "prefix_lm": of(sizes=[(1, 1, 1, 600, 601), (1, 1, 1, 37, 700), (1, 1, 1, 700, 37)]),
    "sliding_window": Entry(offset, PAIRS, [dict(left=5, right=2), dict(left=0, right=0), dict(left=17, right=9)]),
    "document": with_tables(sizes=SQUARE, tables={"doc": integers(0, 4, "b", "h", "n")}),
    "ima": with_tables(tables={"threshold": integers(0, 41, "k")}),
    "batch_bias": with_tables(tables={"batch_bias": normal("b")}),
    "dual_buffer": with_tables(tables={"head_bias": normal("h"), "pos_bias": normal("q")}),
    "conditional_mask": Entry(cumulative, VARLEN + LONG),
}
