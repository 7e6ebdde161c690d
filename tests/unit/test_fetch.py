"""Archives and music21: what is fetched is whole, known and safe."""

import io
import json
import shutil
import stat
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from random import Random

import mido
import mutations
import numpy as np
import pytest
from refused import refused

from etude.config import ArchiveCorpus, Music21Corpus
from etude.corpus import archive, download, scores
from etude.corpus.chorales import CHORALES
from etude.corpus.fetch import fetch
from etude.corpus.renditions import Rendition
from etude.corpus.scan import choose_files, list_files
from etude.errors import UserError
from etude.midi.bars import places
from etude.midi.notes import read_midi
from etude.storage import hash_file, read_csv


def settings(url, sha256=None):
    return ArchiveCorpus(source="archive", url=str(url), sha256=sha256)


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def tarred(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as file:
        for name, data in members.items():
            info = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
            content = b"" if isinstance(data, tarfile.TarInfo) else data
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def fetched(folder):
    return {name: (folder / name).read_bytes() for name in list_files(folder)}


MEMBERS = {"a/x.mid": b"1", "a/é y/z.wav": b"22", "-b.mid": b"333", "metadata.csv": b"file\n"}


@pytest.mark.parametrize(
    "make",
    [
        lambda path: zipped(path / "m.zip", MEMBERS),
        lambda path: tarred(path / "m.tar.gz", MEMBERS),
        lambda path: tarred(path / "m.tgz", MEMBERS),
        lambda path: tarred(path / "m", MEMBERS, "w"),
        lambda path: zipped(path / "m.zip", {f"data/set/{n}": d for n, d in MEMBERS.items()}),
        lambda path: tarred(path / "m.tgz", {f"./set/{n}": d for n, d in MEMBERS.items()}),
        lambda path: zipped(path / "m.zip", MEMBERS | {"__MACOSX/a/._x.mid": b"junk"}),
        lambda path: zipped(
            path / "m.zip", {f"set/{n}".replace("/", "\\"): d for n, d in MEMBERS.items()}
        ),
    ],
)
def test_archives_are_unpacked(tmp_path, make):
    fetch(settings(make(tmp_path)), tmp_path / "c/source", 1)
    assert fetched(tmp_path / "c/source") == MEMBERS
    assert [p.name for p in sorted((tmp_path / "c").iterdir())] == ["archive.json", "source"]


def test_another_archive_at_the_same_place(tmp_path):
    path = zipped(tmp_path / "m.zip", MEMBERS)
    first = hash_file(path)
    fetch(settings(path), tmp_path / "c/source", 1)
    assert json.loads((tmp_path / "c/archive.json").read_text())["sha256"] == first
    fetch(settings(path), tmp_path / "c/source", 1)
    zipped(path, {"other.mid": b"4"})
    with refused("archive-hash-differs") as caught:
        fetch(settings(path), tmp_path / "c/source", 1)
    assert first in str(caught.value)
    assert fetched(tmp_path / "c/source") == MEMBERS  # what was there stays
    fetch(settings(path, hash_file(path)), tmp_path / "c/source", 1)
    assert fetched(tmp_path / "c/source") == {"other.mid": b"4"}
    with refused("archive-hash-differs", first):
        fetch(settings(path, first), tmp_path / "c/source", 1)


# ------------------------------------------------------------------------------- what means harm


@pytest.mark.parametrize(
    "name", ["../evil.mid", "a/../../evil.mid", "/tmp/evil.mid", "..\\evil.mid", "a/b/../../../e"]
)
@pytest.mark.parametrize("make", [zipped, tarred])
def test_members_that_lead_elsewhere(tmp_path, make, name):
    path = make(tmp_path / "m", {"good.mid": b"1", name: b"2"})
    with refused("archive-leads-elsewhere", repr(name)):
        fetch(settings(path), tmp_path / "c/source", 1)
    assert [p.name for p in tmp_path.rglob("*")] == ["m", "c"]  # nothing is left, nor pinned


def test_links_and_devices_are_left_out(tmp_path, caplog):
    members = {"good.mid": b"1"}
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        member = tarfile.TarInfo(f"bad{kind!r}.mid")
        member.type, member.linkname = kind, "/etc/passwd"
        members[member.name] = member
    fetch(settings(tarred(tmp_path / "m.tgz", members)), tmp_path / "c/source", 1)
    assert fetched(tmp_path / "c/source") == {"good.mid": b"1"}
    assert "4 links or devices" in caplog.text
    link = zipfile.ZipInfo("link.mid")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
        file.writestr("good.mid", b"1")
    fetch(settings(tmp_path / "m.zip"), tmp_path / "d/source", 1)
    assert fetched(tmp_path / "d/source") == {"good.mid": b"1"}


@pytest.mark.parametrize("make", [zipped, tarred])
def test_bombs(tmp_path, make, monkeypatch):
    monkeypatch.setattr(archive, "ALWAYS_ALLOWED", 2**20)
    path = make(tmp_path / "m", {"zeros.wav": bytes(2**23)})
    with refused("archive-bomb"):
        fetch(settings(path), tmp_path / "c/source", 1)
    assert not (tmp_path / "c/source").exists()
    monkeypatch.setattr(archive, "ALWAYS_ALLOWED", 2**24)
    fetch(settings(path), tmp_path / "c/source", 1)


@pytest.mark.parametrize(
    ("data", "code", "why"),
    [
        (b"", "not-an-archive", "empty"),
        (b"\xef\xbb\xbf\n <!DOCTYPE html><html>", "not-an-archive", "web page"),
        (b"<html><body>Sign in</body></html>", "not-an-archive", "web page"),
        (b"Rar!\x1a\x07\x00", "not-an-archive", "b'Rar!"),
        (b"PK\x03\x04 and nothing more", "archive-broken", ""),
        (b"\x1f\x8b\x08\x00 and nothing more", "archive-broken", ""),
    ],
)
def test_what_is_no_archive(tmp_path, data, code, why):
    (tmp_path / "m.zip").write_bytes(data)
    with refused(code, why):
        fetch(settings(tmp_path / "m.zip"), tmp_path / "c/source", 1)
    assert not (tmp_path / "c/archive.json").exists()


@pytest.mark.parametrize("make", [zipped, tarred])
def test_archives_that_are_cut_off(tmp_path, make):
    path = make(tmp_path / "m", {f"{i}.mid": bytes(range(256)) * i for i in range(40)})
    path.write_bytes(path.read_bytes()[:-600])
    with refused("archive-broken"):
        fetch(settings(path), tmp_path / "c/source", 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stored", "deflate", "bzip2", "lzma", "tar", "tar.gz"])
def test_mutated_archives(tmp_path, kind):
    """Whatever is broken in them: unpacked or refused, and nothing lands elsewhere."""
    methods = {"stored": 0, "deflate": 8, "bzip2": 12, "lzma": 14}
    random, path = Random(kind), tmp_path / "m"
    if kind in methods:
        with zipfile.ZipFile(path, "w", methods[kind]) as file:
            for name, data in MEMBERS.items():
                file.writestr(name, data * 300)
    else:
        tarred(path, {n: d * 300 for n, d in MEMBERS.items()}, "w:gz" if kind == "tar.gz" else "w")
    sound, refused = path.read_bytes(), 0
    for _ in range(150):
        path.write_bytes(random.choice(mutations.MUTATIONS)(sound, random, sound))
        folder = tmp_path / "out"
        folder.mkdir()
        try:
            archive.unpack(path, folder, "m")
        except UserError:
            refused += 1
        shutil.rmtree(folder)
        shutil.rmtree(tmp_path / "out.lift", ignore_errors=True)
        assert list(tmp_path.iterdir()) == [path]
    assert 0 < refused < 150


def test_folder_and_file_of_one_name(tmp_path):
    path = tarred(tmp_path / "m", {"a": b"1", "a/b.mid": b"2"})
    with refused("archive-not-writable"):
        fetch(settings(path), tmp_path / "c/source", 1)


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("nowhere.zip", ""),
        ("ftp://example.org/m.zip", "ftp"),
        ("http://example.org/m.zip", "http"),
        ("file:///etc/passwd", "file"),
    ],
)
def test_addresses_that_are_refused(tmp_path, url, scheme):
    with refused("archive-not-found", f"{scheme} is not https" if scheme else "nowhere.zip"):
        fetch(settings(url), tmp_path / "c/source", 1)


