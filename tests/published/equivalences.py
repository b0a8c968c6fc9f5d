#!/usr/bin/env python3
"""Masks that two specs must agree on, although they say it differently.

    equivalences.py ATTNC
"""
import os
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from cases import Case, documents  # noqa: E402
from compare import Attnc  # noqa: E402

PROGRAM = sys.argv[1] if len(sys.argv) > 1 else ""
checks = []


def check(function):
    checks.append(function)
    return function


def mask(spec, size, keys=None, heads=1, tables=None, consts=None, axes=None, **params):
    case = Case(heads=heads, kv_heads=heads, queries=size, keys=size if keys is None else keys, params=params,
                tables=tables or {}, consts=consts or {}, axes=axes or {})
    with tempfile.TemporaryDirectory() as folder:
        return Attnc(PROGRAM, spec, folder, case).run("mask")[0]


def packed_tables(offsets, tokens):
    doc = np.searchsorted(offsets, np.arange(tokens), side="right") - 1
    return {"tok_doc": doc.astype(np.int32), "tok_start": offsets[doc].astype(np.int32)}


@check
def packed_documents_said_by_starts_or_by_numbers():
    tables = packed_tables(documents(np.random.default_rng(3), 71), 71)
    return mask("gym/packed_causal_document", 71, tables=tables), mask("gym/document_causal", 71, tables=tables)


@check
def batchify_is_documents_of_one_length():
    tables = packed_tables(np.arange(0, 71, 10, dtype=np.int32), 70)
    return mask("gym/batchify_causal", 70, n=10), mask("gym/document_causal", 70, tables=tables)


@check
def documents_that_continue_nothing():
    offsets = documents(np.random.default_rng(4), 60)
    tables = packed_tables(offsets, 60) | {"prefix": np.arange(len(offsets) - 1, dtype=np.int32)}
    return mask("gym/shared_prefix", 60, tables=tables), mask("gym/document_causal", 60, tables=tables)


@check
def a_window_and_its_complement_are_causal():
    near, far = mask("flex/window_part", 50, 53, w=7), mask("flex/window_complement", 50, 53, w=7)
    assert not (near & far).any(), "the parts overlap"
    return near | far, mask("flex/causal", 50, 53)


@check
def a_prefix_of_nothing_is_causal():
    return mask("gym/prefix_lm", 40, prefix=0), mask("gym/causal", 40)


@check
def a_neighbourhood_as_wide_as_the_axis_is_dense():
    wide = mask("natten/natten2d", 63, consts={"window_y": 7, "window_x": 9}, Y=7, X=9)
    return wide, np.ones_like(wide)


@check
def tiled_is_untiled_under_the_permutation():
    at = np.arange(64)
    ty, tx, iy, ix = at // 16, at // 8 % 2, at // 4 % 2, at % 4
    place = (ty * 2 + iy) * 8 + tx * 4 + ix  # rows of 8, in tiles of 2 x 4
    untiled = mask("gym/natten2d", 64, W=8, H=8, KW=5, KH=3)  # here x is the row
    return mask("gym/tiled_natten", 64, W=8, H=8, KW=3, KH=5, TW=4, TH=2), untiled[:, place][:, :, place]


@check
def z_order_is_rows_under_the_permutation():
    at = np.arange(64)
    x, y = (sum((at >> 2 * n + odd & 1) << n for n in range(3)) for odd in (0, 1))
    untiled = mask("gym/natten2d", 64, W=8, H=8, KW=5, KH=3)
    place = y * 8 + x
    return mask("gym/morton_natten", 64, W=8, H=8, KW=3, KH=5), untiled[:, place][:, :, place]


@check
def tiles_of_one_token_are_neighbourhoods():
    sta = mask("gym/sta2d", 63, CH=7, CW=9, N=1, KH=4, KW=3, text=0, axes={"j": 0})
    return sta, mask("natten/natten2d", 63, consts={"window_y": 4, "window_x": 3}, Y=7, X=9)


@check
def both_sliding_tiles_agree_on_odd_kernels():
    params = dict(CT=4, CH=3, CW=5, N=2, KT=3, KH=1, KW=3, text=3)
    return tuple(mask(spec, 128, axes={"j": 8}, **params) for spec in ("gym/sta3d", "fastvideo/sta_flex"))


@check
def a_tree_that_is_a_chain_is_one_block():
    chain = {"ancestor": np.tril(np.ones((9, 9), dtype=np.uint8))}
    return (mask("gym/jetspec_tree", 9, 14, tables=chain, prefix=5, nodes=9),
            mask("gym/jetspec_train", 9, 14, prefix=5, block=9))


