"""What a file is by its first bytes, for reasons that name the true cause."""

from __future__ import annotations

HEAD = 512  # bytes that are enough to tell

# First bytes, from which byte on, and what begins so.
KINDS: tuple[tuple[bytes, int, str], ...] = (
    (b"version https://git-lfs", 0, "a pointer of Git LFS (git lfs pull gets the file)"),
    (b"MThd", 0, "a MIDI file"),
    (b"RMID", 8, "a MIDI file"),
    (b"WAVE", 8, "a WAV recording"),
    (b"AIFF", 8, "an AIFF recording"),
    (b"fLaC", 0, "a FLAC recording"),
    (b"OggS", 0, "an Ogg recording"),
    (b"ID3", 0, "an MP3 recording"),
    (b"ftyp", 4, "an MPEG-4 file (m4a, mp4)"),
    (b"PK\x03\x04", 0, "a zip archive"),
    (b"\x1f\x8b", 0, "a gzip archive"),
    (b"%PDF", 0, "a PDF"),
    (b"\x89PNG", 0, "a picture"),
    (b"\xff\xd8\xff", 0, "a picture"),
    (b"GIF8", 0, "a picture"),
)
PAGE = (b"<!doctype html", b"<html", b"<head", b"<body")
MARKUP = (b"<?xml", b"<")


def what_it_is(head: bytes) -> str:
    """`a web page`, `a zip archive` … by the first HEAD bytes; nothing where they say nothing."""
    for mark, at, name in KINDS:
        if head[at : at + len(mark)] == mark:
            return name
    if head and not head.strip(b"\0"):
        return "nothing but zero bytes"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if any(mark in text for mark in PAGE) and text.startswith(b"<"):
        return "a web page"
    if text.startswith(MARKUP):
        return "text with markup (XML, MusicXML)"
    return "text" if text and _is_text(head) else ""


def _is_text(head: bytes) -> bool:
    try:
        words = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.end < len(head):  # else a letter is cut in two where the head ends
            return False
        words = head[: error.start].decode("utf-8")
    return all(letter.isprintable() or letter.isspace() for letter in words)
