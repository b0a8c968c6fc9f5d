"""Sizes of the Wan 2.1 transformer and of the stream that it makes."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """One model. Heights and widths are of latents; all counts of frames are latent ones."""
    name: str
    layers: int
    heads: int
    head_dim: int
    ffn: int
    text_dim: int
    text_tokens: int            # keys of the cross-attention, padding included
    freq_dim: int
    height: int
    width: int
    key_gain: float             # of qk-norm: a score's deviation is its square
    channels: int = 16
    patch: int = 2              # in space; 1 in time
    frames: int = 3             # per block
    sink: int = 3
    window: int = 9             # the current block included
    most_frames: int = 1024     # rows of the rotation table
    theta: float = 10000.0
    words: int = 3              # of a prompt

    @property
    def dim(self):
        return self.heads * self.head_dim

    @property
    def grid(self):
        return self.height // self.patch, self.width // self.patch

    @property
    def frame_tokens(self):
        return self.grid[0] * self.grid[1]

    @property
    def tokens(self):
        return self.frames * self.frame_tokens

    @property
    def slots(self):
        return (self.sink + self.window) * self.frame_tokens

    @property
    def rope_dims(self):
        """Dims that time, rows and columns rotate: 44, 42, 42 of 128."""
        space = 2 * (self.head_dim // 6)
        return self.head_dim - 2 * space, space, space


TINY = Config("wan_tiny", layers=2, heads=2, head_dim=24, ffn=96, text_dim=32, text_tokens=8,
              freq_dim=32, height=4, width=6, key_gain=2.8)
SMALL = Config("wan_small", layers=4, heads=4, head_dim=64, ffn=768, text_dim=128, text_tokens=64,
               freq_dim=256, height=6, width=10, key_gain=2.2)
FULL = Config("wan_1_3b", layers=30, heads=12, head_dim=128, ffn=8960, text_dim=4096,
              text_tokens=512, freq_dim=256, height=60, width=104, key_gain=2.4)
PRESETS = {"tiny": TINY, "small": SMALL, "1.3b": FULL}

VOCABULARY = ["red", "green", "blue", "circle", "square", "star", "left", "right", "still"]
TIMESTEPS = [1.0, 0.9375, 0.8333, 0.625]   # 1000, 750, 500, 250 shifted by 5
