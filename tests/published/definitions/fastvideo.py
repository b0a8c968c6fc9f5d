"""The masks of frame-autoregressive video models: FastVideo 2f3d407 (causal Wan, Matrix-Game 2, its test
of sliding tile attention) and LongLive's training masks.

F is the tokens of a frame, B the frames of a block, frames the frames of the clip; the sequence is padded,
and what is in the padding is literal.
"""

import numpy as np

from common import attend, grid, indices


def _ends(q, params):
    """e(q): where the query's block ends, 0 in the padding. Trap: blocks are laid down whole, so that a
    short last one spills into the padding, where rows then have an end beyond the clip."""
    block = params["F"] * params["B"]
    blocks = -(-params["frames"] * params["F"] // block)
    return np.where(q // block < blocks, (q // block + 1) * block, 0)


def block_causal(shape, params, tables):
    """fastvideo/models/dits/causal_wanvideo.py"""
    b, h, q, k = indices(shape)
    return attend(shape, (k < _ends(q, params)) | (q == k))


def block_causal_window(shape, params, tables):
    """The same with local_attn_size = W: the W frames up to the block's end, the block included."""
    b, h, q, k = indices(shape)
    end = _ends(q, params)
    return attend(shape, ((k < end) & (k >= end - params["W"] * params["F"])) | (q == k))


def teacher_forcing(shape, params, tables):
    """[clean | noisy]. Clean is block-causal; noisy block j sees itself and the clean blocks before j.
    Trap: clean rows of a short last block spill into the noisy half."""
    b, h, q, k = indices(shape)
    half, block = params["frames"] * params["F"], params["F"] * params["B"]
    clean = (q < half) & (k < (q // block + 1) * block)
    number = (q - half) // block
    blocks = -(-half // block)
    own = half + number * block
    noisy = (q >= half) & (number < blocks) & (((k >= own) & (k < own + block)) | (k < number * block))
    return attend(shape, clean | noisy | (q == k))


def matrix_game(shape, params, tables):
    """matrixgame2/causal_model.py: the window of W frames, and S sink frames beside it."""
    b, h, q, k = indices(shape)
    end, frame = _ends(q, params), params["F"]
    seen = (k < params["S"] * frame) | (k >= end - params["W"] * frame)
    return attend(shape, ((k < end) & seen) | (q == k))


def matrix_game_action(shape, params, tables):
    """The same for action keys, one for each frame. Trap: the diagonal q = k stays, and compares a token
    with a frame: token n sees the action of frame n, in the future."""
    b, h, q, k = indices(shape)
    end = _ends(q, params) // params["F"]
    seen = (k < params["S"]) | (k >= end - params["W"])
    return attend(shape, ((k < end) & seen) | (q == k))


def matrix_game_action_global(shape, params, tables):
    """Action keys with local_attn_size = -1."""
    b, h, q, k = indices(shape)
    return attend(shape, (k < _ends(q, params) // params["F"]) | (q == k))


def longlive(shape, params, tables):
    """The streaming mask: S sink frames and a window of W frames that counts them and the block itself."""
    b, h, q, k = indices(shape)
    frame, block = params["F"], params["F"] * params["B"]
    end = (q // block + 1) * block
    seen = (k < params["S"] * frame) | (k >= end - (params["W"] - params["S"]) * frame)
    return attend(shape, (k < end) & seen)


def block_causal_i2v(shape, params, tables):
    """LongLive 2: the first frame is a block of its own. Padding sees itself alone."""
    b, h, q, k = indices(shape)
    frame, block = params["F"], params["F"] * params["B"]
    real = params["frames"] * frame
    end = np.where(q < frame, frame, frame + ((q - frame) // block + 1) * block)
    return attend(shape, (q == k) | ((q < real) & (k < real) & (k < end)))


def sta_flex(shape, params, tables):
    """fastvideo-kernel/tests/support_flex_sta.py: canvas C_ and kernel K_ in tiles of N tokens; the kernel
    reaches half of it to both sides. Trap: an even kernel has one tile more than it says."""
    b, h, q, k = indices(shape)
    canvas, kernel = [params["C" + a] for a in "THW"], [params["K" + a] for a in "THW"]
    vision = int(np.prod(canvas)) * params["N"]
    text = vision + params["text"]
    near = (q < vision) & (k < vision)
    for tq, tk, count, n in zip(grid(q // params["N"], *canvas), grid(k // params["N"], *canvas),
                                canvas, kernel):
        center = np.minimum(np.maximum(tq, n // 2), count - 1 - n // 2)
        near = near & (abs(center - tk) <= n // 2)
    return attend(shape, near | ((q < vision) & (k >= vision) & (k < text)) | ((q >= vision) & (k < text)))
