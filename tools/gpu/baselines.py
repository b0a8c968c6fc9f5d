"""What PyTorch makes of the same attention, and what the device can do at most."""
import statistics


def load():
    """The module torch with a CUDA device, or why there is none."""
    try:
        import torch
    except ImportError:
        return None, "PyTorch is not installed"
    if not torch.cuda.is_available():
        return None, "PyTorch finds no CUDA device"
    return torch, None


def _time(torch, run, repeats=7):
    """Milliseconds, by events, after warming up."""
    for _ in range(3):
        run()
    times = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return times


def ceilings(torch):
    """A large product and a large copy: what arithmetic and memory reach here."""
    n = 8192
    a, b = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    product = statistics.median(_time(torch, lambda: a @ b))
    source = torch.randn(1 << 28, device="cuda", dtype=torch.float32)
    target = torch.empty_like(source)
    copy = statistics.median(_time(torch, lambda: target.copy_(source)))
    return {"bf16_product_tflops": 2 * n**3 / product / 1e9,
            "copy_gb_per_s": 2 * source.numel() * 4 / copy / 1e6}


class Case:
    """The tensors of a case and the ways to attend over them."""

    def __init__(self, torch, case):
        self.torch = torch
        draw = lambda heads, tokens: torch.randn(  # noqa: E731
            case["batch"], heads, tokens, case["dim"], device="cuda", dtype=torch.bfloat16)
        self.q, self.k, self.v = (draw(case["heads"], case["q"]),
                                  draw(case["kv_heads"], case["kv"]),
                                  draw(case["kv_heads"], case["kv"]))
        self.mask = case["torch_mask"]
        self.grouped = case["heads"] != case["kv_heads"]
        self.runs = {}
        self.refused = {}
        self._add_sdpa()
        self._add_flex(case)

    def _add_sdpa(self):
        if self.mask not in ("none", "causal"):
            return
        functional = self.torch.nn.functional
        from torch.nn.attention import SDPBackend, sdpa_kernel

        for name, backend in (("cudnn", SDPBackend.CUDNN_ATTENTION),
                              ("flash_attention_2", SDPBackend.FLASH_ATTENTION)):
            def run(backend=backend):
                with sdpa_kernel(backend):
                    return functional.scaled_dot_product_attention(
                        self.q, self.k, self.v, is_causal=self.mask == "causal",
                        enable_gqa=self.grouped)
            self._try(name, run)

    def _add_flex(self, case):
        try:
            from torch.nn.attention.flex_attention import create_block_mask, flex_attention
        except ImportError:
            self.refused["flex_attention"] = "this PyTorch has none"
            return
        compiled = self.torch.compile(flex_attention, dynamic=False)
        block_mask = None
        if self.mask != "none":
            text = "q >= k" if self.mask == "causal" else self.mask
            mod = eval(f"lambda b, h, q, k: {text}")  # noqa: S307: from our own manifest
            block_mask = create_block_mask(mod, None, None, case["q"], case["kv"], device="cuda")
        self._try("flex_attention", lambda: compiled(self.q, self.k, self.v, block_mask=block_mask,
                                                     enable_gqa=self.grouped))

    def _try(self, name, run):
        try:
            run()
            self.torch.cuda.synchronize()
            self.runs[name] = run
        except Exception as error:  # a backend that refuses a shape says so
            self.refused[name] = str(error).splitlines()[0] if str(error) else type(error).__name__

    def time(self, name):
        return _time(self.torch, self.runs[name])
