"""NATTEN: windows, strides, dilations and causal axes, at random within what it allows."""
from . import Entry


def grid(*axes, most=9, extra=False):
    def make(rng, case):
        tokens = 1
        for axis in axes:
            extent = int(rng.integers({"t": 3, "y": 5, "x": 7}[axis], most + 1))
            dilation = int(rng.integers(1, 4))
            dilation = min(dilation, extent)
            window = int(rng.integers(1, extent // dilation + 1))
            stride = int(rng.integers(1, window + 1))
            case.params[axis.upper()] = extent
            case.consts |= {f"window_{axis}": window, f"stride_{axis}": stride, f"dilation_{axis}": dilation,
                            f"causal_{axis}": int(rng.integers(0, 2))}
            tokens *= extent
        case.queries = case.keys = tokens
        if extra:
            case.axes["j"] = int(rng.integers(1, 6))
            case.keys += case.axes["j"]
            case.said["extra"] = case.axes["j"]

    return make


CASES = {
    "natten1d": Entry(grid("x", most=40), [(1, 1, 1, 1, 1)], repeat=24),
    "natten2d": Entry(grid("y", "x"), [(1, 1, 1, 1, 1), (1, 2, 1, 1, 1)], repeat=12),
    "natten3d": Entry(grid("t", "y", "x", most=7), [(1, 1, 1, 1, 1)], repeat=8),
    "natten2d_extra": Entry(grid("y", "x", most=7, extra=True), [(1, 1, 1, 1, 1)], repeat=6),
}
