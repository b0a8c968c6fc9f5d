"""Stream a model with ONNX Runtime: the reference for the C++ runtime.

It drives any model described by a stream.toml, with the same algorithm as the
runtime: few-step denoising, a clean pass that overwrites the block's keys and
values, a ring of cache slots, and a recache when the prompt changes.

    python ort_stream.py demo --frames 96 --seed 3 --prompt "red circle left" \\
        --switch 40:"blue square right" --out frames.npy
"""
import argparse
import json
import pathlib
import tomllib

import numpy as np
import onnxruntime

import noise


class Streamer:
    """One stream: caches, ring, prompt, and the blocks generated so far."""

    def __init__(self, folder, seed=0, recache="full", sink=True, model="step.onnx", session=None,
                 quantize_cache=False, timesteps=None, renoise=None):
        folder = pathlib.Path(folder)
        self.toml = tomllib.loads((folder / "stream.toml").read_text())
        self.session = session or open_session(folder / model)
        self.words = (folder / self.toml["prompt"]["vocabulary"]).read_text().split()
        self.seed, self.recache_mode, self.quantize_cache = seed, recache, quantize_cache
        schedule, cache, sizes = (self.toml[k] for k in ("schedule", "cache", "model"))
        self.timesteps = timesteps or schedule["timesteps"]
        self.renoise = renoise or schedule["renoise"]
        self.frames = sizes["frames_per_block"]
        self.block_tokens = self.frames * sizes["tokens_per_frame"]
        self.shape = (1, self.frames, *sizes["sample_shape"])
        self.sink_blocks = cache["sink_frames"] // self.frames if sink else 0
        self.window_blocks = cache["window_frames"] // self.frames
        self.replay_blocks = self.toml["recache"]["replay_frames"] // self.frames
        inputs = {i.name: i.shape for i in self.session.get_inputs()}
        self.caches = [(key_in.format(layer=layer), key_out.format(layer=layer))
                       for layer in range(cache["layers"])
                       for key_in, key_out in ((cache["k_in"], cache["k_out"]),
                                               (cache["v_in"], cache["v_out"]))]
        self.cache = {name: np.zeros(inputs[name], np.float32) for name, _ in self.caches}
        self.slots = inputs[self.caches[0][0]][2]
        self.block, self.prompt, self.passes = 0, None, []
        self.flush()

    # ---- the cache's bookkeeping -------------------------------------------------------
    def flush(self):
        """Forget every frame: the next block is a first block."""
        self.kept, self.sinks, self.ring_count = [], 0, 0   # kept: [slot, clean latents]

    def admit(self):
        """Give a new block its slot; in the ring it evicts the oldest block."""
        if self.sinks < self.sink_blocks:
            slot, self.sinks = self.sinks, self.sinks + 1
        else:
            slot = self.sink_blocks + self.ring_count % self.window_blocks
            self.ring_count += 1
            self.kept = [entry for entry in self.kept if entry[0] != slot]
        self.kept.append([slot, None])

    def run(self, sample, timestep, rank):
        """One pass over the block with the given rank in `kept`; returns the prediction."""
        names, n = self.toml["inputs"], self.block_tokens
        token = np.arange(n)
        k_positions = np.zeros((1, self.slots), np.int64)
        for order, (slot, _) in enumerate(self.kept):
            k_positions[0, slot * n:(slot + 1) * n] = order * n + token
        feed = {
            names["sample"]: sample,
            names["timestep"]: np.full((1, self.frames), timestep, np.float32),
            names["prompt"]: self.prompt,
            names["write_index"]: np.array([self.kept[rank][0] * n], np.int64),
            names["kv_length"]: np.array([len(self.kept) * n], np.int64),
            names["q_positions"]: (rank * n + token)[None].astype(np.int64),
            names["k_positions"]: k_positions,
        }
        outputs = [self.toml["outputs"]["prediction"]] + [out for _, out in self.caches]
        prediction, *caches = self.session.run(outputs, {**feed, **self.cache})
        self.cache = {name: value for (name, _), value in zip(self.caches, caches)}
        if self.quantize_cache and timestep == self.toml["schedule"]["clean_timestep"]:
            self.quantize(self.kept[rank][0])
        self.passes.append({**feed, "prediction": prediction})
        return prediction

    def quantize(self, slot):
        """Round the block's keys and values to int8, one scale per token and head."""
        rows = slice(slot * self.block_tokens, (slot + 1) * self.block_tokens)
        for value in self.cache.values():
            part = value[:, :, rows]
            step = np.maximum(abs(part).max(-1, keepdims=True), 1e-8) / 127
            value[:, :, rows] = np.rint(part / step) * step

    # ---- prompts -----------------------------------------------------------------------
    def set_prompt(self, text):
        """Change the prompt and treat the cache as the recache mode says."""
        ids = np.array([[self.words.index(word) for word in text.split()]], np.int64)
        changed = self.prompt is not None and (ids != self.prompt).any()
        self.prompt = ids
        if not changed or not self.kept or self.recache_mode == "stale":
            return
        if self.recache_mode == "flush":
            self.flush()
        else:
            self.replay()

    def replay(self):
        """Re-run the retained clean blocks in time order under the new prompt. The ring
        starts anew, so that valid slots are a prefix of the cache again."""
        sinks, ring = self.kept[:self.sinks], self.kept[self.sinks:]
        ring = ring[max(0, len(ring) - self.replay_blocks):]
        self.kept, self.sinks, self.ring_count = [], 0, 0
        refresh = self.toml["recache"]["sink"] == "refresh"
        for index, (_, latents) in enumerate(sinks + ring):
            self.admit()
            self.kept[-1][1] = latents
            if index >= len(sinks) or refresh:
                self.run(latents, self.toml["schedule"]["clean_timestep"], len(self.kept) - 1)

    # ---- generation --------------------------------------------------------------------
    def draw(self, step):
        count = int(np.prod(self.shape))
        return noise.normal(count, self.seed, self.block, step).reshape(self.shape)

    def next_block(self):
        """Generate one block; returns its clean frames [F, C, H, W] as floats."""
        self.admit()
        rank, flow = len(self.kept) - 1, self.toml["prediction"]["kind"] == "flow"
        low, high = self.toml["prediction"]["clamp"]
        x = self.draw(0)
        for step, t in enumerate(self.timesteps):
            prediction = self.run(x, t, rank)
            x0 = x - np.float32(t) * prediction if flow else prediction
            x0 = np.clip(x0, np.float32(low), np.float32(high))
            if step + 1 < len(self.timesteps):
                after = np.float32(self.timesteps[step + 1])
                if self.renoise == "euler":
                    x = x0 + after / np.float32(t) * (x - x0)
                else:
                    x = (1 - after) * x0 + after * self.draw(step + 1)
        self.kept[rank][1] = x0
        self.run(x0, self.toml["schedule"]["clean_timestep"], rank)
        self.block += 1
        return x0[0]


