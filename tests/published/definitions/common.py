"""What all definitions share: index arrays, gathers and the form of a result."""

import numpy as np


def indices(shape):
    """The index arrays b, h, q, k; they broadcast to [batch, heads, queries, keys].

    q counts from the position of the first query row, k from 0.
    """
    b = np.arange(shape["batch"]).reshape(-1, 1, 1, 1)
    h = np.arange(shape["heads"]).reshape(1, -1, 1, 1)
    q = shape.get("first_query", 0) + np.arange(shape["queries"]).reshape(1, 1, -1, 1)
    k = np.arange(shape["keys"]).reshape(1, 1, 1, -1)
    return b, h, q, k


def attend(shape, mask=True, score=None):
    """The result of a definition: the mask written out, and the score if there is one."""
    full = (shape["batch"], shape["heads"], shape["queries"], shape["keys"])
    result = {"mask": np.broadcast_to(np.asarray(mask, dtype=bool), full)}
    if score is not None:
        result["score"] = lambda s: np.broadcast_to(score(np.asarray(s, dtype=np.float64)), full)
    return result


def read(table, *index):
    """table[index], each index clamped into the table: the caller masks what it would not read."""
    clamped = [np.clip(i, 0, n - 1) for i, n in zip(index, table.shape)]
    return table[tuple(np.broadcast_arrays(*clamped))]


def offsets(tables):
    """Packed documents, tok_doc being each token's: document d holds tokens offsets[d] .. offsets[d+1]-1."""
    doc = tables["tok_doc"]
    return np.searchsorted(doc, np.arange(doc.max() + 2))


def ceil_to(value, multiple):
    return -(-value // multiple) * multiple


def grid(index, *extents):
    """Coordinates of a token of a grid, last axis fastest; the first extent does not wrap."""
    coordinates = []
    for extent in reversed(extents[1:]):
        coordinates.append(index % extent)
        index = index // extent
    return (index, *reversed(coordinates))
