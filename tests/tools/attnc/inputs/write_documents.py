# Writes the two tables of a packed space: write_documents.py LENGTHS DOC.npy START.npy
import struct
import sys


def write(path, values):
    header = f"{{'descr': '<i4', 'fortran_order': False, 'shape': ({len(values)},), }}"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        file.write(struct.pack(f"<{len(values)}i", *values))


lengths = [int(length) for length in sys.argv[1].split(",")]
write(sys.argv[2], [d for d, length in enumerate(lengths) for _ in range(length)])
write(sys.argv[3], [sum(lengths[:d]) for d, length in enumerate(lengths) for _ in range(length)])
