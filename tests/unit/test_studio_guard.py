"""Who asks, from where, how much: the studio's checklist, a test each."""

import asyncio
import json
import socket
import struct
import time

import pytest
from refused import refused
from starlette.requests import Request
from studio import NOTES, ask, ended, model, open_studio, server, serving, tone, write_export

from etude.studio import guard
from etude.studio.command import hosts, read_code, serve
from etude.studio.guard import Rates, network
from etude.studio.responses import Problem

SPELLINGS = (
    "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "..%5c..%5cx",
    "%00", "....//....//x", "a" * 300,
)  # fmt: skip


@pytest.fixture
def client(tmp_path):
    with serving(open_studio(tmp_path)) as found:
        yield found


def test_a_foreign_origin_changes_nothing(client):
    for origin in ("http://evil.test", "null", "https://testserver", ""):
        said = client.post("/api/primes/notes", json={"notes": NOTES}, headers={"Origin": origin})
        assert said.status_code == 403, origin
    assert client.get("/api/jobs", headers={"Origin": "http://evil.test"}).status_code == 200


def test_another_host_is_refused(client):
    for host in ("evil.test", "testserver.evil.test", "169.254.169.254", ""):
        assert client.get("/", headers={"Host": host}).status_code == 400, host


def test_without_a_cookie_there_is_nothing(client):
    client.cookies.clear()
    for path in ("/api/me", "/api/jobs", "/api/events"):
        assert client.get(path).status_code == 401
    assert client.post("/api/primes", content=b"x").status_code == 401


def test_the_cookie_is_for_the_page_alone_and_kept_as_a_hash(tmp_path):
    state = open_studio(tmp_path)
    with serving(state) as client:
        client.cookies.clear()
        said = client.get("/").headers["set-cookie"].lower()
        assert "httponly" in said
        assert "samesite=strict" in said
        assert "secure" not in said
        value = client.cookies["etude"]
    assert value not in str(state.store.rows("SELECT * FROM visitors"))


@pytest.mark.slow
def test_what_is_anothers_is_not_there(client):
    prime = client.post("/api/primes/notes", json={"notes": NOTES}).json()["id"]
    job = ask(client, prime=prime).json()["id"]
    clip = ended(client, job)["clips"][0]["id"]
    places = [f"/api/primes/{prime}.wav", f"/api/jobs/{job}", f"/api/jobs/{job}.zip"]
    places += [f"/api/clips/{clip}.{form}" for form in ("wav", "mid", "json")]
    places += [f"/api/clips/{clip}/view", f"/api/primes/{prime}/view"]
    assert [client.get(path).status_code for path in places] == [200] * len(places)
    client.cookies.clear()
    client.get("/")
    assert [client.get(path).status_code for path in places] == [404] * len(places)
    for path in (
        f"/api/jobs/{job}",
        f"/api/clips/{clip}",
        f"/api/primes/{prime}",
        f"/api/clips/{clip}/star",
    ):
        assert client.delete(path).status_code == 404, path
    assert ask(client, prime=prime).status_code == 404
    assert client.post(f"/api/clips/{clip}/share").status_code == 404


@pytest.mark.slow
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_path_leads_out(client, spelling):
    for before in ("/static/", "/api/primes/", "/api/clips/", "/api/jobs/", "/take/"):
        for after in ("", ".wav", ".json"):
            said = client.get(f"{before}{spelling}{after}")
            assert said.status_code == 404, said.url
            assert "root:" not in said.text
            assert "error" in said.json()


