"""The little world that the demo model learns: what a prompt means, drawn exactly.

A frame is 48x48 RGB in [-1, 1]: a dark background, three white stars and one
shape moving on a torus. The prompt names the shape's colour, form and motion.
Background and stars are never named, and the shape occludes the stars, so only
memory (the sink frame, the window) can bring them back. NumPy only: the judge
uses the same constants as the training data.
"""
import numpy as np

SIZE = 48          # frame height and width, pixels
STEP = 2           # pixels moved per frame; every position is a multiple of it
STAR = 3           # a star is STAR x STAR pixels
STARS = 3          # stars per stream

COLORS = ["red", "green", "blue", "yellow", "magenta", "cyan"]
SHAPES = ["circle", "square", "triangle"]
MOTIONS = ["left", "right", "up", "down", "still"]
VOCABULARY = COLORS + SHAPES + MOTIONS  # word id = place in this list

PALETTE = 0.9 * np.array(
    [[1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]],
    np.float32)
BACKGROUNDS = np.array(
    [[-.75, -.75, -.75], [-.3, -.5, -.75], [-.75, -.4, -.4], [-.4, -.75, -.3]],
    np.float32)
STAR_VALUE = 0.9
VELOCITY = STEP * np.array([[0, -1], [0, 1], [-1, 0], [1, 0], [0, 0]])  # (y, x)


def _templates():
    """Masks [3, SIZE, SIZE] of the shapes, anchored at the centre of the frame."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] - SIZE // 2 + 0.5
    circle = y * y + x * x <= 9.0 ** 2
    square = (abs(y) <= 9) & (abs(x) <= 9)
    triangle = (y >= -9) & (y <= 9) & (abs(x) <= (y + 10) * 0.55)
    return np.stack([circle, square, triangle])


TEMPLATES = _templates()


def placed_masks(shape, position):
    """Boolean masks [..., SIZE, SIZE] of shapes[...] centred at positions[..., 2]."""
    shape, position = np.asarray(shape), np.asarray(position)
    line = np.arange(SIZE)
    y = (line - position[..., 0, None] + SIZE // 2) % SIZE
    x = (line - position[..., 1, None] + SIZE // 2) % SIZE
    return TEMPLATES[shape[..., None, None], y[..., :, None], x[..., None, :]]


def place_stars(rng, occupied):
    """Corners [B, STARS, 2] of stars that touch neither `occupied` nor each other."""
    batch = len(occupied)
    grid = np.arange(2, SIZE - STAR - 1, STEP)
    free = np.ones((batch, len(grid), len(grid)), bool)
    for dy in range(-1, STAR + 1):
        for dx in range(-1, STAR + 1):
            free &= ~occupied[:, grid[:, None] + dy, grid[None, :] + dx]
    stars = np.zeros((batch, STARS, 2), int)
    for s in range(STARS):
        keys = np.where(free, rng.random(free.shape), -1.0).reshape(batch, -1)
        row, column = np.divmod(keys.argmax(1), len(grid))
        stars[:, s] = np.stack([grid[row], grid[column]], 1)
        near_y = abs(grid[None] - stars[:, s, 0, None]) < STAR + 3
        near_x = abs(grid[None] - stars[:, s, 1, None]) < STAR + 3
        free &= ~(near_y[:, :, None] & near_x[:, None, :])
    return stars


def star_masks(stars):
    """Boolean masks [B, SIZE, SIZE] of the stars at corners [B, STARS, 2]."""
    line = np.arange(SIZE)
    inside = lambda c: (line >= c[..., None]) & (line < c[..., None] + STAR)
    return (inside(stars[..., 0])[..., :, None] & inside(stars[..., 1])[..., None, :]).any(1)


def render(color, shape, position, background, stars):
    """Frames [B, T, 3, SIZE, SIZE] from color, shape [B, T], position [B, T, 2],
    background [B] and stars [B, STARS, 2]; also the shape masks [B, T, SIZE, SIZE]."""
    base = np.broadcast_to(BACKGROUNDS[background][:, :, None, None],
                           (len(background), 3, SIZE, SIZE))
    base = np.where(star_masks(stars)[:, None], np.float32(STAR_VALUE), base)
    masks = placed_masks(shape, position)
    paint = PALETTE[color][..., None, None]
    return np.where(masks[:, :, None], paint, base[:, None]), masks


def words_of(prompt):
    """Word ids of a prompt such as "blue square right"."""
    return [VOCABULARY.index(word) for word in prompt.split()]
