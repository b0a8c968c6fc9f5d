"""The score and mask functions of PyTorch's FlexAttention tests
(pytorch test/inductor/test_flex_attention.py, stored version 00125ef3).

The tests write most masks as a score of -inf; here they are masks, unless they depend on the score.
"""

import numpy as np

from common import attend, indices, offsets


# Scores of the score alone.

def identity(shape, params, tables):
    return attend(shape, score=lambda s: s)


def times_two(shape, params, tables):
    return attend(shape, score=lambda s: 2 * s)


def squared(shape, params, tables):
    return attend(shape, score=lambda s: s * s)


def silu(shape, params, tables):
    return attend(shape, score=lambda s: s / (1 + np.exp(-s)))


def captured_scalar(shape, params, tables):
    return attend(shape, score=lambda s: s + params["c"])


def trig(shape, params, tables):
    """The tangent is that of the batch index, in radians."""
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: np.sin(np.cos(s)) + np.tan(b))


def trig2(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: np.cos(s) * np.sin(s) + np.tan(b))


# Scores of positions.

def rel_bias(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + (q - k))


def rel_causal(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, q >= k, lambda s: s + (q - k))


def alibi(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + (k - q) * 2.0 ** (-8.0 * (h + 1) / shape["heads"]))


def alibi8(shape, params, tables):
    """The tests' slopes: those of eight heads, however many there are."""
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + (k - q) * 2.0 ** -(h + 1.0))


def floor_div(shape, params, tables):
    """test_subgraph_respect_decompostion: an integer quotient."""
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s - q // (1 + k))


def composed(shape, params, tables):
    """test_function_composition: the relative bias, then q <= k."""
    b, h, q, k = indices(shape)
    return attend(shape, q <= k, lambda s: s + (q - k))


# Scores that read tables.

def head_offset(shape, params, tables):
    """Trap: an offset in name, a factor in fact."""
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s * tables["v"][h])


def all_bias(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + tables["T"][q] + tables["B"][b] + tables["H"][h])


def bias_qk(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + tables["bias"][q, k])


def bias_bqk(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + tables["bias"][b, q, k])


def bias_bhqk(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + tables["bias"][b, h, q, k])


def bias_transposed(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + tables["bias"][k, q])


def bias_bq(shape, params, tables):
    """test_index_multiple."""
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + tables["bias"][b, q])


def bias_bhq(shape, params, tables):
    """test_index_weird1 and 2: one slice of a table of four."""
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + tables["bias"][b, h, q])


def bias_relative(shape, params, tables):
    """test_load_rel_bias: the table is entered at (q - k) + S."""
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + tables["bias"][(q - k) + params["S"]])


def bias_distance(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + tables["bias"][abs(q - k)])


def bias_clamped(shape, params, tables):
    """The table is entered at clamp(q - k + w, 0, 2w)."""
    b, h, q, k = indices(shape)
    w = params["w"]
    return attend(shape, score=lambda s: s + tables["bias"][np.clip(q - k + w, 0, 2 * w)])


def bias_k(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + tables["bias"][k])


def bias_gather(shape, params, tables):
    """A gather of a gather."""
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + tables["bias"][tables["offset"][q]])


def bias_q_plus_k(shape, params, tables):
    """One table, read twice."""
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + tables["bias"][q] + tables["bias"][k])


def scale_q(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s * tables["v"][q])


def head_gate(shape, params, tables):
    """Trap: the gate passes through a sigmoid."""
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s / (1 + np.exp(-tables["gate"].astype(np.float64)[h])))


def euclid(shape, params, tables):
    """exp(-distance / L[h]) as a factor. Trap: the norm is the Euclidean one, of a vector of three."""
    b, h, q, k = indices(shape)
    place = tables["P"].astype(np.float64)
    distance = np.sqrt(((place[q] - place[k]) ** 2).sum(axis=-1))
    return attend(shape, score=lambda s: s * np.exp(-distance / tables["L"][h]))


def decomposed_rel_pos(shape, params, tables):
    """test_load_from_view_buffer: a bias for the key's row of W tokens."""
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + tables["R"][b, h, q, k // params["W"]])


# Masks.

def causal(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, q >= k)


def inverse_causal(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, q <= k)


def skip_odd_keys(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, k % 2 == 0)


def seq_mask(shape, params, tables):
    """test_seq_masking: two segments, told apart by a table."""
    b, h, q, k = indices(shape)
    return attend(shape, tables["seg"][q] == tables["seg"][k])


def video_causal(shape, params, tables):
    """test_dependent_causal_bidirectional. The bound n[b] belongs to the bidirectional part."""
    b, h, q, k = indices(shape)
    n = tables["n"][b]
    return attend(shape, ((q <= n) & (k <= n)) | (q >= k))


def two_ranges(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, (k < 256) | (k >= 2048))


def masked_rows(shape, params, tables):
    """Rows from M on see nothing: their output is 0 and their LSE -inf."""
    b, h, q, k = indices(shape)
    return attend(shape, (q < params["M"]) & (k >= 0))


def empty(shape, params, tables):
    """test_mask_mod_combiners: causal and its opposite."""
    b, h, q, k = indices(shape)
    return attend(shape, (q >= k) & (q < k))


def window512(shape, params, tables):
    """test_mask_mod_combiners: causal and q - k <= 512, 513 keys."""
    b, h, q, k = indices(shape)
    return attend(shape, (q >= k) & (q - k <= 512))


def random_rows(shape, params, tables):
    """Rows that a table per batch turns off."""
    b, h, q, k = indices(shape)
    return attend(shape, (tables["rand"][b, q] == 0) & (k >= 0))


def padding(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, (q < tables["length"][b]) & (k < tables["length"][b]))


def doc_causal(shape, params, tables):
    """test_doc_mask_sparse: causal within documents given by a table of numbers."""
    b, h, q, k = indices(shape)
    return attend(shape, (q >= k) & (tables["doc"][q] == tables["doc"][k]))


def njt_causal(shape, params, tables):
    """test_njt_causal. Trap: places within the documents are compared, the documents are not."""
    b, h, q, k = indices(shape)
    doc, first = tables["tok_doc"], offsets(tables)
    return attend(shape, q - first[doc[q]] >= k - first[doc[k]])


def natten_2d(shape, params, tables):
    """test_natten_2d. Traps: rows OR columns, and the row is a true quotient, so that |q - k| / W is
    compared with the window."""
    b, h, q, k = indices(shape)
    w, window = params["W"], params["window"]
    return attend(shape, (abs(q - k) <= window * w) | (abs(q % w - k % w) <= window))


def padded_dense_causal(shape, params, tables):
    """test_padded_dense_causal. Trap: it is the SCORE that is compared with the length."""
    b, h, q, k = indices(shape)
    return attend(shape, q >= k, lambda s: np.where(s <= tables["length"][b], s, -np.inf))


def window_part(shape, params, tables):
    """The split test's first part: causal within a window; merged with the other it is causal."""
    b, h, q, k = indices(shape)
    return attend(shape, (q >= k) & (q - k <= params["w"]))


def window_complement(shape, params, tables):
    """The split test's second part: causal beyond the window."""
    b, h, q, k = indices(shape)
    return attend(shape, (q >= k) & ~(q - k <= params["w"]))
