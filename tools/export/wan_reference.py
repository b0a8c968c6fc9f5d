"""The causal procedure restated in PyTorch around diffusers' own Wan 2.1 transformer.

The network is diffusers' code; only its self-attention gets a processor that keeps keys and
values, and its rotation the numbers of the frames. The cache is a list of blocks in time
order that drops the oldest one behind the sink: no slots, no ring, nothing shared with the
runtime but the noise.
"""
import pathlib
import sys
from dataclasses import dataclass, field

import diffusers
import numpy as np
import torch
from diffusers import WanTransformer3DModel

from wan_config import TIMESTEPS, VOCABULARY
from wan_weights import shapes

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo-model"))
import noise  # noqa: E402


@dataclass
class Rules:
    """What may be broken, one at a time, to see that a comparison would notice."""
    sink: bool = True              # the first block is never dropped
    evict: int = 0                 # which block behind the sink goes, from the oldest
    clean: bool = True             # the clean pass leaves the block's keys and values
    swap: bool = False             # two blocks of the window exchange their values
    absolute: bool = True          # frames are rotated by their numbers, not their ranks
    time_origin: int = 0           # added to the numbers of queries' frames
    exchange_axes: bool = False    # rows are rotated as columns
    recache: bool = True           # a prompt change computes the window anew
    keep_sink: bool = True         # and leaves the sink as it is


BROKEN = {
    "no sink: the oldest block goes": Rules(sink=False),
    "slot: the second oldest block of the window goes": Rules(evict=1),
    "slot: the noisy pass's keys and values stay": Rules(clean=False),
    "slot: two blocks' values exchanged": Rules(swap=True),
    "rope: rank instead of number": Rules(absolute=False),
    "rope: queries one frame late": Rules(time_origin=1),
    "rope: rows and columns exchanged": Rules(exchange_axes=True),
    "recache left out": Rules(recache=False),
    "recache: the sink computed anew": Rules(keep_sink=False),
}


@dataclass
class Block:
    frame: int                                   # number of its first frame
    latents: torch.Tensor = None
    keys: list = field(default_factory=list)     # per layer [1, tokens, heads, D]
    values: list = field(default_factory=list)


class SelfAttention:
    """A processor of diffusers' WanAttention: attends all kept blocks up to the current one."""

    def __init__(self, stream, layer):
        self.stream, self.layer = stream, layer

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None,
                 rotary_emb=None):
        split = lambda x: x.unflatten(2, (attn.heads, -1))
        q = split(attn.norm_q(attn.to_q(hidden_states)))
        k = split(attn.norm_k(attn.to_k(hidden_states)))
        v = split(attn.to_v(hidden_states))
        keys, values = self.stream.keep(self.layer, rotate(k, self.stream.angles()), v)
        q = rotate(q, self.stream.angles(query=True))
        q, keys, values = (x.transpose(1, 2) for x in (q, keys, values))
        if self.stream.selectivity is not None:
            self.stream.measure(q, keys)
        out = torch.nn.functional.scaled_dot_product_attention(q, keys, values)
        return attn.to_out[0](out.transpose(1, 2).flatten(2, 3))


def version():
    return diffusers.__version__


def rotate(x, angles):
    """Interleaved pairs [.., 2 i], [.., 2 i + 1] by angles [tokens, pairs], in f32."""
    cos, sin = (f(angles).float()[None, :, None] for f in (torch.cos, torch.sin))
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


def load_model(config, tensors):
    """diffusers' model of these sizes with these tensors, each of which it must know."""
    model = WanTransformer3DModel(
        patch_size=(1, config.patch, config.patch), num_attention_heads=config.heads,
        attention_head_dim=config.head_dim, in_channels=config.channels,
        out_channels=config.channels, text_dim=config.text_dim, freq_dim=config.freq_dim,
        ffn_dim=config.ffn, num_layers=config.layers, rope_max_seq_len=config.most_frames)
    state = {name: torch.from_numpy(np.ascontiguousarray(tensors[name]))
             for name in shapes(config)}
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval()


class Stream:
    """One stream of blocks."""

    def __init__(self, model, config, words, seed, rules=Rules()):
        self.model, self.config, self.seed, self.rules = model, config, seed, rules
        self.words = torch.from_numpy(np.ascontiguousarray(words))
        self.kept, self.current, self.number, self.prompt = [], None, 0, None
        self.selectivity = None            # a list: effective keys by share are appended
        self.predictions = []              # of the last block, in order
        for layer, block in enumerate(model.blocks):
            block.attn1.set_processor(SelfAttention(self, layer))
        model.rope.forward = lambda hidden_states: None

    # ---- the cache -----------------------------------------------------------------------
    @property
    def sinks(self):
        return self.config.sink // self.config.frames if self.rules.sink else 0

    def admit(self):
        most = (self.config.sink + self.config.window) // self.config.frames
        if len(self.kept) == most:
            del self.kept[self.sinks + self.rules.evict]
        block = Block(self.number * self.config.frames)
        block.keys, block.values = [None] * self.config.layers, [None] * self.config.layers
        self.kept.append(block)
        return block

    def keep(self, layer, keys, values):
        """Store the current block's; return all that it sees, in time order."""
        self.current.keys[layer], self.current.values[layer] = keys, values
        seen = self.kept[:self.kept.index(self.current) + 1]
        keys = [b.keys[layer] for b in seen]
        values = [b.values[layer] for b in seen]
        if self.rules.swap and len(seen) == 4:
            values[1], values[2] = values[2], values[1]
        return torch.cat(keys, 1), torch.cat(values, 1)

    def angles(self, query=False):
        """Of the current block's tokens [tokens, D / 2], in f64."""
        c, (rows, columns) = self.config, self.config.grid
        first = self.current.frame
        if not self.rules.absolute:
            first = self.kept.index(self.current) * c.frames
        if query:
            first += self.rules.time_origin
        place = torch.stack(torch.meshgrid(torch.arange(first, first + c.frames),
                                           torch.arange(rows), torch.arange(columns),
                                           indexing="ij"), -1).reshape(-1, 3).double()
        if self.rules.exchange_axes:
            place = place[:, [0, 2, 1]]
        parts = []
        for axis, dims in enumerate(c.rope_dims):
            frequency = c.theta ** -(torch.arange(0, dims, 2).double() / dims)
            parts.append(place[:, axis, None] * frequency)
        return torch.cat(parts, 1)

    def measure(self, q, keys):
        """Effective keys of each row, exp of the entropy, over the keys it sees."""
        p = (q @ keys.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(-1)
        entropy = -(p * p.clamp_min(1e-30).log()).sum(-1)
        self.selectivity.append((entropy.exp() / keys.shape[2]).flatten())

    # ---- passes --------------------------------------------------------------------------
    def text(self):
        c = self.config
        ids = [VOCABULARY.index(word) for word in self.prompt.split()]
        pads = torch.zeros(c.text_tokens - len(ids), c.text_dim)
        return torch.cat([self.words[ids], pads])[None]

    @staticmethod
    @torch.no_grad()
    def forward(model, sample, level, text):
        """Sample and flow are [F, C, H, W]."""
        time = torch.tensor([level], dtype=torch.float32) * 1000
        flow = model(sample.transpose(0, 1)[None], time, text, return_dict=False)[0]
        return flow[0].transpose(0, 1)

    def run(self, block, sample, level):
        self.current = block
        return self.forward(self.model, sample, level, self.text())

    def recache(self):
        """Compute the window's blocks anew, oldest first, each seeing those before it."""
        window = self.config.window // self.config.frames
        all_blocks, self.kept = self.kept, []
        sinks, rest = all_blocks[:self.sinks], all_blocks[self.sinks:]
        # Sinks that are among the newest blocks are computed anew with them.
        among = sinks if len(all_blocks) <= window or not self.rules.keep_sink else []
        for block in sinks + rest[-window:]:
            self.kept.append(block)
            if block not in sinks or any(block is b for b in among):
                yield block

    def draw(self, step):
        c = self.config
        shape = (c.frames, c.channels, c.height, c.width)
        values = noise.normal(int(np.prod(shape)), self.seed, self.number, step)
        return torch.from_numpy(values.reshape(shape))

    def next_block(self, prompt, given=None):
        """Clean latents [F, C, H, W] of the next block. `given`: samples to run on, one for each
        pass, in place of those that this stream would make."""
        given = iter(given or [])
        take = lambda own: next(given, own)
        self.predictions = []
        changed, self.prompt = self.prompt not in (None, prompt), prompt
        if changed and self.kept and self.rules.recache:
            for block in self.recache():
                self.run(block, take(block.latents), 0.0)
        block = self.admit()
        x = self.draw(0)
        for step, level in enumerate(TIMESTEPS):
            x = take(x)
            level = np.float32(level)
            flow = self.run(block, x, level)
            self.predictions.append(flow)
            clean = x - level * flow
            if step + 1 < len(TIMESTEPS):
                after = np.float32(TIMESTEPS[step + 1])
                x = (1 - after) * clean + after * self.draw(step + 1)
        block.latents = take(clean)
        if self.rules.clean:
            self.run(block, block.latents, 0.0)
        self.number += 1
        return clean
