"""What is written beside the graph: stream.toml, the two specs, the vocabulary."""
from wan_config import TIMESTEPS, VOCABULARY

SELF_SPEC = """\
# Self-attention of {name}, LongLive's: a block of {frames} latent frames sees itself, the {past}
# blocks before it and the first. Keys arrive rotated and stay so.
attention {name}_self {{
  space video(t: stream, y: {rows}, x: {columns})
  axis  b = video.t // {frames}
  query video, b: 1 per call
  keys  video
  heads {heads} dim {dim}
  rope  interleaved theta {theta:.0f} (t: {rope[0]}, y: {rope[1]}, x: {rope[2]}) origin stream
  mask  causal(b) and (sink(b, {sink}) or window(b, {window}))
  cache b {{ pin {sink}; ring {window}; store roped; write every pass }}
  recache on prompt {{ replay {window}; mask all; pin keep }}
}}
"""

CROSS_SPEC = """\
# Cross-attention of {name}: video sees all text. Identical padding keys are one key, the
# last, whose score is raised by the logarithm of their number.
attention {name}_cross {{
  param pads in 0..{text}
  space video(t: stream, y: {rows}, x: {columns})
  space text(i: ragged <= {text})
  axis  b = video.t // {frames}
  query video, b: 1 per call
  keys  text
  heads {heads} dim {dim}
  mask  all
  score s + (if pads > 0 and k.i == len(text) - 1 then log(pads) else 0)
  cache text {{ whole; tail pads; refill on prompt }}
}}
"""

TOML = """\
# How to stream this model; tools/demo-model/README.md explains the keys.
format = 1
name = "{name}"

[model]
frames_per_block = {frames}
tokens_per_frame = {frame_tokens}
sample_shape = [{channels}, {height}, {width}]
dtype = "f32"

[inputs]
sample = "sample"
timestep = "timestep"
prompt = "prompt"
write_index = "write_index"
kv_length = "kv_length"
q_frames = "q_frames"

[outputs]
prediction = "flow"

[prediction]
kind = "flow"

[cache]
layers = {layers}
k_in = "k_cache.{{layer}}"
v_in = "v_cache.{{layer}}"
k_out = "k_cache.{{layer}}.out"
v_out = "v_cache.{{layer}}.out"
sink_frames = {sink}
window_frames = {window}
positions = "stream"

[schedule]
timesteps = {timesteps}
renoise = "fresh"
clean_timestep = 0.0

[recache]
on = "prompt"
replay_frames = {window}
order = "sequential"
sink = "keep"

[prompt]
kind = "words"
words = {words}
vocabulary = "vocab.txt"
default = "red circle left"

# a preview: the first three channels of the latents as red, green and blue
[decoder]
kind = "linear"
to_rgb = {to_rgb}
range = [-3.0, 3.0]
fps = 16
scale = 8

[attention]
self = {{ nodes = "blocks.*.attn1", spec = "{name}_self" }}
cross = {{ nodes = "blocks.*.attn2", spec = "{name}_cross" }}
"""


def specs(config):
    """{file name: text} of both specs."""
    c, (rows, columns) = config, config.grid
    words = dict(name=c.name, frames=c.frames, rows=rows, columns=columns, heads=c.heads,
                 dim=c.head_dim, theta=c.theta, rope=c.rope_dims, sink=c.sink // c.frames,
                 window=c.window // c.frames, past=c.window // c.frames - 1, text=c.text_tokens)
    return {f"{c.name}_self.attn": SELF_SPEC.format(**words),
            f"{c.name}_cross.attn": CROSS_SPEC.format(**words)}


def stream_toml(config):
    c = config
    to_rgb = [float(channel == colour) for colour in range(3) for channel in range(c.channels)]
    return TOML.format(name=c.name, frames=c.frames, frame_tokens=c.frame_tokens,
                       channels=c.channels, height=c.height, width=c.width, layers=c.layers,
                       sink=c.sink, window=c.window, timesteps=TIMESTEPS, words=c.words,
                       to_rgb=to_rgb)


def write(config, folder):
    for name, text in specs(config).items():
        (folder / name).write_text(text)
    (folder / "stream.toml").write_text(stream_toml(config))
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
