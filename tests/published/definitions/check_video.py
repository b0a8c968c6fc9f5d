"""Neighbourhoods, frames and papers: stated properties, and values computed by hand."""

import unittest

import numpy as np

import fastvideo
import gym
import natten
import papers
from testing import future, mask, natten_params, score, shape, table


class Natten(unittest.TestCase):
    def one(self, extent, **params):
        return mask(natten.natten1d, extent, None, natten_params(x=(extent, 1), **params))

    def test_windows_have_their_size(self):
        for extent in (5, 8, 13):
            for window in range(2, extent + 1):
                for stride in range(1, window + 1):
                    seen = self.one(extent, window_x=window, stride_x=stride)
                    self.assertTrue((seen.sum(1) == window).all(), (extent, window, stride))
                    for row in seen:
                        self.assertEqual(np.diff(np.flatnonzero(row)).max(), 1, "one run of keys")
                    for first in range(0, extent, stride):
                        group = seen[first:first + stride]
                        self.assertTrue((group == group[0]).all(), "a stride's queries share a window")
                    if stride == 1:
                        self.assertTrue(seen.diagonal().all())

    def test_full_stride_is_blocked_attention(self):
        seen = self.one(12, window_x=4, stride_x=4)
        self.assertTrue((seen == mask(gym.batchify_full, 12, None, {"n": 4})).all())

    def test_even_windows_reach_further_back(self):
        self.assertEqual(np.flatnonzero(self.one(9, window_x=4)[4]).tolist(), [2, 3, 4, 5])

    def test_causal(self):
        seen = self.one(9, window_x=3, causal_x=True)
        self.assertTrue((seen == mask(gym.sliding_window, 9, None, {"window": 2})).all())
        # Stride 2: the leader is the group's last query, which the others share the begin of.
        seen = self.one(9, window_x=3, stride_x=2, causal_x=True)
        self.assertEqual([np.flatnonzero(row).tolist() for row in seen[4:8]],
                         [[3, 4], [3, 4, 5], [5, 6], [5, 6, 7]])
        self.assertEqual(np.flatnonzero(seen[8]).tolist(), [6, 7, 8])    # a leader inside the axis
        self.assertFalse((seen & future(9)).any())

    def test_dilation_splits_into_groups(self):
        whole = self.one(11, window_x=3, dilation_x=3)
        for group in range(3):
            members = np.arange(group, 11, 3)
            part = self.one(len(members), window_x=3)
            self.assertTrue((whole[np.ix_(members, members)] == part).all())
            others = np.setdiff1d(np.arange(11), members)
            self.assertFalse(whole[np.ix_(members, others)].any())

    def test_axes_are_independent(self):
        params = natten_params(t=(4, 3), y=(5, 2), x=(6, 3), causal_t=True, stride_y=2, dilation_x=2)
        cube = mask(natten.natten3d, 120, None, params).reshape(4, 5, 6, 4, 5, 6)
        one = [self.one(params[a.upper()], **{f"{name}_x": params[f"{name}_{a}"] for name in
                                               ("window", "causal", "stride", "dilation")}) for a in "tyx"]
        self.assertTrue((cube == np.einsum("ad,be,cf->abcdef", *one)).all())

    def test_extra_keys(self):
        params = natten_params(y=(4, 3), x=(5, 3))
        seen = mask(natten.natten2d_extra, 20, 23, params)
        self.assertTrue(seen[:, 20:].all())
        self.assertTrue((seen[:, :20] == mask(natten.natten2d, 20, None, params)).all())


