"""Writes stream.toml, the description of a streaming model that the runtime reads."""
from dataclasses import dataclass


@dataclass
class Streaming:
    """What the graph's Config does not say: how the model is driven."""
    name: str
    timesteps: list
    renoise: str                 # "euler" or "fresh"
    kind: str                    # "x0" or "flow"
    clamp: list
    replay_frames: int           # newest frames re-run on a prompt change, besides the sink
    recache_sink: str            # "refresh" or "keep"
    default_prompt: str
    self_spec: str
    cross_spec: str
    value_range: list
    fps: int
    scale: int
    clean_timestep: float = 0.0


def _value(value):
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return repr(value)


def _table(name, comment, **entries):
    lines = [f"\n# {comment}", f"[{name}]"]
    return "\n".join(lines + [f"{key} = {_value(value)}" for key, value in entries.items()])


def stream_toml(config, streaming):
    """The text of stream.toml for a graph built from `config`."""
    names = config.names
    pattern = lambda node: names.layer.format(layer="*") + "." + node
    parts = [
        "# How to stream this model; every key is explained in tools/demo-model/README.md.",
        "format = 1", f'name = "{streaming.name}"',
        _table("model", "sizes; sample_shape is one frame (channels, height, width)",
               frames_per_block=config.frames, tokens_per_frame=config.tokens,
               sample_shape=[3, config.height, config.width], dtype="f32"),
        _table("inputs", "names of the graph's inputs", sample=names.sample,
               timestep=names.timestep, prompt=names.prompt, write_index=names.write_index,
               kv_length=names.kv_length, q_positions=names.q_positions,
               k_positions=names.k_positions),
        _table("outputs", "names of the graph's outputs", prediction=names.prediction),
        _table("prediction", 'x0: the clean sample; flow: v, with x0 = x - t v',
               kind=streaming.kind, clamp=streaming.clamp),
        _table("cache", "window_frames includes the current block",
               layers=config.layers, k_in=names.k_in, v_in=names.v_in, k_out=names.k_out,
               v_out=names.v_out, sink_frames=config.sink, window_frames=config.window,
               positions="contiguous"),
        _table("schedule", "euler: x0 + t_next / t (x - x0); fresh: (1 - t_next) x0 + t_next noise",
               timesteps=streaming.timesteps, renoise=streaming.renoise,
               clean_timestep=streaming.clean_timestep),
        _table("recache", "replay_frames: newest clean frames re-run, the sink not counted",
               on="prompt", replay_frames=streaming.replay_frames, order="sequential",
               sink=streaming.recache_sink),
        _table("prompt", "words are split at spaces; a word's id is its line in the vocabulary",
               kind="words", words=config.prompt_words, vocabulary="vocab.txt",
               default=streaming.default_prompt),
        _table("decoder", "the sample is the picture", kind="pixels",
               range=streaming.value_range, fps=streaming.fps, scale=streaming.scale),
        "\n# which attention nodes are computed by which spec\n[attention]",
        f'self = {{ nodes = "{pattern(names.self_attention)}", spec = "{streaming.self_spec}" }}',
        f'cross = {{ nodes = "{pattern(names.cross_attention)}", '
        f'spec = "{streaming.cross_spec}" }}',
    ]
    return "\n".join(parts) + "\n"
