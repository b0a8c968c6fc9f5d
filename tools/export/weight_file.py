"""How weights are stored: in the model or beside it, as f32, bf16 or int8.

A model file holds at most 2 GiB; 1.4 billion weights need more. So tensors may lie in a second
file that a runtime can map: each begins at a multiple of 4096 bytes and is written as soon as
it is made, so that one is in memory at a time.
"""
import numpy as np
from onnx import TensorProto, numpy_helper

ALIGNMENT = 4096
LEAST_BYTES = 1024   # smaller tensors stay in the model


class WeightFile:
    """Appends tensors to a file."""

    def __init__(self, path):
        self.path = path
        self.file = open(path, "wb")

    def put(self, raw):
        offset = -(-self.file.tell() // ALIGNMENT) * ALIGNMENT
        self.file.write(b"\0" * (offset - self.file.tell()))
        self.file.write(raw)
        return {"location": self.path.name, "offset": offset, "length": len(raw)}

    def close(self):
        self.file.close()


def to_bf16(array):
    """float32 to the bits of bf16, rounded to nearest even; infinities and NaNs do not occur."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))
    return (rounded >> np.uint32(16)).astype(np.uint16)


def to_int8(weight):
    """[out, in] to int8 in -127 to 127 and a float32 scale for each output."""
    scales = np.maximum(np.abs(weight).max(1), np.float32(1e-30)) / np.float32(127)
    return np.rint(weight / scales[:, None]).astype(np.int8), scales.astype(np.float32)


def is_narrow(name, array, kind):
    """Whether a tensor is stored in the narrow type `kind`: matrices are."""
    return kind != "f32" and name.endswith(".weight") and array.ndim == 2


def as_stored(name, array, kind):
    """What a tensor stands for once it was stored, as float32."""
    if not is_narrow(name, array, kind):
        return array
    if kind == "bf16":
        return (to_bf16(array).astype(np.uint32) << np.uint32(16)).view(np.float32)
    values, scales = to_int8(array)
    return values * scales[:, None]


def initializer(name, array, store=None, data_type=None):
    """A TensorProto whose data lies in `store`, or within where that is None or it is small.
    `data_type` says what the array's bits are where NumPy has no such type."""
    array = np.ascontiguousarray(array)
    data_type = data_type or numpy_helper.from_array(array.reshape(-1)[:1]).data_type
    tensor = TensorProto(name=name, dims=array.shape, data_type=data_type)
    if store is None or array.nbytes < LEAST_BYTES:
        tensor.raw_data = array.tobytes()
        return tensor
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in store.put(array.tobytes()).items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor
