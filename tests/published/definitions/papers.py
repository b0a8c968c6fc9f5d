"""Patterns of papers that are functions of coordinates, tables and scalars.

The number in each docstring is the paper's in the project's list of 79.
"""

import math

import numpy as np

from common import attend, ceil_to, grid, indices


# Language models.

def streaming_llm(shape, params, tables):
    """StreamingLLM: `sink` first tokens, and `recent` past tokens beside the own one."""
    b, h, q, k = indices(shape)
    return attend(shape, (k <= q) & ((k < params["sink"]) | (q - k <= params["recent"])))


def streaming_llm_inclusive(shape, params, tables):
    """StreamingLLM where the cache is trimmed before the step: `recent` counts the own token."""
    b, h, q, k = indices(shape)
    return attend(shape, (k <= q) & ((k < params["sink"]) | (q - k < params["recent"])))


def sinklora(shape, params, tables):
    """4 SinkLoRA, LongLoRA's S2-Attn: groups of g tokens, causal within the group; the second half of the
    heads is rolled by g / 2. Trap: the group that wraps around shows the end to the beginning."""
    b, h, q, k = indices(shape)
    g, n = params["g"], shape["keys"]
    roll = np.where(h >= shape["heads"] // 2, g // 2, 0)
    place_q, place_k = (q - roll) % n, (k - roll) % n
    return attend(shape, (place_q // g == place_k // g) & (place_k <= place_q))


def longlora_flash(shape, params, tables):
    """4 LongLoRA's FlashAttention path: the shifted heads cut their groups at g / 2, 3g / 2, ... and do
    not wrap; the first and the last group are halves."""
    b, h, q, k = indices(shape)
    g = params["g"]
    shift = np.where(h >= shape["heads"] // 2, g // 2, 0)
    return attend(shape, ((q - shift) // g == (k - shift) // g) & (k <= q))


def s2_attention(shape, params, tables):
    """29 S2-Attention / DKernel: blocks; every stride-th block, from another one for each head, and the
    newest `local` blocks. Trap: the step between heads uses the query heads, the offset counts KV heads,
    and so does `dense`, the number of trailing heads that see all the past."""
    b, h, q, k = indices(shape)
    block, stride = params["block"], params["stride"]
    head = h // (shape["heads"] // shape["kv_heads"])
    step = max(1, stride // shape["heads"])
    block_q, block_k = q // block, k // block
    strided = ((block_k + head * step) % stride == 0) | (head >= shape["kv_heads"] - params["dense"])
    return attend(shape, (strided | (block_q - block_k < params["local"])) & (k <= q))


def _moa_span(length, alpha, beta):
    """Keys that a head keeps: alpha + beta N of N = length + 1024, at most N, then at least 128, rounded
    up to 64. Trap: the cap comes before the rounding."""
    total = length + 1024
    return ceil_to(max(min(int(alpha + total * beta), total), 128), 64)


def moa_prefill(shape, params, tables):
    """64 MoA, prefill: aligned to blocks of 64; block 0, and the newest (span - 64) / 64 blocks."""
    b, h, q, k = indices(shape)
    spans = np.array([_moa_span(shape["keys"], float(a), float(c))
                      for a, c in zip(tables["alpha"], tables["beta"])])
    band = (spans[h] - 64) // 64
    return attend(shape, ((k < 64) | (q // 64 - k // 64 < band)) & (k <= q))


def moa_decode(shape, params, tables):
    """64 MoA, decode: exact to the token; 64 first tokens, and a ring of the newest span - 64."""
    b, h, q, k = indices(shape)
    spans = np.array([_moa_span(params["length"], float(a), float(c))
                      for a, c in zip(tables["alpha"], tables["beta"])])
    return attend(shape, ((k < 64) | (q - k < spans[h] - 64)) & (k <= q))


# Images.

def hidiffusion(shape, params, tables):
    """36 HiDiffusion's MSW-MSA: two by two windows of an even grid that is rolled by r quarters of a
    window. Trap: where the vertical shift is 0 the grid is not rolled at all."""
    b, h, q, k = indices(shape)
    height, width = params["H"], params["W"]
    down, right = height // 2 // 4 * params["r"], width // 2 // 4 * params["r"]
    if down == 0:
        right = 0

    def window(index):
        y, x = (index // width - down) % height, (index % width - right) % width
        return y // (height // 2) * 2 + x // (width // 2)

    return attend(shape, window(q) == window(k))


def halonet(shape, params, tables):
    """28 HaloNet: blocks of 8 x 8 queries see 14 x 14 keys. The keys are those of the grid padded by 3 on
    all sides. Trap: the padding is not masked; it has k = v = 0 and its relative position.

    rel_h, rel_w: q . r for the 27 offsets of the key's place in the window less the query's in the block.
    """
    b, h, q, k = indices(shape)
    width = params["W"]
    y, x = q // width, q % width
    ky, kx = k // (width + 6), k % (width + 6)
    wy, wx = ky - y // 8 * 8, kx - x // 8 * 8
    offset_y, offset_x = np.clip(wy - y % 8 + 13, 0, 26), np.clip(wx - x % 8 + 13, 0, 26)
    return attend(shape, (wy >= 0) & (wy < 14) & (wx >= 0) & (wx < 14),
                  lambda s: s + tables["rel_h"][b, h, q, offset_y] + tables["rel_w"][b, h, q, offset_x])


def window7(shape, params, tables):
    """56 DaViT's window attention: windows of 7 x 7."""
    b, h, q, k = indices(shape)
    width = params["W"]
    return attend(shape, (q // width // 7 == k // width // 7) & (q % width // 7 == k % width // 7))


# Video.

def _radial_pair(i, j, x, y, n, decay, threshold, wan):
    """10 Radial: does token x of frame i see token y of frame j? n tokens per frame."""
    if wan and j == 0:
        return True
    d = abs(i - j)
    reach = 2 ** n.bit_length() / 2 ** d.bit_length()
    if reach < threshold and d % int(threshold / reach) != 0:
        return False
    return abs(x - y) <= (n if d <= 1 else max(reach * decay, threshold))


def _radial(shape, params, wan):
    n, frames, decay, threshold = params["n"], params["frames"], params["decay"], params["block"]
    mask = np.ones((shape["queries"], shape["keys"]), dtype=bool)
    x, y = np.arange(n)[:, None], np.arange(n)[None, :]
    for i in range(frames):
        for j in range(frames):
            mask[i * n:(i + 1) * n, j * n:(j + 1) * n] = _radial_pair(i, j, x, y, n, decay, threshold, wan)
    return mask


def radial_wan(shape, params, tables):
    """10 Radial Attention for Wan, by tokens. Traps: only KEY frame 0 is dense; d = 1 vanishes where a
    frame has less tokens than the threshold."""
    return attend(shape, _radial(shape, params, wan=True))


def radial_hunyuan(shape, params, tables):
    """10 Radial Attention for Hunyuan, by tokens: no sink frame; the text behind the video is dense."""
    return attend(shape, _radial(shape, params, wan=False))


def _radial_blocks(shape, params, wan):
    """A pair of frames keeps a block if more than 60% of the block's columns that are not empty are
    denser than a third. Trap: a pair covers ceil(n / block) blocks from its first one; what lies behind
    is lost."""
    n, frames, block = params["n"], params["frames"], params["block"]
    rows, cols = -(-shape["queries"] // block), -(-shape["keys"] // block)
    keep = np.zeros((rows, cols), dtype=bool)
    border = n * frames // block
    keep[border:], keep[:, border:] = True, True
    x, y = np.arange(n)[:, None], np.arange(n)[None, :]
    covered = -(-n // block)
    for i in range(frames):
        for j in range(frames):
            seen = np.broadcast_to(_radial_pair(i, j, x, y, n, params["decay"], block, wan), (n, n))
            padded = np.zeros(((covered + 1) * block,) * 2, dtype=bool)
            first_row, first_col = i * n // block, j * n // block
            top, left = i * n % block, j * n % block
            padded[top:top + n, left:left + n] = seen
            for r in range(min(covered, rows - first_row)):
                for c in range(min(covered, cols - first_col)):
                    density = padded[r * block:(r + 1) * block, c * block:(c + 1) * block].mean(axis=0)
                    if 10 * (density > 1 / 3).sum() > 6 * (density > 0).sum():
                        keep[first_row + r, first_col + c] = True
    return keep


def radial_wan_blocks(shape, params, tables):
    """10 Radial Attention for Wan as it runs, in whole blocks."""
    b, h, q, k = indices(shape)
    return attend(shape, _radial_blocks(shape, params, True)[q // params["block"], k // params["block"]])


def radial_hunyuan_blocks(shape, params, tables):
    """10 Radial Attention for Hunyuan as it runs, in whole blocks."""
    b, h, q, k = indices(shape)
    return attend(shape, _radial_blocks(shape, params, False)[q // params["block"], k // params["block"]])


def svg_wan(shape, params, tables):
    """Sparse-VideoGen for Wan. Traps against svg_spatial: the width is rounded up, the bound included,
    frame 0 is a sink and there is no prompt."""
    b, h, q, k = indices(shape)
    tpf = params["tpf"]
    width = ceil_to(math.ceil(params["width"] * tpf), 128)
    return attend(shape, (k < tpf) | (abs(q - k) <= width))


def paro(shape, params, tables):
    """13 PAROAttention: tokens in the head's own axis order, text first; offline blocks of 64 x 64."""
    b, h, q, k = indices(shape)
    return attend(shape, tables["blocks"][h, q // 64, k // 64] != 0)


def simple_gvr(shape, params, tables):
    """20 SimpleGVR: local windows of TT x TH x TW tokens."""
    b, h, q, k = indices(shape)
    sizes = params["TT"], params["TH"], params["TW"]
    mask = True
    for x, y, size in zip(grid(q, 0, params["H"], params["W"]), grid(k, 0, params["H"], params["W"]), sizes):
        mask = mask & (x // size == y // size)
    return attend(shape, mask)


def efficient_vdit(shape, params, tables):
    """32 Efficient-vDiT: the own frame, and reference frames that a table marks."""
    b, h, q, k = indices(shape)
    n = params["n"]
    return attend(shape, (q // n == k // n) | (tables["reference"][k // n] != 0))


def frame_causal(shape, params, tables):
    """50 Next-Frame Diffusion: frames are causal, tokens of a frame see one another."""
    b, h, q, k = indices(shape)
    return attend(shape, k // params["n"] <= q // params["n"])


def first_and_previous(shape, params, tables):
    """37 VideoBooth: frame f sees frame 0 and frame f - 1; not itself, but for frame 0, which is its own
    first."""
    b, h, q, k = indices(shape)
    frame_q, frame_k = q // params["n"], k // params["n"]
    return attend(shape, (frame_k == 0) | (frame_k == np.maximum(frame_q - 1, 0)))


def first_frame(shape, params, tables):
    """30 FramePainter's parallel branch: every frame's queries on frame 0."""
    b, h, q, k = indices(shape)
    return attend(shape, (k < params["n"]) & (q >= 0))


def temporal(shape, params, tables):
    """48 RAIN: each place of a frame sees itself in every frame."""
    b, h, q, k = indices(shape)
    return attend(shape, q % params["n"] == k % params["n"])


def video_infinity(shape, params, tables):
    """51 Video-Infinity, one rank: `frames` queries; keys are the frames with `pad` neighbours on both
    sides, then the global ones. A frame sees 2 pad + 1 around itself, and all global ones; `local_bias`
    and `global_bias` are added."""
    b, h, q, k = indices(shape)
    pad, frames = params["pad"], params["frames"]
    local = k < frames + 2 * pad
    near = local & (k >= q) & (k <= q + 2 * pad)
    return attend(shape, near | ~local,
                  lambda s: s + np.where(local, params["local_bias"], params["global_bias"]))


def rolling_forcing(shape, params, tables):
    """7 Rolling Forcing, denoising: a window of `window` frames from frame `start` on sees itself, and, once
    it has left frame 0, the S sink frames and so many past frames that `total` is not exceeded. Trap: while
    the window begins at frame 0 it sees itself alone."""
    b, h, q, k = indices(shape)
    start, sinks, frame = params["start"], params["S"], k // params["F"]
    past = params["total"] - params["window"] - sinks
    before = (frame < sinks) | ((frame >= start - past) & (frame < start))
    inside = (frame >= start) & (frame < start + params["window"])
    return attend(shape, (inside | ((start > 0) & before)) & (q >= 0))


def subject_frames(shape, params, tables):
    """5 Ouroboros-Diffusion's SACFA: the subject's tokens of all frames of the own segment of n frames."""
    b, h, q, k = indices(shape)
    segment = params["F"] * params["n"]
    return attend(shape, (q // segment == k // segment) & (tables["subject"][k] != 0))


def block_map(shape, params, tables):
    """11, 12, 47, 72: what a selection leaves behind, blocks of R queries and C keys per batch and head."""
    b, h, q, k = indices(shape)
    return attend(shape, tables["map"][b, h, q // params["R"], k // params["C"]] != 0)


def vmoba(shape, params, tables):
    """47 VMoBA: per query, its own block of C keys and those that were selected for it."""
    b, h, q, k = indices(shape)
    block = k // params["C"]
    return attend(shape, (q // params["C"] == block) | (tables["selected"][b, h, q, block] != 0))


def biformer(shape, params, tables):
    """23 BiFormer: 7 x 7 regions; a query sees the `top` regions listed for its own, the same for all
    heads."""
    b, h, q, k = indices(shape)
    height, width = params["H"], params["W"]

    def region(index):
        return index // width // (height // 7) * 7 + index % width // (width // 7)

    listed = tables["topk"][b, region(q), :params["top"]]
    return attend(shape, np.any(listed == region(k)[..., None], axis=-1))


def boxes(shape, params, tables):
    """66 DreamVideo-2: a bias of the reference keys by the blended box mask of the query's place."""
    b, h, q, k = indices(shape)
    return attend(shape, score=lambda s: s + tables["box"][b, q, k])


def regions(shape, params, tables):
    """42 IR-Diffusion, 67 Through-The-Mask: a query of an object (> 0) sees the text or image tokens of its object, and what belongs
    to none (0)."""
    b, h, q, k = indices(shape)
    of_q, of_k = tables["region_q"][q], tables["region_k"][k]
    return attend(shape, (of_q == of_k) | (of_k == 0))


def gated(shape, params, tables):
    """27 Gated Attention: causal; the gate is applied to the output."""
    b, h, q, k = indices(shape)
    return attend(shape, k <= q)


def dense(shape, params, tables):
    """17, 18, 48, 53, 57, 63: self- or cross-attention without a mask."""
    return attend(shape)


def causal(shape, params, tables):
    """17, 34, 63: self-attention with a mask."""
    b, h, q, k = indices(shape)
    return attend(shape, k <= q)


def cross_causal(shape, params, tables):
    """63 CAB: cross-attention with a causal mask by position."""
    return causal(shape, params, tables)
