"""Lengths of files in NetCDF's classic formats, whose library reads what is cut off as zeros."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from typing import BinaryIO

#: Bytes of a value by type: byte, char, short, int, float, double, and the unsigned and longer ones of CDF-5.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
#: Bytes of a name; the library takes 256.
_LONGEST = 1024
#: More dimensions, variables or attributes than any file has.
_MOST = 1_000_000


class TornError(Exception):
    """A header is truncated or is not one."""


@dataclass
class _Header:
    """The unread part of a header, whose counts have 4 bytes, in CDF-5 8."""

    file: BinaryIO
    length: int
    version: int

    def number(self, size: int = 0) -> int:
        size = size or (8 if self.version == 5 else 4)
        return int(struct.unpack(">Q" if size == 8 else ">I", self.bytes(size))[0])

    def bytes(self, size: int) -> bytes:
        found = self.file.read(size) if size <= self.length else b""
        if len(found) != size:
            raise TornError("its header ends too early")
        return found

    def count(self) -> int:
        """Read the number of items of a list, behind its tag."""
        self.number(4)
        count = self.number()
        if count > _MOST:
            raise TornError(f"its header counts {count} items")
        return count

    def name(self) -> None:
        length = self.number()
        if length > _LONGEST:
            raise TornError(f"its header has a name of {length} bytes")
        self.bytes(_padded(length))

    def attributes(self) -> None:
        for _ in range(self.count()):
            self.name()
            size = self.size_of_type()
            self.bytes(_padded(size * self.number()))

    def size_of_type(self) -> int:
        kind = self.number(4)
        if kind not in _SIZES:
            raise TornError(f"its header has a type {kind}")
        return _SIZES[kind]


def _padded(size: int) -> int:
    return -(-size // 4) * 4


def missing_bytes(file: BinaryIO, length: int) -> int:
    """Return by how many bytes a file is shorter than its header says; 0 also for other formats.

    Parameters
    ----------
    file : binary file
        At its beginning.
    length : int
        Of the file.

    Raises
    ------
    TornError
        If the header itself cannot be read.
    """
    magic = file.read(4)
    if magic[:3] != b"CDF" or magic[3:] not in (b"\1", b"\2", b"\5"):
        return 0
    header = _Header(file, length, magic[3])
    records = header.number()
    dimensions = []
    for _ in range(header.count()):
        header.name()
        dimensions.append(header.number())
    header.attributes()
    ends, slabs = [0], []
    for _ in range(header.count()):
        header.name()
        places = [header.number() for _ in range(min(header.number(), _MOST))]
        if any(place >= len(dimensions) for place in places):
            raise TornError("its header names a dimension that it does not have")
        header.attributes()
        size = header.size_of_type()
        header.number()  # what it says of the size may be cut
        begin = header.number(4 if header.version == 1 else 8)
        shape = [dimensions[place] for place in places]
        # Length 0 marks the dimension of records, the first of a variable.
        if shape and shape[0] == 0:
            slabs.append((begin, size * prod(shape[1:])))
        else:
            ends.append(begin + size * prod(shape))
    step = slabs[0][1] if len(slabs) == 1 else sum(_padded(slab) for _, slab in slabs)
    # All ones: written as a stream, whose records nobody has counted.
    if 0 < records < (2**64 if header.version == 5 else 2**32) - 1:
        ends += [begin + (records - 1) * step + slab for begin, slab in slabs]
    return max(0, max(ends) - length)
