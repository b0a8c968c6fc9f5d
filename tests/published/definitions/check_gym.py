"""attention-gym: stated properties, and values computed by hand."""

import math
import unittest

import numpy as np

import gym
import natten
from testing import DOCUMENTS, future, mask, natten_params, score, shape, table


class Gym(unittest.TestCase):
    def test_no_future_key(self):
        cases = [(gym.causal, {}, {}), (gym.sliding_window, {"window": 3}, {}),
                 (gym.document_causal, {}, {"tok_doc": DOCUMENTS}),
                 (gym.document_sliding_window, {"window": 1}, {"tok_doc": DOCUMENTS}),
                 (gym.packed_causal_document, {}, {"tok_doc": DOCUMENTS}),
                 (gym.batchify_causal, {"n": 4}, {})]
        for function, params, tables in cases:
            seen = mask(function, 12, None, params, tables)
            self.assertFalse((seen & future(12)).any(), function.__name__)
            self.assertTrue(seen.diagonal().all(), function.__name__)

    def test_sliding_window_has_one_key_more(self):
        self.assertEqual(mask(gym.sliding_window, 12, None, {"window": 3}).sum(1).tolist(),
                         [1, 2, 3] + [4] * 9)

    def test_dilated(self):
        seen = mask(gym.dilated_sliding_window, 12, None, {"window": 5, "dilation": 2})
        self.assertEqual(np.flatnonzero(seen[6]).tolist(), [2, 4, 6, 8, 10])
        self.assertTrue((seen == seen.T).all())

    def test_global_sliding(self):
        marked = np.zeros(12, dtype=bool)
        marked[5] = True
        seen = mask(gym.global_sliding_window, 12, None, {"window": 1}, {"is_global": marked})
        self.assertTrue(seen[5].all() and seen[:, 5].all())
        self.assertEqual(np.flatnonzero(seen[9]).tolist(), [5, 8, 9, 10])

    def test_prefix_lm(self):
        seen = mask(gym.prefix_lm, 8, None, {"prefix": 3})
        self.assertEqual(seen.sum(1).tolist(), [3, 3, 3, 4, 5, 6, 7, 8])

    def test_documents(self):
        packed = {"tok_doc": DOCUMENTS}
        seen = mask(gym.document_causal, 12, None, {}, packed)
        self.assertTrue((seen == mask(gym.packed_causal_document, 12, None, {}, packed)).all())
        self.assertEqual(seen.sum(1).tolist(), [1, 2, 3, 1, 1, 2, 3, 4, 5, 1, 2, 3])
        self.assertEqual(mask(gym.document_full, 12, None, {}, packed).sum(), 9 + 1 + 25 + 9)
        self.assertEqual(mask(gym.document_prefix_lm, 12, None, {"prefix": 2}, packed).sum(1).tolist(),
                         [2, 2, 3, 1, 2, 2, 3, 4, 5, 2, 2, 3])

    def test_batchify_is_documents_of_one_length(self):
        equal = {"tok_doc": np.arange(12) // 4}
        self.assertTrue((mask(gym.batchify_causal, 12, None, {"n": 4}) ==
                         mask(gym.document_causal, 12, None, {}, equal)).all())
        self.assertTrue((mask(gym.batchify_full, 12, None, {"n": 4}) ==
                         mask(gym.document_full, 12, None, {}, equal)).all())

    def test_shared_prefix(self):
        seen = mask(gym.shared_prefix, 12, None, {}, {"tok_doc": DOCUMENTS, "prefix": table(0, 0, 2, 2)})
        self.assertEqual(np.flatnonzero(seen[3]).tolist(), [0, 1, 2, 3])        # continues document 0
        self.assertEqual(np.flatnonzero(seen[10]).tolist(), [4, 5, 6, 7, 8, 9, 10])
        self.assertEqual(np.flatnonzero(seen[6]).tolist(), [4, 5, 6])           # its own prefix: causal

    def test_block_diffusion(self):
        s, block = 12, 4
        seen = mask(gym.block_diffusion, 2 * s, None, {"S": s, "L": block})
        blocks = seen.reshape(6, block, 6, block)
        self.assertTrue((blocks.all((1, 3)) == blocks.any((1, 3))).all(), "blocks are whole")
        self.assertEqual(blocks.all((1, 3)).astype(int).tolist(), [
            [1, 0, 0, 0, 0, 0], [0, 1, 0, 1, 0, 0], [0, 0, 1, 1, 1, 0],
            [0, 0, 0, 1, 0, 0], [0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1]])

    def test_jetspec(self):
        ancestor = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 1]])
        seen = mask(gym.jetspec_tree, 4, 6, {"prefix": 2, "nodes": 4}, {"ancestor": ancestor})
        self.assertTrue((seen[:, 2:] == (ancestor != 0)).all() and seen[:, :2].all())
        seen = mask(gym.jetspec_train, 6, 8, {"prefix": 2, "block": 3})
        self.assertEqual(np.flatnonzero(seen[4]).tolist(), [0, 1, 5, 6])

    def test_flamingo(self):
        seen = mask(gym.flamingo, 6, 4, {"T": 2}, {"intervals": table([0, 4], [3, 6])})
        self.assertEqual(seen.sum(0).tolist(), [4, 4, 3, 3])
        self.assertEqual(np.flatnonzero(seen[3]).tolist(), [0, 1, 2, 3])

    def test_natten2d_on_a_square(self):
        params = {"W": 8, "H": 8, "KW": 3, "KH": 5}
        seen = mask(gym.natten2d, 64, None, params)
        self.assertTrue((seen.sum(1) == 15).all())
        self.assertTrue((seen == mask(natten.natten2d, 64, None,
                                      natten_params(y=(8, 3), x=(8, 5)))).all())

    def test_natten2d_trap_of_the_canvas(self):
        # Four rows of eight: row 3 is clamped by the width, which bounds nothing.
        seen = mask(gym.natten2d, 32, None, {"W": 8, "H": 4, "KW": 3, "KH": 3})
        self.assertEqual(sorted(set(np.flatnonzero(seen[3 * 8]) // 8)), [2, 3])
        # Column 7 is clamped by the height to column 2: its window does not hold it.
        self.assertEqual(sorted(set(np.flatnonzero(seen[7]) % 8)), [1, 2, 3])

    def test_natten2d_trap_of_the_even_kernel(self):
        seen = mask(gym.natten2d, 64, None, {"W": 8, "H": 8, "KW": 4, "KH": 4})
        self.assertTrue((seen.sum(1) == 25).all())

    def test_other_orders_are_permutations(self):
        params = {"W": 8, "H": 8, "KW": 3, "KH": 3, "TW": 4, "TH": 2}
        plain = mask(gym.natten2d, 64, None, params)
        rows, cols = np.divmod(np.arange(64), 8)
        tiled = (rows // 2 * 2 + cols // 4) * 8 + rows % 2 * 4 + cols % 4
        morton = sum(((cols >> n & 1) << 2 * n) + ((rows >> n & 1) << 2 * n + 1) for n in range(3))
        for function, place in (gym.tiled_natten, tiled), (gym.morton_natten, morton):
            seen = mask(function, 64, None, params)
            self.assertTrue((seen[np.ix_(place, place)] == plain).all(), function.__name__)

    def test_sliding_tiles(self):
        for kernel in (2, 3):
            params = {"CH": 4, "CW": 5, "KH": kernel, "KW": kernel, "N": 16, "text": 5}
            seen = mask(gym.sta2d, 330, None, params)
            self.assertTrue((seen[:320, :320].sum(1) == kernel * kernel * 16).all())
            self.assertTrue(seen[:320, 320:325].all() and seen[320:, :325].all())
            self.assertFalse(seen[:, 325:].any(), "padding behind the text")
            cube = mask(gym.sta3d, 330, None, {**params, "CT": 1, "KT": 1})
            self.assertTrue((cube == seen).all())
        # Two tiles: the own one and the one before it, moved at the left edge.
        params = {"CH": 1, "CW": 4, "KH": 1, "KW": 2, "N": 4, "text": 0}
        seen = mask(gym.sta2d, 16, None, params)[::4, ::4]
        self.assertEqual(seen.astype(int).tolist(), [[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]])

    def test_sta3d(self):
        params = {"CT": 3, "CH": 2, "CW": 3, "KT": 3, "KH": 1, "KW": 3, "N": 8, "text": 0}
        self.assertTrue((mask(gym.sta3d, 144, None, params).sum(1) == 9 * 8).all())

    def test_svg(self):
        params = {"prompt": 3, "tpf": 10, "width": 1.5, "round": 4, "F": 4}
        seen = mask(gym.svg_spatial, 43, None, params)           # floor(15 / 4) * 4 = 12, excluded
        self.assertEqual(np.flatnonzero(seen[20]).tolist(), [0, 1, 2, *range(9, 32)])
        self.assertTrue(seen[:3].all() and (seen == seen.T).all())
        self.assertTrue(mask(gym.svg_spatial_sink, 43, None, params)[:, :13].all())
        params["width"] = 1                                      # 1 * 10 // 4 = 2, excluded
        seen = mask(gym.svg_temporal, 43, None, params)
        self.assertEqual(np.flatnonzero(seen[3 + 14]).tolist(),
                         [0, 1, 2] + [3 + 10 * f + i for f in range(4) for i in (3, 4, 5)])

    def test_vsa(self):
        tables = {"topk": table([[[0, 2, 1], [1, 2, 0], [0, 1, 2]]]), "sizes": table(4, 3, 1),
                  "map": table([[[1, 0, 1], [0, 1, 1], [1, 1, 0]]])}
        tables = {name: t[None] if t.ndim == 3 else t for name, t in tables.items()}
        seen = mask(gym.vsa, 12, None, {"T": 4, "top": 2}, tables)
        self.assertEqual(np.flatnonzero(seen[0]).tolist(), [0, 1, 2, 3, 8])
        self.assertEqual(np.flatnonzero(seen[7]).tolist(), [4, 5, 6, 8])
        self.assertTrue((mask(gym.vsa_block_map, 12, None, {"T": 4}, tables) == seen).all())

    def test_scores(self):
        at = (0, 1, 3, 5)
        near = lambda a, b: self.assertAlmostEqual(a, b, places=12)
        near(score(gym.alibi, 1, at, 8, heads=4), 1 + 2 * 2 ** -4)
        near(score(gym.softcap, 3, at, 8, params={"cap": 2}, heads=2), 2 * math.tanh(1.5))
        near(score(gym.sandwich, 1, (0, 1, 3, 3), 8, heads=4), 1 + 64 * 4 / 16)
        near(score(gym.sandwich, 0, at, 8, heads=2) / (2 / 16),
             sum(math.cos(2 / 10000 ** (i / 64)) for i in range(64)))
        distance = np.zeros((1, 8, 8), dtype=int)
        distance[0, 3, 5] = 2
        bias = np.arange(6.0).reshape(2, 3)
        near(score(gym.graphormer_spatial, 1, at, 8, tables={"bias": bias, "distance": distance}, heads=2), 6)
        length, kind = np.zeros((1, 8, 8), dtype=int), np.zeros((1, 8, 8, 3), dtype=int)
        length[0, 3, 5], kind[0, 3, 5] = 2, (1, 0, 1)
        edge = np.arange(12.0).reshape(2, 3, 2)     # head 1: (6, 7), (8, 9), (10, 11)
        tables = {"edge": edge, "type": kind, "length": length}
        near(score(gym.graphormer_edge, 1, at, 8, tables=tables, heads=2), 1 + (7 + 8) / 2)
        near(score(gym.graphormer_edge, 1, (0, 1, 2, 5), 8, tables=tables, heads=2), 1)
        near(score(gym.activation_sigmoid, 0, at, 8, params={"N": 1}, heads=2), math.log(1.5))
        near(score(gym.activation_relu, -3, at, 8, params={"N": 2}, heads=2), math.log(2))
        near(score(gym.activation_gelu, 1, at, 8, params={"N": 1}, heads=2), math.log(1.8413447460685429))
        tables = {"q_rope": np.ones((1, 2, 8, 3)), "k_rope": np.full((1, 2, 8, 3), 2.0)}
        tables["k_rope"][:, 1] = 100                # never read: key head 0 serves all
        near(score(gym.mla_rope, 1, at, 8, params={"scaling": 0.5}, tables=tables, heads=2), 1 + 0.5 * 6)

    def test_activation_recovers_its_function(self):
        rng = np.random.default_rng(1)
        s, v, n = rng.normal(size=(1, 1, 2, 5)), rng.normal(size=(5, 3)), 1.0
        logits = gym.activation_relu(shape(2, 5), {"N": n}, {})["score"](s)[0, 0]
        weight = np.exp(logits)
        output, lse = weight / weight.sum(1, keepdims=True) @ v, np.log(weight.sum(1, keepdims=True))
        self.assertTrue(np.allclose(output * np.exp(lse) - n * v.sum(0), np.maximum(s[0, 0], 0) @ v))
