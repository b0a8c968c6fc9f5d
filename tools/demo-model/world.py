"""The little world that the demo model learns: what a prompt means, drawn exactly.

A frame is 48x48 RGB in [-1, 1]: a dark background, a few white stars and one
shape moving on a torus. The prompt names the shape's colour, form and motion.
Background and stars are never named, and the shape occludes the stars, so only
memory (the sink frame, the window) can bring them back. NumPy only: the judge
uses the same constants as the training data.
"""
import numpy as np

SIZE = 48          # frame height and width, pixels
STEP = 2           # pixels moved per frame; every position is a multiple of it
STAR = 3           # a star is STAR x STAR pixels
STAR_CORNER = 2    # its place in its cell
STAR_THRESHOLD = 1.13  # a free cell has a star with probability 0.13
CELL = 8           # the sky is a grid of cells
GRID = SIZE // CELL

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


def free_cells(position):
    """Cells [B, GRID, GRID] that a shape at cell-centred positions [B, 2] leaves free."""
    line = np.arange(GRID)
    away = (line[None, None] - position[:, :, None] // CELL) % GRID
    near = (away <= 1) | (away == GRID - 1)                 # [B, 2, GRID]
    return ~(near[:, 0, :, None] & near[:, 1, None, :])


def star_masks(stars):
    """Boolean masks [B, SIZE, SIZE] of the stars in cells [B, GRID, GRID]."""
    line = np.arange(SIZE)
    lit = (line % CELL >= STAR_CORNER) & (line % CELL < STAR_CORNER + STAR)
    cell = line // CELL
    return stars[:, cell[:, None], cell[None]] & lit[:, None] & lit[None]


def first_frame(noise):
    """What a stream's first frame shows, read off its noise [B, 3, SIZE, SIZE]:
    position [B, 2], stars [B, GRID, GRID] and background [B].

    A free choice cannot be made well in four steps, because the prediction at t = 1
    would be the mean of all choices. So the choice is tied to the noise, which is as
    random. Every rule uses means over parts of cells: the shape sits in the cell with
    the greatest red, stars are where green is high, and the background is the quarter
    in which some cell has the greatest blue.
    """
    batch = len(noise)
    cells = noise.reshape(batch, 3, GRID, CELL, GRID, CELL).transpose(0, 1, 2, 4, 3, 5)
    means = cells.mean((-1, -2))                            # [B, 3, GRID, GRID]
    place = means[:, 0].reshape(batch, -1).argmax(1)
    position = np.stack(np.divmod(place, GRID), 1) * CELL + CELL // 2
    stars = (means[:, 1] * CELL > STAR_THRESHOLD) & free_cells(position)
    quarters = cells[:, 2].reshape(batch, GRID * GRID, 4, -1).mean(-1)
    return position, stars, quarters.max(1).argmax(1)


def render(color, shape, position, background, stars):
    """Frames [B, T, 3, SIZE, SIZE] from color, shape [B, T], position [B, T, 2],
    background [B] and stars [B, GRID, GRID]; also the shape masks [B, T, SIZE, SIZE]."""
    base = np.broadcast_to(BACKGROUNDS[background][:, :, None, None],
                           (len(background), 3, SIZE, SIZE))
    base = np.where(star_masks(stars)[:, None], np.float32(STAR_VALUE), base)
    masks = placed_masks(shape, position)
    paint = PALETTE[color][..., None, None]
    return np.where(masks[:, :, None], paint, base[:, None]), masks


def words_of(prompt):
    """Word ids of a prompt such as "blue square right"."""
    return [VOCABULARY.index(word) for word in prompt.split()]
