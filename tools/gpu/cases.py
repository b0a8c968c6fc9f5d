"""What is measured: specs, shapes, and the schedules to try, most promising first."""

# Each case: the spec (a file of specs/, or text), the shape of a call, and how PyTorch
# says the same mask: "none", "causal", or the body of a FlexAttention mask_mod.
_PLAIN = """attention {name} {{
  space tok(i: stream)
  query tok
  keys  tok
  heads any dim {dim}
  mask  {mask}
}}
"""


def _plain(name, dim, mask):
    return {"name": name, "text": _PLAIN.format(name=name, dim=dim, mask=mask)}


def _case(spec, label, batch, heads, tokens, dim, torch_mask, kv=None, kv_heads=None):
    return {**spec, "label": label, "batch": batch, "heads": heads,
            "kv_heads": kv_heads or heads, "q": tokens, "kv": kv or tokens, "dim": dim,
            "torch_mask": torch_mask}


def cases():
    """In the order of their worth when time is short."""
    dense, causal = _plain("dense128", 128, "all"), _plain("causal128", 128, "causal(i)")
    result = []
    for tokens in (4096, 8192, 16384):
        batch = 16384 // tokens
        result.append(_case(dense, f"dense d128 {tokens}", batch, 16, tokens, 128, "none"))
        result.append(_case(causal, f"causal d128 {tokens}", batch, 16, tokens, 128, "causal"))
    result.append(_case(_plain("dense64", 64, "all"), "dense d64 8192", 2, 32, 8192, 64, "none"))
    result.append(_case(_plain("dense256", 256, "all"), "dense d256 8192", 2, 8, 8192, 256, "none"))
    result.append(_case({"name": "longlive_self", "file": "longlive_self.attn"},
                        "longlive block", 1, 12, 4680, 128, "none", kv=18720))
    result.append(_case(_plain("window128", 128, "causal(i) and (sink(i, 64) or window(i, 2048))"),
                        "sink + window d128 16384", 1, 16, 16384, 128,
                        "(q >= k) & ((k < 64) | (q - k < 2048))"))
    result.append(_case(_plain("gqa128", 128, "causal(i)"), "causal d128 8192, 4 kv heads", 2, 32,
                        8192, 128, "causal", kv_heads=4))
    return result


# Changes to the table's schedule (kernels-gen/sm_90a.def); the first is the table's.
SCHEDULES = ["", "pingpong", "keys96", "simple", "keys96.pingpong", "keys64.stages4", "rescale",
             "keys112", "keys64"]


def tiny_cases():
    """For a dry run on a machine without a GPU: the same kinds, a second's work."""
    return [_case(_plain("dense64", 64, "all"), "dense d64", 1, 2, 96, 64, "none"),
            _case(_plain("causal64", 64, "causal(i)"), "causal d64", 1, 2, 96, 64, "causal"),
            _case(_plain("window64", 64, "causal(i) and (sink(i, 4) or window(i, 16))"),
                  "sink + window d64", 1, 2, 96, 64, "(q >= k) & ((k < 4) | (q - k < 16))")]
