"""Training clips: a sink frame followed, after a gap, by a window of frames.

A clip has nine frames: slot 0 is the stream's first frame (the sink), slots 1..8
are consecutive frames that start `gap` frames later; gap 1 is the beginning of a
stream. Slots 0..7 are context; the frames to denoise are chosen per clip, with
repeats, and the last one is always a first frame. In a switch clip the prompt
changes at one slot, the context is keyed with the NEW prompt (that is what a recache
leaves in the cache) and only frames after the change are denoised.
"""
import numpy as np
import world

CONTEXT = 8        # context frames: slots 0..7
SLOTS = 9          # sink + window
TARGETS = 8        # frames denoised per clip
REVEALED = 30      # extra weight of places that only the sink remembers


def _random_prompts(rng, count):
    return np.stack([rng.integers(6, size=count), rng.integers(3, size=count),
                     rng.integers(5, size=count)], 1)


def thicken(rng, stars, position):
    """More stars in half of the clips, so that memory is exercised more often."""
    extra = (rng.random(stars.shape) < 0.25) & (rng.random(len(stars)) < 0.5)[:, None, None]
    return stars | extra & world.free_cells(position)


def ahead_of_a_star(rng, stars, motion):
    """Positions [B, 2] that hide a star which the motion will soon uncover."""
    batch = len(stars)
    chosen = (stars + rng.random(stars.shape)).reshape(batch, -1).argmax(1)
    center = np.stack(np.divmod(chosen, world.GRID), 1) * world.CELL + world.CELL // 2
    ahead = world.VELOCITY[motion] * rng.integers(0, 5, size=(batch, 1))
    aside = world.STEP * rng.integers(-2, 3, size=(batch, 2)) * (world.VELOCITY[motion] == 0)
    return center + ahead + aside


def revealed(masks, early):
    """Star places [B, 9, S, S] that no frame of the window has shown before, only the sink."""
    hidden = np.logical_and.accumulate(masks[:, 1:], 1)     # hidden in slots 1..j
    hidden = np.concatenate([np.zeros_like(masks[:, :2]), hidden[:, :-1]], 1)
    places = world.star_masks(np.ones((1, world.GRID, world.GRID), bool))[:, None]
    return hidden & ~masks & places & ~early[:, None, None, None]


def make_batch(rng, batch, switch_share=0.5, start_share=0.25):
    """One batch of clips as a dictionary of arrays.

    context, target, noise: [B, 8, 3, S, S]; weight [B, 8, S, S]: of the targets' pixels;
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
    sky_stars, stars = stars, thicken(rng, stars, start)
    jump = world.STEP * rng.integers(grid, size=(batch, 2))
    cover = rng.random(batch) < 0.6
    jump[cover] = ahead_of_a_star(rng, stars, prompts[:, 1, 2])[cover]
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
    target = frames[rows, slot]
    noise = rng.standard_normal(target.shape, np.float32)
    weight = (1 + masks + REVEALED * revealed(masks, early))[rows, slot].astype(np.float32)
    # The last target is a first frame, made from noise alone under the current prompt.
    slot[:, -1] = 0
    again, again_mask = world.render(current[:, None, 0], current[:, None, 1], position[:, :1],
                                     background, sky_stars)
    target[:, -1], weight[:, -1], noise[:, -1] = again[:, 0], 1 + again_mask[:, 0], sky
    offsets = np.array([0, len(world.COLORS), len(world.COLORS) + len(world.SHAPES)])
    old = slots[None, :CONTEXT] < change[:, None]
    old[:, 0] &= ~elsewhere
    return dict(context=frames[:, :CONTEXT], target=target, noise=noise, weight=weight,
                slot=slot, prompt=current + offsets, old_prompt=before + offsets, old=old,
                new=slots[None, :CONTEXT] >= change[:, None])