class Video(unittest.TestCase):
    PARAMS = {"F": 10, "B": 3, "frames": 9, "W": 6, "S": 2}

    def test_block_causal(self):
        seen = mask(fastvideo.block_causal, 90, None, self.PARAMS)
        self.assertEqual(seen.sum(1).tolist(), [30] * 30 + [60] * 30 + [90] * 30)
        seen = mask(fastvideo.block_causal_window, 90, None, self.PARAMS)
        self.assertEqual(seen.sum(1).tolist(), [30] * 30 + [60] * 60)

    def test_padding_of_whole_blocks_sees_itself_alone(self):
        seen = mask(fastvideo.block_causal, 128, None, self.PARAMS)
        self.assertTrue((seen[90:] == np.eye(128, dtype=bool)[90:]).all())
        self.assertFalse(seen[:90, 90:].any())

    def test_a_short_block_spills_into_the_padding(self):
        seen = mask(fastvideo.block_causal, 128, None, {**self.PARAMS, "frames": 8})
        self.assertEqual(seen[79].sum(), 90, "real rows see padding keys")
        self.assertEqual(seen[85].sum(), 90, "padding rows within the block have an end")
        self.assertEqual(seen[95].sum(), 1)

    def test_teacher_forcing(self):
        seen = mask(fastvideo.teacher_forcing, 180, None, self.PARAMS)
        self.assertTrue((seen[:90, :90] == mask(fastvideo.block_causal, 90, None, self.PARAMS)).all())
        self.assertFalse(seen[:90, 90:].any())
        # [clean | noisy] is block diffusion with the halves exchanged.
        other = mask(gym.block_diffusion, 180, None, {"S": 90, "L": 30})
        self.assertTrue((np.roll(seen, (90, 90), (0, 1)) == other).all())

    def test_sinks_beside_the_window_or_in_it(self):
        game = mask(fastvideo.matrix_game, 90, None, self.PARAMS)
        live = mask(fastvideo.longlive, 90, None, self.PARAMS)
        self.assertEqual(sorted(set(np.flatnonzero(game[89]) // 10)), [0, 1, 3, 4, 5, 6, 7, 8])
        self.assertEqual(sorted(set(np.flatnonzero(live[89]) // 10)), [0, 1, 5, 6, 7, 8])

    def test_actions_leak_the_future(self):
        seen = mask(fastvideo.matrix_game_action, 90, 9, {**self.PARAMS, "W": 3, "S": 0})
        self.assertTrue(seen[5, 5], "a token of frame 0 sees the action of frame 5")
        self.assertEqual(np.flatnonzero(seen[40]).tolist(), [3, 4, 5])
        self.assertEqual(mask(fastvideo.matrix_game_action_global, 90, 9, self.PARAMS)[40].sum(), 6)

    def test_image_to_video(self):
        seen = mask(fastvideo.block_causal_i2v, 80, None, {"F": 10, "B": 3, "frames": 7})
        self.assertEqual(seen.sum(1).tolist(), [10] * 10 + [40] * 30 + [70] * 30 + [1] * 10)

    def test_an_even_tile_kernel_has_one_more(self):
        canvas = {"CT": 3, "CH": 4, "CW": 5, "N": 8, "text": 0}
        for tiles, real in ((3, 3), (2, 3), (1, 1)):
            seen = mask(fastvideo.sta_flex, 480, None, {**canvas, "KT": 1, "KH": tiles, "KW": 3})
            self.assertTrue((seen.sum(1) == 8 * real * 3).all())
        odd = {**canvas, "KT": 3, "KH": 3, "KW": 1}
        self.assertTrue((mask(fastvideo.sta_flex, 480, None, odd) == mask(gym.sta3d, 480, None, odd)).all())

    def test_radial(self):
        params = {"F": 150, "T": 9, "decay": 0.2}
        plain = mask(papers.radial_hunyuan, 1360, None, params)
        self.assertTrue((plain == plain.T).all())
        self.assertTrue(plain[1350:].all() and plain[:, 1350:].all())
        wan = mask(papers.radial_wan, 1350, None, params)
        self.assertTrue((wan[150:, 150:] == plain[150:1350, 150:1350]).all())
        self.assertTrue((wan[:150] == plain[:150, :1350]).all(), "query frame 0 is not dense")
        self.assertTrue(wan[:, :150].all(), "key frame 0 is")
        frames = plain[:1350, :1350].reshape(9, 150, 9, 150)
        # bitlen(150) = 8: d 1 reaches 128 and stays; d 2, 3 reach 64: every 2nd; 4..7 reach 32: every
        # 4th; 8 reaches 16: every 8th.
        self.assertEqual(frames.any((1, 3))[0].astype(int).tolist(), [1, 1, 1, 0, 1, 0, 0, 0, 1])
        self.assertTrue(frames[0, :, 1].all(), "the neighbour is whole")
        self.assertEqual(frames[0, 0, 2].sum(), 129, "|x - y| <= max(64 * 0.2, 128)")

    def test_radial_loses_neighbours_of_small_frames(self):
        params = {"F": 60, "T": 4, "decay": 0.2}        # bitlen 6: d 1 reaches 32
        frames = mask(papers.radial_hunyuan, 240, None, params).reshape(4, 60, 4, 60)
        self.assertEqual(frames.any((1, 3)).astype(int).tolist(), np.eye(4, dtype=int).tolist())

    def blocks(self, tokens, params, wan):
        tables = {"kept": papers.radial_block_map(shape(tokens), params, wan)}
        return mask(papers.radial_blocks, tokens, None, {}, tables)

    def test_radial_blocks(self):
        # Frames of whole blocks: a block is kept with its pair, where the band fills it.
        params = {"F": 256, "T": 3, "decay": 1}
        self.assertTrue((self.blocks(768, params, False) >= mask(papers.radial_hunyuan, 768, None, params)).all())
        # Frames of 150 tokens cover two blocks from their first: frame 1 begins in block 1.
        coarse = self.blocks(300, {"F": 150, "T": 2, "decay": 0.2}, False)[::128, ::128]
        self.assertEqual(coarse.shape, (3, 3))
        self.assertTrue(coarse[0, 0] and coarse[2].all() and coarse[:, 2].all())

    def test_radial_blocks_of_the_sink_frame(self):
        params = {"F": 256, "T": 9, "decay": 0.2}
        plain, wan = self.blocks(2304, params, False), self.blocks(2304, params, True)
        self.assertTrue(wan[:, :256].all())
        self.assertTrue((wan[:, 256:] == plain[:, 256:]).all())
        # d = 4 is kept with |x - y| <= 128: the diagonal blocks are full, and of the others the columns'
        # densities rise from 1/128 to 1, two thirds of them over a third.
        self.assertTrue(plain[:256, 4 * 256:5 * 256].all())
        self.assertFalse(plain[:256, 5 * 256:6 * 256].any(), "d = 5 is not a multiple of 2")

    def test_svg_wan(self):
        seen = mask(papers.svg_wan, 600, None, {"tpf": 100, "width": 1})
        self.assertEqual(np.flatnonzero(seen[300]).tolist(), [*range(100), *range(172, 429)])

    def test_svg_hunyuan(self):
        seen = mask(papers.svg_hunyuan, 620, None, {"tpf": 100, "width": 2, "F": 6, "prompt": 10})
        self.assertEqual(np.flatnonzero(seen[300]).tolist(), [*range(173, 428), *range(600, 610)])
        self.assertEqual(seen[605].sum(), 610)
        self.assertEqual(np.flatnonzero(seen[615]).tolist(), [*range(610, 620)])

    def test_frames(self):
        params = {"F": 4, "H": 4, "W": 6, "m": 2, "n": 2, "source": 3}
        by_frame = lambda f, **t: mask(f, 20, None, params, t).reshape(5, 4, 5, 4)
        self.assertEqual(by_frame(papers.next_frame_diffusion).all((1, 3)).tolist(),
                         np.tri(5, dtype=bool).tolist())
        self.assertEqual(by_frame(papers.video_booth).all((1, 3)).astype(int).tolist(),
                         [[1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 0, 1, 0, 0], [1, 0, 0, 1, 0]])
        for function, frame in (papers.frame_painter, 0), (papers.warp_cross_frame, 3):
            self.assertTrue((by_frame(function).all((1, 3)) == (np.arange(5) == frame)).all())
        seen = by_frame(papers.efficient_vdit, reference=table(0, 0, 1, 0, 0))
        self.assertEqual(seen.all((1, 3))[4].astype(int).tolist(), [0, 0, 1, 0, 1])
        self.assertEqual(mask(papers.rain, 64, None, params).sum(1).tolist(), [16] * 64)
        self.assertTrue((mask(papers.simple_gvr, 96, None, params).sum(1) == 8).all())

    def test_rolling_window(self):
        seen = mask(papers.rolling_forcing, 24, None, {"F": 1, "start": 9})
        self.assertEqual(np.flatnonzero(seen[9]).tolist(), [0, 1, 2, *range(6, 24)])
        seen = mask(papers.rolling_forcing, 24, None, {"F": 1, "start": 0})
        self.assertEqual(np.flatnonzero(seen[0]).tolist(), [*range(15)])
        clean = [np.flatnonzero(mask(papers.rolling_forcing_clean, 40, None, {"F": 1, "start": s})[0]).tolist()
                 for s in (0, 9, 18, 24)]
        self.assertEqual(clean, [[0, 1, 2], [*range(12)], [*range(21)], [*range(6, 27)]])

    def test_streaming_vlm(self):
        kind = table(1, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1)
        tables = {"is_text": kind, "number": np.cumsum(kind) - kind, "second": np.arange(11) // 3}
        seen = mask(papers.streaming_vlm, 11, None, {"sinks": 1, "window": 2, "seconds": 2}, tables)
        self.assertEqual(np.flatnonzero(seen[10]).tolist(), [0, 7, 8, 9, 10])
        self.assertFalse((seen & future(11)).any())

    def test_paro(self):
        kept = np.zeros((2, 2, 3, 3), dtype=int)
        kept[1, :, 1, 1] = 1
        tables = {"kept": kept, "order": table(0, 5)}       # head 1: columns first, then rows
        params = {"T": 5, "H": 4, "W": 8, "prompt": 10, "bin": 1}
        seen = mask(papers.paro_attention, 170, None, params, tables, heads=2)[0]
        self.assertEqual(np.flatnonzero(seen[0, 70]).tolist(), [*range(64, 128)])
        t, y, x = np.unravel_index(np.arange(160), (5, 4, 8))
        place = 10 + (x * 4 + y) * 5 + t
        inside = np.flatnonzero((place >= 64) & (place < 128)) + 10
        self.assertEqual(np.flatnonzero(seen[1, inside[0]]).tolist(), inside.tolist())
        self.assertEqual(seen[1].sum(), 64 * 64)


class Papers(unittest.TestCase):
    def test_streaming_llm(self):
        params = {"sinks": 2, "recent": 3}
        rows = [np.flatnonzero(mask(f, 9, None, params)[8]).tolist()
                for f in (papers.streaming_llm_past, papers.streaming_llm)]
        self.assertEqual(rows, [[0, 1, 5, 6, 7, 8], [0, 1, 6, 7, 8]])

    def test_rolled_groups(self):
        rolled = mask(papers.s2_attn, 16, None, {"g": 4}, heads=2)[0]
        cut = mask(papers.s2_attn_no_wrap, 16, None, {"g": 4}, heads=2)[0]
        self.assertTrue((rolled[0] == mask(gym.batchify_causal, 16, None, {"n": 4})).all())
        self.assertTrue((rolled[0] == cut[0]).all())
        self.assertFalse((cut & future(16)).any())
        self.assertTrue(rolled[1, 0, 15] and rolled[1, 1, 14], "the beginning sees the end")
        self.assertTrue((cut[1] == (rolled[1] & ~future(16))).all())
        self.assertEqual(cut[1].sum(1).tolist(), [1, 2] + [1, 2, 3, 4] * 3 + [1, 2])

    def test_strided_blocks(self):
        params = {"n": 4, "stride": 3, "near": 2, "dense": 1}
        seen = mask(papers.s2_dkernel, 32, None, params, heads=4, kv_heads=2)[0]
        self.assertFalse((seen & future(32)).any())
        self.assertEqual(sorted(set(np.flatnonzero(seen[0, 31]) // 4)), [0, 3, 6, 7])
        self.assertTrue((seen[0] == seen[1]).all(), "query heads of one KV head agree")
        self.assertTrue((seen[3] == ~future(32)).all(), "the trailing KV head is dense")
        params = {"n": 4, "stride": 8, "near": 1, "dense": 0}       # step 2 between KV heads
        seen = mask(papers.s2_dkernel, 64, None, params, heads=4, kv_heads=4)[0]
        self.assertEqual(sorted(set(np.flatnonzero(seen[1, 63]) // 4)), [6, 14, 15])

    def test_moa(self):
        self.assertEqual(papers._moa_span(1000, 0, 0.1), 256)           # int(202.4) -> 256
        self.assertEqual(papers._moa_span(1000, 9999, 0), 2048)         # capped at 2024, then rounded
        self.assertEqual(papers._moa_span(10, 0, 0), 128)
        tables = {"alpha": table(0), "beta": table(0.1)}
        seen = mask(papers.moa_prefill, 1000, None, {"N": 1000}, tables)         # 3 blocks and the first
        self.assertEqual(np.flatnonzero(seen[999]).tolist(), [*range(64), *range(13 * 64, 1000)])
        seen = mask(papers.moa_decode, 1000, None, {"N": 1000}, tables)
        self.assertEqual(np.flatnonzero(seen[999]).tolist(), [*range(64), *range(1000 - 192, 1000)])

    def test_shifted_windows(self):
        params = {"HH": 8, "HW": 4, "turn": 1}
        seen = mask(papers.hidiffusion, 128, None, params)
        self.assertTrue((seen.sum(1) == 32).all() and (seen == seen.T).all())
        self.assertTrue(seen[0, 15 * 8 + 7], "no mask at the wrap: the corners meet")
        self.assertFalse(mask(papers.hidiffusion, 128, None, {**params, "turn": 0})[0, 127])
        # A half height of 3: 3 // 4 = 0, so that the width's shift of 2 is dropped.
        seen = [mask(papers.hidiffusion, 96, None, {"HH": 3, "HW": 8, "turn": r}) for r in (0, 1)]
        self.assertTrue((seen[0] == seen[1]).all())

    def test_swin(self):
        seen = mask(papers.swin, 64, None, {"H": 8, "W": 8, "n": 4, "shift": 2})
        self.assertEqual(sorted(seen.sum(1).tolist()), [4] * 16 + [8] * 32 + [16] * 16)
        self.assertEqual(np.flatnonzero(seen[0]).tolist(), [0, 1, 8, 9], "the corners do not meet")
        whole = mask(papers.swin, 196, None, {"H": 14, "W": 14, "n": 7, "shift": 0})
        self.assertTrue((whole == mask(papers.davit_window, 196, None, {"H": 14, "W": 14})).all())
        self.assertTrue((whole.sum(1) == 49).all())

    def test_halo(self):
        tables = {"rel_y": np.zeros((1, 1, 256, 14)), "rel_x": np.zeros((1, 1, 256, 14))}
        tables["rel_y"][0, 0, :, 1], tables["rel_x"][0, 0, :, 13] = 5, 7
        params = {"H": 16, "W": 16, "n": 8, "halo": 3}
        seen = mask(papers.halonet, 256, 22 * 22, params, tables)
        self.assertTrue((seen.sum(1) == 196).all(), "padding counts")
        q = 9 * 16 + 8                              # of block (1, 1)
        value = lambda y, x: score(papers.halonet, 1, (0, 0, q, (8 + y) * 22 + 8 + x), 256, 484, params, tables)
        self.assertEqual([value(1, 13), value(1, 12), value(2, 13)], [13, 6, 8])

    def test_overlock(self):
        tables = {"logits": np.tile(np.arange(9.0), (1, 1, 30, 1))}
        params = {"H": 5, "W": 6, "K": 3}
        seen = mask(papers.overlock, 30, None, params, tables)
        self.assertTrue((seen == mask(natten.natten2d, 30, None, natten_params(y=(5, 3), x=(6, 3)))).all())
        self.assertEqual([score(papers.overlock, 99, (0, 0, 0, k), 30, None, params, tables) for k in (0, 7, 14)],
                         [0, 4, 8])

    def test_levels(self):
        seen = mask(papers.vision_remember, 6, 2 * 24, {"H": 2, "W": 3, "n": 2})
        self.assertEqual(np.flatnonzero(seen[4]).tolist(), [14, 15, 20, 21, 38, 39, 44, 45])

    def test_relative_term(self):
        tables = {"relative": np.arange(16.0).reshape(1, 1, 4, 4)}
        self.assertEqual(score(papers.rcmha, 1, (0, 0, 3, 1), 4, None, {}, tables), 1 + 14)

    def test_video_infinity(self):
        params = {"P": 2, "L": 4, "local_bias": 0, "global_bias": 10}
        seen = mask(papers.video_infinity, 4, 8 + 3, params)
        self.assertEqual(np.flatnonzero(seen[1]).tolist(), [1, 2, 3, 4, 5, 8, 9, 10])
        self.assertEqual([score(papers.video_infinity, 1, (0, 0, 1, k), 4, 11, params) for k in (7, 8)], [1, 11])

    def test_selections(self):
        chosen = table([1, 0, 1], [0, 1, 0])[None, None]
        seen = mask(papers.block_map, 4, 9, {"R": 2, "C": 3}, {"map": chosen})
        self.assertEqual(seen.sum(1).tolist(), [6, 6, 3, 3])
        selected = np.zeros((1, 1, 6, 3), dtype=int)
        selected[0, 0, 5, 0] = 1
        seen = mask(papers.vmoba, 6, None, {"C": 2}, {"selected": selected})
        self.assertEqual([seen[0].sum(), np.flatnonzero(seen[5]).tolist()], [2, [0, 1, 4, 5]])
        seen = mask(papers.subject_frames, 12, None, {"F": 2, "n": 3}, {"subject": np.arange(12) % 2})
        self.assertEqual(np.flatnonzero(seen[6]).tolist(), [7, 9, 11])
        topk = np.tile(np.arange(49)[None, :, None], (1, 1, 2))
        topk[0, 0, 1] = 48
        seen = mask(papers.biformer, 14 * 21, None, {"H": 14, "W": 21, "top": 2}, {"topk": topk})
        self.assertEqual(sorted(seen.sum(1).tolist()), [6] * 288 + [12] * 6)
        self.assertEqual(np.flatnonzero(seen[0]).tolist(), [0, 1, 2, 21, 22, 23, 270, 271, 272, 291, 292, 293])
        box = np.arange(6.0).reshape(1, 2, 3)
        self.assertEqual(score(papers.boxes, 1, (0, 0, 1, 2), 2, 3, tables={"box": box}), 6)

    def test_plain(self):
        for function in (papers.cab_self, papers.cab_cross, papers.soft_pag, papers.slow_fast_cross, papers.shvit):
            self.assertTrue(mask(function, 3, 5).all())
        for function in (papers.cab_self_causal, papers.cab_cross_causal, papers.gated_attention,
                         papers.gated_attention_headwise, papers.vision_aware_heads):
            self.assertEqual(mask(function, 3, 5).sum(1).tolist(), [1, 2, 3])
        self.assertEqual(mask(papers.rcmha, 3, 3, {}, {"relative": np.zeros((1, 1, 3, 3))}).sum(), 6)

    def test_regions(self):
        tables = {"ref_subject": table(0, 1), "subject": table(1, 2, 0)}
        self.assertEqual(mask(papers.ir_diffusion, 3, 5, {"R": 2}, tables).astype(int).tolist(),
                         [[1, 1, 1, 0, 1], [1, 0, 0, 1, 1], [1, 1, 1, 1, 1]])
        tables = {"of_object": table(1, 0), "region": table(0, 1)}
        self.assertEqual(mask(papers.prime_composer, 2, 2, {}, tables).tolist(), [[False, True], [True, True]])
        tables = {"object": table(1, 0, 1), "inside": table([1, 1], [0, 1])}
        self.assertEqual(mask(papers.through_the_mask_cross, 2, 3, {}, tables).astype(int).tolist(),
                         [[0, 1, 0], [1, 1, 1]])
        self.assertEqual(mask(papers.through_the_mask_self, 3, 3, {}, tables).sum(), 5)