@check
def listed_tiles_are_mapped_tiles():
    rng = np.random.default_rng(5)
    listed, sizes = rng.integers(0, 6, (1, 2, 6, 16)).astype(np.int32), rng.integers(0, 9, 6).astype(np.int32)
    tiles = np.zeros((1, 2, 6, 6), dtype=np.uint8)
    np.put_along_axis(tiles, listed[..., :3], 1, axis=3)
    return (mask("gym/vsa", 48, heads=2, tables={"topk": listed, "sizes": sizes}, T=8, top=3),
            mask("gym/vsa_block_map", 48, heads=2, tables={"map": tiles, "sizes": sizes}, T=8))


@check
def blocks_without_holes_and_blocks_of_one_size():
    kept = (np.random.default_rng(6).random((4, 4)) < 0.5).astype(np.uint8)
    slot = np.where(kept, 0, -1).astype(np.int32)
    plain = mask("flashinfer/block_sparse", 32, tables={"kept": kept}, R=8, C=8)
    inside = np.ones((1, 8, 8), dtype=np.uint8)
    masked = mask("flashinfer/block_sparse_masked", 32, tables={"slot": slot, "inside": inside}, R=8, C=8)
    block = (np.arange(32, dtype=np.int32) // 8)[None]
    sized = mask("flashinfer/variable_block_sparse", 32,
                 tables={"row_block": block, "col_block": block, "kept": kept[None]})
    assert (masked == plain).all(), "whole blocks with a mask inside differ from blocks"
    return sized, plain


@check
def past_tokens_and_the_own_one_are_one_more():
    return (mask("papers/streaming_llm_past", 50, sinks=3, recent=8),
            mask("papers/streaming_llm", 50, sinks=3, recent=9))


@check
def windows_without_an_end_are_causal():
    no_window = mask("flashinfer/sliding_window", 40, window_left=-1)
    assert (no_window == mask("flashinfer/causal", 40)).all(), "window_left -1 is not causal"
    return mask("fa4/sliding_window", 40, offset=0, left=40, right=0), mask("fa4/causal", 40, offset=0)


@check
def blocks_of_one_frame_are_frame_causal():
    return (mask("fastvideo/longlive", 60, F=5, B=1, S=0, W=12), mask("papers/next_frame_diffusion", 60, F=5))


@check
def frame_causal_without_padding():
    return (mask("fastvideo/block_causal", 60, F=5, B=1, frames=12), mask("papers/next_frame_diffusion", 60, F=5))


@check
def the_clean_half_is_block_causal_and_noise_sees_the_past():
    whole = mask("fastvideo/teacher_forcing", 72, F=4, B=3, frames=9)
    flipped = np.roll(np.arange(72), 36)  # block diffusion puts the noised half first
    return whole, mask("gym/block_diffusion", 72, S=36, L=12)[:, flipped][:, :, flipped]


@check
def unshifted_windows():
    return mask("papers/swin", 196, H=14, W=14, n=7, shift=0), mask("papers/davit_window", 196, H=14, W=14)


@check
def half_windows_unshifted_or_shifted_by_nothing():
    return mask("papers/hidiffusion", 48, HH=3, HW=4, turn=1), mask("papers/hidiffusion", 48, HH=3, HW=4, turn=0)


@check
def blocks_of_radial_attention_are_blocks():
    kept = {"kept": (np.random.default_rng(7).random((3, 3)) < 0.5).astype(np.uint8)}
    return (mask("papers/radial_blocks", 300, tables=kept),
            mask("flashinfer/block_sparse", 300, tables=kept, R=128, C=128))


@check
def the_first_heads_of_shifted_sparse_attention_are_grouped():
    return (mask("papers/s2_attn", 48, heads=4, g=12, axes={"i": 48})[:2],
            mask("gym/batchify_causal", 48, heads=2, n=12))


def main():
    failures = 0
    for function in checks:
        try:
            a, b = function()
            assert a.shape == b.shape, f"shapes {a.shape} and {b.shape}"
            wrong = np.argwhere(a != b)
            assert not len(wrong), f"{len(wrong)} of {a.size} pairs differ, first (head, q, k) {tuple(wrong[0])}"
        except Exception as error:
            failures += 1
            print(f"FAIL {function.__name__}: {error}")
    print(f"{len(checks)} equivalences, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
