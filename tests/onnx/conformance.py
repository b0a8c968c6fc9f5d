"""Runs the ONNX project's backend node cases of the attention operators.

The cases come from the `onnx` package of PyPI, which makes them in memory; they are written to
a scratch folder and run by onnx-cases. Results are compared with what ONNX's own runner allows
(relative 1e-3 + absolute 1e-7; two units in the last place of bfloat16) and with the committed
table, conformance.json: a case may not fail, and may not change its result unnoticed.

    conformance.py ONNX_CASES [--write]     --write renews conformance.json and conformance.md

Exit 77: the package is missing.
"""

import collections
import json
import pathlib
import subprocess
import sys
import tempfile
import warnings

HERE = pathlib.Path(__file__).resolve().parent
OPERATORS = {  # prefix of the case's name -> operator
    "test_attention_": "Attention",
    "test_rotary_embedding": "RotaryEmbedding",
    "test_rms_normalization_": "RMSNormalization",
    "test_tensorscatter": "TensorScatter",
}


def operator_of(name):
    return next((op for prefix, op in OPERATORS.items() if name.startswith(prefix)), None)


def write_case(case, folder):
    import onnx

    folder.mkdir()
    onnx.save(case.model, folder / "model.onnx")
    graph = case.model.graph
    for number, (inputs, outputs) in enumerate(case.data_sets):
        data = folder / f"test_data_set_{number}"
        data.mkdir()
        for kind, values, infos in (("input", inputs, graph.input), ("output", outputs, graph.output)):
            for i, (value, info) in enumerate(zip(values, infos, strict=True)):
                tensor = value if isinstance(value, onnx.TensorProto) else onnx.numpy_helper.from_array(value, info.name)
                (data / f"{kind}_{i}.pb").write_bytes(tensor.SerializeToString())


def run_cases(program):
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of cases that we do not run
        cases = [case for case in load_model_tests(kind="node") if operator_of(case.name)]
    tolerances = {(case.rtol, case.atol) for case in cases}
    assert len(tolerances) == 1, tolerances
    (rtol, atol), = tolerances
    rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        folders = []
        for case in cases:
            folders.append(pathlib.Path(scratch, case.name))
            write_case(case, folders[-1])
            rows[case.name] = {
                "operator": operator_of(case.name),
                "opset": next(o.version for o in case.model.opset_import if o.domain in ("", "ai.onnx")),
                "expanded": "_expanded" in case.name,
            }
        command = [program, "--rtol", str(rtol), "--atol", str(atol), *map(str, folders)]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    for line in lines:
        result = json.loads(line)
        rows[result["case"]] |= {"result": result["result"], "reason": result["reason"].replace(scratch, "")}
    missing = [name for name, row in rows.items() if "result" not in row]
    assert not missing, f"no result for {missing}"
    return {"rtol": rtol, "atol": atol, "cases": dict(sorted(rows.items()))}


def as_json(table):
    """One case a line."""
    head = json.dumps({key: value for key, value in table.items() if key != "cases"})[:-1]
    lines = [f" {json.dumps(name)}: {json.dumps(row)}" for name, row in table["cases"].items()]
    return head + ', "cases": {\n' + ",\n".join(lines) + "\n}}\n"


def as_markdown(table):
    groups = collections.defaultdict(collections.Counter)
    for row in table["cases"].values():
        form = "expanded into plain operators" if row["expanded"] else "one node"
        groups[row["operator"], row["opset"], form][row["result"]] += 1
    lines = [
        "# ONNX backend node cases",
        "",
        f"Made by `conformance.py --write` with onnx {table['onnx']}; case by case in conformance.json.",
        f"Tolerance: ONNX's own, |x - y| <= {table['atol']:g} + {table['rtol']:g} |y| (bfloat16: 2^-6 |y|), NaN equal to NaN.",
        "",
        "| operator | opset | form | passed | failed | refused |",
        "|---|---|---|---|---|---|",
    ]
    total = collections.Counter()
    for (operator, opset, form), results in sorted(groups.items()):
        total += results
        lines.append(
            f"| {operator} | {opset} | {form} | {results['passed']} | {results['failed']} | {results['refused']} |"
        )
    lines.append(f"| all | | | {total['passed']} | {total['failed']} | {total['refused']} |")
    others = {name: row for name, row in table["cases"].items() if row["result"] != "passed"}
    if others:
        lines += ["", "| case | result | reason |", "|---|---|---|"]
        lines += [f"| {name} | {row['result']} | {row['reason']} |" for name, row in others.items()]
    return "\n".join(lines) + "\n"


def problems(table, committed):
    for name, row in table["cases"].items():
        if row["result"] == "failed":
            yield f"{name}: {row['reason']}"
    if table["onnx"] != committed["onnx"]:
        return  # other versions have other cases
    for name in sorted(table["cases"].keys() | committed["cases"].keys()):
        now = table["cases"].get(name, {}).get("result")
        then = committed["cases"].get(name, {}).get("result")
        if now != then:
            yield f"{name}: {now}, but conformance.json says {then}; run with --write if that is meant"


def main():
    program, *options = sys.argv[1:]
    try:
        import onnx
    except ImportError:
        print("skipped: the onnx package is missing; tools/setup installs it into build/python")
        return 77
    table = {"onnx": onnx.__version__} | run_cases(program)
    if "--write" in options:
        (HERE / "conformance.json").write_text(as_json(table))
        (HERE / "conformance.md").write_text(as_markdown(table))
    found = list(problems(table, json.loads((HERE / "conformance.json").read_text())))
    print("\n".join(found))
    counts = collections.Counter(row["result"] for row in table["cases"].values())
    print(f"{len(table['cases'])} cases of onnx {onnx.__version__}: {dict(counts)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