def open_session(path, threads=1):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def stream(streamer, prompts, frames, dump=None):
    """Frames uint8 [frames, H, W, 3] for prompts {frame: text}; a prompt takes effect at
    the first block that starts at or after its frame."""
    pictures, due = [], dict(prompts)
    low, high = streamer.toml["decoder"]["range"]
    while len(pictures) < frames:
        start = len(pictures)
        ready = [frame for frame in due if frame <= start]
        streamer.passes = []
        if ready:
            streamer.set_prompt(due[max(ready)])
            due = {frame: text for frame, text in due.items() if frame > start}
        block = streamer.next_block()
        if dump:
            save_block(pathlib.Path(dump), streamer)
        unit = (block - low) / (high - low)
        pictures += list(np.rint(unit.clip(0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1))
    return np.stack(pictures[:frames])


def save_block(folder, streamer):
    """block_NNNNN.npz: pass{i}.{input or prediction} of every pass, and the caches after."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {f"pass{i}.{name}": value for i, entry in enumerate(streamer.passes)
              for name, value in entry.items()}
    np.savez(folder / f"block_{streamer.block - 1:05d}.npz", **arrays, **streamer.cache)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="folder with step.onnx, stream.toml and vocab.txt")
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prompt", help="default: the one in stream.toml")
    parser.add_argument("--switch", action="append", default=[], metavar="FRAME:PROMPT")
    parser.add_argument("--recache", choices=["full", "stale", "flush"], default="full")
    parser.add_argument("--no-sink", action="store_true")
    parser.add_argument("--noise", help=".npy [blocks, steps, F, C, H, W] instead of Philox")
    parser.add_argument("--dump", help="folder for one .npz per block")
    parser.add_argument("--out", required=True, help=".npy of uint8 [1, frames, H, W, 3]; "
                        "the judge's schedule is written beside it as .json")
    options = parser.parse_args()
    streamer = Streamer(options.folder, options.seed, options.recache, not options.no_sink)
    if options.noise:
        given = np.load(options.noise).astype(np.float32)
        streamer.draw = lambda step: given[streamer.block, step][None]
    prompts = {0: options.prompt or streamer.toml["prompt"]["default"]}
    for switch in options.switch:
        frame, text = switch.split(":", 1)
        prompts[int(frame)] = text
    pictures = stream(streamer, prompts, options.frames, options.dump)
    out = pathlib.Path(options.out)
    np.save(out, pictures[None])
    out.with_suffix(".json").write_text(json.dumps({"streams": [prompts]}))


if __name__ == "__main__":
    main()
