"""The masks and score functions of attention-gym (meta-pytorch/attention-gym, snapshot 7fdb85d).

README.md in this folder says how the functions are called.
"""

import numpy as np

from common import attend, grid, indices, offsets, read


# Masks of one sequence.

def causal(shape, params, tables):
    """masks/causal.py"""
    b, h, q, k = indices(shape)
    return attend(shape, q >= k)


def sliding_window(shape, params, tables):
    """masks/sliding_window.py. Trap: the difference may equal the window, w + 1 keys in all."""
    b, h, q, k = indices(shape)
    return attend(shape, (q - k <= params["window"]) & (q >= k))


def dilated_sliding_window(shape, params, tables):
    """masks/dilated_sliding_window.py. Bidirectional."""
    b, h, q, k = indices(shape)
    distance = abs(q - k)
    return attend(shape, (distance <= params["window"]) & (distance % params["dilation"] == 0))


def global_sliding_window(shape, params, tables):
    """masks/global_sliding_window.py (Longformer). A global token sees all and is seen by all."""
    b, h, q, k = indices(shape)
    marked = tables["is_global"] != 0
    return attend(shape, (abs(q - k) <= params["window"]) | marked[q] | marked[k])


def prefix_lm(shape, params, tables):
    """masks/prefix_lm.py"""
    b, h, q, k = indices(shape)
    return attend(shape, (k < params["prefix"]) | (q >= k))


# Packed sequences.

def _packed(shape, tables):
    """For q and k: the document, and the place within it."""
    b, h, q, k = indices(shape)
    doc, first = tables["tok_doc"], offsets(tables)
    return doc[q], doc[k], q - first[doc[q]], k - first[doc[k]]


def document_causal(shape, params, tables):
    """masks/document_mask.py, generate_doc_mask_mod over the causal mask."""
    doc_q, doc_k, q, k = _packed(shape, tables)
    return attend(shape, (doc_q == doc_k) & (q >= k))


def document_full(shape, params, tables):
    """masks/document_mask.py over a mask that admits everything."""
    doc_q, doc_k, q, k = _packed(shape, tables)
    return attend(shape, doc_q == doc_k)


def document_sliding_window(shape, params, tables):
    """masks/document_mask.py over sliding_window; the window counts within the document."""
    doc_q, doc_k, q, k = _packed(shape, tables)
    return attend(shape, (doc_q == doc_k) & (q >= k) & (q - k <= params["window"]))


def document_prefix_lm(shape, params, tables):
    """masks/document_mask.py over prefix_lm; the prefix counts within the document."""
    doc_q, doc_k, q, k = _packed(shape, tables)
    return attend(shape, (doc_q == doc_k) & ((k < params["prefix"]) | (q >= k)))


def packed_causal_document(shape, params, tables):
    """masks/document_mask.py, generate_packed_causal_doc_mask_mod."""
    b, h, q, k = indices(shape)
    return attend(shape, (k >= offsets(tables)[tables["tok_doc"][q]]) & (q >= k))


def shared_prefix(shape, params, tables):
    """masks/shared_prefix.py. A continuation sees its prefix document whole; a prefix document,
    which is its own prefix, stays causal."""
    b, h, q, k = indices(shape)
    first = offsets(tables)
    doc = tables["tok_doc"][q]
    prefix = tables["prefix"][doc]
    own = (k >= first[doc]) & (q >= k)
    shared = (doc != prefix) & (k >= first[prefix]) & (k < first[prefix + 1])
    return attend(shape, own | shared)


