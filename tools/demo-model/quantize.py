"""Simulate W8A8: every linear layer between the first and the last computes on int8.

Weights get one scale per output column, activations one per token, both symmetric in
[-127, 127] and rounded to nearest even. The result is an ordinary float graph whose
values are exactly those that an int8 kernel with int32 sums would dequantise.
"""
import numpy as np
import onnx
from onnx import helper, numpy_helper

KEEP = ("patch_embed", "head", "time.")   # float, as is usual


def quantize_linears(path):
    """Serialized model with rounded weights and activations."""
    model = onnx.load(path)
    graph = model.graph
    weights = {w.name: w for w in graph.initializer}
    for name, value in (("int8.limit", 127.0), ("int8.floor", 1e-8)):
        graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
    graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), "int8.axis"))
    nodes, done = [], {}
    for node in graph.node:
        if node.op_type == "MatMul" and not node.name.startswith(KEEP):
            weight = weights[node.input[1]]
            w = numpy_helper.to_array(weight)
            step = np.maximum(abs(w).max(0, keepdims=True), 1e-8) / 127
            weight.CopyFrom(numpy_helper.from_array((np.rint(w / step) * step).astype(np.float32),
                                                    weight.name))
            if node.input[0] not in done:
                done[node.input[0]] = round_tokens(nodes, node.input[0])
            node.input[0] = done[node.input[0]]
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return model.SerializeToString()


def round_tokens(nodes, x):
    """Append nodes that round x to int8 with one scale per last axis; returns the result."""
    def op(kind, label, *inputs, **attributes):
        name = f"int8.{x}.{label}"
        nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name
    top = op("ReduceMax", "amax", op("Abs", "abs", x), "int8.axis", keepdims=1)
    step = op("Div", "step", op("Max", "positive", top, "int8.floor"), "int8.limit")
    return op("Mul", "value", op("Round", "rounded", op("Div", "scaled", x, step)), step)
