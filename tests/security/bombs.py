"""Bombs: small files that ask for a great deal."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any


def png_bomb(width: int, height: int) -> bytes:
    """A valid PNG of black pixels, 1 bit each: 20000x20000 in 48 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    packer, row = zlib.compressobj(9), bytes(1 + (width + 7) // 8)
    body = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def gif_bomb(width: int, height: int) -> bytes:
    """A GIF whose first 8 million pixels are black, in 5 kB: every code is one longer than before.

    One table of the packing (Lempel, Ziv, Welch) is filled; smaller pictures end inside of it.
    """
    bits, count, left = 0, 0, min(width * height, 8_000_000)

    def put(code: int, size: int) -> None:
        nonlocal bits, count
        bits |= code << count
        count += size

    put(4, 3)  # clear
    put(0, 3)
    left, free, size, run = left - 1, 6, 3, 2
    while left > 0:
        taken = min(run, left)
        put(free if taken == run else 0 if taken == 1 else free - (run - taken), size)
        left, run, free = left - taken, run + 1, free + 1
        size += free == 1 << size and size < 12
    put(5, size)
    data = bits.to_bytes((count + 7) // 8, "little")
    blocks = b"".join(
        bytes([len(data[at : at + 255])]) + data[at : at + 255] for at in range(0, len(data), 255)
    )
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    picture = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02" + blocks + b"\0"
    return head + picture + b";"


def tensor_file(
    rows: Mapping[str, tuple[str, list[int], bytes]], metadata: Mapping[str, Any] | None = None
) -> bytes:
    """A .safetensors file that says what it is told: (dtype, shape, data) by name."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    data = b""
    for name, (dtype, shape, own) in rows.items():
        offsets = [len(data), len(data) + len(own)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += own
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


DEEP = "[" * 200_000
