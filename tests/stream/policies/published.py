"""Cache policies of published streaming models, restated in NumPy, float64.

Each policy is a generator of calls, one attention call of one layer each. It holds
keys and values the way its paper's procedure does, in arrays that are shifted and
copied, and knows nothing of the specs or the runtime. What a call sees is recorded key
by key: (frame, token within the frame, number of the call that computed it, frame
number by which it was rotated).

Keys, queries and values are random: what a layer would have computed does not matter
to which of them attend each other.
"""
import dataclasses

import numpy as np

DIM, ROPE_T = 64, 44  # of a head; dims rotated by the frame number, the rest by the token's


@dataclasses.dataclass
class Call:
    """One attention call: what it is given, and what must come of it."""
    kind: str             # which of the policy's kernels
    event: str            # block, prompt, rebuild, discard
    first: int            # block
    count: int            # blocks
    keep: bool            # the keys stay
    given: dict           # block: (q, k, v) raw, of each block that the procedure may run
    run: list = None      # blocks of which keys are kept or rows are used
    keys: np.ndarray = None   # (n, 4), see above
    mask: np.ndarray = None   # (heads, rows, n)
    out: np.ndarray = None    # (heads, rows, DIM)
    lane: int = 0


def rotate(x, frames, tokens):
    """Interleaved rotation of (heads, n, DIM) by frame and token numbers."""
    out = np.empty_like(x)
    for first, dims, position in ((0, ROPE_T, frames), (ROPE_T, DIM - ROPE_T, tokens)):
        angle = np.asarray(position, float)[:, None] * 10000.0 ** (-np.arange(0, dims, 2) / dims)
        c, s = np.cos(angle), np.sin(angle)
        a, b = x[..., first:first + dims:2], x[..., first + 1:first + dims:2]
        out[..., first:first + dims:2] = a * c - b * s
        out[..., first + 1:first + dims:2] = a * s + b * c
    return out


def attention(q, k, v, mask):
    s = np.where(mask, q @ k.swapaxes(-1, -2) / np.sqrt(DIM), -np.inf)
    top = s.max(-1, keepdims=True)
    p = np.exp(s - np.where(np.isfinite(top), top, 0))
    total = p.sum(-1, keepdims=True)
    return p @ v / np.where(total > 0, total, 1)


class Source:
    """Random q, k, v of blocks: float32 values, so that the runtime gets the same."""

    def __init__(self, seed, heads, frames, tokens):
        self.random = np.random.default_rng(seed)
        self.heads, self.frames, self.tokens, self.calls = heads, frames, tokens, -1

    def call(self, blocks):
        self.calls += 1
        rows = self.frames * self.tokens
        return {b: self.random.standard_normal((3, self.heads, rows, DIM)).astype(np.float32) for b in blocks}

    def ids(self, block):
        """(rows, 4) of a block's rows, rotated by their own frames."""
        frame = np.repeat(block * self.frames + np.arange(self.frames), self.tokens)
        token = np.tile(np.arange(self.tokens), self.frames)
        return np.stack([frame, token, np.full_like(frame, self.calls), frame], -1)

    def gather(self, given, blocks):
        """q, k, v and ids of several blocks, in a row."""
        q, k, v = (np.concatenate([given[b][i].astype(float) for b in blocks], 1) for i in range(3))
        return q, k, v, np.concatenate([self.ids(b) for b in blocks])


class Rows:
    """Keys, values and ids in an array of slots."""

    def __init__(self, heads, slots):
        self.k, self.v = np.zeros((heads, slots, DIM)), np.zeros((heads, slots, DIM))
        self.ids = np.full((slots, 4), -1)

    def write(self, at, k, v, ids):
        end = at + len(ids)
        self.k[:, at:end], self.v[:, at:end], self.ids[at:end] = k, v, ids

    def shift(self, to, begin, end):
        n = end - begin
        self.write(to, self.k[:, begin:end].copy(), self.v[:, begin:end].copy(), self.ids[begin:end].copy())
        return to + n

    def read(self, begin, end):
        return self.k[:, begin:end], self.v[:, begin:end], self.ids[begin:end]


