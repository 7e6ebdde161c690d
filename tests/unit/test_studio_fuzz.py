"""Broken uploads, headers, routes and requests: refused in words, none of them another's."""

import asyncio
import errno
import io
import json
import re
import socket
import sqlite3

import numpy as np
import pytest
import soundfile
from studio import NOTES, open_studio, server, serving, write_export

from etude.audio.files import read_audio
from etude.midi.notes import read_midi
from etude.midi.writing import plain_table, write_midi
from etude.studio.app import application, routes
from etude.studio.decode import Refused, convert
from etude.studio.primes import kind_of
from etude.studio.responses import FULL

SEED = 20261129
MOST_SECONDS = 4.0


# -------------------------------------------------------------------------------------- uploads


def whole_files(folder):
    """Music that is read: a file of each form."""
    wave = 0.3 * np.sin(np.arange(4000) / 9)
    files = []
    for form in ("WAV", "FLAC", "OGG", "MP3"):
        memory = io.BytesIO()
        soundfile.write(memory, wave, 16000, format=form)
        files.append(memory.getvalue())
    onset = np.arange(12) * 240
    write_midi(plain_table(onset, onset * 0 + 240, 60 + np.arange(12)), folder / "whole.mid")
    return [*files, *[(folder / "whole.mid").read_bytes()] * 2]


def broken(data, random):
    """The bytes with one to six things done to them."""
    data = bytearray(data)
    for _ in range(random.integers(1, 7)):
        at = int(random.integers(0, max(len(data), 1)))
        size = int(random.integers(1, 64))
        noise = random.bytes(size)
        match random.integers(0, 7):
            case 0:
                data[at : at + 1] = noise[:1]
            case 1:
                del data[at:]
            case 2:
                del data[at : at + size]
            case 3:
                data[at:at] = noise
            case 4:
                data[at : at + size] = bytes([random.choice([0, 0x7F, 0xFF])]) * size
            case 5:
                data[at:at] = data[:at][:4000]
            case 6:  # in the header, where lengths and counts stand
                at = int(random.integers(0, 48))
                data[at : at + 4] = noise[:4]
    return bytes(data)


def test_of_a_hundred_broken_uploads_each_is_refused_or_becomes_a_prime(tmp_path):
    random, ends = np.random.default_rng(SEED), {"refused": 0, "kept": 0}
    files = whole_files(tmp_path)
    source, target = tmp_path / "x.upload", tmp_path / "x"
    for number in range(100):
        data = broken(files[number % len(files)], random)
        source.write_bytes(data)
        try:
            said = convert(kind_of(data), source, target, MOST_SECONDS)
        except Refused as why:
            ends["refused"] += 10 < len(str(why)) < 300  # a sentence
            continue
        ends["kept"] += 1
        wave = read_audio(target.with_suffix(".wav"))
        assert np.isfinite(wave).all()
        assert 0 < said["seconds"] < 4 * MOST_SECONDS  # notes ring on
        drawn = json.loads(target.with_suffix(".json").read_text())
        assert drawn["seconds"] == said["seconds"]
        if said["notes"]:
            assert read_midi(target.with_suffix(".mid")).seconds <= MOST_SECONDS
    assert sum(ends.values()) == 100, ends
    assert min(ends.values()) > 10, ends


# ------------------------------------------------------------------------- a disk that is full


