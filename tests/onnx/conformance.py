"""Runs the ONNX project's backend node cases of the attention operators and of Conv.

The cases come from the `onnx` package of PyPI, which makes them in memory; they are written to
a scratch folder and run by onnx-cases: with plain operators, then with attention on the kernels of
specs that are derived from its nodes and from what the expanded forms spell out, on cpu and on
vulkan. Results are compared with what ONNX's own runner allows (relative 1e-3 + absolute 1e-7; two
units in the last place of bfloat16) and with the committed table, conformance.json: a case may not
fail, and may not change its result unnoticed.

    conformance.py ONNX_CASES ATTNC [--write]     --write renews conformance.json and conformance.md

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
    "test_basic_conv_": "Conv",
    "test_conv_": "Conv",
}
DEVICES = ("cpu", "vulkan")


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


def load_cases():
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of cases that we do not run
        return [case for case in load_model_tests(kind="node") if operator_of(case.name)]


def results_of(command):
    """One parsed line per case, or None where the device is missing."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 3:
        print(done.stderr.strip())
        return None
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def outcome(line):
    """What a case did whose attention may run on kernels."""
    if not line["attention"]:
        return line["result"]
    return line["result"] + (" by plain operator" if "plain operator" in line["attention"] else " by kernel")


def run_cases(program, attnc):
    cases = load_cases()
    tolerances = {(case.rtol, case.atol) for case in cases}
    assert len(tolerances) == 1, tolerances
    (rtol, atol), = tolerances
    rows, absent, details = {}, [], []
    with tempfile.TemporaryDirectory() as scratch:
        specs = pathlib.Path(scratch, "specs")
        specs.mkdir()
        folders = []
        for case in cases:
            folders.append(pathlib.Path(scratch, case.name))
            write_case(case, folders[-1])
            rows[case.name] = {
                "operator": operator_of(case.name),
                "opset": next(o.version for o in case.model.opset_import if o.domain in ("", "ai.onnx")),
                "expanded": "_expanded" in case.name,
            }
        command = [program, "--rtol", str(rtol), "--atol", str(atol)]
        for line in results_of([*command, *folders]):
            rows[line["case"]] |= {"result": line["result"], "reason": line["reason"].replace(scratch, "")}
        attention = [folder for folder in folders if folder.name.startswith("test_attention_")]
        subprocess.run([program, "--specs", specs, *attention], check=True)
        bundle = pathlib.Path(scratch, "derived.attnb")
        subprocess.run([attnc, "compile", *sorted(specs.iterdir()), "--target", "cpu,spirv", "-o", bundle], check=True)
        for device in DEVICES:
            lines = results_of([*command, "--bundle", bundle, "--device", device, *attention])
            if lines is None:
                absent.append(device)
                continue
            for line in lines:
                rows[line["case"]][device] = outcome(line)
                if line["result"] == "failed":
                    details.append(f"{line['case']} on {device}: {line['reason']}")
    missing = [name for name, row in rows.items() if "result" not in row]
    assert not missing, f"no result for {missing}"
    return {"rtol": rtol, "atol": atol, "cases": dict(sorted(rows.items()))}, absent, details


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
    lines += [
        "",
        "The Attention cases again, with kernels of derived specs; the rest of a model runs on the CPU. Expanded",
        "forms run by kernel where they are recognised as attention.",
        "",
        "| device | form | passed by kernel | passed by plain operator | not recognised, passed | failed or refused |",
        "|---|---|---|---|---|---|",
    ]
    for device in DEVICES:
        for expanded in (False, True):
            counts = collections.Counter(
                row[device] for row in table["cases"].values() if device in row and row["expanded"] == expanded
            )
            known = [counts.pop(key, 0) for key in ("passed by kernel", "passed by plain operator", "passed")]
            form = "expanded" if expanded else "one node"
            lines.append(f"| {device} | {form} | " + " | ".join(map(str, [*known, counts.total()])) + " |")
    others = {name: row for name, row in table["cases"].items() if row["result"] != "passed"}
    if others:
        lines += ["", "| case | result | reason |", "|---|---|---|"]
        lines += [f"| {name} | {row['result']} | {row['reason']} |" for name, row in others.items()]
    return "\n".join(lines) + "\n"


def problems(table, committed, absent):
    for name, row in table["cases"].items():
        if row["result"] == "failed":
            yield f"{name}: {row['reason']}"
    if table["onnx"] != committed["onnx"]:
        return  # other versions have other cases
    for name in sorted(table["cases"].keys() | committed["cases"].keys()):
        for key in ("result", *DEVICES):
            now = table["cases"].get(name, {}).get(key)
            then = committed["cases"].get(name, {}).get(key)
            if now != then and key not in absent:
                yield f"{name}: {key} {now}, but conformance.json says {then}; run with --write if that is meant"


def main():
    program, attnc, *options = sys.argv[1:]
    try:
        import onnx
    except ImportError:
        print("skipped: the onnx package is missing; tools/setup installs it into build/python")
        return 77
    table, absent, failed = run_cases(program, attnc)
    table = {"onnx": onnx.__version__} | table
    if "--write" in options and not absent:
        (HERE / "conformance.json").write_text(as_json(table))
        (HERE / "conformance.md").write_text(as_markdown(table))
    found = failed + list(problems(table, json.loads((HERE / "conformance.json").read_text()), absent))
    print("\n".join(found))
    counts = collections.Counter(row["result"] for row in table["cases"].values())
    print(f"{len(table['cases'])} cases of onnx {onnx.__version__}: {dict(counts)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
