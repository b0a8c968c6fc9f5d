"""Training clips: a sink frame followed, after a gap, by a window of frames.

A clip has nine frames: slot 0 is the stream's first frame (the sink), slots 1..8
are consecutive frames that start `gap` frames later; gap 1 is the beginning of a
stream. Slots 0..7 are context; the frames to denoise are chosen per clip, with
repeats, and the last one is always a first frame. In a switch clip the prompt changes at one slot, the context is keyed with
the NEW prompt (that is what a recache leaves in the cache) and only frames after
the change are denoised.
"""
import numpy as np
import world

CONTEXT = 8        # context frames: slots 0..7
SLOTS = 9          # sink + window
TARGETS = 8        # frames denoised per clip


def _random_prompts(rng, count):
    return np.stack([rng.integers(6, size=count), rng.integers(3, size=count),
                     rng.integers(5, size=count)], 1)


def make_batch(rng, batch, switch_share=0.5, start_share=0.25):
    """One batch of clips as a dictionary of arrays.

    context, target, noise: [B, 8, 3, S, S]; mask [B, 8, S, S]: the target's shape;
    slot [B, 8]: slots of the targets; prompt [B, 3]: word ids of the current prompt;
    old_prompt [B, 3]; old, new [B, 8]: context frames made under either prompt.
    """
    before, after = _random_prompts(rng, batch), _random_prompts(rng, batch)
    early = rng.random(batch) < start_share                # gap 1
    switching = rng.random(batch) < switch_share
    first = np.where(early, 1, 2)                          # first predictable slot
    change = np.where(switching, rng.integers(first, SLOTS), SLOTS)
    slots = np.arange(SLOTS)
    prompts = np.where((slots[None] >= change[:, None])[..., None], after[:, None],
                       before[:, None])                    # [B, 9, 3]
    elsewhere = ~early & (rng.random(batch) < 0.6)         # sink from an older prompt
    prompts[elsewhere, 0] = _random_prompts(rng, batch)[elsewhere]

    sky = rng.standard_normal((batch, 3, world.SIZE, world.SIZE), np.float32)
    start, stars, background = world.first_frame(sky)
    grid = world.SIZE // world.STEP
    position = np.zeros((batch, SLOTS, 2), int)
    position[:, 0] = start
    jump = world.STEP * rng.integers(grid, size=(batch, 2))
    for slot in range(1, SLOTS):
        moved = position[:, slot - 1] + world.VELOCITY[prompts[:, slot, 2]]
        if slot == 1:
            moved = np.where(early[:, None], moved, jump)
        position[:, slot] = moved % world.SIZE

    current = np.where(switching[:, None], after, before)  # the prompt of every key
    frames, masks = world.render(prompts[..., 0], prompts[..., 1], position, background, stars)

    low = np.where(switching, change, first)
    slot = rng.integers(low[:, None], SLOTS, size=(batch, TARGETS))
    spread = low[:, None] + np.arange(TARGETS)[None]       # every slot once where it fits
    slot = np.where(spread < SLOTS, spread, slot)
    rows = np.arange(batch)[:, None]
    target, mask = frames[rows, slot], masks[rows, slot]
    noise = rng.standard_normal(target.shape, np.float32)
    # The last target is a first frame, made from noise alone under the current prompt.
    slot[:, -1] = 0
    current = np.where(switching[:, None], after, before)
    again, again_mask = world.render(current[:, None, 0], current[:, None, 1], position[:, :1],
                                     background, stars)
    target[:, -1], mask[:, -1], noise[:, -1] = again[:, 0], again_mask[:, 0], sky
    offsets = np.array([0, len(world.COLORS), len(world.COLORS) + len(world.SHAPES)])
    old = slots[None, :CONTEXT] < change[:, None]
    old[:, 0] &= ~elsewhere
    return dict(context=frames[:, :CONTEXT], target=target, noise=noise, mask=mask, slot=slot,
                prompt=current + offsets, old_prompt=before + offsets,
                old=old, new=slots[None, :CONTEXT] >= change[:, None])
