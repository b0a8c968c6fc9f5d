"""FlashInfer's tests: queries stand at the end of the keys."""
import numpy as np

from . import Entry, bits, normal, of, with_tables

LAST = [(1, 1, 1, 1, 1), (2, 4, 2, 37, 41), (1, 3, 1, 1, 53), (2, 2, 2, 45, 45)]


def last(rng, case):
    case.q_position = case.keys - case.queries


def with_sink(rng, case):
    last(rng, case)
    case.tables["sink"] = rng.standard_normal(case.heads).astype(np.float32)


def varlen(rng, case):
    case.tables["k_len"] = rng.integers(1, case.keys + 1, case.batch).astype(np.int32)
    case.tables["q_len"] = np.minimum(rng.integers(0, case.queries + 1, case.batch), case.tables["k_len"]).astype(np.int32)
    case.tables["sink"] = rng.standard_normal(case.heads).astype(np.float32)


def rows_and_columns(case):
    return -(-case.queries // case.params["R"]), -(-case.keys // case.params["C"])


def block_sparse(rng, case):
    case.tables["kept"] = (rng.random(rows_and_columns(case)) < 0.4).astype(np.uint8)


def block_sparse_masked(rng, case):
    rows, columns = rows_and_columns(case)
    kept = rng.random((rows, columns)) < 0.5
    slot = np.where(kept, np.cumsum(kept).reshape(rows, columns) - 1, -1)
    case.tables["slot"] = slot.astype(np.int32)
    inside = rng.random((max(int(kept.sum()), 1), case.params["R"], case.params["C"])) < 0.5
    case.tables["inside"] = inside.astype(np.uint8)


def variable_block_sparse(rng, case):
    for name, tokens in (("row", case.queries), ("col", case.keys)):
        cuts = np.sort(rng.integers(0, tokens + 1, (case.kv_heads, 3)), axis=1)
        ends = np.concatenate([cuts, np.full((case.kv_heads, 1), tokens)], axis=1)
        case.tables[name + "_size"] = np.diff(ends, axis=1, prepend=0).astype(np.int32)
        case.tables[name + "_block"] = np.stack(
            [np.searchsorted(e, np.arange(tokens), side="right") for e in ends]).astype(np.int32)
    case.tables["kept"] = (rng.random((case.kv_heads, 4, 4)) < 0.5).astype(np.uint8)


lefts = [{"window_left": w} for w in (-1, 0, 3, 13)]
blocks = [dict(R=1, C=4), dict(R=4, C=1), dict(R=16, C=16)]
CASES = {
    "causal": Entry(last, LAST),
    "sliding_window": Entry(last, LAST, lefts),
    "sliding_window_open": Entry(last, LAST, lefts),
    "attention_sink": Entry(with_sink, LAST),
    "attention_sink_varlen": Entry(varlen, values=lefts, repeat=2),
    "logits_soft_cap": Entry(last, LAST, [{"cap": c} for c in (1.0, 30.0, 50.0)]),
    "custom_mask": with_tables(tables={"mask": bits("q", "k")}),
    "block_sparse": Entry(block_sparse, values=blocks),
    "block_sparse_masked": Entry(block_sparse_masked, values=blocks),
    "variable_block_sparse": Entry(variable_block_sparse, repeat=2),
    "alibi": of(sizes=[(1, 1, 1, 9, 9), (1, 8, 8, 17, 20), (1, 12, 4, 13, 13), (2, 5, 1, 7, 11)]),
}
