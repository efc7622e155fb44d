"""A body as bytes of HTTP/1.1, whole or ended early, with the number of its bytes that must have arrived."""

from __future__ import annotations

import enum
import random
import zlib
from typing import NamedTuple

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%b\r\n"
TYPES = [b"text/event-stream", b"text/event-stream; charset=utf-8", b"Text/Event-Stream;charset=UTF-8"]
EXTENSIONS = [b"", b"", b"", b";x", b";x=y", b' ;x="y;z"']
TRAILERS = [b"", b"", b"X-Trailer: x\r\n", b"X-Trailer: x\r\nX-Sum: 1\r\n"]


class Framing(enum.Enum):
    """How a response marks the end of its body."""

    CHUNKED = b"Transfer-Encoding: chunked\r\n"
    GZIP_CHUNKED = b"Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n"
    LENGTH = b"Content-Length: %d\r\n"
    CLOSE = b"Connection: close\r\n"
    GZIP_CLOSE = b"Connection: close\r\nContent-Encoding: gzip\r\n"


class Flaw(enum.Enum):
    """How a response that was cut goes on."""

    NONE = "not at all"
    OPEN_CHUNK = "a chunk lacks bytes"
    SHORT_LENGTH = "more bytes than were announced"
    GARBAGE = "bytes that are no chunk, or no gzip"


class Wire(NamedTuple):
    """All bytes of a response. `arrived`: bytes of the body in it; `clean`: it ends as HTTP requires."""

    data: bytes
    arrived: int
    clean: bool
    complete: bool  # the connection could carry another response
    ended: bool  # ended by a close that is no part of the framing
    flaw: Flaw = Flaw.NONE


def wire(body: bytes, framing: Framing, cut: int | None, rng: random.Random) -> Wire:
    """`body` with its framing. With `cut`, only its first `cut` bytes."""
    part = body if cut is None else body[:cut]
    pieces = _pieces(part, rng)
    if framing in {Framing.GZIP_CHUNKED, Framing.GZIP_CLOSE}:
        pieces = _gzip(pieces, finish=cut is None)
    head = HEAD % (rng.choice(TYPES), framing.value % len(body) if framing is Framing.LENGTH else framing.value)
    if framing in {Framing.CHUNKED, Framing.GZIP_CHUNKED}:
        head += b"".join(_chunk(piece, rng) for piece in pieces)
        if cut is None:
            return Wire(head + _last_chunk(rng), len(part), clean=True, complete=True, ended=False)
        flaw = rng.choice([Flaw.NONE, Flaw.OPEN_CHUNK, Flaw.GARBAGE])
        tail = {Flaw.NONE: b"", Flaw.OPEN_CHUNK: b"ff\r\n", Flaw.GARBAGE: _garbage(framing)}[flaw]
        return Wire(head + tail, len(part), clean=False, complete=False, ended=True, flaw=flaw)
    if framing is Framing.LENGTH and cut is not None and rng.random() < 0.5:
        head = HEAD % (rng.choice(TYPES), framing.value % cut)
        return Wire(head + body, cut, clean=True, complete=True, ended=False, flaw=Flaw.SHORT_LENGTH)
    clean = framing is not Framing.LENGTH or len(part) == len(body)
    complete = framing is Framing.LENGTH and clean
    return Wire(head + b"".join(pieces), len(part), clean=clean, complete=complete, ended=not clean)


def _garbage(framing: Framing) -> bytes:
    junk = b"\xff" * 20
    return b"14\r\n" + junk + b"\r\n" if framing is Framing.GZIP_CHUNKED else b"1\r\n" + junk


def _last_chunk(rng: random.Random) -> bytes:
    return rng.choice([b"0", b"000"]) + rng.choice(EXTENSIONS) + b"\r\n" + rng.choice(TRAILERS) + b"\r\n"


def _pieces(body: bytes, rng: random.Random) -> list[bytes]:
    step = rng.choice([1, 7, 100, 10_000])
    return [body[i : i + step] for i in range(0, len(body), step)]


def _chunk(piece: bytes, rng: random.Random) -> bytes:
    size = rng.choice([b"%x", b"%X", b"000%x"]) % len(piece)
    return size + rng.choice(EXTENSIONS) + b"\r\n" + piece + b"\r\n"


def _gzip(pieces: list[bytes], *, finish: bool) -> list[bytes]:
    """The pieces in gzip. A reader can unpack each piece as soon as it arrives."""
    packer = zlib.compressobj(wbits=31)
    packed = [packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]
    return [*packed, packer.flush()] if finish else packed