def batchify_causal(shape, params, tables):
    """masks/batchify.py over the causal mask."""
    b, h, q, k = indices(shape)
    n = params["n"]
    return attend(shape, (q // n == k // n) & (q % n >= k % n))


def batchify_full(shape, params, tables):
    """masks/batchify.py over a mask that admits everything."""
    b, h, q, k = indices(shape)
    return attend(shape, q // params["n"] == k // params["n"])


# Training and drafting.

def block_diffusion(shape, params, tables):
    """masks/block_diffusion.py (BD3-LM): S noised tokens, then S clean ones.

    Noised sees noised of its own block and clean of earlier blocks; clean sees clean of its own
    and earlier blocks.
    """
    b, h, q, k = indices(shape)
    s, block = params["S"], params["L"]
    noised_q, noised_k = q < s, k < s
    block_q, block_k = (q % s) // block, (k % s) // block
    return attend(shape, np.where(noised_q,
                                  np.where(noised_k, block_q == block_k, block_q > block_k),
                                  ~noised_k & (block_q >= block_k)))


def jetspec_tree(shape, params, tables):
    """masks/jetspec.py: queries are tree nodes; keys are a prefix and then the nodes. A node sees
    the prefix and its ancestors (itself included)."""
    b, h, q, k = indices(shape)
    prefix = params["prefix"]
    ancestor = read(tables["ancestor"], q, k - prefix) != 0
    tree = (k >= prefix) & (k < prefix + params["nodes"]) & ancestor
    return attend(shape, (k < prefix) | tree)


def jetspec_train(shape, params, tables):
    """masks/jetspec.py: query blocks are independent and causal; the prefix is seen whole."""
    b, h, q, k = indices(shape)
    prefix, block = params["prefix"], params["block"]
    node = k - prefix
    own = (node >= 0) & (node // block == q // block) & (node % block <= q % block)
    return attend(shape, (k < prefix) | own)


def flamingo(shape, params, tables):
    """masks/flamingo.py: image i of T tokens is seen by text tokens lo[i] <= q < hi[i]."""
    b, h, q, k = indices(shape)
    first, end = tables["intervals"].T
    image = k // params["T"]
    return attend(shape, (q >= first[image]) & (q < end[image]))


# Images and video.

def _near(center, key, kernel, extent):
    """A window of `kernel` about a centre that is kept `kernel // 2` from both edges.

    Trap: an even kernel admits kernel + 1 keys. When the bounds cross, the upper one wins.
    """
    half = kernel // 2
    center = np.minimum(np.maximum(center, half), extent - 1 - half)
    return abs(center - key) <= half


def natten2d(shape, params, tables):
    """masks/natten.py, generate_natten. Trap: x is idx // W, the row, and yet is bounded by the
    canvas's width: right for square canvases only. Taken literally."""
    b, h, q, k = indices(shape)
    w, height = params["W"], params["H"]
    mask = _near(q // w, k // w, params["KW"], w) & _near(q % w, k % w, params["KH"], height)
    return attend(shape, mask)


def tiled_natten(shape, params, tables):
    """masks/natten.py, generate_tiled_natten: tokens are stored tile by tile."""
    b, h, q, k = indices(shape)
    w, height, tw, th = params["W"], params["H"], params["TW"], params["TH"]

    def decode(index):
        tile, inside = index // (tw * th), index % (tw * th)
        tile_y, tile_x = tile // (w // tw), tile % (w // tw)
        return tile_x * tw + inside % tw, tile_y * th + inside // tw

    (qx, qy), (kx, ky) = decode(q), decode(k)
    return attend(shape, _near(qx, kx, params["KW"], w) & _near(qy, ky, params["KH"], height))


def morton_natten(shape, params, tables):
    """masks/natten.py, generate_morton_natten: tokens follow the Z-order curve, x in the even bits."""
    b, h, q, k = indices(shape)

    def bits(index, first):
        value = np.zeros_like(index)
        for n in range(16):
            value = value | (((index >> (2 * n + first)) & 1) << n)
        return value

    mask = (_near(bits(q, 0), bits(k, 0), params["KW"], params["W"]) &
            _near(bits(q, 1), bits(k, 1), params["KH"], params["H"]))
    return attend(shape, mask)


def _sliding_tile(shape, params, axes):
    """Sliding tile attention: vision tokens stored tile by tile, then text, then padding.

    The canvas has C_ tiles on each axis, the kernel K_, and N tokens make a tile. Vision sees a window of
    tiles, kept inside the canvas, and the text; text sees all. With an even kernel the window reaches
    further back.
    """
    b, h, q, k = indices(shape)
    canvas, kernel = [params["C" + a] for a in axes], [params["K" + a] for a in axes]
    vision = int(np.prod(canvas)) * params["N"]
    text = vision + params["text"]
    near = (q < vision) & (k < vision)
    for tq, tk, count, n in zip(grid(q // params["N"], *canvas), grid(k // params["N"], *canvas),
                                canvas, kernel):
        left, right = n // 2, n // 2 + n % 2 - 1
        center = np.minimum(np.maximum(tq, left), count - 1 - right)
        near = near & (tk >= center - left) & (tk <= center + right)
    return attend(shape, near | ((q < vision) & (k >= vision) & (k < text)) | ((q >= vision) & (k < text)))


def sta2d(shape, params, tables):
    """masks/sta.py, generate_sta_mask_mod_2d."""
    return _sliding_tile(shape, params, "HW")


def sta3d(shape, params, tables):
    """masks/sta.py, generate_sta_mask_mod_3d."""
    return _sliding_tile(shape, params, "THW")


def _svg_spatial(shape, params, sink):
    b, h, q, k = indices(shape)
    p, tpf, multiple = params["prompt"], params["tpf"], params["round"]
    width = params["width"] * tpf // multiple * multiple
    return attend(shape, (k < (p + tpf if sink else p)) | (q < p) | (abs(q - k) < width))


def svg_spatial(shape, params, tables):
    """masks/svg.py, generate_spatial_head_mask_mod: the width is rounded down, the bound excluded."""
    return _svg_spatial(shape, params, sink=False)


def svg_spatial_sink(shape, params, tables):
    """The same with attn_sink: frame 0 is seen by all."""
    return _svg_spatial(shape, params, sink=True)


def svg_temporal(shape, params, tables):
    """masks/svg.py, generate_temporal_head_mask_mod: near in the place within a frame."""
    b, h, q, k = indices(shape)
    p, tpf = params["prompt"], params["tpf"]
    width = params["width"] * tpf // params["F"]
    return attend(shape, (q < p) | (k < p) | (abs((q - p) % tpf - (k - p) % tpf) < width))


def vsa(shape, params, tables):
    """masks/vsa.py, generate_vsa_mask_mod: key tiles among the `top` that are listed for the query's
    tile, without what a partly filled tile has behind its real tokens."""
    b, h, q, k = indices(shape)
    tile = params["T"]
    listed = tables["topk"][b, h, q // tile, :params["top"]]
    chosen = np.any(listed == (k // tile)[..., None], axis=-1)
    return attend(shape, chosen & (k % tile < tables["sizes"][k // tile]))


def vsa_block_map(shape, params, tables):
    """masks/vsa.py, generate_vsa_block_map_mask_mod: the same from a map of tiles."""
    b, h, q, k = indices(shape)
    tile = params["T"]
    chosen = tables["map"][b, h, q // tile, k // tile] != 0
    return attend(shape, chosen & (k % tile < tables["sizes"][k // tile]))


# Score functions.

def alibi(shape, params, tables):
    """mods/alibi.py. The bias is signed: keys ahead of the query gain."""
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + (k - q) * 2.0 ** (-8.0 * (h + 1) / shape["heads"]))


def softcap(shape, params, tables):
    """mods/softcapping.py"""
    cap = params["cap"]
    return attend(shape, score=lambda s: cap * np.tanh(s / cap))


def sandwich(shape, params, tables):
    """mods/sandwich.py: d_bar = 128, hence 64 frequencies."""
    b, h, q, k = indices(shape)
    bias = sum(np.cos((q - k) / 10000.0 ** (2 * i / 128)) for i in range(64))
    return attend(shape, score=lambda s: s + bias * shape["heads"] / (8.0 * (h + 1)))


def graphormer_spatial(shape, params, tables):
    """mods/graphormer.py: a bias for the length of the shortest path."""
    b, h, q, k = indices(shape)
    bias = tables["bias"][h, tables["distance"][b, q, k]]
    return attend(shape, score=lambda s: s + bias)


def graphormer_edge(shape, params, tables):
    """mods/graphormer.py: the mean over the path's edges of a bias per head, place and edge type;
    pairs without a path (length 0) get nothing."""
    b, h, q, k = indices(shape)
    length = tables["length"][b, q, k]
    total = 0.0
    for n in range(tables["edge"].shape[1]):
        term = tables["edge"][h, n, tables["type"][b, q, k, n]]
        total = total + np.where(n < length, term, 0.0)
    return attend(shape, score=lambda s: s + total / np.maximum(length, 1))


def _log(x):
    """The logarithm; that of 0, which N = 0 can bring, is -inf."""
    with np.errstate(divide="ignore"):
        return np.log(x)


def activation_sigmoid(shape, params, tables):
    """mods/activation.py: log(f(s) + N), here with the sigmoid."""
    return attend(shape, score=lambda s: _log(1 / (1 + np.exp(-s)) + params["N"]))


def activation_relu(shape, params, tables):
    """mods/activation.py with max(s, 0)."""
    return attend(shape, score=lambda s: _log(np.maximum(s, 0) + params["N"]))


def activation_gelu(shape, params, tables):
    """mods/activation.py with the exact GELU."""
    from math import erf
    gelu = np.vectorize(lambda x: 0.5 * x * (1 + erf(x / 2 ** 0.5)), otypes=[np.float64])
    return attend(shape, score=lambda s: _log(gelu(s) + params["N"]))


def mla_rope(shape, params, tables):
    """mods/latent_attention.py: a second product over the roped part. Trap: the key head is
    h // num_heads = 0, whatever the number of key heads."""
    b, h, q, k = indices(shape)
    roped_q, roped_k = tables["q_rope"].astype(np.float64), tables["k_rope"].astype(np.float64)
    product = np.einsum("bhqd,bkd->bhqk", roped_q, roped_k[:, 0])
    return attend(shape, score=lambda s: s + params["scaling"] * product[b, h, q, k])
