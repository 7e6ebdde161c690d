"""Whether a recording is all there: what its container promises beside what the file holds.

libsndfile takes what is left of a WAV, AIFF or Ogg file that ends early and says nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from etude.file_signatures import HEAD, what_it_is

PAGE = 27  # bytes of the head of an Ogg page
LONGEST_PAGE = 65307
LAST_PAGE = 4  # a flag
# Lengths that are written where nobody knows them yet: by a pipe, or a recorder that crashed.
UNKNOWN = ((0, 0), (0x7FFF0000, 0x80000000), (0xFFFF0000, 0xFFFFFFFF))
SLACK = 8  # bytes: some programs count the header or the padding wrongly


def shortfall(path: Path, seconds: float) -> str:
    """Why a recording of which these seconds can be read is not whole; empty if it is."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:] == b"WAVE":
            declared, there = _samples(file, b"data", "little")
        elif head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
            declared, there = _samples(file, b"SSND", "big")
        elif head[:4] == b"OggS":
            return "" if _ends(file) else f"{seconds:.2f} s and no end of the stream are there"
        else:
            return ""
    if declared <= there + SLACK:
        return ""
    return promised(seconds, seconds * declared / there if there else 0.0)


def why_closed(path: Path, reason: str) -> str:
    """The reason of a file that libsndfile does not open; `reason` is what it says itself."""
    with path.open("rb") as file:
        found = what_it_is(file.read(HEAD))
    if found and not found.endswith("recording"):
        return f"corrupt_audio: this is {found}"
    if found and (short := shortfall(path, 0.0)):
        return f"ends_early: {short}"
    # Its MP3 decoder says so of a file that is there and is none.
    return f"corrupt_audio: {'Format not recognised' if 'not exist' in reason else reason}"


def promised(found_s: float, promised_s: float) -> str:
    """The two lengths in words."""
    return f"{found_s:.2f} of {promised_s:.2f} s are there"


def _samples(file: BinaryIO, name: bytes, order: str) -> tuple[int, int]:
    """Bytes of samples that a RIFF or AIFF file promises, and those that follow; 0, 0: none."""
    end, wide = os.fstat(file.fileno()).st_size, 0
    while len(head := file.read(8)) == 8:
        size = int.from_bytes(head[4:], order)  # type: ignore[arg-type]
        begin = file.tell()
        if head[:4] == b"ds64":  # sizes beyond 32 bits
            wide = int.from_bytes(file.read(16)[8:], "little")
        if head[:4] == name:
            unknown = not wide and any(low <= size <= high for low, high in UNKNOWN)
            return (0, 0) if unknown else (wide or size, end - begin)
        file.seek(begin + size + size % 2)
    return 0, 0


def _ends(file: BinaryIO) -> bool:
    """Whether the last page of an Ogg file is whole, and says that it is the last one."""
    file.seek(max(0, os.fstat(file.fileno()).st_size - 2 * LONGEST_PAGE))
    tail = file.read()
    at = tail.rfind(b"OggS\0")
    if at < 0 or len(tail) < at + PAGE:
        return False
    lengths = tail[at + PAGE : at + PAGE + tail[at + 26]]
    whole = len(lengths) == tail[at + 26] and len(tail) >= at + PAGE + len(lengths) + sum(lengths)
    return whole and bool(tail[at + 5] & LAST_PAGE)
