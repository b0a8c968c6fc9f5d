"""The runtime's C interface (runtime/include/attn/runtime.h) for NumPy arrays."""
import ctypes as c
import os

TYPES = {"float32": 0, "float16": 1, "bfloat16": 2, "int8": 3, "int32": 4, "uint8": 5, "int64": 6}


class DeviceOptions(c.Structure):
    _fields_ = [("struct_size", c.c_size_t), ("threads", c.c_uint32), ("validation", c.c_uint32)]


class Tensor(c.Structure):
    _fields_ = [("struct_size", c.c_size_t), ("buffer", c.c_void_p), ("offset", c.c_size_t),
                ("data", c.c_void_p), ("type", c.c_int), ("rank", c.c_uint32),
                ("shape", c.c_int64 * 4), ("strides", c.c_int64 * 4)]


class NamedTensor(c.Structure):
    _fields_ = [("name", c.c_char_p), ("tensor", c.POINTER(Tensor))]


class NamedValue(c.Structure):
    _fields_ = [("name", c.c_char_p), ("value", c.c_double)]


class AttentionArgs(c.Structure):
    _fields_ = [(name, c.POINTER(Tensor)) for name in ("q", "k", "v", "o", "lse", "k_scale",
                                                       "v_scale")]
    _fields_ = [("struct_size", c.c_size_t)] + _fields_ + [
        ("tensors", c.POINTER(NamedTensor)), ("tensor_count", c.c_size_t),
        ("params", c.POINTER(NamedValue)), ("param_count", c.c_size_t),
        ("segments", c.c_void_p), ("segment_count", c.c_size_t),
        ("segments_per_batch", c.c_uint32), ("q_position", c.c_int32), ("layer", c.c_int32),
        ("scale", c.c_float)]


def tensor(array):
    made = Tensor(struct_size=c.sizeof(Tensor), data=array.ctypes.data,
                  type=TYPES[array.dtype.name], rank=array.ndim)
    made.shape[:array.ndim] = array.shape
    return made


class Library:
    """`path` is libattn.so, `threads` how many the cpu device has."""

    def __init__(self, path, threads):
        self.lib = c.CDLL(os.path.abspath(path))
        self.lib.attn_status_message.restype = c.c_char_p
        for name in ("attn_device_open", "attn_bundle_open", "attn_kernel_load",
                     "attn_attention_run"):
            getattr(self.lib, name).restype = c.c_void_p
        self.device = c.c_void_p()
        options = DeviceOptions(c.sizeof(DeviceOptions), threads, 0)
        self.check(self.lib.attn_device_open(b"cpu", c.byref(options), c.byref(self.device)))

    def check(self, status):
        if status:
            raise RuntimeError(self.lib.attn_status_message(c.c_void_p(status)).decode())

    def kernel(self, bundle_path, variant):
        bundle, kernel = c.c_void_p(), c.c_void_p()
        self.check(self.lib.attn_bundle_open(os.fsencode(bundle_path), c.byref(bundle)))
        self.check(self.lib.attn_kernel_load(bundle, self.device, None, variant.encode(),
                                             c.byref(kernel)))
        return kernel

    def attention(self, kernel, arrays, tables, params, q_position):
        """A function without arguments that runs the call. `arrays` maps q, k, v, o
        and where they exist k_scale, v_scale to arrays, which must outlive it."""
        args = AttentionArgs(struct_size=c.sizeof(AttentionArgs), q_position=q_position)
        keep = {name: tensor(array) for name, array in arrays.items()}
        for name, made in keep.items():
            setattr(args, name, c.pointer(made))
        named = (NamedTensor * max(len(tables), 1))()
        for slot, (name, array) in zip(named, tables.items()):
            keep[name] = tensor(array)
            slot.name, slot.tensor = name.encode(), c.pointer(keep[name])
        values = (NamedValue * max(len(params), 1))()
        for slot, (name, value) in zip(values, params.items()):
            slot.name, slot.value = name.encode(), value
        args.tensors, args.tensor_count = named, len(tables)
        args.params, args.param_count = values, len(params)

        def run():
            self.check(self.lib.attn_attention_run(kernel, c.byref(args)))

        run.keep = (arrays, tables, keep, named, values)
        return run
