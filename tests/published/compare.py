#!/usr/bin/env python3
"""Compares every published spec, pair by pair, with its definition in NumPy.

    compare.py ATTNC [--only TEXT] [--seed N] [-j JOBS]

`attnc mask` and `attnc score` say what a spec means; definitions/*.py say what was
published, written by someone who has not seen the specs; cases/*.py say at which sizes,
parameters and tables the two are compared. Exit code 1: they differ somewhere, a spec has
no case, or a definition no spec.
"""
import argparse
import concurrent.futures
import importlib
import inspect
import os
import re
import subprocess
import sys
import tempfile
import zlib

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
SPECS = os.path.join(HERE, "..", "..", "specs")
FOLDERS = ["gym", "flex", "fa4", "natten", "flashinfer", "fastvideo", "papers"]

sys.path.insert(0, os.path.join(HERE, "definitions"))
sys.path.insert(0, HERE)


def constants(text):
    """The integer consts of a spec."""
    found = {}
    for line in re.findall(r"^ *const (.*)", text, re.M):
        for name, value in re.findall(r"(\w+) = (-?\d+)", line):
            found[name] = int(value)
    return found


def with_constants(text, values):
    for name, value in values.items():
        text = re.sub(rf"\b{name} = -?\d+", f"{name} = {value}", text, count=1)
    return text


class Attnc:
    """The compiler's front end on one case; arrays go through files of a folder."""

    def __init__(self, program, spec, folder, case):
        self.program, self.folder = program, folder
        path = os.path.join(SPECS, spec + ".attn")
        self.text = open(path).read()
        if case.consts:
            self.text = with_constants(self.text, case.consts)
            path = os.path.join(folder, os.path.basename(path))
            open(path, "w").write(self.text)
        shape = {"q": case.queries, "kv": case.keys, "batch": case.batch,
                 "q_position": case.q_position, **case.axes}
        if "heads any" in self.text:
            shape.update(heads=case.heads, kv_heads=case.kv_heads)
        if case.layer:
            shape["layer"] = case.layer
        self.arguments = [path, "--shape", ",".join(f"{k}={v}" for k, v in shape.items())]
        for name, value in case.params.items():
            self.arguments += ["--set", f"{name}={value!r}"]
        for name, table in case.tables.items():
            if re.search(rf"\btable {name}\[", self.text) or name.startswith("tok_"):
                np.save(os.path.join(folder, name + ".npy"), table)
                self.arguments += ["--table", f"{name}={folder}/{name}.npy"]

    def run(self, command, *more):
        output = os.path.join(self.folder, "output.npy")
        done = subprocess.run([self.program, command, *self.arguments, *more, "-o", output],
                              capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"attnc {command} failed:\n{done.stderr}")
        return np.load(output)


def first(where):
    return tuple(int(i) for i in np.argwhere(where)[0])


def differences(program, spec, case, definition):
    """What differs in one case, in words; None if nothing does."""
    shape = {"batch": case.batch, "heads": case.heads, "kv_heads": case.kv_heads,
             "queries": case.queries, "keys": case.keys}
    if case.first_query is not None:
        shape["first_query"] = case.first_query
    with tempfile.TemporaryDirectory() as folder:
        attnc = Attnc(program, spec, folder, case)
        # A definition reads what its spec declares, in the case's values.
        params = {**constants(attnc.text), **case.params, **case.said}
        tables = {name: table.astype(np.float64) if table.dtype == np.float32 else table
                  for name, table in {**case.tables, **case.said_tables}.items()}
        want = definition(shape, params, tables)
        rng = np.random.default_rng(1)
        s = (rng.standard_normal((case.batch, case.heads, case.queries, case.keys)) * 3).astype(np.float32)
        np.save(os.path.join(folder, "s.npy"), s)
        mask, scores = attnc.run("mask"), s.astype(np.float64)
        if re.search(r"^ +score ", attnc.text, re.M):
            scores = attnc.run("score", "--s", os.path.join(folder, "s.npy"))
    wanted = np.asarray(want["score"](s) if "score" in want else s, dtype=np.float64)
    admitted = want["mask"] & (wanted != -np.inf)  # an excluded pair may be said either way
    mask = mask & (scores != -np.inf)
    wrong = mask != admitted
    if wrong.any():
        b, h, q, k = first(wrong)
        return (f"{int(wrong.sum())} of {wrong.size} pairs differ; first batch {b} head {h} q {q} "
                f"k {k}: the spec says {bool(mask[b, h, q, k])}, the definition "
                f"{bool(admitted[b, h, q, k])}")
    scores, wanted = np.where(mask, scores, 0), np.where(mask, wanted, 0)
    error = np.abs(scores - wanted) / np.maximum(np.abs(wanted), 1)
    if not error.max(initial=0) <= case.tolerance:
        b, h, q, k = first(error == error.max())
        return (f"scores differ by {error.max():.2e}; worst batch {b} head {h} q {q} k {k} s "
                f"{s[b, h, q, k]}: the spec says {scores[b, h, q, k]}, the definition "
                f"{wanted[b, h, q, k]}")
    return None


def compare(program, folder, name, entry, seed):
    """The number of cases and pairs of a spec, and what differs."""
    definition = getattr(importlib.import_module(folder), entry.definition or name, None)
    if not definition:
        return 0, 0, "has no definition"
    rng = np.random.default_rng([seed, zlib.crc32(f"{folder}/{name}".encode())])
    cases = pairs = 0
    for case in entry.cases(rng):
        cases += 1
        pairs += case.batch * case.heads * case.queries * case.keys
        try:
            found = differences(program, f"{folder}/{name}", case, definition)
        except Exception as error:  # of the definition, or of attnc: both are findings
            found = f"{type(error).__name__}: {error}"
        if found:
            return cases, pairs, f"{found}\n     in {case}"
    return cases, pairs, None


def definitions(folder):
    """The names of the masks and scores that a file of definitions defines."""
    module = importlib.import_module(folder)
    return {name for name, function in inspect.getmembers(module, inspect.isfunction)
            if function.__module__ == folder
            and list(inspect.signature(function).parameters) == ["shape", "params", "tables"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("attnc")
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-j", "--jobs", type=int, default=2)
    options = parser.parse_args()
    tasks, failures = [], 0
    for folder in FOLDERS:
        entries = importlib.import_module(f"cases.{folder}").CASES
        specs = sorted(f[:-5] for f in os.listdir(os.path.join(SPECS, folder)) if f.endswith(".attn"))
        for name in sorted(set(entries) ^ set(specs)):
            failures += 1
            print(f"FAIL {folder}/{name}: " + ("has no case" if name in specs else "has no spec"))
        for name in sorted(definitions(folder) - {e.definition or n for n, e in entries.items()}):
            failures += 1
            print(f"FAIL {folder}/{name}: is defined, but has no spec")
        tasks += [(folder, name, entries[name]) for name in specs
                  if name in entries and options.only in f"{folder}/{name}"]
    total_cases = total_pairs = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        results = [(f"{folder}/{name}", pool.submit(compare, options.attnc, folder, name, entry, options.seed))
                   for folder, name, entry in tasks]
        for name, result in results:
            cases, pairs, failure = result.result()
            total_cases += cases
            total_pairs += pairs
            if failure:
                failures += 1
                print(f"FAIL {name}: {failure}")
    print(f"{len(tasks)} specs, {total_cases} cases, {total_pairs} pairs, {failures} failures")
    return 1 if failures or not tasks else 0


if __name__ == "__main__":
    sys.exit(main())
