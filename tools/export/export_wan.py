"""Write Wan 2.1's transformer as a streaming ONNX model: step.onnx, stream.toml, specs.

    python export_wan.py small FOLDER                 # generated weights
    python export_wan.py 1.3b FOLDER --type bf16      # weights beside the model
    python export_wan.py 1.3b FOLDER --checkpoint DIR # a diffusers folder

Generated weights need NumPy and onnx alone; a checkpoint needs safetensors and PyTorch too.
"""
import argparse
import dataclasses
import pathlib

import wan_stream
from wan_config import PRESETS
from wan_graph import build
from wan_weights import Generated, shapes, word_table
from weight_file import WeightFile


class Weights:
    """The transformer's tensors and the table of words, by name."""

    def __init__(self, config, seed, tensors):
        self.tensors, self.words = tensors, word_table(config, seed)

    def __getitem__(self, name):
        return self.words if name == "words.table" else self.tensors[name]


class Checkpoint:
    """The tensors of a diffusers folder, each read as float32 when it is asked for."""

    def __init__(self, folder, config):
        from safetensors import safe_open
        self.files = {}                  # name of a tensor -> open file
        for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
            opened = safe_open(path, framework="pt")
            self.files.update(dict.fromkeys(opened.keys(), opened))
        if not self.files:
            raise SystemExit(f"{folder}: has no .safetensors file; name the folder of the transformer")
        for name, shape in shapes(config).items():
            found = "missing"
            if name in self.files:
                found = tuple(self.files[name].get_slice(name).get_shape())
            if found != shape:
                raise SystemExit(f"{folder}: {name} is {found}; {config.name} has {shape}")

    def __getitem__(self, name):
        return self.files[name].get_tensor(name).float().numpy()


def export(config, folder, seed=1, kind="f32", apart=False, tensors=None):
    """Write everything into `folder`; the weights apart from the model where that is asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    store = WeightFile(folder / "weights.bin") if apart else None
    weights = Weights(config, seed, tensors or Generated(config, seed))
    model = build(config, weights, store, kind, about=f"tools/export/export_wan.py, seed {seed}")
    if store:
        store.close()
    (folder / "step.onnx").write_bytes(model.SerializeToString())
    wan_stream.write(config, folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("size", choices=PRESETS)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1, help="of generated weights")
    parser.add_argument("--type", choices=["f32", "bf16", "int8"], default="f32",
                        help="of matrices; int8 has a scale for each output")
    parser.add_argument("--layers", type=int, help="fewer than the size has, to measure")
    parser.add_argument("--checkpoint", help="folder of a diffusers WanTransformer3DModel, .safetensors")
    options = parser.parse_args()
    config = PRESETS[options.size]
    if options.layers:
        config = dataclasses.replace(config, layers=options.layers)
    tensors = Checkpoint(options.checkpoint, config) if options.checkpoint else None
    export(config, options.folder, options.seed, options.type, options.size == "1.3b", tensors)
    print(f"{options.folder}: {config.name}, {config.layers} layers of {config.dim}")


if __name__ == "__main__":
    main()
