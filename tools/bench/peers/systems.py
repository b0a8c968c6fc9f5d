"""The systems that are compared. Each takes a case and its f32 arrays (heads, tokens,
dim) and gives a function that runs one call and one that returns the last output as
f32 (heads, tokens, dim). What a system has no way to do raises Unsupported."""
import os
import subprocess
import tempfile
import time

import ml_dtypes
import numpy as np

from library import Library


class Unsupported(Exception):
    pass


def quantised(x):
    """int8 with one scale per head and token; (values, scales)."""
    scale = np.maximum(np.abs(x).max(-1), 1e-12).astype(np.float32) / 127
    return np.clip(np.rint(x / scale[..., None]), -127, 127).astype(np.int8), scale


class Attnc:
    """f32, bf16, and int8 (int8 keys and values, bf16 queries and output)."""

    kinds = ("f32", "bf16", "int8")

    def __init__(self, build, threads):
        self.build = build
        self.library = Library(os.path.join(build, "runtime", "libattn.so"), threads)
        self.folder = tempfile.TemporaryDirectory()
        self.version = subprocess.run([os.path.join(build, "bin", "attnc"), "--version"],
                                      capture_output=True, text=True).stdout.strip()

    def prepare(self, kind, case, q, k, v):
        spec = os.path.join(self.folder.name, "bench.attn")
        bundle = os.path.join(self.folder.name, f"bench_{kind}.attnb")
        with open(spec, "w", encoding="utf-8") as file:
            file.write(case.spec())
        command = [os.path.join(self.build, "bin", "attnc"), "compile", spec, "--target", "cpu",
                   "--dtype", kind, "-o", bundle]
        if kind == "int8":
            command += ["--int8-float", "bf16"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise Unsupported(done.stderr.strip())
        real = np.float32 if kind == "f32" else ml_dtypes.bfloat16
        arrays = {"q": q[None].astype(real)}
        for name, x in (("k", k), ("v", v)):
            if kind == "int8":
                arrays[name], arrays[name + "_scale"] = (y[None] for y in quantised(x))
            else:
                arrays[name] = x[None].astype(real)
        arrays["o"] = np.full((1, case.heads, case.q, case.dim), np.nan, real)
        run = self.library.attention(self.library.kernel(bundle, kind), arrays, case.tables,
                                     case.params, case.offset)
        return run, lambda: arrays["o"][0].astype(np.float32)


class Torch:
    """scaled_dot_product_attention; masks are made beforehand, outside the time."""

    kinds = ("f32", "bf16")

    def __init__(self, threads):
        import torch
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.torch, self.version = torch, torch.__version__

    def arrays(self, kind, *arrays):
        real = self.torch.float32 if kind == "f32" else self.torch.bfloat16
        return [self.torch.from_numpy(x)[None].to(real) for x in arrays]

    def finish(self, call):
        last = [None]

        def run():
            last[0] = call()

        return run, lambda: last[0][0].float().numpy()

    def positions(self, case):
        return (self.torch.arange(case.offset, case.kv)[:, None],
                self.torch.arange(case.kv)[None, :])

    def prepare(self, kind, case, q, k, v):
        torch = self.torch
        q, k, v = self.arrays(kind, q, k, v)
        options = {"enable_gqa": case.kv_heads != case.heads}
        square = case.q == case.kv
        if case.score is not None:
            if case.score.__name__ != "alibi":
                raise Unsupported("scores are changed by an additive mask only")
            qp, kp = self.positions(case)
            heads = torch.arange(case.heads)[:, None, None]
            bias = case.score(torch, torch.zeros(1), heads, qp, kp)
            bias = bias.masked_fill(~case.mask(torch, heads, qp, kp), float("-inf"))
            options["attn_mask"] = bias[None].to(q.dtype)
        elif case.causal and square:
            options["is_causal"] = True
        elif case.mask is not None and case.q > 1:
            options["attn_mask"] = case.mask(torch, 0, *self.positions(case))[None, None]
        return self.finish(lambda: torch.nn.functional.scaled_dot_product_attention(
            q, k, v, **options))


class Flex(Torch):
    """flex_attention under torch.compile; its block mask is made beforehand."""

    def prepare(self, kind, case, q, k, v):
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention
        torch = self.torch
        torch.compiler.reset()
        q, k, v = self.arrays(kind, q, k, v)
        offset, options = case.offset, {"enable_gqa": case.kv_heads != case.heads}
        if case.mask is not None:
            options["block_mask"] = create_block_mask(
                lambda b, h, i, j: case.mask(torch, h, i + offset, j), None, None, case.q, case.kv,
                device="cpu")
        if case.score is not None:
            options["score_mod"] = lambda s, b, h, i, j: case.score(torch, s, h, i + offset, j)
        call = torch.compile(flex_attention)
        return self.finish(lambda: call(q, k, v, **options))


class OnnxRuntime:
    """ONNX's Attention of opset 23; for decoding with grouped heads Microsoft's
    GroupQueryAttention on a cache that it shares between calls, where that is faster."""

    kinds = ("f32",)

    def __init__(self, threads):
        import onnxruntime
        self.ort, self.threads, self.version = onnxruntime, threads, onnxruntime.__version__

    def session(self, node, inputs, initializers):
        from onnx import TensorProto, helper, numpy_helper
        graph = helper.make_graph(
            [node], "attention",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, x.shape)
             for n, x in inputs.items()],
            [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(x, n) for n, x in initializers.items()])
        return self.load(graph)

    def load(self, graph):
        from onnx import helper
        model = helper.make_model(graph, ir_version=10, opset_imports=[
            helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)])
        options = self.ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 4
        return self.ort.InferenceSession(model.SerializeToString(), options,
                                         providers=["CPUExecutionProvider"])

    def prepare(self, kind, case, q, k, v):
        from onnx import helper
        if case.score is not None and case.score.__name__ != "softcap":
            raise Unsupported("no such score")
        inputs = {"q": q[None], "k": k[None], "v": v[None]}
        initializers, names, attributes = {}, ["q", "k", "v"], {}
        if case.causal and case.q == case.kv or case.score is not None:
            attributes["is_causal"] = 1
        elif case.mask is not None and case.q > 1:
            initializers["mask"] = case.mask(np, 0, np.arange(case.offset, case.kv)[:, None],
                                             np.arange(case.kv)[None, :])
            names.append("mask")
        if case.score is not None:
            attributes["softcap"] = 30.0
        try:
            session = self.session(helper.make_node("Attention", names, ["o"], **attributes),
                                   inputs, initializers)
        except Exception as error:  # what a session throws has no common class
            raise Unsupported(str(error).splitlines()[0]) from error
        last = [None]

        def run():
            last[0] = session.run(None, inputs)[0]

        ways = [(run, lambda: last[0][0])]
        if case.q == 1 and case.kv_heads != case.heads and case.score is None:
            ways.append(self.prepare_cached(case, q, k, v))
        return min(ways, key=lambda way: self.seconds(way[0]))

    @staticmethod
    def seconds(run):
        times = []
        for _ in range(5):
            begin = time.perf_counter()
            run()
            times.append(time.perf_counter() - begin)
        return min(times[1:])

    def prepare_cached(self, case, q, k, v):
        """The newest key is the call's own; those before it are in the cache, which past
        and present share, so that nothing is copied."""
        from onnx import TensorProto, helper
        real, whole = TensorProto.FLOAT, TensorProto.INT32
        cache = [1, case.kv_heads, case.kv, case.dim]
        shapes = {"query": [1, 1, case.heads * case.dim], "key": [1, 1, case.kv_heads * case.dim],
                  "value": [1, 1, case.kv_heads * case.dim], "past_key": cache,
                  "past_value": cache}
        infos = [helper.make_tensor_value_info(n, real, shape) for n, shape in shapes.items()]
        infos += [helper.make_tensor_value_info("last", whole, [1]),
                  helper.make_tensor_value_info("total", whole, [])]
        outputs = {"o": shapes["query"], "present_key": cache, "present_value": cache}
        node = helper.make_node("GroupQueryAttention", [i.name for i in infos], list(outputs),
                                domain="com.microsoft", num_heads=case.heads,
                                kv_num_heads=case.kv_heads)
        graph = helper.make_graph([node], "attention", infos, [
            helper.make_tensor_value_info(n, real, shape) for n, shape in outputs.items()])
        session = self.load(graph)
        values = {"query": q[:, 0].reshape(1, 1, -1), "key": k[:, -1].reshape(1, 1, -1),
                  "value": v[:, -1].reshape(1, 1, -1), "past_key": k[None], "past_value": v[None],
                  "last": np.array([case.kv - 1], np.int32), "total": np.array(case.kv, np.int32)}
        values = {n: self.ort.OrtValue.ortvalue_from_numpy(np.array(x)) for n, x in values.items()}
        values["o"] = self.ort.OrtValue.ortvalue_from_numpy(np.zeros(shapes["query"], np.float32))
        values["present_key"], values["present_value"] = values["past_key"], values["past_value"]
        binding = session.io_binding()
        for info in infos:
            binding.bind_ortvalue_input(info.name, values[info.name])
        for name in outputs:
            binding.bind_ortvalue_output(name, values[name])
        return (lambda: session.run_with_iobinding(binding),
                lambda: values["o"].numpy().reshape(case.heads, 1, case.dim))