@pytest.mark.slow
@pytest.mark.parametrize("by", ["the server", "the decoder"])
def test_an_upload_that_finds_no_room_leaves_nothing(tmp_path, monkeypatch, by):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "/secret/place")

    state = open_studio(tmp_path)
    if by == "the server":
        monkeypatch.setattr("pathlib.Path.write_bytes", full)
    else:
        program = tmp_path / "full.py"
        program.write_text(
            """
import sys
sys.path.insert(0, {root!r})
from etude.studio import decode
def full(*_):
    raise OSError(28, "No space left on device", "/secret/place")
decode.convert = full
sys.exit(decode.main(sys.argv[1:]))
""".format(root=str(__file__).split("/tests/")[0])
        )
        monkeypatch.setattr("etude.studio.primes.DECODER", program)
    with serving(state) as client:
        said = client.post("/api/primes/notes", json={"notes": NOTES})
        assert (said.status_code, said.json()) == (507, {"error": FULL})
        monkeypatch.undo()
        assert list(state.store.primes.iterdir()) == []
        assert client.post("/api/primes/notes", json={"notes": NOTES}).status_code == 201


# --------------------------------------------------------------------------- headers and routes

METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "get", "X" * 40)
WORDS = (
    "api", "static", "take", "primes", "clips", "jobs", "me", "mine", "enter", "notes", "listen",
    "next", "results", "trainings", "events", "near", "near.wav", "share", "star", "view", "leave",
    "healthz", "ratings.csv", "statistics", "main.js", "index.html", "qr.svg", "clip.wav", "..",
    "%2e%2e", "etc", "passwd", "", ".", "\0", "é", "a" * 5000, "${x}", "<script>", "' OR 1=1 --",
)  # fmt: skip
ENDS = ("", ".wav", ".mid", ".json", ".zip", "/", "?download", "?to=//evil.test", "?" + "a=b&" * 99)
VALUES = (
    b"", b"testserver", b"evil.test", b"http://testserver", b"null", b"bytes=0-3", b"bytes=-99999",
    b"bytes=9-1,0-0", b"bytes=" + b"0-1," * 500, b"\xff\xfe", b"0", b"-1", b"9" * 40, b"gzip",
    b"a" * 9000, b"etude=x", b"etude=" + b"\xc3\x28" * 9, b"chunked", b"127.0.0.1", b"https",
)  # fmt: skip
NAMES = (
    b"range", b"origin", b"cookie", b"content-length", b"content-type", b"accept-encoding",
    b"transfer-encoding", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"host",
    b"if-none-match", b"if-range", b"last-event-id", b"x-http-method-override", b"expect",
)  # fmt: skip
BODIES = (
    b"", b"{}", b"[]", b"null", b'{"model": 1}', b'{"notes": [[0,1,60,80]]}', b"\xff" * 99,
    b'{"code": "x"}', b'{"plan": "../x"}', b'{"value": 1}', b"[" * 9999, b'{"seed": 1e999}',
)  # fmt: skip


def request(random, cookie, ids):
    """The scope and the body of a request as no browser sends it."""

    def of(some):
        return some[random.integers(len(some))]

    if random.random() < 0.5:  # a route of ours, with anything in its places
        path = re.sub(r"{[^}]*}", lambda _: of(of((WORDS, ids, ids))), of(routes()).path)
    else:
        parts = [of(of((WORDS, WORDS, ids))) for _ in range(random.integers(1, 5))]
        path = ("/api/" if random.random() < 0.6 else "/") + "/".join(parts)
    path, _, query = (path + of(ENDS)).partition("?")
    headers = [(b"host", b"testserver")] if random.random() < 0.9 else []
    if random.random() < 0.8:
        headers += [(b"cookie", cookie), (b"origin", b"http://testserver")]
    headers += [(of(NAMES), of(VALUES)) for _ in range(random.integers(0, 4))]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": of(METHODS[:4]) if random.random() < 0.8 else of(METHODS),
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": ("192.0.2.1", 1),
        "server": ("testserver", 80),
    }
    return scope, of(BODIES)


