"""Short ways to ask a definition for a mask or for a single score."""

import numpy as np


def shape(queries, keys=None, heads=1, kv_heads=None, batch=1):
    return {"batch": batch, "heads": heads, "kv_heads": kv_heads or heads,
            "queries": queries, "keys": queries if keys is None else keys}


def mask(function, queries, keys=None, params=None, tables=None, **more):
    """The mask of batch 0 and head 0, or of all where there are several."""
    result = function(shape(queries, keys, **more), params or {}, tables or {})["mask"]
    return result[0, 0] if not more else result


def score(function, value, at, queries, keys=None, params=None, tables=None, **more):
    """The score of one pair (batch, head, query, key) whose scaled score is `value`."""
    of = shape(queries, keys, **more)
    s = np.full((of["batch"], of["heads"], of["queries"], of["keys"]), float(value))
    return function(of, params or {}, tables or {})["score"](s)[at]


def table(*values):
    return np.array(values)


def future(keys):
    return np.triu(np.ones((keys, keys), dtype=bool), 1)


DOCUMENTS = np.repeat(np.arange(4), (3, 1, 5, 3))


def natten_params(**given):
    """Parameters of the axes that are given as x=(length, window), with stride_x and so on if not 1."""
    params = {}
    for axis in (name for name in given if len(name) == 1):
        length, window = given[axis]
        params |= {axis.upper(): length, f"window_{axis}": window, f"stride_{axis}": 1,
                   f"dilation_{axis}": 1, f"causal_{axis}": False}
    return params | {name: value for name, value in given.items() if len(name) > 1}
