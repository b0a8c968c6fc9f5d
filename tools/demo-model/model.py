"""The network: a frame-causal diffusion transformer, a miniature of LongLive's.

`forward` is the training form: context frames and noisy frames side by side, each
frame seeing the earlier context and itself. The streaming form with its cache is
the ONNX graph that export.py writes from the same weights.
"""
import math
from dataclasses import dataclass

import torch
from torch import nn
import torch.nn.functional as F


@dataclass
class Shape:
    """Sizes of the network."""
    size: int = 48
    patch: int = 8
    dim: int = 192
    heads: int = 3
    layers: int = 5
    words: int = 14     # the word after the last one means "not told" and is not exported
    slots: int = 9
    theta: float = 100.0

    @property
    def grid(self):
        return self.size // self.patch

    @property
    def tokens(self):
        return self.grid ** 2

    @property
    def patch_dim(self):
        return 3 * self.patch ** 2


def rope_tables(slots, grid, head_dim, theta):
    """cos and sin [slots * tokens, head_dim / 2] of 3-D positions (time, y, x)."""
    time_pairs = head_dim // 8
    space_pairs = (head_dim // 2 - time_pairs) // 2
    token = torch.arange(slots * grid * grid)
    axes = [(token // (grid * grid), time_pairs), (token // grid % grid, space_pairs),
            (token % grid, space_pairs)]
    angles = [position[:, None].double() * theta ** (-torch.arange(pairs).double() / pairs)
              for position, pairs in axes]
    angle = torch.cat(angles, 1)
    return angle.cos().float(), angle.sin().float()


def patchify(frames, patch):
    """[..., 3, H, W] -> [..., tokens, 3 * patch * patch]."""
    *lead, c, h, w = frames.shape
    x = frames.reshape(-1, c, h // patch, patch, w // patch, patch)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(*lead, -1, c * patch * patch)


def unpatchify(tokens, patch, size):
    """The inverse of patchify."""
    *lead, _, _ = tokens.shape
    grid = size // patch
    x = tokens.reshape(-1, grid, grid, 3, patch, patch)
    return x.permute(0, 3, 1, 4, 2, 5).reshape(*lead, 3, size, size)


def rotate(x, cos, sin):
    """Rotate the pairs (i, i + D / 2) of x [..., D] by the angles of cos, sin [..., D / 2]."""
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


def gelu(x):
    """GELU in its tanh form, written with a sigmoid because that is faster here."""
    x = x.float()
    return x * torch.sigmoid(1.5957691216 * x * (1 + 0.044715 * x * x))


def rms_norm(x, weight):
    x = x.float()
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * weight


class Block(nn.Module):
    """Self-attention, cross-attention to the prompt's words, and an MLP."""

    def __init__(self, shape):
        super().__init__()
        dim, head = shape.dim, shape.dim // shape.heads
        self.heads = shape.heads
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.q_norm, self.k_norm = nn.Parameter(torch.ones(head)), nn.Parameter(torch.ones(head))
        self.cross_norm = nn.LayerNorm(dim, eps=1e-6)
        self.cross_q, self.cross_k, self.cross_v, self.cross_o = (
            nn.Linear(dim, dim) for _ in range(4))
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.modulation = nn.Parameter(torch.randn(6, dim) / dim ** 0.5)
        nn.init.zeros_(self.cross_o.weight)

    def split(self, x):
        """[B, ..., d] -> [B, heads, N, D]."""
        return x.reshape(x.shape[0], -1, self.heads, x.shape[-1] // self.heads).transpose(1, 2)

    def attend(self, y, cos, sin, visible):
        """Each frame of y [B, Fr, n, d] sees the context tokens that `visible`
        [B, 1, Fr n, C n] marks with 1, and itself. The RMS norms bound the scores,
        so the softmax needs no maximum."""
        b, frames, n, dim = y.shape
        q = rotate(rms_norm(self.split(self.q(y)), self.q_norm), cos, sin)
        k = rotate(rms_norm(self.split(self.k(y)), self.k_norm), cos, sin)
        q, k, v = (q * q.shape[-1] ** -0.5).to(y.dtype), k.to(y.dtype), self.split(self.v(y))
        context = visible.shape[-1]
        by_frame = lambda x: x.reshape(b, self.heads, frames, n, -1)
        past = (q @ k[:, :, :context].transpose(-1, -2)).float().exp() * visible
        own = (by_frame(q) @ by_frame(k).transpose(-1, -2)).float().exp()
        total = past.sum(-1, keepdim=True) + own.sum(-1).reshape(b, self.heads, -1, 1)
        out = past.to(y.dtype) @ v[:, :, :context]
        out = (out + (own.to(y.dtype) @ by_frame(v)).reshape(out.shape)) / total
        return self.o(out.to(y.dtype).transpose(1, 2).reshape(b, frames, n, dim))

    def read_prompt(self, x, words):
        """Cross-attention of x [B, Fr, n, d]; the context half of the frames reads
        words[:, 0] and the noisy half words[:, 1] of words [B, 2, 3, d]."""
        b, head = x.shape[0], x.shape[-1] // self.heads
        q = self.split(self.cross_q(x)).reshape(b, self.heads, 2, -1, head)
        by_head = lambda y: y.reshape(b, 2, -1, self.heads, head).permute(0, 3, 1, 2, 4)
        k, v = by_head(self.cross_k(words)), by_head(self.cross_v(words))
        weights = (q @ k.transpose(-1, -2) * head ** -0.5).float().softmax(-1)
        out = (weights.to(v.dtype) @ v).reshape(b, self.heads, -1, head)
        return self.cross_o(out.transpose(1, 2).reshape(x.shape))

    def forward(self, x, time, cos, sin, visible, words):
        dim, half = x.shape[-1:], time.dtype
        m = (time.float() + self.modulation).unsqueeze(3).unbind(2)  # six of [B, Fr, 1, d]
        y = F.layer_norm(x, dim, eps=1e-6) * (1 + m[1]) + m[0]
        x = x + self.attend(y.to(half), cos, sin, visible) * m[2]
        x = x + self.read_prompt(self.cross_norm(x).to(half), words)
        y = F.layer_norm(x, dim, eps=1e-6) * (1 + m[4]) + m[3]
        return x + self.fc2(gelu(self.fc1(y.to(half))).to(half)) * m[5]


class Network(nn.Module):
    """Predicts clean patches from noisy ones, a prompt, and context frames."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.patch_embed = nn.Linear(shape.patch_dim, shape.dim)
        self.time1, self.time2 = nn.Linear(64, shape.dim), nn.Linear(shape.dim, shape.dim)
        self.time_project = nn.Linear(shape.dim, 6 * shape.dim)
        self.words = nn.Embedding(shape.words + 1, shape.dim)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.head_modulation = nn.Parameter(torch.randn(2, shape.dim) / shape.dim ** 0.5)
        self.head = nn.Linear(shape.dim, shape.patch_dim)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        cos, sin = rope_tables(shape.slots, shape.grid, shape.dim // shape.heads, shape.theta)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.register_buffer("frequencies", time_frequencies(), persistent=False)

    def embed_time(self, t):
        """Timesteps [B, Fr] -> embedding [B, Fr, d] and six modulations [B, Fr, 6, d]."""
        angle = t[..., None] * self.frequencies
        e = self.time2(F.silu(self.time1(torch.cat([angle.cos(), angle.sin()], -1))))
        return e, self.time_project(F.silu(e)).unflatten(-1, (6, self.shape.dim))

    def forward(self, context, noisy, t, prompt, slot, hide_sink):
        """Clean patches of the noisy frames.

        context [B, C, n, P], noisy [B, C, n, P], t [B, 2 C], prompt [B, 2, 3] as the
        context and as the noisy frames read it, slot [B, C] slots of the noisy frames,
        hide_sink [B] bool.
        """
        b, count = context.shape[:2]
        x = self.patch_embed(torch.cat([context, noisy], 1)).float()
        e, time = self.embed_time(t)
        words = self.words(prompt).to(time.dtype)
        all_slots = torch.cat([torch.arange(count, device=slot.device).expand(b, -1), slot], 1)
        token = all_slots[..., None] * self.shape.tokens + torch.arange(self.shape.tokens)
        token = token.reshape(b, 1, -1)
        cos, sin = self.cos[token], self.sin[token]
        key_slot = torch.arange(count)
        seen = key_slot < all_slots[..., None]
        sink = (key_slot == 0) & hide_sink[:, None, None] & (all_slots[..., None] > 1)
        n = self.shape.tokens
        visible = (seen & ~sink).to(time.dtype)[:, None, :, None, :, None]
        visible = visible.expand(-1, 1, -1, n, -1, n).reshape(b, 1, -1, count * n).contiguous()
        for block in self.blocks:
            x = block(x, time, cos, sin, visible, words)
        shift, scale = (e[:, count:, None].float() + self.head_modulation).unsqueeze(3).unbind(2)
        y = F.layer_norm(x[:, count:], x.shape[-1:], eps=1e-6) * (1 + scale) + shift
        return self.head(y.to(time.dtype)).float()


def time_frequencies():
    """32 frequencies for the sinusoidal embedding of t in [0, 1]."""
    return 100.0 * torch.exp(-math.log(1000.0) * torch.arange(32) / 32)