async def answered(app, scope, body):
    """Status, headers and body of an answer; the visitor is gone once her body is read."""
    sent, messages = [], [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    await asyncio.wait_for(app(scope, receive, send), 20)
    starts = [message for message in sent if message["type"] == "http.response.start"]
    assert len(starts) == 1, scope
    data = b"".join(m.get("body", b"") for m in sent if m["type"] == "http.response.body")
    return starts[0]["status"], dict(starts[0]["headers"]), data


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (sqlite3.OperationalError("database or disk is full"), 507),
        (sqlite3.OperationalError("disk I/O error"), 500),
        (OSError(errno.ENOSPC, "No space left", "/secret/place"), 507),
        (OSError(errno.EIO, "Input/output error", "/secret/place"), 500),
    ],
    ids=str,
)
def test_a_fault_of_the_disk_is_answered_and_goes_no_further(tmp_path, monkeypatch, fault, status):
    """What goes on to the server ends the visitor's connection, and the requests that wait in it."""

    def fails(*_):
        raise fault

    state = open_studio(tmp_path)
    monkeypatch.setattr(state.store, "visitor", fails)
    scope, _ = request(np.random.default_rng(SEED), b"etude=x", ("x" * 22,))
    right = [(b"host", b"testserver"), (b"cookie", b"etude=x")]
    scope |= {"method": "GET", "path": "/api/jobs", "headers": right}
    said, headers, data = asyncio.run(answered(application(state, {"testserver"}), scope, b""))
    assert said == status
    assert b"secret" not in data
    assert headers[b"content-security-policy"]


@pytest.mark.slow
def test_of_fuzzed_requests_none_is_a_fault_and_none_gets_what_is_anothers(tmp_path):
    limits = {"hourly": 10_000, "address_hourly": 10_000, "waiting": 100, "queue": 1000}
    state = open_studio(tmp_path, limits)
    with serving(state) as client:
        hers = client.post("/api/primes/notes", json={"notes": NOTES}).json()["id"]
        client.cookies.clear()
        client.get("/")
        mine = client.post("/api/primes/notes", json={"notes": NOTES}).json()["id"]
        cookie = f"etude={client.cookies['etude']}".encode()
    secret = hers.encode()
    random, app = np.random.default_rng(SEED), application(state, {"testserver"})
    seen = set()

    async def all_of_them():
        for _ in range(1000):
            scope, body = request(random, cookie, (hers, mine, "x" * 22))
            status, headers, data = await answered(app, scope, body)
            seen.add(status)
            assert status in (200, 201, 206, 400, 401, 403, 404, 405, 408, 413, 416, 422, 429), (
                status, scope,
            )  # fmt: skip
            assert headers[b"x-content-type-options"] == b"nosniff", scope
            assert b"Traceback" not in data, scope
            assert str(tmp_path).encode() not in data, scope
            assert secret not in data, scope
            if hers in scope["path"]:
                assert status not in (200, 201, 206), scope

    asyncio.run(all_of_them())
    assert {200, 400, 401, 403, 404, 405, 422} <= seen
    assert state.store.row("SELECT 1 FROM primes WHERE id = ?", hers)


@pytest.mark.slow
def test_lines_that_are_no_http_do_not_end_the_server(tmp_path):
    write_export(tmp_path / "exports/notes")
    random = np.random.default_rng(SEED)
    lines = [
        b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000,
        b"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        *(random.bytes(400) for _ in range(20)),
        *(broken(b"GET /api/me HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", random) for _ in range(40)),
    ]  # fmt: skip
    with server(tmp_path / "data", tmp_path / "exports") as (address, process):
        host, port = address.removeprefix("http://").split(":")
        for line in lines:
            with socket.create_connection((host, int(port)), timeout=3) as wire:
                said = b""
                try:
                    wire.sendall(line)
                    wire.shutdown(socket.SHUT_WR)
                    while part := wire.recv(65536):
                        said += part
                except OSError:
                    pass  # broken off: an answer too
                assert b"Traceback" not in said
                assert said[:12] != b"HTTP/1.1 500"
        assert process.poll() is None
        with socket.create_connection((host, int(port)), timeout=5) as wire:
            wire.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            assert wire.recv(12) == b"HTTP/1.1 200"