def test_headers_keep_the_page_to_itself(client):
    for path in ("/", "/api/me", "/api/nothing", "/static/main.js"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["cross-origin-resource-policy"] == "same-origin"
        # Over http a browser would only complain of it, in the console.
        assert "cross-origin-opener-policy" not in headers
        secure = client.get(f"https://testserver{path}").headers
        assert secure["cross-origin-opener-policy"] == "same-origin"


def test_a_body_is_counted_while_it_is_read(tmp_path):
    with serving(open_studio(tmp_path, {"upload_mb": 0.1, "midi_kb": 2})) as client:
        assert client.post("/api/primes", content=b"x" * 200_000).status_code == 413
        chunks = (b"x" * 1000 for _ in range(1000))  # no length is declared
        assert client.post("/api/primes", content=chunks).status_code == 413
        assert client.post("/api/primes", content=b"MThd" + b"x" * 3000).status_code == 413
        assert client.post("/api/jobs", content=b"x" * 100_000).status_code == 413


def test_a_slow_body_is_not_waited_for():
    async def receive():
        await asyncio.sleep(60)

    async def read():
        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        await guard.body_of(request, 1000, part_s=0.05)

    began = time.monotonic()
    with pytest.raises(Problem) as error:
        asyncio.run(read())
    assert error.value.status == 408
    assert time.monotonic() - began < 2


@pytest.mark.slow
def test_limits_of_a_visitor_and_of_an_address(tmp_path):
    limits = {"waiting": 2, "queue": 3, "hourly": 100, "address_hourly": 9}
    state = open_studio(tmp_path, limits, devices=())
    with serving(state) as client:
        assert [ask(client).status_code for _ in range(3)] == [201, 201, 429]
        client.cookies.clear()
        client.get("/")
        assert [ask(client).status_code for _ in range(2)] == [201, 503]
        said = [
            client.post("/api/primes/notes", json={"notes": NOTES}).status_code for _ in range(7)
        ]
        assert said == [201] * 6 + [429], "cookies cost nothing, so addresses are counted"


def test_rates_forget():
    now = [0.0]
    rates = Rates(lambda: now[0])
    assert [rates.allow("a", 2, 10) for _ in range(3)] == [True, True, False]
    now[0] = 11
    assert rates.allow("a", 2, 10)


def test_of_ipv6_a_network_is_counted():
    assert network("2001:db8::1") == network("2001:db8::ffff")
    assert network("2001:db8:0:1::1") != network("2001:db8::1")
    assert network("192.0.2.1") != network("192.0.2.2")
    assert network("nonsense") == "unknown"


def test_too_many_at_once_from_one_address():
    seen = []

    async def slow(scope, receive, send):
        await asyncio.sleep(0.1)

    async def send(message):
        seen.append(message.get("status"))

    scope = {
        "type": "http",
        "method": "GET",
        "headers": [(b"host", b"studio")],
        "client": ("192.0.2.1", 1),
        "scheme": "http",
    }
    outer = guard.Guard(slow, {"studio"}, 3)

    async def many():
        await asyncio.gather(*(outer(dict(scope), None, send) for _ in range(5)))

    asyncio.run(many())
    assert [status for status in seen if status] == [429, 429]
    assert not outer.open


def test_codes_open_the_door(tmp_path):
    state = open_studio(tmp_path, codes=("letmein", "operate"))
    with serving(state) as client:
        assert client.get("/api/jobs").status_code == 401
        assert client.get("/api/me").json()["models"] == []
        assert client.post("/api/enter", json={"code": "wrong"}).status_code == 403
        assert client.post("/api/enter", json={"code": "letmein"}).json() == {"rights": "visitor"}
        assert client.get("/api/jobs").status_code == 200
        assert not client.get("/api/me").json()["operator"]
        assert client.post("/api/enter", json={"code": "operate"}).json() == {"rights": "operator"}
        assert client.get("/api/me").json()["operator"]
        said = [client.post("/api/enter", json={"code": "x"}).status_code for _ in range(4)]
        assert said == [403, 403, 429, 429]


def test_a_code_others_can_read_is_refused(tmp_path):
    path = tmp_path / "code"
    path.write_text("letmein\n")
    path.chmod(0o644)
    with refused("code-readable-by-others"):
        read_code(path)
    path.chmod(0o600)
    assert read_code(path) == "letmein"


class Options:
    exports, configfile = (), ()
    host, port, name = "0.0.0.0", 8400, ()
    tls_cert = tls_key = behind_proxy = access_code = operator_code = results = None
    make_certificate, devices, insecure, expo = (), "cpu", False, False


def test_no_open_door_without_encryption(tmp_path):
    options = Options()
    options.folder = tmp_path
    with refused("no-encryption"):
        serve(options)


def test_hosts_are_those_that_were_named():
    options = Options()
    options.name = ("studio.local", "fe80::1")
    found = hosts(options)
    assert {"studio.local", "[fe80::1]", "localhost"} <= found
    assert "0.0.0.0" not in found


@pytest.mark.slow
def test_behind_a_proxy_the_scheme_is_the_visitors(tmp_path):
    """Without the header the origin is another's; with it, from a trusted address, it is not."""
    exports = tmp_path / "exports"
    write_export(exports / "notes")
    for trusted in (True, False):
        more = ["--behind-proxy"] if trusted else []
        with server(tmp_path / f"data{trusted}", exports, *more, "--name", "lab.test") as (
            address,
            _,
        ):
            said = raw(address, "GET / HTTP/1.1", "Host: lab.test", "X-Forwarded-Proto: https")
            assert ("Secure" in said) == trusted
            headers = ("Host: lab.test", "Origin: https://lab.test", "X-Forwarded-Proto: https")
            said = raw(address, "POST /api/leave HTTP/1.1", *headers, "Content-Length: 0")
            assert said.split()[1] == ("200" if trusted else "403")


def raw(address, *lines):
    """What a server answers to lines as they are."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as wire:
        wire.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1"))
        data = b""
        while part := wire.recv(65536):
            data += part
    return data.decode("latin-1")


def test_nothing_of_a_fault_reaches_the_client(tmp_path, monkeypatch):
    from etude.studio import jobs

    def fails(*_):
        raise RuntimeError("/secret/place")

    monkeypatch.setattr(jobs, "view", fails)
    with serving(open_studio(tmp_path)) as client:
        said = client.get("/api/jobs")
        assert said.status_code == 500
        assert "secret" not in said.text
        assert said.headers["content-security-policy"]


# -------------------------------------------------------------------------------------- uploads


def not_taken(client, data):
    said = client.post("/api/primes", content=data)
    return said.status_code == 422 and "error" in said.json()


@pytest.mark.slow
def test_uploads_are_decoded_apart_and_written_anew(tmp_path):
    state = open_studio(tmp_path, {"prime_seconds": 30})
    with serving(state) as client:
        data = tone(tmp_path / "a.wav").read_bytes()
        marked = data + b"LIST" + struct.pack("<I", 10) + b"my secret!"
        found = client.post("/api/primes", content=marked).json()
        assert found["seconds"] == pytest.approx(1.0)
        kept = client.get(f"/api/primes/{found['id']}.wav").content
        assert b"secret" not in kept
        assert kept[:4] == b"RIFF"
        assert client.get(f"/api/primes/{found['id']}.mid").status_code == 404
        claims = bytearray(data)
        claims[40:44] = struct.pack("<I", 4 * 10**9)  # the header promises four gigabytes
        assert client.post("/api/primes", content=bytes(claims)).status_code == 201
        before = sorted(state.store.primes.iterdir())
        for wrong in (b"", b"\x7fELF" + bytes(500), b"<html>", b"MThd" + bytes(3), data[:30]):
            assert not_taken(client, wrong), wrong[:10]
        for seconds, hertz in ((31, 440), (0.05, 440), (1, 0)):
            assert not_taken(client, tone(tmp_path / "b.wav", hertz, seconds, 8000).read_bytes())
        assert sorted(state.store.primes.iterdir()) == before, "nothing is left of what was refused"


@pytest.mark.slow
def test_notes_become_midi_and_sound(client):
    found = client.post("/api/primes/notes", json={"notes": NOTES, "tempo": 96}).json()
    assert [note[2] for note in found["notes"]] == [60, 64, 67]
    assert client.get(f"/api/primes/{found['id']}.mid").content[:4] == b"MThd"
    assert client.get(f"/api/primes/{found['id']}.wav").content[:4] == b"RIFF"


@pytest.mark.slow
@pytest.mark.parametrize(
    "notes",
    [
        [],
        [[0, 1, 20, 80]],
        [[0, 1, 60, 0]],
        [[1, 1, 60, 80]],
        [[0, 1e9, 60, 80]],
        [[0, True, 60, 80]],
        [[0, 1, 60]],
        "x",
        [[0, 1, 60, 80]] * 2001,
    ],
    ids=lambda notes: str(notes)[:20],
)
def test_notes_that_are_none(client, notes):
    assert client.post("/api/primes/notes", json={"notes": notes}).status_code == 422


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"model": NaN}', b"[" * 50_000, b'"x"', b"\xff\xfe"]
)
def test_requests_that_are_none(client, body):
    assert client.post("/api/jobs", content=body).status_code == 422


def test_a_decoder_that_hangs_is_ended(tmp_path, monkeypatch):
    from etude.studio import primes

    program = tmp_path / "hangs.py"
    program.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(primes, "DECODER", program)
    state = open_studio(tmp_path)
    state.decoders.seconds = 0.5
    with serving(state) as client:
        began = time.monotonic()
        assert not_taken(client, b"RIFFxxxx")
        assert time.monotonic() - began < 5
        assert list(state.store.primes.iterdir()) == []


def test_a_full_studio_takes_nothing_more(tmp_path):
    state = open_studio(tmp_path, {"disk_mb": 10})
    with serving(state) as client:
        (state.store.clips / "large.wav").write_bytes(bytes(11_000_000))
        state.cached.clear()
        assert client.post("/api/primes/notes", json={"notes": NOTES}).status_code == 507
        assert ask(client).status_code == 507


@pytest.mark.slow
def test_delete_mine_now(tmp_path):
    state = open_studio(tmp_path)
    with serving(state) as client:
        prime = client.post("/api/primes/notes", json={"notes": NOTES}).json()["id"]
        job = ask(client, prime=prime).json()["id"]
        ended(client, job)
        assert any(state.store.clips.iterdir())
        assert client.delete("/api/mine").status_code == 200
        assert list(state.store.clips.iterdir()) == list(state.store.primes.iterdir()) == []
        assert client.get("/api/jobs").json() == []


@pytest.mark.slow
def test_a_clip_is_taken_home_by_who_has_the_link(tmp_path):
    state = open_studio(tmp_path)
    with serving(state) as client:
        clip = ended(client, ask(client).json()["id"])["clips"][0]["id"]
        path = client.post(f"/api/clips/{clip}/share").json()["path"]
        own = client.get(f"/api/clips/{clip}.wav").content
        client.post("/api/leave")
        client.cookies.clear()
        assert "Your music" in client.get(f"/{path}").text
        assert client.get(f"/{path}/clip.wav").content == own
        assert client.get(f"/{path}/clip.json").status_code == 404
        assert client.get(f"/{path}/qr.svg?to=http://testserver").text.count("<svg") == 1
        assert client.get(f"/{path}/qr.svg?to=http://evil.test").status_code == 422
        assert client.get(f"/take/{'x' * 22}").status_code == 404
        state.store.remove("clips", [clip])
        assert client.get(f"/{path}").status_code == 404


@pytest.mark.slow
def test_ranges_are_served(client):
    clip = ended(client, ask(client).json()["id"])["clips"][0]["id"]
    said = client.get(f"/api/clips/{clip}.wav", headers={"Range": "bytes=0-3"})
    assert (said.status_code, said.content) == (206, b"RIFF")
    odd = client.get(f"/api/clips/{clip}.wav", headers={"Range": "bytes=" + "0-1," * 200 + "5-6"})
    assert odd.status_code in (200, 206, 400, 416)


@pytest.mark.slow
def test_models_are_named_and_settings_come_home(client):
    job = ask(client, seed=7, clips=2).json()
    done = ended(client, job["id"])
    assert [clip["seed"] for clip in done["clips"]] == [7, 8]
    about = json.loads(client.get(f"/api/clips/{done['clips'][1]['id']}.json").content)
    assert about["command"].startswith("python -m etude generate --from notes")
    assert "--seed 8" in about["command"]
    assert ask(client, model="0" * 16).status_code == 422
    assert (
        client.post("/api/jobs", json={"model": model(client, "sound"), "text": "x"}).status_code
        == 422
    )
