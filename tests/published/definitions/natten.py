"""Neighbourhood attention as NATTEN's reference mask defines it (SHI-Labs/NATTEN 8c8729f,
csrc/include/natten/cuda/reference/mask.hpp): per axis, all axes together.

The parameters of axis number n (0, 1, 2, the slowest first) are window_n, stride_n, dilation_n and
causal_n; missing ones are 1 and false. extent_n is the axis's length.
"""

from common import attend, grid, indices


def _neighbors(query, key, extent, window, stride=1, dilation=1, causal=False):
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


def _natten(shape, params, axes, extra=0):
    """Grid tokens first, then `extra` keys that every query sees."""
    b, h, q, k = indices(shape)
    extents = [params[f"extent_{n}"] for n in range(axes)]
    tokens = 1
    for extent in extents:
        tokens *= extent
    mask = k < tokens
    for n, (x, y) in enumerate(zip(grid(q, *extents), grid(k, *extents))):
        mask = mask & _neighbors(x, y, extents[n], params[f"window_{n}"],
                                params.get(f"stride_{n}", 1), params.get(f"dilation_{n}", 1),
                                params.get(f"causal_{n}", False))
    return attend(shape, mask | ((k >= tokens) & (k < tokens + extra)))


def natten1d(shape, params, tables):
    return _natten(shape, params, 1)


def natten2d(shape, params, tables):
    return _natten(shape, params, 2)


def natten3d(shape, params, tables):
    return _natten(shape, params, 3)
