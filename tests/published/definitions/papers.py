"""Patterns of papers that are functions of coordinates, tables and scalars.

The number in each docstring is the paper's in the project's list of 79.
"""

import itertools
import math

import numpy as np

from common import attend, ceil_to, grid, indices, read


# Language models.

def streaming_llm(shape, params, tables):
    """StreamingLLM where the cache is trimmed before the step: `recent` counts the own token."""
    b, h, q, k = indices(shape)
    return attend(shape, (k <= q) & ((k < params["sinks"]) | (q - k < params["recent"])))


def streaming_llm_past(shape, params, tables):
    """StreamingLLM where it is trimmed after the step: `recent` past tokens beside the own one."""
    b, h, q, k = indices(shape)
    return attend(shape, (k <= q) & ((k < params["sinks"]) | (q - k <= params["recent"])))


def s2_attn(shape, params, tables):
    """4 SinkLoRA, LongLoRA's S2-Attn: groups of g tokens, causal within the group; the second half of the
    heads is rolled by g / 2. Trap: the group that wraps around shows the end to the beginning."""
    b, h, q, k = indices(shape)
    g, n = params["g"], shape["keys"]
    roll = np.where(h >= shape["heads"] // 2, g // 2, 0)
    place_q, place_k = (q - roll) % n, (k - roll) % n
    return attend(shape, (place_q // g == place_k // g) & (place_k <= place_q))


def s2_attn_no_wrap(shape, params, tables):
    """4 LongLoRA's FlashAttention path: the shifted heads cut their groups at g / 2, 3g / 2, ... and do
    not wrap; the first and the last group are halves."""
    b, h, q, k = indices(shape)
    g = params["g"]
    shift = np.where(h >= shape["heads"] // 2, g // 2, 0)
    return attend(shape, ((q - shift) // g == (k - shift) // g) & (k <= q))


def s2_dkernel(shape, params, tables):
    """29 S2-Attention / DKernel: blocks; every stride-th block, from another one for each head, and the
    `near` newest blocks. Trap: the step between heads uses the query heads, the offset counts KV heads,
    and so does `dense`, the number of trailing heads that see all the past."""
    b, h, q, k = indices(shape)
    block, stride = params["n"], params["stride"]
    head = h // (shape["heads"] // shape["kv_heads"])
    step = max(1, stride // shape["heads"])
    block_q, block_k = q // block, k // block
    strided = ((block_k + head * step) % stride == 0) | (head >= shape["kv_heads"] - params["dense"])
    return attend(shape, (strided | (block_q - block_k < params["near"])) & (k <= q))


def _moa_span(length, alpha, beta):
    """Keys that a head keeps: alpha + beta N of N = length + 1024, at most N, then at least 128, rounded
    up to 64. Trap: the cap comes before the rounding."""
    total = length + 1024
    return ceil_to(max(min(int(alpha + total * beta), total), 128), 64)


def _moa(params, tables, h):
    return np.array([_moa_span(params["N"], float(a), float(c))
                     for a, c in zip(tables["alpha"], tables["beta"])])[h]


def moa_prefill(shape, params, tables):
    """64 MoA, prefill of N tokens: aligned to blocks of 64; block 0, and the newest span / 64 - 1 blocks."""
    b, h, q, k = indices(shape)
    band = _moa(params, tables, h) // 64 - 1
    return attend(shape, ((k < 64) | (q // 64 - k // 64 < band)) & (k <= q))


def moa_decode(shape, params, tables):
    """64 MoA, decode after N tokens: exact to the token; 64 first tokens, and a ring of the others."""
    b, h, q, k = indices(shape)
    return attend(shape, ((k < 64) | (q - k < _moa(params, tables, h) - 64)) & (k <= q))


def gated_attention(shape, params, tables):
    """27 Gated Attention: causal; the gate is applied to the output."""
    b, h, q, k = indices(shape)
    return attend(shape, k <= q)


def gated_attention_headwise(shape, params, tables):
    """27 Gated Attention with one gate for each head."""
    return gated_attention(shape, params, tables)


def vision_aware_heads(shape, params, tables):
    """57 VHR: causal; the outputs of some heads are scaled."""
    return gated_attention(shape, params, tables)


def rcmha(shape, params, tables):
    """31 RCMHA, after Transformer-XL: causal, and a term that depends on the query and the distance."""
    b, h, q, k = indices(shape)
    term = read(tables["relative"], b, h, q, q - k)
    return attend(shape, k <= q, lambda s: s + term)


def cab_self(shape, params, tables):
    """63 CAB: {self, cross} x {noncausal, causal}."""
    return attend(shape)


def cab_self_causal(shape, params, tables):
    b, h, q, k = indices(shape)
    return attend(shape, k <= q)


def cab_cross(shape, params, tables):
    return attend(shape)


def cab_cross_causal(shape, params, tables):
    """By position, as if target and source were one sequence."""
    b, h, q, k = indices(shape)
    return attend(shape, k <= q)


def soft_pag(shape, params, tables):
    """35 SoftPAG: unmasked; chosen heads mix the output with their own value."""
    return attend(shape)


def slow_fast_cross(shape, params, tables):
    """17 Slow-Fast: unmasked cross-attention whose gated output is added to the self-attention's."""
    return attend(shape)


# Images.

def _windows(shape, height, width, rows, columns, down=0, right=0):
    """Tokens in one window of rows x columns of a grid that is rolled, and wraps around."""
    b, h, q, k = indices(shape)

    def window(index):
        y, x = (index // width - down) % height, (index % width - right) % width
        return y // rows * width + x // columns

    return window(q) == window(k)


def hidiffusion(shape, params, tables):
    """36 HiDiffusion's MSW-MSA: two by two windows of HH x HW tokens; the grid is rolled by `turn` quarters
    of a window. Trap: where the vertical shift is 0 the grid is not rolled at all."""
    down, right = params["HH"] // 4 * params["turn"], params["HW"] // 4 * params["turn"]
    if down == 0:
        right = 0
    rows, columns = params["HH"], params["HW"]
    return attend(shape, _windows(shape, 2 * rows, 2 * columns, rows, columns, down, right))


def swin(shape, params, tables):
    """Swin: windows of n x n of a grid rolled by `shift`; what wraps around is masked, which leaves the
    windows that the edges cut."""
    b, h, q, k = indices(shape)
    n, shift, width = params["n"], params["shift"], params["W"]
    rows = (q // width - shift) // n == (k // width - shift) // n
    return attend(shape, rows & ((q % width - shift) // n == (k % width - shift) // n))


def davit_window(shape, params, tables):
    """56 DaViT's window attention: windows of 7 x 7."""
    return attend(shape, _windows(shape, params["H"], params["W"], 7, 7))


def halonet(shape, params, tables):
    """28 HaloNet: blocks of n x n queries see the block and a halo around it. The keys are those of the grid
    padded by the halo on all sides. Trap: the padding is not masked; it has k = v = 0 and its relative
    position.

    rel_y, rel_x: the query's product with the row and the column of its window.
    """
    b, h, q, k = indices(shape)
    n, halo, width = params["n"], params["halo"], params["W"]
    window, padded = n + 2 * halo, width + 2 * halo
    row, column = k // padded - q // width // n * n, k % padded - q % width // n * n
    return attend(shape, (row >= 0) & (row < window) & (column >= 0) & (column < window),
                  lambda s: s + read(tables["rel_y"], b, h, q, row) + read(tables["rel_x"], b, h, q, column))


def overlock(shape, params, tables):
    """26 OverLoCK: K x K neighbours, moved inside the image; the weights are predicted, row by row of the
    window, and take the place of the products."""
    b, h, q, k = indices(shape)
    n, height, width = params["K"], params["H"], params["W"]
    top = np.minimum(np.maximum(q // width - n // 2, 0), height - n)
    left = np.minimum(np.maximum(q % width - n // 2, 0), width - n)
    row, column = k // width - top, k % width - left
    inside = (row >= 0) & (row < n) & (column >= 0) & (column < n)
    return attend(shape, inside, lambda s: 0 * s + read(tables["logits"], b, h, q, row * n + column))


def shvit(shape, params, tables):
    """58 SHViT: one head, unmasked, over a part of the channels."""
    return attend(shape)


def vision_remember(shape, params, tables):
    """46 Vision Remember: a token sees its own n x n places in every level of finer features."""
    b, h, q, k = indices(shape)
    height, width, n = params["H"], params["W"], params["n"]
    level, y, x = grid(k, 0, height * n, width * n)
    return attend(shape, (y // n == q // width) & (x // n == q % width) & (level >= 0))


def ir_diffusion(shape, params, tables):
    """42 IR-Diffusion: R reference tokens, then the target. Subjects (> 0) do not see one another; the
    background (0) sees and is seen."""
    b, h, q, k = indices(shape)
    of_k = np.concatenate([tables["ref_subject"][:params["R"]], tables["subject"]])[k]
    of_q = tables["subject"][q]
    return attend(shape, (of_q == of_k) | (of_q == 0) | (of_k == 0))


def prime_composer(shape, params, tables):
    """79 PrimeComposer: words of the object act within its region only."""
    b, h, q, k = indices(shape)
    return attend(shape, (tables["of_object"][k] == 0) | (tables["region"][q] != 0))


def through_the_mask_cross(shape, params, tables):
    """67 Through-The-Mask: a word of an object's prompt acts within the object."""
    b, h, q, k = indices(shape)
    return attend(shape, tables["inside"][tables["object"][k], q] != 0)


def through_the_mask_self(shape, params, tables):
    """67 Through-The-Mask: tokens of one object, in all frames."""
    b, h, q, k = indices(shape)
    return attend(shape, tables["object"][q] == tables["object"][k])


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


def _radial(shape, params, wan, block=128):
    n, frames = params["F"], params["T"]
    mask = np.ones((shape["queries"], shape["keys"]), dtype=bool)
    x, y = np.arange(n)[:, None], np.arange(n)[None, :]
    for i in range(frames):
        for j in range(frames):
            seen = _radial_pair(i, j, x, y, n, params["decay"], block, wan)
            mask[i * n:(i + 1) * n, j * n:(j + 1) * n] = seen
    return mask


def radial_wan(shape, params, tables):
    """10 Radial Attention for Wan, by tokens. Traps: only KEY frame 0 is dense; d = 1 vanishes where a
    frame has less tokens than the threshold."""
    return attend(shape, _radial(shape, params, wan=True))


def radial_hunyuan(shape, params, tables):
    """10 Radial Attention for Hunyuan, by tokens: no sink frame; the text behind the video is dense."""
    return attend(shape, _radial(shape, params, wan=False))


def radial_block_map(shape, params, wan, block=128):
    """10 Radial Attention as it runs, in whole blocks: the map for radial_blocks.

    A pair of frames keeps a block if more than 60% of the block's columns that are not empty are
    denser than a third. Trap: a pair covers ceil(n / block) blocks from its first one; what lies behind
    is lost."""
    n, frames = params["F"], params["T"]
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


def radial_blocks(shape, params, tables):
    """10 Radial Attention as it runs: blocks of 128 that a map keeps."""
    b, h, q, k = indices(shape)
    return attend(shape, tables["kept"][q // 128, k // 128] != 0)


def svg_wan(shape, params, tables):
    """Sparse-VideoGen for Wan. Traps against svg_spatial: the width is rounded up, the bound included,
    frame 0 is a sink and there is no prompt."""
    b, h, q, k = indices(shape)
    tpf = params["tpf"]
    width = ceil_to(math.ceil(params["width"] * tpf), 128)
    return attend(shape, (k < tpf) | (abs(q - k) <= width))


def svg_hunyuan(shape, params, tables):
    """Sparse-VideoGen for Hunyuan: F frames, then the prompt, which sees all and is seen by all; padding sees
    padding. The width is rounded down, the bound excluded."""
    b, h, q, k = indices(shape)
    tpf, video = params["tpf"], params["tpf"] * params["F"]
    real = video + params["prompt"]
    near = abs(q - k) < params["width"] * tpf // 128 * 128
    inside = (q < real) & (k < real) & (near | (q >= video) | (k >= video))
    return attend(shape, inside | ((q >= real) & (k >= real)))


def paro_attention(shape, params, tables):
    """13 PAROAttention: each head takes the video's tokens in one of the six orders of (frame, row, column),
    the prompt before them, and keeps blocks of 64 x 64 of that order, by bins of timesteps."""
    b, h, q, k = indices(shape)
    sizes, prompt = (params["T"], params["H"], params["W"]), params["prompt"]
    tokens = int(np.prod(sizes))
    place = np.zeros((shape["heads"], prompt + tokens), dtype=int)
    for head, number in zip(range(shape["heads"]), tables["order"]):
        order = list(itertools.permutations(range(3)))[number]
        taken = np.arange(tokens).reshape(sizes).transpose(order).reshape(-1)
        place[head, :prompt] = np.arange(prompt)
        place[head, prompt + taken] = prompt + np.arange(tokens)
    return attend(shape, tables["kept"][params["bin"], h, place[h, q] // 64, place[h, k] // 64] != 0)


def efficient_vdit(shape, params, tables):
    """32 Efficient-vDiT: the own frame, and reference frames that a table marks."""
    b, h, q, k = indices(shape)
    n = params["F"]
    return attend(shape, (q // n == k // n) | (tables["reference"][k // n] != 0))


def next_frame_diffusion(shape, params, tables):
    """50 Next-Frame Diffusion: frames are causal, tokens of a frame see one another."""
    b, h, q, k = indices(shape)
    return attend(shape, k // params["F"] <= q // params["F"])


def video_booth(shape, params, tables):
    """37 VideoBooth: frame f sees frame 0 and frame f - 1; not itself, but for frame 0, which is its own
    first."""
    b, h, q, k = indices(shape)
    frame_q, frame_k = q // params["F"], k // params["F"]
    return attend(shape, (frame_k == 0) | (frame_k == np.maximum(frame_q - 1, 0)))


def frame_painter(shape, params, tables):
    """30 FramePainter's parallel branch: every frame's queries on frame 0."""
    b, h, q, k = indices(shape)
    return attend(shape, (k < params["F"]) & (q >= 0))


def warp_cross_frame(shape, params, tables):
    """22 LatentWarp: all frames share the keys of frame `source`."""
    b, h, q, k = indices(shape)
    return attend(shape, (k // params["F"] == params["source"]) & (q >= 0))


def rain(shape, params, tables):
    """48 RAIN: each place of a frame sees itself in all 16 frames."""
    b, h, q, k = indices(shape)
    return attend(shape, q % params["F"] == k % params["F"])


def rolling_forcing(shape, params, tables):
    """7 Rolling Forcing, denoising: a window of 15 frames from frame `start` on sees itself, and, once it has
    left frame 0, 3 sink frames and the 3 frames before it: 21 in all. Trap: while it begins at frame 0 it
    sees itself alone. Keys end with the window."""
    b, h, q, k = indices(shape)
    start, frame = params["start"], k // params["F"]
    inside = (frame >= start) & (frame < start + 15)
    before = ((frame < 3) | (frame >= start - 3)) & (frame < start)
    return attend(shape, (inside | before) & (q >= 0))


def rolling_forcing_clean(shape, params, tables):
    """7 Rolling Forcing, the pass that caches the window's clean first block: the newest 21 frames up to the
    end of that block, the sinks among them only while frame 0 is."""
    b, h, q, k = indices(shape)
    end, frame = params["start"] + 3, k // params["F"]
    return attend(shape, (frame >= end - 21) & (frame < end) & (q >= 0))


def streaming_vlm(shape, params, tables):
    """44 StreamingVLM: causal; `sinks` first text tokens, the newest `window` ones, the own one included,
    and the frames of the newest `seconds`. `number` counts the text tokens."""
    b, h, q, k = indices(shape)
    number, second = tables["number"], tables["second"]
    text = (number[k] < params["sinks"]) | (number[q] - number[k] < params["window"])
    seen = np.where(tables["is_text"][k] != 0, text, second[q] - second[k] < params["seconds"])
    return attend(shape, (k <= q) & seen)


def video_infinity(shape, params, tables):
    """51 Video-Infinity, one rank: L queries; keys are the L frames with P neighbours on both sides, then the
    global ones. A frame sees 2 P + 1 around itself, and all global ones; both parts have a bias. (The source
    adds 1 to every logit too, which only the LSE shows.)"""
    b, h, q, k = indices(shape)
    local = k < params["L"] + 2 * params["P"]
    near = local & (k >= q) & (k <= q + 2 * params["P"])
    return attend(shape, near | ~local,
                  lambda s: s + np.where(local, params["local_bias"], params["global_bias"]))


def simple_gvr(shape, params, tables):
    """20 SimpleGVR, by its abstract: units of m frames, and in them windows of n x n tokens."""
    b, h, q, k = indices(shape)
    size, mask = (params["m"], params["n"], params["n"]), True
    for x, y, n in zip(grid(q, 0, params["H"], params["W"]), grid(k, 0, params["H"], params["W"]), size):
        mask = mask & (x // n == y // n)
    return attend(shape, mask)


# What a selection leaves to attend.

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
