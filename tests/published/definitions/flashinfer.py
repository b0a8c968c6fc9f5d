"""The masks and scores of FlashInfer's tests (flashinfer-ai/flashinfer fb28d72).

A result may hold "sink" too: the per-head logit that joins the softmax's denominator.
"""

import numpy as np

from common import attend, indices


def _position(shape):
    """Queries are the last ones of the keys."""
    return np.arange(shape["keys"] - shape["queries"], shape["keys"]).reshape(1, 1, -1, 1)


def causal(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, k <= _position(shape))


def sliding_window(shape, params, tables):
    """tests/attention/test_sliding_window.py. Trap: window_left keys before the own one, which makes
    window_left + 1; a negative window_left is none."""
    b, h, q, k = indices(shape)
    behind, left = _position(shape) - k, params["window_left"]
    return attend(shape, (behind >= 0) & ((behind <= left) | (left < 0)))


def sliding_window_open(shape, params, tables):
    """tests/test_helpers/sink_attention_reference.py without causal: nothing bounds the future."""
    b, h, q, k = indices(shape)
    left = params["window_left"]
    return attend(shape, (_position(shape) - k <= left) | (left < 0))


def attention_sink(shape, params, tables):
    """tests/attention/test_attention_sink.py: causal, and a sink logit."""
    return {**causal(shape, params, tables), "sink": tables["sink"]}


def attention_sink_varlen(shape, params, tables):
    """The same with own lengths: queries are the last q_len[b] of k_len[b] keys; rows behind see none."""
    b, h, q, k = indices(shape)
    lengths_q, lengths_k, left = tables["q_len"][b], tables["k_len"][b], params["window_left"]
    behind = lengths_k - lengths_q + q - k
    seen = (behind >= 0) & ((behind <= left) | (left < 0)) & (q < lengths_q) & (k < lengths_k)
    return {**attend(shape, seen), "sink": tables["sink"]}


def logits_soft_cap(shape, params, tables):
    """tests/attention/test_logits_cap.py. Not causal in the test."""
    cap = params["cap"]
    return attend(shape, score=lambda s: cap * np.tanh(s / cap))


def custom_mask(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, tables["mask"][q, k] != 0)


def block_sparse(shape, params, tables):
    """tests/attention/test_block_sparse.py: blocks of R queries and C keys that a map keeps."""
    b, h, q, k = indices(shape)
    return attend(shape, tables["kept"][q // params["R"], k // params["C"]] != 0)


def block_sparse_masked(shape, params, tables):
    """The same with mask_inside_block: slot[i, j] is the number of the block's own R x C mask, or -1."""
    b, h, q, k = indices(shape)
    slot = tables["slot"][q // params["R"], k // params["C"]]
    inside = tables["inside"][np.maximum(slot, 0), q % params["R"], k % params["C"]]
    return attend(shape, (slot >= 0) & (inside != 0))


def variable_block_sparse(shape, params, tables):
    """Blocks of any size, per KV head: which block a row and a column are in, and the map of blocks."""
    b, h, q, k = indices(shape)
    kv = h // (shape["heads"] // shape["kv_heads"])
    return attend(shape, tables["kept"][kv, tables["row_block"][kv, q], tables["col_block"][kv, k]] != 0)


def _slopes(heads):
    """For a power of two n: 2^(-8 i / n). Heads beyond it take the odd terms of 2n's slopes."""
    n = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * (i + 1) / n) for i in range(n)]
    return np.array(slopes + [2.0 ** (-4.0 * (2 * i + 1) / n) for i in range(heads - n)])


def alibi(shape, params, tables):
    """include/flashinfer/attention/variants.cuh: signed, with slopes for any number of heads. Trap: the
    reference of tests/attention/test_alibi.py adds the slope times k alone, which the softmax does not see
    but the LSE does."""
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + (k - q) * _slopes(shape["heads"])[h])
