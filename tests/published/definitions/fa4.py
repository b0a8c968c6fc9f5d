"""The masks and scores of FlashAttention 4's tests (Dao-AILab/flash-attention tests/cute, 0251105).

The offset is added to the query where the source does; its tests align the last query with the last
key, offset = keys - queries.
"""

import numpy as np

from common import attend, indices


# Masks.

def causal(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, k <= q + params["offset"])


def block_causal(shape, params, tables):
    """Trap: no blocks in it; the same as causal."""
    return causal(shape, params, tables)


def sliding_window(shape, params, tables):
    """Both ends are included: left + 1 + right keys."""
    b, h, q, k = indices(shape)
    center = q + params["offset"]
    return attend(shape, (k >= center - params["left"]) & (k <= center + params["right"]))


def block_diagonal(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, q // 128 == k // 128)


def mini_causal(shape, params, tables):
    """Causal in the places within tiles of 128, whatever the tiles."""
    b, h, q, k = indices(shape)
    return attend(shape, q % 128 >= k % 128)


def prefix_lm(shape, params, tables):
    """Both within the first 512, or causal without an offset."""
    b, h, q, k = indices(shape)
    return attend(shape, ((q < 512) & (k < 512)) | (q >= k))


def dilated_sliding_window(shape, params, tables):
    """Every other key of the newest 256."""
    b, h, q, k = indices(shape)
    behind = q - k
    return attend(shape, (behind >= 0) & (behind < 256) & (behind % 2 == 0))


def document(shape, params, tables):
    """Document numbers per batch and head."""
    b, h, q, k = indices(shape)
    return attend(shape, tables["doc"][b, h, q] == tables["doc"][b, h, k])


def ima(shape, params, tables):
    """A threshold per key."""
    b, h, q, k = indices(shape)
    return attend(shape, k >= tables["threshold"][k])


def global_packed_document(shape, params, tables):
    """Sequences of a batch lie end to end in the tables; positions count within the sequence."""
    b, h, q, k = indices(shape)
    doc_q = tables["doc_q"][tables["cu_q"][b] + q]
    doc_k = tables["doc_k"][tables["cu_k"][b] + k]
    return attend(shape, doc_q == doc_k)


def global_ima(shape, params, tables):
    """The key's place within its sequence against a threshold of the packed key."""
    b, h, q, k = indices(shape)
    return attend(shape, k >= tables["threshold"][tables["cu_k"][b] + k])


def global_causal_window(shape, params, tables):
    """Causal, and at most as far back as the packed query's own window says (included)."""
    b, h, q, k = indices(shape)
    return attend(shape, (k <= q) & (q - k <= tables["window"][tables["cu_q"][b] + q]))


# Scores.

def identity(shape, params, tables):
    return attend(shape, score=lambda s: s)


def rel_bias(shape, params, tables):
    """Trap: FlexAttention's rel_bias is signed, this one takes the distance."""
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + abs(q - k))


def rel_bias_clamped(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + np.minimum(abs(q - k), 256))


def rel_bias_x2(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + 2 * abs(q - k))


def times_two(shape, params, tables):
    return attend(shape, score=lambda s: 2 * s)


def squared(shape, params, tables):
    return attend(shape, score=lambda s: s * s)


def alibi(shape, params, tables):
    """Slopes 2^-(h+1), whatever the number of heads, times the distance to both sides."""
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s - 2.0 ** -(h + 1.0) * abs(q - k))


def score_sliding_window(shape, params, tables):
    """A mask written as a score: distance at most 256, to both sides."""
    b, h, q, k = indices(shape)
    return attend(shape, abs(q - k) <= 256)


def score_block_diagonal(shape, params, tables):
    """A mask written as a score: blocks of 64."""
    b, h, q, k = indices(shape)
    return attend(shape, q // 64 == k // 64)


def batch_bias(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + tables["batch_bias"][b])


def dual_buffer(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + tables["head_bias"][h] + tables["pos_bias"][q])


# Scores that read packed tables; cu_q and cu_k say where a batch's sequence begins.

def global_kv_bias(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + tables["kv_bias"][tables["cu_k"][b] + k])


def global_q_bias(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + tables["q_bias"][tables["cu_q"][b] + q])


def global_q_and_kv_bias(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + tables["q_bias"][tables["cu_q"][b] + q] +
                  tables["kv_bias"][tables["cu_k"][b] + k])


def _distance_and_bias(shape, tables, factor):
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + factor * abs(q - k) +
                  tables["kv_bias"][tables["cu_k"][b] + k])


def global_rel_plus_kv_bias(shape, params, tables):
    return _distance_and_bias(shape, tables, 0.1)


def global_logical_rel_plus_kv_bias(shape, params, tables):
    return _distance_and_bias(shape, tables, 0.01)


def complex_arithmetic(shape, params, tables):
    b, h, q, k = indices(shape)
    scale = 0.001 * (b + 1) * (h + 1)
    return attend(shape, score=lambda s: s + 0.001 * abs(q - k) +
                  tables["q_bias"][tables["cu_q"][b] + q] * scale)


def conditional_mask(shape, params, tables):
    """Causal in the sequence and within 512 in the packed buffers, plus the key's bias."""
    b, h, q, k = indices(shape)
    packed_q, packed_k = tables["cu_q"][b] + q, tables["cu_k"][b] + k
    return attend(shape, (q >= k) & (abs(packed_q - packed_k) <= 512),
                  lambda s: s + tables["kv_bias"][packed_k])


def multi_buffer(shape, params, tables):
    """Five tables; the relative one is entered at clamp(q - k + 512, 0, 1024)."""
    b, h, q, k = indices(shape)
    relative = tables["rel_scale"][np.clip(q - k + 512, 0, 1024)]
    return attend(shape, score=lambda s: s * tables["head_scale"][h] + tables["batch_bias"][b] +
                  tables["q_bias"][tables["cu_q"][b] + q] +
                  tables["kv_bias"][tables["cu_k"][b] + k] + 0.1 * relative)


def xor_pattern(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + 0.001 * ((q ^ k) & 255) +
                  0.1 * tables["kv_bias"][tables["cu_k"][b] + k])


def debug_global_index(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + 0.001 * (tables["cu_k"][b] + k))