def see(call, q, q_frames, q_tokens, parts, mask=None):
    """Finishes a call: rotated queries against the concatenation of parts (k, v, ids)."""
    k = np.concatenate([p[0] for p in parts], 1)
    v = np.concatenate([p[1] for p in parts], 1)
    call.keys = np.concatenate([p[2] for p in parts])
    if mask is None:
        mask = np.ones((q.shape[0], q.shape[1], k.shape[1]), bool)
    call.mask = mask
    call.out = attention(rotate(q, q_frames, q_tokens), k, v, mask)
    return call


def roped(k, ids):
    return rotate(k, ids[:, 3], ids[:, 1])


def longlive(source, blocks, switches, sink=3, window=12, passes=5, infinity=False, global_sink=True):
    """LongLive 1.0: 3 frames a block, a window of 12 frames of which 3 are the sink.

    The base variant caches keys rotated by their frame numbers. The infinity variant
    caches raw keys and rotates all of them by their places at every call, queries too.
    Recache recomputes the last 12 frames from their clean latents in one call at t=0.
    """
    F, T = source.frames, source.tokens
    cache, end = Rows(source.heads, window * T), 0  # end: slots in use

    def finish(call, q, ids):
        frames = ids[:, 0]
        k, v, held = (x.copy() for x in cache.read(0, end))
        if infinity:
            held[:, 3] = np.arange(end) // T
            k = roped(k, held)
            frames = np.arange(end - len(ids), end) // T
        return see(call, q, frames, ids[:, 1], [(k, v, held)])

    def store(k, ids):
        return k if infinity else roped(k, ids)

    for block in range(blocks):
        n = block * F
        if block in switches and n:
            m = min(window, n)
            first = (n - m) // F
            again = list(range(first, block))
            call = Call("prompt", "prompt", first, len(again), True, source.call(again))
            q, k, v, ids = source.gather(call.given, again)
            if n > window and global_sink:
                # Sinks keep the old prompt's keys; only the slots behind them are written, so that
                # the first frames' keys and values go nowhere.
                skip = sink * T
                cache.write(skip, store(k, ids)[:, skip:], v[:, skip:], ids[skip:])
                call.run = again[sink // F:]
                yield finish(call, q[:, skip:], ids[skip:])
            else:
                end = m * T
                cache.write(0, store(k, ids), v, ids)
                call.run = again
                yield finish(call, q, ids)
        for p in range(passes):
            call = Call("block", "block", block, 1, True, source.call([block]), [block])
            q, k, v, ids = source.gather(call.given, [block])
            if p == 0:
                if end + F * T > window * T:  # keep the sink, drop the oldest frames behind it
                    end = cache.shift(sink * T, sink * T + F * T, end)
                end += F * T
            cache.write(end - F * T, store(k, ids), v, ids)
            yield finish(call, q, ids)


def self_forcing(source, blocks, window=21, passes=5):
    """Self-Forcing: the newest 21 frames, keys rotated by frame numbers before caching."""
    F, T = source.frames, source.tokens
    cache, end = Rows(source.heads, window * T), 0
    for block in range(blocks):
        for p in range(passes):
            call = Call("block", "block", block, 1, True, source.call([block]), [block])
            q, k, v, ids = source.gather(call.given, [block])
            if p == 0:
                if end + F * T > window * T:
                    end = cache.shift(0, F * T, end)
                end += F * T
            cache.write(end - F * T, roped(k, ids), v, ids)
            yield see(call, q, ids[:, 0], ids[:, 1], [cache.read(0, end)])


def rolling_forcing(source, ticks, window=5, sink=3, past=3, reach=21):
    """Rolling Forcing: each tick denoises a window of 15 frames one step, all of which see
    each other, up to 3 clean frames before them and the 3 sink frames. The window's cleanest
    block is then done: a pass at t=0 over it leaves its keys. Sink keys are kept raw and
    rotated so that they lie just before what else is seen.
    """
    F, T = source.frames, source.tokens
    raw_sink, clean = None, Rows(source.heads, 0)  # clean: all clean rows behind the sink's block

    def clean_rows(first, last):
        """Clean rows of the frames first..last behind the sink."""
        pick = (clean.ids[:, 0] >= first) & (clean.ids[:, 0] <= last)
        return clean.k[:, pick], clean.v[:, pick], clean.ids[pick]

    def sink_rows(frame):
        k, v, ids = raw_sink
        ids = ids.copy()
        ids[:, 3] = frame + ids[:, 0]
        return roped(k, ids), v, ids

    for tick in range(ticks):
        start, last = max(0, tick - window + 1), tick
        now = list(range(start, last + 1))
        n = start * F
        call = Call("denoise", "block", start, len(now), False, source.call(now), now)
        q, k, v, ids = source.gather(call.given, now)
        parts = [(roped(k, ids), v, ids)]
        if start > 0:
            before = clean_rows(max(n - past, sink), n - 1)
            working = before[2][0, 0] if len(before[2]) else n  # the first frame that is not a sink's
            parts = [sink_rows(working - sink), before] + parts
        yield see(call, q, ids[:, 0], ids[:, 1], parts)
        if tick < window - 1:
            continue
        call = Call("clean", "block", start, 1, True, source.call([start]), [start])
        q, k, v, ids = source.gather(call.given, [start])
        if start == 0:
            raw_sink = (k, v, ids)
            yield see(call, q, ids[:, 0], ids[:, 1], [sink_rows(0)])
            continue
        clean.k = np.concatenate([clean.k, roped(k, ids)], 1)
        clean.v, clean.ids = np.concatenate([clean.v, v], 1), np.concatenate([clean.ids, ids])
        first = n + F - reach
        parts = [clean_rows(first, n + F - 1)]
        if first <= 0:
            parts = [sink_rows(0)] + parts
        yield see(call, q, ids[:, 0], ids[:, 1], parts)


def stream_diffusion(source, ticks, steps=4, sink=3, window=6):
    """StreamDiffusionV2: a frame enters each tick, and the frames in flight, each at another
    step, are the batch. Every step has a cache of its own: 3 sink frames and the newest 3.
    """
    T = source.tokens
    lanes = [(Rows(source.heads, window * T), 0) for _ in range(steps)]
    for tick in range(ticks):
        given = source.call([tick - lane for lane in range(steps) if lane <= tick])
        for lane in range(min(steps, tick + 1)):
            frame = tick - lane
            cache, end = lanes[lane]
            call = Call("block", "lanes", tick, 1, True, given, [frame], lane=lane)
            q, k, v, ids = source.gather(given, [frame])
            if end == window * T:
                end = cache.shift(sink * T, (sink + 1) * T, end)
            cache.write(end, roped(k, ids), v, ids)
            end += T
            lanes[lane] = (cache, end)
            k, v, held = cache.read(0, end)
            yield see(call, q, ids[:, 0], ids[:, 1], [(k.copy(), v.copy(), held.copy())])


def next_frame_diffusion(source, frames, context=64, guess=4):
    """Next-Frame Diffusion: a frame sees all frames up to itself that are kept. Some frames ahead
    are made in one call, as if the action stayed; those after the first other action are discarded.
    """
    held, n = [], 0  # held: (k, v, ids) of frames
    while n < frames:
        ahead = list(range(n, n + guess))
        call = Call("block", "block", n, guess, True, source.call(ahead), ahead)
        q, _, _, ids = source.gather(call.given, ahead)
        for frame in ahead:
            _, k, v, own = source.gather(call.given, [frame])
            held.append((roped(k, own), v, own))
        keys = np.concatenate([h[2] for h in held])[:, 0]
        mask = (keys <= ids[:, :1]) & (keys > ids[:, :1] - context)
        yield see(call, q, ids[:, 0], ids[:, 1], held, np.broadcast_to(mask, (source.heads, *mask.shape)))
        good = int(source.random.integers(1, guess + 1))
        if good < guess:
            held = held[:good - guess]
            yield Call("discard", "discard", n + good, guess - good, False, {})
        n += good
        held = held[-context:]


def rain(source, ticks, groups=4):
    """RAIN: 16 frames in 4 groups, a step of noise apart; a tick denoises all by one step, gives the
    first group away and takes a new one. A token sees its own place in all of them; nothing is
    cached or rotated.
    """
    window = []
    for tick in range(ticks):
        window = (window + [tick])[-groups:]
        call = Call("denoise", "block", window[0], len(window), False, source.call(window), list(window))
        q, k, v, ids = source.gather(call.given, window)
        call.keys = ids
        mask = ids[:, None, 1] == ids[None, :, 1]
        call.mask = np.broadcast_to(mask, (source.heads, *mask.shape))
        call.out = attention(q, k, v, call.mask)
        yield call


def krea(source, blocks, context=3, passes=4):
    """Krea Realtime: before each block the cache is emptied and built anew from the newest 3 clean
    frames at t=0, block-causal; the block then sees these and itself.
    """
    F, T = source.frames, source.tokens
    for block in range(blocks):
        cache, end = Rows(source.heads, (context + F) * T), 0
        if block:
            again = list(range(block - context // F, block))
            call = Call("rebuild", "rebuild", again[0], len(again), True, source.call(again), again)
            q, k, v, ids = source.gather(call.given, again)
            end = len(ids)
            cache.write(0, roped(k, ids), v, ids)
            mask = ids[None, :, 0] // F <= ids[:, None, 0] // F
            k, v, held = (x.copy() for x in cache.read(0, end))
            yield see(call, q, ids[:, 0], ids[:, 1], [(k, v, held)], np.broadcast_to(mask, (source.heads, *mask.shape)))
        for p in range(passes):
            call = Call("block", "block", block, 1, True, source.call([block]), [block])
            q, k, v, ids = source.gather(call.given, [block])
            cache.write(end, roped(k, ids), v, ids)
            k, v, held = (x.copy() for x in cache.read(0, end + len(ids)))
            yield see(call, q, ids[:, 0], ids[:, 1], [(k, v, held)])


def moa(source, prompt, decode, spans, block=64):
    """MoA: every head keeps the first 64 tokens and the newest of a span of its own; the prompt is
    attended in blocks of 64, later tokens one by one.
    """
    ids_of, k_of, v_of = [], [], []
    for first, count in [(0, prompt)] + [(prompt + i, 1) for i in range(decode)]:
        now = list(range(first, first + count))
        call = Call("prefill" if first == 0 else "block", "block", first, count, True, source.call(now), now)
        q, k, v, ids = source.gather(call.given, now)
        ids_of.append(ids), k_of.append(roped(k, ids)), v_of.append(v)
        keys = np.concatenate(ids_of)
        mask = np.zeros((source.heads, count, len(keys)), bool)
        for head, span in enumerate(spans):
            for row, i in enumerate(now):
                if first == 0:  # whole blocks: the first, and span / 64 - 1 up to the own one
                    newest = (i // block - (span // block - 2)) * block
                else:
                    newest = i - (span - block) + 1
                j = keys[:, 0]
                mask[head, row] = (j <= i) & ((j < block) | (j >= newest))
        yield see(call, q, ids[:, 0], ids[:, 1], [(np.concatenate(k_of, 1), np.concatenate(v_of, 1), keys)], mask)


def streaming_vlm(source, seconds, sink=512, window=512, chunks=16, chunk=12, most_text=8):
    """StreamingVLM: a chunk of vision tokens each second, and some text tokens after it. Of text the
    first 512 and the newest 512 stay, the next one counted; of vision the newest 16 chunks. Either is
    pruned when more of it comes. Keys are kept raw, and all that is left is rotated by contiguous
    places. One frame is one token here.
    """
    raw = []  # (kind, number within the kind, k, v, ids), in the order of arrival
    seen = {"text": 0, "vision": 0}

    def left(row, kind, first):
        if row[0] != kind or kind == "text" and row[1] < sink:
            return True
        if kind == "text":
            return row[1] > first - window
        return row[1] // chunk > first // chunk - chunks

    token = 0
    for second in range(seconds):
        text = int(source.random.integers(1, 3 * most_text + 1))
        pieces = [("vision", chunk)] + [("text", min(most_text, text - i)) for i in range(0, text, most_text)]
        for kind, count in pieces:
            now = list(range(token, token + count))
            call = Call(kind, "kind", ["text", "vision"].index(kind), count, True, source.call(now), now)
            q, k, v, ids = source.gather(call.given, now)
            first = seen[kind]
            raw = [row for row in raw if left(row, kind, first)]
            for i in range(count):
                raw.append((kind, first + i, k[:, i:i + 1], v[:, i:i + 1], ids[i:i + 1]))
            seen[kind] += count
            token += count
            keys = np.concatenate([row[4] for row in raw])
            keys[:, 3] = np.arange(len(keys))
            places = keys[-count:, 3]
            mask = np.arange(len(keys)) <= places[:, None]
            yield see(call, q, places, ids[:, 1], [(roped(np.concatenate([row[2] for row in raw], 1), keys),
                                                   np.concatenate([row[3] for row in raw], 1), keys)],
                      np.broadcast_to(mask, (source.heads, *mask.shape)))
