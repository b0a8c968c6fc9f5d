"""Measure the exported model: stream with ONNX Runtime, then judge.

Every configuration uses the same seeds and schedules, so differences are due to the
cache policy alone. Prints one JSON line per configuration.

    python evaluate.py demo --streams 64 --frames 48 --switches 16,32
"""
import argparse
import json
import pathlib

import numpy as np

import world
from judge import judge, load_schedule
from ort_stream import Streamer, open_session, stream
from quantize import quantize_linears

CONFIGURATIONS = {
    "recache": dict(recache="full"),
    "stale": dict(recache="stale"),
    "flush": dict(recache="flush"),
    "no-sink": dict(recache="full", sink=False),
    "no-sink-stale": dict(recache="stale", sink=False),
    "int8": dict(recache="full", quantize=True),
    "int8-kv8": dict(recache="full", quantize=True, quantize_cache=True),
    "kv8": dict(recache="full", quantize_cache=True),
    "fresh": dict(recache="full", renoise="fresh"),
    "2-steps": dict(recache="full", timesteps=[1.0, 0.5]),
    "3-steps": dict(recache="full", timesteps=[1.0, 0.7, 0.4]),
    "1-step": dict(recache="full", timesteps=[1.0]),
}


def make_schedule(count, switches, seed=1):
    """Random prompts; at a switch colour, shape and motion all change."""
    rng = np.random.default_rng(seed)
    pick = lambda words, old: words[rng.choice([i for i, w in enumerate(words) if w != old])]
    streams = []
    for _ in range(count):
        words, entry = [None] * 3, {}
        for frame in [0] + switches:
            words = [pick(w, old) for w, old in
                     zip((world.COLORS, world.SHAPES, world.MOTIONS), words)]
            entry[str(frame)] = " ".join(words)
        streams.append(entry)
    return {"streams": streams}


def real_frames(schedule, frames, seed=2):
    """The same prompts drawn exactly, to check the judge."""
    rng = np.random.default_rng(seed)
    count = len(schedule["streams"])
    prompts = np.array([[world.words_of(s[str(max(int(k) for k in s if int(k) <= f))])
                         for f in range(frames)] for s in schedule["streams"]]) - [0, 6, 9]
    position = np.zeros((count, frames, 2), int)
    position[:, 0], stars, background = world.first_frame(
        rng.standard_normal((count, 3, world.SIZE, world.SIZE)))
    for f in range(1, frames):
        position[:, f] = (position[:, f - 1] + world.VELOCITY[prompts[:, f, 2]]) % world.SIZE
    pictures, _ = world.render(prompts[..., 0], prompts[..., 1], position, background, stars)
    return pictures.transpose(0, 1, 3, 4, 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--switches", default="16,32")
    parser.add_argument("--configurations", default="real,recache,stale,no-sink,int8,int8-kv8")
    parser.add_argument("--timesteps", help="instead of stream.toml's, for example 1,0.9,0.6")
    parser.add_argument("--save", type=pathlib.Path, help="folder for frames and figures")
    options = parser.parse_args()
    switches = [int(s) for s in options.switches.split(",") if s]
    schedule = make_schedule(options.streams, switches)
    save = options.save or pathlib.Path(".")
    path = save / "schedule.json"
    save.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(schedule))
    prompts, switch_frames = load_schedule(path, options.frames)
    plain = open_session(options.folder / "step.onnx")
    for name in options.configurations.split(","):
        if name == "real":
            frames = real_frames(schedule, options.frames)
        else:
            settings = dict(CONFIGURATIONS[name])
            if options.timesteps:
                settings["timesteps"] = [float(t) for t in options.timesteps.split(",")]
            session = plain
            if settings.pop("quantize", False):
                session = open_session(quantize_linears(options.folder / "step.onnx"))
            pictures = []
            for seed, entry in enumerate(schedule["streams"]):
                streamer = Streamer(options.folder, seed, session=session, **settings)
                pictures.append(stream(streamer, {int(f): t for f, t in entry.items()},
                                       options.frames))
            pictures = np.stack(pictures)
            if options.save:
                np.save(save / f"{name}.npy", pictures)
            frames = pictures.astype(np.float32) / 127.5 - 1
        result = judge(frames, prompts, switch_frames)
        if options.save:
            (save / f"{name}.json").write_text(json.dumps(result))
        print(json.dumps({"configuration": name, **result["summary"]}), flush=True)


if __name__ == "__main__":
    main()
