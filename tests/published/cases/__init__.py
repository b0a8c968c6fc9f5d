"""Where specs and definitions are compared: sizes, parameters and tables for each spec."""
import dataclasses

import numpy as np

# batch, heads, KV heads, queries, keys
SIZES = [(1, 1, 1, 1, 1), (2, 4, 2, 37, 41), (1, 3, 1, 61, 53), (2, 2, 2, 45, 45)]
SQUARE = [(1, 1, 1, 1, 1), (2, 4, 2, 41, 41), (1, 3, 1, 67, 67), (2, 2, 2, 45, 45)]


@dataclasses.dataclass
class Case:
    batch: int = 1
    heads: int = 1
    kv_heads: int = 1
    queries: int = 1
    keys: int = 1
    q_position: int = 0  # where the spec's queries begin
    first_query: int = None  # the definition's first query, if it wants to know
    layer: int = 0
    params: dict = dataclasses.field(default_factory=dict)
    consts: dict = dataclasses.field(default_factory=dict)  # written over the spec's
    tables: dict = dataclasses.field(default_factory=dict)
    axes: dict = dataclasses.field(default_factory=dict)  # lengths of ragged axes
    said: dict = dataclasses.field(default_factory=dict)  # params that only the definition reads
    said_tables: dict = dataclasses.field(default_factory=dict)
    tolerance: float = 1e-12

    def __str__(self):
        shown = {k: v for k, v in vars(self).items() if k not in ("tables", "said_tables", "tolerance") and v}
        return ", ".join(f"{k} {v}" for k, v in shown.items())


@dataclasses.dataclass
class Entry:
    """How a spec's cases are made: `make(rng, case)` completes a case of each size."""

    make: callable = None
    sizes: list = None
    values: list = None  # sets of parameters; each size is tried with the next ones
    repeat: int = 1
    definition: str = None  # its function, if its name is another

    def cases(self, rng):
        sizes, values = self.sizes or SIZES, self.values or [{}]
        for n in range(max(len(sizes), len(values)) * self.repeat):
            size = sizes[n % len(sizes)]
            case = Case(*size)
            case.params = dict(values[n % len(values)])
            if self.make:
                self.make(rng, case)
            yield case


def of(*values, **more):
    """An entry with these sets of parameters."""
    return Entry(values=list(values) or None, **more)


def with_tables(*values, tables, **more):
    """An entry whose tables come from functions of (rng, case)."""

    def make(rng, case):
        for name, table in tables.items():
            case.tables[name] = table(rng, case)

    return Entry(make=make, values=list(values) or None, **more)


def dims(case, names):
    size = {"b": case.batch, "h": case.heads, "g": case.kv_heads, "q": case.queries, "k": case.keys,
            "n": max(case.queries, case.keys)}
    return tuple(size.get(n, n) for n in names)


def normal(*names):
    return lambda rng, case: rng.standard_normal(dims(case, names)).astype(np.float32)


def integers(low, high, *names):
    return lambda rng, case: rng.integers(low, high, dims(case, names)).astype(np.int32)


def bits(*names, density=0.5):
    return lambda rng, case: (rng.random(dims(case, names)) < density).astype(np.uint8)


def documents(rng, tokens, parts=5):
    """Offsets of documents that cover the tokens; some may be empty."""
    return np.concatenate([[0], np.sort(rng.integers(0, tokens + 1, parts - 1)), [tokens]]).astype(np.int32)


def packed(rng, case):
    """The tables of a packed space, and the offsets that the definition reads."""
    offsets = documents(rng, case.keys)
    doc = np.searchsorted(offsets, np.arange(case.keys), side="right") - 1
    case.tables.update(offsets=offsets, tok_doc=doc.astype(np.int32), tok_start=offsets[doc].astype(np.int32))
