"""Judge frames of the demo world: which shape is where, and what was remembered.

Input: frames as .npy (uint8 [streams, frames, H, W, 3]) or a folder of PNG or raw
.rgb frames (one stream), and a JSON schedule of prompts:
    {"streams": [{"0": "red circle left", "40": "blue square right"}, ...]}
Output: JSON with figures per frame and a summary. No learned judge: the colour is the
palette entry with the most pixels, the shape and its place are the best match among
the exact templates at all positions. Frames drawn by world.py score 1.0.

    python judge.py frames.npy frames.json
"""
import argparse
import json
import pathlib

import numpy as np

import world

COLOR_DISTANCE = 0.9   # RGB distance within which a pixel has a palette colour
WHITE = 0.45           # a star's pixels exceed this in every channel
AFTER_SWITCH = 4       # frames k = 0..3 after a switch
TAIL = 8               # frames that count as the end of a stream


def load_frames(path):
    """Frames in [-1, 1], float32 [streams, frames, H, W, 3]."""
    path = pathlib.Path(path)
    if path.is_dir():
        if files := sorted(path.glob("*.png")):
            from PIL import Image
            frames = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
        else:
            files = sorted(path.glob("*.rgb"))
            frames = np.stack([np.fromfile(file, np.uint8) for file in files])
            frames = frames.reshape(len(files), world.SIZE, world.SIZE, 3)
        factor = frames.shape[1] // world.SIZE       # enlarged pictures: take the middle pixel
        frames = frames[None, :, factor // 2::factor, factor // 2::factor]
    else:
        frames = np.load(path)
    if frames.shape[2:] != (world.SIZE, world.SIZE, 3):
        raise SystemExit(f"{path}: frames are {frames.shape[2:]}, expected {world.SIZE} square RGB")
    return frames.astype(np.float32) / 127.5 - 1


def load_schedule(path, frames):
    """Prompts per stream and frame as indices (color, shape, motion), and switch frames."""
    prompts, switches = [], []
    for stream in json.loads(pathlib.Path(path).read_text())["streams"]:
        due = {int(frame): world.words_of(text) for frame, text in stream.items()}
        starts = sorted(due)
        current = [due[max(s for s in starts if s <= frame)] for frame in range(frames)]
        prompts.append(current)
        switches.append([s for s in starts if 0 < s < frames])
    offsets = [0, len(world.COLORS), len(world.COLORS) + len(world.SHAPES)]
    return np.array(prompts) - offsets, switches


def find_shape(frames):
    """Colour, shape, position and overlap (IoU) of the shape in frames [N, H, W, 3]."""
    distance = np.linalg.norm(frames[:, None] - world.PALETTE[None, :, None, None], axis=-1)
    near = distance < COLOR_DISTANCE
    color = near.sum((2, 3)).argmax(1)
    mask = near[np.arange(len(frames)), color].astype(np.float32)
    spectrum = np.conj(np.fft.rfft2(world.TEMPLATES.astype(np.float32)))
    overlap = np.fft.irfft2(np.fft.rfft2(mask)[:, None] * spectrum, s=mask.shape[1:])
    total = mask.sum((1, 2))[:, None, None, None]
    area = world.TEMPLATES.sum((1, 2))[None, :, None, None]
    match = overlap / np.maximum(total + area - overlap, 1)
    best = match.reshape(len(frames), -1).argmax(1)
    shape, place = np.divmod(best, world.SIZE ** 2)
    position = (np.stack(np.divmod(place, world.SIZE), 1) + world.SIZE // 2) % world.SIZE
    return color, shape, position, match.reshape(len(frames), -1).max(1)


def dilate(mask):
    """Grow boolean masks [..., H, W] by one pixel on the torus."""
    for axis in (-1, -2):
        mask = mask | np.roll(mask, 1, axis) | np.roll(mask, -1, axis)
    return mask


def motion_of(position):
    """Motion index per frame (-1: none of them) from positions [frames, 2]."""
    move = np.diff(position, axis=0)
    move = (move + world.SIZE // 2) % world.SIZE - world.SIZE // 2
    miss = abs(move[:, None] - world.VELOCITY[None]).sum(-1)
    motion = np.where(miss.min(1) <= 1, miss.argmin(1), -1)
    return np.concatenate([[-1], motion])


def judge_stream(frames, prompts):
    """Figures per frame of one stream [frames, H, W, 3] with prompts [frames, 3]."""
    color, shape, position, match = find_shape(frames)
    motion = motion_of(position)
    right = np.stack([color == prompts[:, 0], shape == prompts[:, 1],
                      motion == prompts[:, 2]], 1)
    right[0, 2] = True                                     # one frame does not move
    shown = dilate(world.placed_masks(shape, position))    # the shape and its rim
    white = frames.min(-1) > WHITE
    reference = white[0] & ~shown[0]
    visible = reference & ~shown
    recall = (white & visible).sum((1, 2)) / np.maximum(visible.sum((1, 2)), 1)
    recall = np.where(visible.any((1, 2)), recall, np.nan)
    false = (white & ~shown & ~dilate(reference) & ~shown[0]).sum((1, 2))
    ground = [np.median(f[~s & ~w], 0) if (~s & ~w).any() else np.zeros(3)
              for f, s, w in zip(frames, shown, white)]
    drift = abs(np.array(ground) - ground[0]).mean(1)
    return dict(color=right[:, 0], shape=right[:, 1], motion=right[:, 2], joint=right.all(1),
                match=match, star_recall=recall, false_star_pixels=false, background_drift=drift)


def mean(values, axis=None):
    """Mean without NaN; 0 where a star was never visible."""
    known = ~np.isnan(values)
    return np.where(known, values, 0).sum(axis) / np.maximum(known.sum(axis), 1)


def judge(frames, prompts, switches):
    """Figures per frame (means over streams) and a summary."""
    streams = [judge_stream(f, p) for f, p in zip(frames, prompts)]
    per = {key: np.array([s[key] for s in streams], float) for key in streams[0]}
    frame_mean = {key: mean(value, 0) for key, value in per.items()}
    summary = dict(streams=len(streams), frames=frames.shape[1])
    after = {key: [[per[key][i, s + k] for i, list_ in enumerate(switches) for s in list_
                    if s + k < frames.shape[1]] for k in range(AFTER_SWITCH)]
             for key in ("color", "shape", "motion", "joint")}
    if any(switches):
        for key, values in after.items():
            summary[f"{key}_after_switch"] = [float(np.mean(v)) for v in values]
        summary["joint_after_switch_mean"] = float(np.mean(summary["joint_after_switch"]))
    for key in ("color", "shape", "motion", "joint"):
        summary[key] = float(per[key][:, 1:].mean())
    for key in ("joint", "match", "star_recall", "false_star_pixels", "background_drift"):
        summary[f"{key}_at_end"] = float(mean(per[key][:, -TAIL:]))
        summary[f"{key}_early"] = float(mean(per[key][:, 4:4 + TAIL]))
    summary["stars_in_first_frame"] = float(np.mean(
        [((f[0].min(-1) > WHITE).sum() / world.STAR ** 2) for f in frames]))
    return dict(summary=summary, per_frame={k: np.round(v, 4).tolist()
                                            for k, v in frame_mean.items()})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("frames", help=".npy, or a folder of .png or .rgb frames")
    parser.add_argument("schedule", help="JSON schedule of prompts")
    parser.add_argument("--summary", action="store_true", help="leave out the figures per frame")
    options = parser.parse_args()
    frames = load_frames(options.frames)
    result = judge(frames, *load_schedule(options.schedule, frames.shape[1]))
    print(json.dumps(result["summary"] if options.summary else result, indent=1))


if __name__ == "__main__":
    main()