class OpenVino:
    """opset13's ScaledDotProductAttention; bf16 is the inference precision."""

    kinds = ("f32", "bf16")

    def __init__(self, threads):
        import openvino
        self.ov, self.threads, self.version = openvino, threads, openvino.__version__
        self.core = openvino.Core()

    def prepare(self, kind, case, q, k, v):
        if case.score is not None:
            raise Unsupported("no such score")
        from openvino import opset13
        if case.kv_heads != case.heads:  # it has no grouped heads: they are repeated
            k, v = (np.repeat(x, case.heads // case.kv_heads, axis=0) for x in (k, v))
        inputs = [q[None], k[None], v[None]]
        parameters = [opset13.parameter(x.shape, np.float32) for x in inputs]
        operands = list(parameters)
        is_causal = case.causal and case.q == case.kv
        if case.mask is not None and not is_causal and case.q > 1:
            admitted = case.mask(np, 0, np.arange(case.offset, case.kv)[:, None],
                                 np.arange(case.kv)[None, :])
            operands.append(opset13.constant(admitted[None, None]))
        node = opset13.scaled_dot_product_attention(*operands, causal=is_causal)
        model = self.ov.Model([node], parameters, "attention")
        compiled = self.core.compile_model(model, "CPU", {
            "INFERENCE_NUM_THREADS": self.threads, "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": kind})
        request = compiled.create_infer_request()
        shared = [self.ov.Tensor(x, shared_memory=True) for x in inputs]
        for i, x in enumerate(shared):
            request.set_input_tensor(i, x)

        def run():
            request.infer()

        run.keep = (inputs, shared)  # the request only points to them
        return run, lambda: request.get_output_tensor(0).data[0].astype(np.float32)
