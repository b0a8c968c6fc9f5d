"""What is compared: each case as a spec for us, and as a mask and a score of
positions for the others. The functions take NumPy arrays and torch tensors alike,
with `x` the module they come from."""
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Case:
    name: str
    q: int
    kv: int
    heads: int
    dim: int
    kv_heads: int = 0
    body: str = "mask all"  # what the spec says beside shapes
    space: str = "space tok(i: stream)"
    axes: str = "tok"
    mask: object = None  # (x, h, q, k) -> admitted
    score: object = None  # (x, s, h, q, k) -> s
    params: dict = field(default_factory=dict)
    tables: dict = field(default_factory=dict)
    causal: bool = False  # the mask is what others call is_causal

    def __post_init__(self):
        self.kv_heads = self.kv_heads or self.heads

    @property
    def offset(self):
        """Position of the first query: the queries are the newest keys."""
        return self.kv - self.q

    def spec(self):
        heads = f"heads {self.heads}" + (f" kv {self.kv_heads}" if self.kv_heads != self.heads
                                         else "")
        return (f"attention bench {{\n  {self.space}\n  query {self.axes}\n  keys {self.axes}\n"
                f"  {heads} dim {self.dim}\n  {self.body}\n}}\n")


def causal(x, h, q, k):
    return k <= q


def sink_window(x, h, q, k):
    return (k <= q) & ((k < 4) | (q - k < 256))


def neighbourhood(*axes):
    """Of axes (extent, window), the last the fastest."""

    def mask(x, h, q, k):
        inside = q >= 0
        for extent, window in reversed(axes):
            back, ahead = window // 2, window - 1 - window // 2
            centre = x.clip(q % extent, back, extent - 1 - ahead)
            inside = inside & (centre - back <= k % extent) & (k % extent <= centre + ahead)
            q, k = q // extent, k // extent
        return inside

    return mask


def radial(frames, tokens, decay=0.2, block=128):
    """Radial attention's token rule, its bands looked up by distance in frames."""
    bits = [int(n).bit_length() for n in range(frames + 1)]
    width, every = [], []
    for d in range(frames):
        shift = int(tokens).bit_length() - bits[d]
        w = 1 << shift if shift >= 0 else 0
        every.append(1 if w >= block else max(block // max(w, 1), 1))
        width.append(tokens if d <= 1 else int(max(w * decay, block)))
    width, every = np.array(width, np.int64), np.array(every, np.int64)

    def mask(x, h, q, k):
        reach, step = x.asarray(width), x.asarray(every)
        d = abs(q // tokens - k // tokens)
        near = abs(q % tokens - k % tokens) <= reach[d]
        return (k < tokens) | (near & (d % step[d] == 0))

    return mask


def documents(length, seed=7):
    dice = np.random.default_rng(seed)
    ends = np.sort(dice.choice(np.arange(1, length), 7, replace=False))
    return np.searchsorted(ends, np.arange(length), side="right").astype(np.int32)


def starts_of(docs):
    """Of each token the first position of its document."""
    return np.searchsorted(docs, docs, side="left").astype(np.int32)


def alibi(x, s, h, q, k):
    return s - (q - k) * 2.0 ** (-8.0 * (h + 1) / 8)


def softcap(x, s, h, q, k):
    return 30.0 * x.tanh(s / 30.0)


def video(t, h, w):
    return {"space": f"space video(t: {t}, y: {h}, x: {w})", "axes": "video"}


def all_cases():
    docs = documents(8192)
    cases = [
        Case("dense 1k d64", 1024, 1024, 8, 64),
        Case("dense 4k d64", 4096, 4096, 4, 64),
        Case("dense 4k d128", 4096, 4096, 4, 128),
        Case("dense 16k d128", 4096, 16384, 2, 128),
        Case("causal 4k d64", 4096, 4096, 4, 64, body="mask causal(i)", mask=causal, causal=True),
        Case("causal 8k d128", 8192, 8192, 2, 128, body="mask causal(i)", mask=causal,
             causal=True),
        Case("LongLive block d128", 4680, 18720, 2, 128),
        Case("sink 4 + window 256, 8k d64", 8192, 8192, 4, 64,
             body="mask causal(i) and (sink(i, 4) or window(i, 256))", mask=sink_window),
        Case("natten 5x7x7 of 12x24x24 d64", 6912, 6912, 4, 64, **video(12, 24, 24),
             body="mask neighborhood(t: 5, y: 7, x: 7, edge clamp)",
             mask=neighbourhood((12, 5), (24, 7), (24, 7))),
        Case("radial 8 frames of 1024 d64", 8192, 8192, 4, 64, axes="video",
             space="space video(t: 8, i: 1024)", body="mask k.t == 0 or radial(t, i, 1024)",
             mask=radial(8, 1024)),
        Case("documents, 8k d64", 8192, 8192, 4, 64,
             space="space tok(doc: packed, i: ragged <= 65536)",
             body="mask same(doc) and causal(i)",
             tables={"tok_doc": docs, "tok_start": starts_of(docs)},
             mask=lambda x, h, q, k: (x.asarray(docs)[q] == x.asarray(docs)[k]) & (k <= q)),
        Case("softcap causal 4k d64", 4096, 4096, 4, 64,
             body="mask causal(i)\n  score softcap(s, 30)", mask=causal, score=softcap),
        Case("alibi causal 4k d64", 4096, 4096, 8, 64,
             body="mask causal(i)\n  score s + alibi(i)", mask=causal, score=alibi),
    ]
    cases += [Case(f"decode {kv // 1024}k, 32 heads over 8 d128", 1, kv, 32, 128, kv_heads=8,
                   body="mask causal(i)", mask=causal) for kv in (1024, 4096, 16384, 65536)]
    return cases
