# Decodes a PNG and expects at least COLOURS pixels of each colour class: check_png.py FILE COLOURS
import struct
import sys
import zlib

data = open(sys.argv[1], "rb").read()
assert data[:8] == b"\x89PNG\r\n\x1a\n"
at, packed = 8, b""
while at < len(data):
    length, kind = struct.unpack(">I4s", data[at : at + 8])
    body = data[at + 8 : at + 8 + length]
    assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0]
    if kind == b"IHDR":
        width, height = struct.unpack(">II", body[:8])
    if kind == b"IDAT":
        packed += body
    at += 12 + length
rows = zlib.decompress(packed)
stride = 1 + 3 * width
assert len(rows) == stride * height
count = {}
row = bytes(3 * width)
for y in range(height):
    coded = rows[y * stride + 1 : (y + 1) * stride]
    assert rows[y * stride] == 2, "the Up filter is the only one written"
    row = bytes((a + b) & 255 for a, b in zip(coded, row))
    for x in range(0, len(row), 3):
        pixel = row[x : x + 3]
        count[pixel] = count.get(pixel, 0) + 1
for name, colour in (("full", (42, 111, 176)), ("admitted", (232, 134, 46)),
                     ("excluded", (252, 230, 205)), ("empty", (243, 243, 240)), ("ink", (40, 40, 40))):
    assert count.get(bytes(colour), 0) >= int(sys.argv[2]), (name, count.get(bytes(colour), 0))
