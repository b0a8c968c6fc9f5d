"""The test suites of kernel libraries: stated properties, and values computed by hand."""

import math
import unittest

import numpy as np

import fa4
import flashinfer
import flex
import gym
from testing import DOCUMENTS, future, mask, score, shape, table


class Flex(unittest.TestCase):
    def value(self, function, s, at, params=None, tables=None):
        return score(function, s, at, 6, None, params, tables, heads=2, batch=2)

    def test_scores(self):
        at, near = (1, 1, 4, 2), lambda a, b: self.assertAlmostEqual(a, b, places=12)
        v = np.arange(8.0) + 2
        near(self.value(flex.identity, 3, at), 3)
        near(self.value(flex.times_two, 3, at), 6)
        near(self.value(flex.squared, 3, at), 9)
        near(self.value(flex.silu, 1, at), 0.7310585786300049)
        near(self.value(flex.captured_scalar, 3, at, {"c": 0.5}), 3.5)
        near(self.value(flex.trig, 0, at), math.sin(1) + math.tan(1))
        near(self.value(flex.trig2, 1, at), math.sin(2) / 2 + math.tan(1))
        near(self.value(flex.rel_bias, 1, at), 3)
        near(self.value(flex.rel_causal, 1, at), 3)
        near(self.value(flex.alibi, 1, at), 1 - 2 * 2.0 ** -8)
        near(self.value(flex.alibi8, 1, at), 1 - 2 * 0.25)
        near(self.value(flex.floor_div, 1, at), 1 - 4 // 3)
        near(self.value(flex.composed, 1, at), 3)
        near(self.value(flex.head_offset, 2, at, tables={"v": v}), 6)
        near(self.value(flex.all_bias, 1, at, tables={"T": v, "B": v, "H": v}), 1 + 6 + 3 + 3)
        square = np.arange(36.0).reshape(6, 6)
        near(self.value(flex.bias_qk, 1, at, tables={"bias": square}), 27)
        near(self.value(flex.bias_transposed, 1, at, tables={"bias": square}), 17)
        cube = np.stack([square, square + 100])
        near(self.value(flex.bias_bqk, 1, at, tables={"bias": cube}), 127)
        near(self.value(flex.bias_bhqk, 1, at, tables={"bias": np.stack([cube, cube + 1000])}), 1127)
        near(self.value(flex.bias_bq, 1, at, tables={"bias": square}), 1 + 6 + 4)
        near(self.value(flex.bias_bhq, 1, at, tables={"bias": cube}), 1 + 100 + 6 + 4)
        near(self.value(flex.bias_relative, 0, at, {"S": 6}, {"bias": np.arange(12.0)}), 8)
        near(self.value(flex.bias_distance, 0, (0, 0, 1, 5), tables={"bias": v}), 6)
        near(self.value(flex.bias_clamped, 0, (0, 0, 1, 5), {"w": 3}, {"bias": v}), 2)
        near(self.value(flex.bias_clamped, 0, (0, 0, 5, 0), {"w": 3}, {"bias": v}), 8)
        near(self.value(flex.bias_k, 0, at, tables={"bias": v}), 4)
        near(self.value(flex.bias_gather, 0, at, tables={"bias": v, "offset": table(0, 0, 0, 0, 5, 0)}), 7)
        near(self.value(flex.bias_q_plus_k, 0, at, tables={"bias": v}), 10)
        near(self.value(flex.scale_q, 2, at, tables={"v": v}), 12)
        near(self.value(flex.head_gate, 2, at, tables={"gate": table(9.0, 0.0)}), 1)
        places = np.zeros((6, 3))
        places[2] = (1, 2, 2)                       # distance 3
        near(self.value(flex.euclid, 2, at, tables={"P": places, "L": table(9.0, 1.5)}), 2 * math.exp(-2))
        near(self.value(flex.decomposed_rel_pos, 0, at, {"W": 2}, {"R": np.full((2, 2, 6, 3), [7, 8, 9])}), 8)

    def test_masks(self):
        self.assertEqual(mask(flex.causal, 6).sum() + mask(flex.inverse_causal, 6).sum(), 42)
        self.assertEqual(mask(flex.skip_odd_keys, 6).sum(0).tolist(), [6, 0] * 3)
        self.assertEqual(mask(flex.seq_mask, 6, None, {}, {"seg": table(0, 0, 1, 1, 1, 1)}).sum(), 4 + 16)
        seen = mask(flex.video_causal, 6, None, {}, {"n": table(2, 0)}, batch=2)[:, 0]
        self.assertEqual(seen[0].sum(1).tolist(), [3, 3, 3, 4, 5, 6])
        self.assertTrue((seen[1] == ~future(6)).all())
        self.assertEqual(mask(flex.two_ranges, 1, 3000).sum(), 256 + 952)
        self.assertEqual(mask(flex.masked_rows, 6, None, {"M": 2}).sum(1).tolist(), [6, 6, 0, 0, 0, 0])
        self.assertFalse(mask(flex.empty, 6).any())
        self.assertEqual(mask(flex.window512, 600)[599].sum(), 513)
        rand = table([0, 1, 0, 1, 1, 0])
        self.assertEqual(mask(flex.random_rows, 6, None, {}, {"rand": rand}).sum(1).tolist(), [6, 0, 6, 0, 0, 6])
        self.assertEqual(mask(flex.padding, 6, None, {}, {"length": table(4)}).sum(), 16)
        self.assertEqual(mask(flex.doc_causal, 6, None, {}, {"doc": table(0, 0, 0, 1, 1, 1)}).sum(), 12)

    def test_traps(self):
        seen = mask(flex.njt_causal, 12, None, {}, {"tok_doc": DOCUMENTS})
        self.assertTrue(seen[2, 11] and seen[9, 0], "documents are not told apart")
        seen = mask(flex.natten_2d, 64, None, {"W": 8, "window": 1})
        self.assertTrue(seen[0, 8] and not seen[0, 11], "|q - k| <= 8, or columns at most 1 apart")
        self.assertTrue(seen[0, 57] and not seen[7, 18])
        of = shape(3, batch=2)
        s = np.array([0.5, 1.5, 2.5]) * np.ones((2, 1, 3, 3))
        out = flex.padded_dense_causal(of, {}, {"length": table(1, 2)})["score"](s)
        self.assertEqual(np.isfinite(out[:, 0, 0]).tolist(), [[True, False, False], [True, True, False]])

    def test_split(self):
        parts = [mask(f, 40, None, {"w": 7}) for f in (flex.window_part, flex.window_complement)]
        self.assertFalse((parts[0] & parts[1]).any())
        self.assertTrue((parts[0] | parts[1] == mask(flex.causal, 40)).all())


class Fa4(unittest.TestCase):
    def test_alignment(self):
        seen = mask(fa4.causal, 3, 5, {"offset": 2})
        self.assertEqual(seen.sum(1).tolist(), [3, 4, 5])
        self.assertTrue((seen == mask(fa4.block_causal, 3, 5, {"offset": 2})).all())
        seen = mask(fa4.sliding_window, 3, 9, {"left": 2, "right": 1, "offset": 6})
        self.assertEqual([np.flatnonzero(row).tolist() for row in seen], [[4, 5, 6, 7], [5, 6, 7, 8], [6, 7, 8]])

    def test_masks(self):
        self.assertEqual(mask(fa4.block_diagonal, 300)[290].sum(), 44)
        seen = mask(fa4.mini_causal, 256)
        self.assertTrue(seen[5, 128 + 5] and not seen[128 + 5, 6])
        self.assertTrue((mask(fa4.prefix_lm, 700) == mask(gym.prefix_lm, 700, None, {"prefix": 512})).all())
        seen = mask(fa4.dilated_sliding_window, 600)
        self.assertEqual(np.flatnonzero(seen[599]).tolist(), list(range(345, 600, 2)))
        doc = np.zeros((2, 2, 4), dtype=int)
        doc[1, 1] = (0, 0, 1, 1)
        self.assertEqual(mask(fa4.document, 4, None, {}, {"doc": doc}, batch=2, heads=2).sum((2, 3)).tolist(),
                         [[16, 16], [16, 8]])
        self.assertEqual(mask(fa4.ima, 2, 4, {}, {"threshold": table(0, 5, 2, 4)})[0].tolist(),
                         [True, False, True, False])
        self.assertEqual(mask(fa4.score_sliding_window, 600)[300].sum(), 513)
        self.assertEqual(mask(fa4.score_block_diagonal, 200)[199].sum(), 8)

    def test_packed(self):
        packed = {"cu_q": table(0, 4, 8), "cu_k": table(0, 4, 8), "window": np.arange(8),
                  "threshold": table(0, 0, 9, 0, 0, 9, 0, 0),
                  "doc_q": table(0, 0, 1, 1, 0, 1, 1, 1), "doc_k": table(0, 1, 1, 1, 0, 0, 0, 1)}
        seen = mask(fa4.global_causal_window, 4, None, {}, packed, batch=2)[:, 0]
        self.assertEqual(seen.sum(2).tolist(), [[1, 2, 3, 4], [1, 2, 3, 4]])
        packed["window"] = table(0, 0, 0, 1, 9, 0, 9, 9)
        seen = mask(fa4.global_causal_window, 4, None, {}, packed, batch=2)[:, 0]
        self.assertEqual(seen.sum(2).tolist(), [[1, 1, 1, 2], [1, 1, 3, 4]])
        seen = mask(fa4.global_packed_document, 4, None, {}, packed, batch=2)[:, 0]
        self.assertEqual(seen.sum(2).tolist(), [[1, 1, 3, 3], [3, 1, 1, 1]])
        seen = mask(fa4.global_ima, 4, None, {}, packed, batch=2)[:, 0]
        self.assertEqual(seen[:, 0].astype(int).tolist(), [[1, 1, 0, 1], [1, 0, 1, 1]])

    def test_scores(self):
        at, near = (1, 1, 4, 2), lambda a, b: self.assertAlmostEqual(a, b, places=12)
        value = lambda f, s, at=at, **t: score(f, s, at, 6, None, {}, t, heads=2, batch=2)
        ramp, cu = np.arange(20.0), table(0, 10, 20)
        near(value(fa4.rel_bias, 1, (0, 0, 1, 5)), 5)
        near(score(fa4.rel_bias_clamped, 1, (0, 0, 0, 599), 1, 600), 257)
        near(value(fa4.rel_bias_x2, 1), 5)
        near(value(fa4.identity, 3), 3)
        near(value(fa4.times_two, 3) + value(fa4.squared, 3), 15)
        near(value(fa4.alibi, 1, (0, 1, 1, 5)), 1 - 0.25 * 4)
        near(value(fa4.batch_bias, 1, batch_bias=ramp), 2)
        near(value(fa4.dual_buffer, 1, head_bias=ramp, pos_bias=ramp), 6)
        near(value(fa4.global_kv_bias, 1, kv_bias=ramp, cu_k=cu), 13)
        near(value(fa4.global_q_bias, 1, q_bias=ramp, cu_q=cu), 15)
        near(value(fa4.global_q_and_kv_bias, 1, q_bias=ramp, kv_bias=ramp, cu_q=cu, cu_k=cu), 27)
        near(value(fa4.global_rel_plus_kv_bias, 1, kv_bias=ramp, cu_k=cu), 13.2)
        near(value(fa4.global_logical_rel_plus_kv_bias, 1, kv_bias=ramp, cu_k=cu), 13.02)
        near(value(fa4.complex_arithmetic, 1, q_bias=ramp, cu_q=cu), 1.002 + 14 * 0.004)
        near(value(fa4.conditional_mask, 1, kv_bias=ramp, cu_q=cu, cu_k=cu), 13)
        near(value(fa4.multi_buffer, 2, head_scale=ramp + 2, batch_bias=ramp, q_bias=ramp, kv_bias=ramp,
                   cu_q=cu, cu_k=cu, rel_scale=np.arange(1025.0)), 2 * 3 + 1 + 14 + 12 + 51.4)
        near(value(fa4.xor_pattern, 1, kv_bias=ramp, cu_k=cu), 1 + 0.006 + 1.2)
        near(value(fa4.debug_global_index, 1, cu_k=cu), 1.012)


class FlashInfer(unittest.TestCase):
    def test_windows(self):
        for left, rows in ((2, [3, 3, 3]), (-1, [7, 8, 9])):
            self.assertEqual(mask(flashinfer.sliding_window, 3, 9, {"window_left": left}).sum(1).tolist(), rows)
        self.assertEqual(mask(flashinfer.causal, 3, 9).sum(1).tolist(), [7, 8, 9])
        seen = mask(flashinfer.sliding_window_open, 3, 9, {"window_left": 2})
        self.assertEqual(seen.sum(1).tolist(), [5, 4, 3])
        result = flashinfer.attention_sink(shape(3, 9), {}, {"sink": table(0.5)})
        self.assertEqual(result["sink"], 0.5)
        lengths = {"q_len": table(2, 3), "k_len": table(4, 9), "sink": table(0.5)}
        seen = mask(flashinfer.attention_sink_varlen, 3, 9, {"window_left": -1}, lengths, batch=2)[:, 0]
        self.assertEqual(seen.sum(2).tolist(), [[3, 4, 0], [7, 8, 9]])

    def test_blocks(self):
        kept = table([1, 0, 0], [0, 1, 1])
        seen = mask(flashinfer.block_sparse, 4, 12, {"R": 2, "C": 4}, {"kept": kept})
        self.assertEqual(seen.sum(1).tolist(), [4, 4, 8, 8])
        inside = np.zeros((3, 2, 4), dtype=int)
        inside[2, 1, 3] = 1
        seen = mask(flashinfer.block_sparse_masked, 4, 12, {"R": 2, "C": 4},
                    {"slot": table([0, -1, -1], [-1, 1, 2]), "inside": inside})
        self.assertEqual(np.argwhere(seen).tolist(), [[3, 11]])
        tables = {"row_block": table([0, 1, 1, 1], [0, 0, 1, 1]),
                  "col_block": table([0, 0, 1, 1, 1, 2], [0, 0, 0, 0, 1, 2]),
                  "kept": np.stack([kept, kept])}
        seen = mask(flashinfer.variable_block_sparse, 4, 6, {}, tables, heads=4, kv_heads=2)[0]
        self.assertEqual(seen.sum(2).tolist(), [[2, 4, 4, 4]] * 2 + [[4, 4, 2, 2]] * 2)
        custom = table([0, 1], [1, 1])
        self.assertEqual(mask(flashinfer.custom_mask, 2, 2, {}, {"mask": custom}).sum(), 3)

    def test_scores(self):
        self.assertTrue(np.allclose(flashinfer._slopes(6), [2 ** -2, 2 ** -4, 2 ** -6, 2 ** -8, 2 ** -1, 2 ** -3]))
        self.assertAlmostEqual(score(flashinfer.alibi, 1, (0, 4, 1, 3), 4, heads=6), 2)
        self.assertAlmostEqual(score(flashinfer.logits_soft_cap, 60, (0, 0, 0, 0), 1, params={"cap": 30}),
                               30 * math.tanh(2))
