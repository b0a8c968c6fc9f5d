"""Counter-based normal noise: Philox4x32-10 and Box-Muller, in NumPy.

The C++ runtime draws the same numbers. Four values share one counter:
counter = (element / 4 low 32 bits, element / 4 high 32 bits, block, step),
key = (seed low 32 bits, seed high 32 bits).
"""
import numpy as np

_LOW = np.uint64(0xFFFFFFFF)
_MULTIPLIER = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)


def philox(counter, key):
    """Ten rounds on counter [N, 4] (uint32) with key (k0, k1); returns [N, 4] uint32."""
    c = [counter[:, i].astype(np.uint64) for i in range(4)]
    k0, k1 = int(key[0]), int(key[1])
    for _ in range(10):
        p0, p1 = c[0] * _MULTIPLIER[0], c[2] * _MULTIPLIER[1]
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), p1 & _LOW,
             (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), p0 & _LOW]
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack(c, 1).astype(np.uint32)


def normal(count, seed, block, step):
    """`count` float32 normals of one block and step."""
    groups = np.arange((count + 3) // 4, dtype=np.uint64)
    counter = np.zeros((len(groups), 4), np.uint32)
    counter[:, 0] = groups & _LOW
    counter[:, 1] = groups >> np.uint64(32)
    counter[:, 2], counter[:, 3] = block & 0xFFFFFFFF, step
    u = philox(counter, (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF)).astype(np.float64)
    u = (u + 0.5) * 2.0 ** -32
    radius = np.sqrt(-2.0 * np.log(u[:, 0::2]))
    angle = 2.0 * np.pi * u[:, 1::2]
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
    return pairs.reshape(-1)[:count].astype(np.float32)


if __name__ == "__main__":
    # Known answers of the Random123 distribution.
    zeros = philox(np.zeros((1, 4), np.uint32), (0, 0))[0]
    assert [f"{x:08x}" for x in zeros] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]
    ones = philox(np.full((1, 4), 0xFFFFFFFF, np.uint32), (0xFFFFFFFF, 0xFFFFFFFF))[0]
    assert [f"{x:08x}" for x in ones] == ["408f276d", "41c83b0e", "a20bc7c6", "6d5451fd"]
    print(normal(8, seed=1, block=0, step=0))
