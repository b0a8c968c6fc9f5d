"""Neighbourhood attention as NATTEN's reference mask defines it (SHI-Labs/NATTEN 8c8729f,
csrc/include/natten/cuda/reference/mask.hpp): per axis, all axes together.

The axes are x, then y before it, then t: X, Y, T are their lengths, and window_x, stride_x, dilation_x,
causal_x their parameters.
"""

import math

from common import attend, grid, indices


def _neighbors(query, key, extent, window, stride, dilation, causal):
    """Whether key is a neighbour of query on one axis."""
    same_group = query % dilation == key % dilation
    group = query % dilation
    length = extent // dilation + (group < extent % dilation)
    x, other = query // dilation, key // dilation
    left, right = window // 2, window // 2 + window % 2 - 1
    if causal:
        leader = _least(x // stride * stride + stride - 1, length - 1)
        inside = (other <= x) & (other > leader - window)
    else:
        leader = _least(x // stride * stride + stride // 2, length - 1)
        # The window begins `left` before the leader, moved so as to lie inside the axis.
        begin = _most(_least(leader - left, length - 1 - right - left), 0)
        inside = (other >= begin) & (other < begin + window)
    return same_group & inside


def _least(a, b):
    return a + (b - a) * (b < a)


def _most(a, b):
    return a + (b - a) * (b > a)


def _natten(shape, params, axes):
    b, h, q, k = indices(shape)
    extents = [params[a.upper()] for a in axes]
    mask = k < math.prod(extents)
    for a, x, y in zip(axes, grid(q, *extents), grid(k, *extents)):
        mask = mask & _neighbors(x, y, params[a.upper()], params["window_" + a], params["stride_" + a],
                                 params["dilation_" + a], params["causal_" + a])
    return attend(shape, mask)


def natten1d(shape, params, tables):
    return _natten(shape, params, "x")


def natten2d(shape, params, tables):
    return _natten(shape, params, "yx")


def natten3d(shape, params, tables):
    return _natten(shape, params, "tyx")


def natten2d_extra(shape, params, tables):
    """Keys that are no tokens of the grid and follow it: every query sees them."""
    b, h, q, k = indices(shape)
    return attend(shape, _natten(shape, params, "yx")["mask"] | (k >= params["Y"] * params["X"]))