# ------------------------------------------------------------------------------------ downloads


@contextmanager
def server(answer):
    """A server on this machine; `answer(handler, count)` handles the request of that number."""

    class Handler(BaseHTTPRequestHandler):
        count = 0

        def do_GET(self):
            Handler.count += 1
            answer(self, Handler.count)

        def log_message(self, *args):
            pass

    service = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=service.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{service.server_port}/m.zip"
    finally:
        service.shutdown()
        service.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)


def send(handler, body, status=200, length=None, **headers):
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def test_a_broken_download_goes_on(tmp_path):
    path = zipped(tmp_path / "m.zip", MEMBERS)
    whole, ranges = path.read_bytes(), []

    def answer(handler, count):
        ranges.append(handler.headers.get("Range"))
        if count == 1:
            send(handler, whole[:100], length=len(whole), ETag='"1"')
        elif count == 2:
            send(handler, b"", status=503)
        else:
            assert handler.headers["If-Range"] == '"1"'
            send(handler, whole[100:], status=206, ETag='"1"')

    with server(answer) as url:
        fetch(settings(url, hash_file(path)), tmp_path / "c/source", 1)
    assert fetched(tmp_path / "c/source") == MEMBERS
    assert ranges == [None, "bytes=100-", "bytes=100-"]
    assert [p.name for p in sorted((tmp_path / "c").iterdir())] == ["archive.json", "source"]


