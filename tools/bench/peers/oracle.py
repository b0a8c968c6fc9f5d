"""Float64 attention of some rows, by the definition."""
import numpy as np


def rows(case, q, k, v, chosen):
    """`chosen` are pairs (head, row); the result is (len(chosen), dim)."""
    result = np.zeros((len(chosen), v.shape[-1]))
    group = case.heads // case.kv_heads
    positions = np.arange(case.kv)
    for i, (head, row) in enumerate(chosen):
        keys, values = (x[head // group].astype(np.float64) for x in (k, v))
        s = keys @ q[head, row].astype(np.float64) / np.sqrt(case.dim)
        at = np.full(1, case.offset + row)
        if case.score is not None:
            s = case.score(np, s, head, at, positions)
        if case.mask is not None:
            s = np.where(case.mask(np, head, at, positions), s, -np.inf)
        if np.isneginf(s).all():
            continue  # an empty row is zero
        p = np.exp(s - s.max())
        result[i] = p @ values / p.sum()
    return result
