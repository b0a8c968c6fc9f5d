"""Large weights beside an ONNX file, as external data that a runtime can map.

A model file holds at most 2 GiB; 1.4 billion weights need more. Each tensor begins at a
multiple of 4096 bytes and is written as soon as it is made, so that one is in memory at a time.
"""
import numpy as np
from onnx import TensorProto, numpy_helper

ALIGNMENT = 4096
LEAST_BYTES = 1024   # smaller tensors stay in the model


class WeightFile:
    """Appends tensors to a file; `narrow`: floats may be kept as bf16."""

    def __init__(self, path, narrow=False):
        self.path, self.narrow = path, narrow
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


def initializer(name, array, store=None, narrow=False):
    """A TensorProto whose data lies in `store`, or within where that is None or it is small."""
    array = np.ascontiguousarray(array)
    raw = to_bf16(array) if narrow else array
    tensor = TensorProto(name=name, dims=array.shape)
    if narrow:
        tensor.data_type = TensorProto.BFLOAT16
    else:
        tensor.data_type = numpy_helper.from_array(array.reshape(-1)[:1]).data_type
    if store is None or raw.nbytes < LEAST_BYTES:
        tensor.raw_data = raw.tobytes()
        return tensor
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in store.put(raw.tobytes()).items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor
