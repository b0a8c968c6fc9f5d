"""FastVideo, Matrix-Game and LongLive: frames of F tokens in blocks of B."""
from . import SQUARE, Entry
from .gym import tiles


def frames(halves=1, padding=11):
    def make(rng, case):
        p = case.params
        case.queries = case.keys = halves * p["frames"] * p["F"] + padding

    return make


def longlive(rng, case):
    case.queries = case.keys = 9 * case.params["F"] * case.params["B"]
    case.said["frames"] = 9 * case.params["B"]


def actions(rng, case):
    p = case.params
    case.queries, case.keys = p["frames"] * p["F"] + 5, p["frames"] + 3


plain = [dict(F=5, B=3, frames=7), dict(F=8, B=1, frames=6), dict(F=3, B=2, frames=9)]
window = [p | {"W": w} for p, w in zip(plain, (4, 3, 9))]
sink = [p | {"W": w, "S": s} for p, w, s in zip(plain, (4, 3, 6), (1, 0, 2))]
CASES = {
    "block_causal": Entry(frames(), SQUARE, plain),
    "block_causal_window": Entry(frames(), SQUARE, window),
    "teacher_forcing": Entry(frames(2), SQUARE, plain),
    "matrix_game": Entry(frames(), SQUARE, sink),
    "matrix_game_action": Entry(actions, SQUARE, sink),
    "matrix_game_action_global": Entry(actions, SQUARE, plain),
    "longlive": Entry(longlive, SQUARE, [dict(F=4, B=3, S=3, W=12), dict(F=3, B=1, S=2, W=5), dict(F=5, B=2, S=0, W=4)]),
    "block_causal_i2v": Entry(frames(), SQUARE, plain),
    "sta_flex": Entry(tiles("T", "H", "W"), SQUARE, [
        dict(CT=3, CH=3, CW=4, N=2, KT=2, KH=2, KW=3, text=5), dict(CT=4, CH=2, CW=2, N=3, KT=3, KH=2, KW=1, text=0),
        dict(CT=2, CH=4, CW=3, N=2, KT=1, KH=3, KW=3, text=3)]),
}