def test_a_file_that_changed_meanwhile_is_taken_from_its_start(tmp_path):
    path = zipped(tmp_path / "m.zip", MEMBERS)
    whole = path.read_bytes()

    def answer(handler, count):
        if count == 1:
            send(handler, b"of old" * 9, length=999, ETag='"0"')
        else:
            send(handler, whole, ETag='"1"')

    with server(answer) as url:
        fetch(settings(url, hash_file(path)), tmp_path / "c/source", 1)
    assert fetched(tmp_path / "c/source") == MEMBERS


def test_a_server_that_says_no(tmp_path):
    counts = []

    def gone(handler, count):
        counts.append(count)
        send(handler, b"", status=404)

    with server(gone) as url, refused("download-failed") as caught:
        fetch(settings(url, "0" * 64), tmp_path / "c/source", 1)
    assert "HTTP 404" in str(caught.value)
    assert counts == [1]


def test_a_server_that_always_breaks_off(tmp_path):
    with (
        server(lambda handler, count: send(handler, b"x", length=10)) as url,
        refused("download-failed"),
    ):
        fetch(settings(url, "0" * 64), tmp_path / "c/source", 1)


def test_a_page_to_log_in_instead_of_the_archive(tmp_path):
    with (
        server(lambda handler, count: send(handler, b"<html>log in</html>")) as url,
        refused("not-an-archive", "web page"),
    ):
        fetch(settings(url, "0" * 64), tmp_path / "c/source", 1)


def test_redirections_stay_protected(tmp_path):
    with (
        server(lambda handler, count: send(handler, b"PK")) as url,
        refused("redirect-without-https"),
    ):
        download.download(url, tmp_path / "x")


# --------------------------------------------------------------------------------------- music21


def test_the_list_of_chorales():
    assert len(CHORALES) == len(set(CHORALES)) > 300


@pytest.mark.slow
def test_scores_are_exported(tmp_path, monkeypatch):
    wanted = ["bwv253.mxl", "bwv66.6.mxl", "bwv10.7.mxl"]
    monkeypatch.setattr("etude.corpus.scores.LISTS", {"chorales": ("bach", wanted)})
    fetch(Music21Corpus(program=5), tmp_path / "source", 1)
    first = fetched(tmp_path / "source")
    assert list(first) == ["bwv10.7.mid", "bwv253.mid", "bwv66.6.mid", "metadata.csv"]
    file = mido.MidiFile(tmp_path / "source/bwv66.6.mid")
    programs = {m.program for track in file.tracks for m in track if m.type == "program_change"}
    assert programs == {5}
    assert sum(any(m.type == "note_on" for m in track) for track in file.tracks) == 4
    table = read_midi(tmp_path / "source/bwv66.6.mid")
    assert len(np.unique(table.track)) == 4
    assert set(table.program) == {5}
    titles = {row["path"]: row["title"] for row in read_csv(tmp_path / "source/metadata.csv")}
    assert titles["bwv10.7.mid"] == "Meine Seel’ erhebt den Herren"
    assert titles["bwv66.6.mid"] == ""  # in none of music21's lists
    fetch(Music21Corpus(program=5, limit=2), tmp_path / "source", 2)
    second = fetched(tmp_path / "source")
    titles = second.pop("metadata.csv").decode().splitlines()
    assert list(second) == choose_files([name for name in first if name.endswith(".mid")], 2)
    assert [line.split(",")[0] for line in titles] == ["path", *second]
    for name, data in second.items():
        assert data == first[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bwv66.6", "bwv269", "bwv10.7", "bwv119.9"])
def test_bar_lines_are_the_scores(tmp_path, name):
    """An upbeat in four quarters, one in three with a repeat to it, none, one of half a bar."""
    from music21 import converter

    job = Rendition(f"{name}.mxl", "a.mid", (0,))
    scores.export_score(scores.corpus_folder() / "bach", tmp_path, job)
    table = read_midi(tmp_path / "a.mid")
    assert table.onset[0] == 0  # no silence in place of what the first bar lacks
    path = scores.corpus_folder() / f"bach/{name}.mxl"
    score = converter.parse(path, forceSource=True, storePickle=False)
    measures = list(score.parts[0].expandRepeats().getElementsByClass("Measure"))
    whole = [m.offset for m in measures if m.duration.quarterLength == m.barDuration.quarterLength]
    ticks = np.array([int(offset * table.ticks_per_quarter) for offset in whole])
    found = places(ticks, table.signatures, table.ticks_per_quarter)
    assert not found.offset.any()
    upbeat = measures[0].duration.quarterLength if measures[0].paddingLeft else 0
    assert table.upbeat == upbeat * table.ticks_per_quarter
    if table.upbeat:  # as music21 writes it, no bar line is where the score has it
        early = table.signatures[1:2] * [0, 1, 1]
        assert places(ticks, early, table.ticks_per_quarter).offset.all()


def test_scores_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr("etude.corpus.scores.LISTS", {"chorales": ("bach", ["bwv0.mxl"])})
    with refused("music21-export-failed", 1):
        fetch(Music21Corpus(), tmp_path / "source", 1)
    assert not (tmp_path / "source").exists()
