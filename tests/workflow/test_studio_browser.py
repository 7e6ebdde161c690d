"""The studio in a real browser: a person plays, records, hears, takes home, listens blind."""

import gzip
import io
import re
import socket
import ssl
import time
import zipfile

import numpy as np
import pytest
import soundfile
import yaml
from axe_playwright_python.sync_playwright import Axe
from browser import launched, opened, visited
from playwright.sync_api import expect
from studio import server, write_export
from studio_worker import RATE, SLOW

from etude.__main__ import main
from etude.midi.notes import parse_midi
from etude.results.preference import read_ratings
from etude.storage import write_csv
from etude.studio.app import STATIC

pytestmark = [pytest.mark.slow, pytest.mark.workflow]
HERTZ = 523.25
RULE = "MAP studio.test 127.0.0.1"
ROOMS = ("play", "listen", "results", "train")


@pytest.fixture(scope="module")
def chrome(tmp_path_factory):
    """A browser whose microphone hears a steady tone."""
    tone = tmp_path_factory.mktemp("mic") / "mic.wav"
    soundfile.write(tone, 0.3 * np.sin(2 * np.pi * HERTZ * np.arange(48000 * 5) / 48000), 48000)
    switches = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    more = ("--autoplay-policy=no-user-gesture-required", f"--host-resolver-rules={RULE}")
    with launched(*switches, *more, f"--use-file-for-fake-audio-capture={tone}") as browser:
        yield browser


def clips(folder, hertz):
    folder.mkdir(parents=True)
    rows = [{"clip": f"clip-{i:04d}", "file": f"clip-{i:04d}.wav"} for i in range(3)]
    for row in rows:
        soundfile.write(folder / row["file"], 0.2 * np.sin(np.arange(24000) * hertz / 4000), 24000)
    write_csv(folder / "clips.csv", ["clip", "file"], rows)


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """Its address and folder; two models with a toy behind them, and a run to listen to."""
    from etude.results.leaderboard import COLUMNS

    home = tmp_path_factory.mktemp("studio")
    write_export(home / "exports/notes")
    write_export(home / "exports/sound", "sound", "audiolm")
    for number, name in enumerate(("one", "two")):
        clips(home / f"results/clips/{name}/seed-0/draw-0", 300 + 200 * number)
    row = dict.fromkeys(COLUMNS, "") | {"experiment": "one", "clips": "generated", "metric": "kad"}
    write_csv(home / "results/leaderboard.csv", COLUMNS, [row | {"value": "2", "n": "3"}])
    plan = {"run": ["notes"], "corpora": {"mine": {"source": "folder", "path": "music"}}}
    notes = {"system": "symbolic_lm", "corpus": "mine", "tokens": "remi"}
    (home / "notes.yaml").write_text(yaml.safe_dump(plan | {"experiments": {"notes": notes}}))
    more = ("--results", str(home / "results"), "--train", str(home / "notes.yaml"))
    with server(home / "data", home / "exports", *more) as (address, _):
        yield address, home


@pytest.fixture
def page(chrome, studio):
    with visited(chrome, studio[0]) as found:
        yield found


def press(page, keys, seconds=0.12):
    for key in keys:
        page.keyboard.down(key)
        page.wait_for_timeout(1000 * seconds)
        page.keyboard.up(key)


def done(page):
    """The newest request, once all of it is made."""
    job = page.locator(".job").first
    job.wait_for()  # what is not there yet is hidden too
    expect(job.locator("progress")).to_be_hidden(timeout=60_000)
    return job


def asked(page, **fields):
    page.select_option("#model", label=fields.pop("model", "notes"))
    page.evaluate("document.querySelector('#ask details').open = true")
    for name, value in {"seconds": 1, "clips": 2, **fields}.items():
        page.fill(f"#{name}", str(value))


def playing(page):
    """Seconds of the sound that plays now."""
    return page.evaluate(
        "import('./static/player.js').then(p => p.current()?.playing ? p.current().seconds : -1)"
    )


def until(page, condition, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it did not come")


def test_a_recorded_tone_is_the_tone(page, studio):
    page.click("[data-way=mic]")
    page.click("#record")
    page.wait_for_timeout(2200)
    page.click("#record")
    expect(page.locator("#prime-text")).to_contain_text("Your recording")
    (path,) = sorted((studio[1] / "data/primes").glob("*.wav"), key=lambda f: f.stat().st_mtime)[
        -1:
    ]
    wave, rate = soundfile.read(path)
    middle = wave[len(wave) // 2 - rate // 2 :][:rate]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 8 * len(middle)))
    assert spectrum.argmax() * rate / (8 * len(middle)) == pytest.approx(HERTZ, abs=1)
    halves = [np.sqrt(np.mean(part**2)) for part in np.array_split(middle, 2)]
    assert halves[0] == pytest.approx(halves[1], rel=0.05), "nothing of the browser's fades it"


def test_from_keys_to_midi_to_clips_to_files(page, tmp_path):
    press(page, "adgk")
    expect(page.locator("#prime-text")).to_contain_text("4 notes")
    asked(page, seed=7, seconds=3)
    page.click("#go")
    job = done(page)
    expect(job.locator(".clip")).to_have_count(2)
    with page.expect_download() as waiting:
        job.locator(".zip").click()
    packed = zipfile.ZipFile(io.BytesIO(waiting.value.path().read_bytes()))
    assert sorted(packed.namelist()) == [
        "etude-1.json",
        "etude-1.mid",
        "etude-1.wav",
        "etude-2.json",
        "etude-2.mid",
        "etude-2.wav",
        "prime.mid",
        "prime.wav",
    ]
    assert parse_midi(packed.read("prime.mid")).pitch.tolist() == [60, 64, 67, 72]
    with page.expect_download() as waiting:
        job.locator(".wav").first.click()
    wave, rate = soundfile.read(waiting.value.path())
    assert (len(wave), rate) == (3 * RATE, RATE)
    job.locator(".sound").first.click()
    until(page, lambda: playing(page) > 0.2)
    page.keyboard.press("2")
    until(page, lambda: playing(page) > 0.3)
    expect(job.locator(".sound").nth(1)).to_have_attribute("aria-pressed", "true")
    expect(job.locator(".sound").nth(0)).to_have_attribute("aria-pressed", "false")
    job.locator(".loop").nth(1).click()
    page.wait_for_timeout(3200)
    assert playing(page) >= 0, "it began again"
    page.keyboard.press("0")
    assert playing(page) == -1


# A keyboard that speaks when the test says so, and one that is plugged in later.
MIDI = """
const inputs = new Map([["1", { name: "Keys" }]]), access = { inputs };
window.midi = { input: (n) => inputs.get(n), plug() { inputs.set("2", { name: "Pads" }); access.onstatechange(); } };
navigator.requestMIDIAccess = async () => access;
"""


def test_a_midi_keyboard_is_played(chrome, studio):
    """Which keys and how hard; other channels too; clocks, bends and pressure are no notes."""
    with visited(chrome, studio[0], script=MIDI) as page:
        page.click("#midi-in")
        expect(page.locator("#prime-text")).to_contain_text("Connected: Keys")

        def say(*data, of="1"):
            page.evaluate(f"midi.input('{of}').onmidimessage({{ data: {list(data)} }})")
            page.wait_for_timeout(80)

        for words in ((0x90, 60, 101), (0xF8,), (0x80, 60, 0), (0x93, 64, 33), (0x93, 64, 0)):
            say(*words)
        for words in ((0xE0, 0, 70), (0xA0, 60, 50), (0x90, 127, 80), (0x80, 127, 0)):
            say(*words)  # and a key that no piano has
        page.evaluate("midi.plug()")
        say(0x90, 71, 127, of="2")
        expect(page.locator("[data-pitch='71']")).to_have_class(re.compile("down"))
        say(0x80, 71, 64, of="2")
        expect(page.locator("#prime-text")).to_contain_text("3 notes")
        asked(page, clips=1)
        page.click("#go")
        with page.expect_download() as waiting:
            done(page).locator(".zip").click()
        packed = zipfile.ZipFile(io.BytesIO(waiting.value.path().read_bytes()))
        table = parse_midi(packed.read("prime.mid"))
        assert table.pitch.tolist() == [60, 64, 71]
        assert table.velocity.tolist() == [101, 33, 127]


def test_without_web_midi_the_page_says_so(chrome, studio):
    with visited(chrome, studio[0], script="navigator.requestMIDIAccess = undefined") as page:
        page.click("#midi-in")
        expect(page.get_by_role("alert")).to_contain_text("no Web MIDI")


# ------------------------------------------------------------------------------------ encryption


def test_a_certificate_of_ones_own_opens_the_microphone(chrome, tmp_path):
    write_export(tmp_path / "exports/notes")
    options = ("--host", "0.0.0.0", "--make-certificate", "studio.test", "127.0.0.1")
    with server(tmp_path / "data", tmp_path / "exports", *options) as (address, _):
        port = int(address.rsplit(":", 1)[1])
        # Browsers read the subjectAltName alone; so does Python, which checks it here.
        trusted = ssl.create_default_context(cafile=tmp_path / "data/studio.crt")
        for name in ("studio.test", "127.0.0.1"):
            with (
                socket.create_connection(("127.0.0.1", port)) as wire,
                trusted.wrap_socket(wire, server_hostname=name) as line,
            ):
                assert line.version().startswith("TLSv1.")
        assert (tmp_path / "data/studio.key").stat().st_mode & 0o077 == 0
        home = f"https://studio.test:{port}"
        with visited(chrome, home, ignore_https_errors=True) as page:
            (cookie,) = page.context.cookies()
            assert cookie["secure"]
            assert page.evaluate("isSecureContext")
            page.click("[data-way=mic]")
            page.click("#record")
            page.wait_for_timeout(900)
            page.click("#record")
            expect(page.locator("#prime-text")).to_contain_text("Your recording")


def test_over_http_from_elsewhere_the_page_says_why_there_is_no_microphone(chrome, tmp_path):
    write_export(tmp_path / "exports/notes")
    options = ("--host", "0.0.0.0", "--insecure", "--name", "studio.test")
    with server(tmp_path / "data", tmp_path / "exports", *options) as (address, _):
        home = f"http://studio.test:{address.rsplit(':', 1)[1]}"
        with visited(chrome, home) as page:
            page.click("[data-way=mic]")
            expect(page.locator("#record")).to_be_disabled()
            expect(page.locator("#mic-hint")).to_contain_text("certificate")
            page.click("[data-way=keys]")
            press(page, "a")
            expect(page.locator("#prime-text")).to_contain_text("1 notes")


def test_progress_is_shown_and_a_cancel_obeyed(page):
    page.click("[data-way=none]")
    asked(page, seed=SLOW, clips=1)
    page.click("#go")
    job, seen = page.locator(".job").first, set()
    until(page, lambda: seen.add(job.locator(".say").inner_text()) or len(seen) > 6)
    assert sum(re.match(r"\d+ %, about \d+ s left", words) is not None for words in seen) > 3
    job.locator(".cancel").click()
    began = time.monotonic()
    expect(job.locator(".say")).to_have_text("Cancelled.", timeout=2000)
    assert time.monotonic() - began < 1


def test_what_was_made_is_gone_on_from_starred_and_found_again(page):
    page.click("[data-way=none]")
    asked(page, clips=1)
    page.click("#go")
    job = done(page)
    job.locator(".star").click()
    job.locator(".onward").click()
    expect(page.locator("#prime-text")).to_contain_text("version 1")
    page.click("#go")
    expect(page.locator(".job")).to_have_count(2)
    done(page)
    page.locator(".job").nth(0).locator(".again").click()
    expect(page.locator(".job")).to_have_count(3)
    done(page)
    page.reload()
    expect(page.locator(".job")).to_have_count(3)
    expect(page.locator(".job").nth(2).locator(".star")).to_have_attribute("aria-pressed", "true")
    page.click("#delete-mine")
    page.click("#delete-mine")
    page.locator("body[data-ready]").wait_for()
    expect(page.locator(".job")).to_have_count(0)


def test_a_code_takes_it_home(page, studio):
    page.click("[data-way=none]")
    asked(page, clips=1)
    page.click("#go")
    job = done(page)
    job.locator(".take").click()
    picture = job.locator(".beside img")
    until(page, lambda: picture.evaluate("i => i.complete && i.naturalWidth") > 50)
    path = job.locator(".beside a").get_attribute("href")
    page.goto(f"{studio[0]}/{path}")
    assert (
        page.locator("audio").evaluate(
            "a => new Promise(d => { a.onloadedmetadata = () => d(a.duration); a.load(); })"
        )
        > 0.9
    )


def test_a_file_that_is_no_music_is_refused_in_words(chrome, studio, tmp_path):
    wrong = tmp_path / "a.wav"
    wrong.write_bytes(b"<html>")
    made = chrome.new_context()
    try:
        page = made.new_page()
        page.goto(studio[0])
        page.locator("body[data-ready]").wait_for()
        page.click("[data-way=file]")
        page.set_input_files("#file", wrong)
        expect(page.get_by_role("alert")).to_contain_text("no recording that can be read")
    finally:
        made.close()


def test_by_keyboard_alone(page):
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the music")
    for _ in range(30):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        if page.locator(":focus").get_attribute("data-pitch"):
            break
        assert outline != "none"
    for key in ("Enter", "ArrowRight", "Enter", "ArrowUp", "Enter"):
        page.keyboard.press(key, delay=60)
    expect(page.locator("#prime-text")).to_contain_text("3 notes")
    page.locator("#clips").focus()
    page.keyboard.press("ArrowDown")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.locator(":focus").get_attribute("id") == "go":
            break
    page.keyboard.press("Enter")
    job = done(page)
    job.locator(".sound").first.focus()
    page.keyboard.press("Enter")
    until(page, lambda: playing(page) >= 0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_room_is_open_to_all(chrome, studio, scheme):
    for size in ({"width": 1200, "height": 900}, {"width": 390, "height": 844}):
        with visited(chrome, studio[0], viewport=size, color_scheme=scheme) as page:
            press(page, "ad")
            asked(page, clips=1)
            page.click("#go")
            done(page)
            for room in ROOMS:
                page.goto(f"{studio[0]}/#{room}")
                page.locator(f"#{room}").wait_for()
                page.wait_for_timeout(400)
                assert page.evaluate("document.scrollingElement.scrollWidth") == size["width"]
                found = Axe().run(page)
                assert found.violations_count == 0, found.generate_report()


def test_touch_plays(chrome, studio):
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
    with visited(chrome, studio[0], **phone) as page:
        page.locator("[data-pitch='64']").tap(position={"x": 8, "y": 100})
        expect(page.locator("#prime-text")).to_contain_text("1 notes")


def test_blind_pairs_are_heard_before_they_are_judged(chrome, studio):
    with visited(chrome, f"{studio[0]}/#listen") as page:
        first = page.locator("[data-answer='-1']")
        expect(first).to_be_disabled()
        page.keyboard.press("a")
        page.wait_for_timeout(1300)
        expect(first).to_be_disabled()
        page.keyboard.press("b")
        expect(first).to_be_enabled(timeout=5000)
        page.keyboard.press("2")
        expect(page.locator("#listen-room")).to_contain_text("Pair 2 of")
        page.get_by_role("button", name="skip").click()
        expect(page.locator("#listen-room")).to_contain_text("Pair 3 of")
        page.get_by_role("button", name="Show").click()
        expect(page.locator("#listen-room table")).to_contain_text("too few listeners")


def test_a_jury_answers_without_a_server(chrome, studio, tmp_path):
    """The page opens from disk, keeps answers over a reload, and saves what `table` reads."""
    folder, results = tmp_path / "jury", studio[1] / "results"
    words = ["listen", "--page", str(folder), "--results", str(results), "--pairs", "2"]
    assert main(words) == 0
    with opened(chrome, folder / "index.html") as page:
        for number in (1, 2):
            expect(page.locator("#room")).to_contain_text(f"Pair {number} of 4")
            page.keyboard.press("a")
            page.wait_for_timeout(1200)
            page.keyboard.press("b")
            expect(page.locator("[data-answer='2']")).to_be_enabled(timeout=8000)
            page.keyboard.press("5")
        page.reload()
        expect(page.locator("#room")).to_contain_text("Pair 3 of 4")
        with page.expect_download() as waiting:
            page.click("#save")
        saved = tmp_path / "back.csv"
        saved.write_bytes(waiting.value.path().read_bytes())
    found = read_ratings([saved], results / "listening/pages")
    assert len(found.kept) + found.catches + sum(found.left_out.values()) >= 2
    assert "not readable" not in found.left_out


def test_ten_tabs_load(chrome, studio):
    made = chrome.new_context()
    try:
        pages = [made.new_page() for _ in range(10)]
        pages[0].goto(studio[0])
        pages[0].locator("body[data-ready]").wait_for()
        pages[0].click("[data-way=none]")
        asked(pages[0], seed=SLOW, clips=1)
        pages[0].click("#go")
        for page in pages[1:]:
            page.goto(studio[0])
            page.locator("body[data-ready]").wait_for(timeout=10_000)
            expect(page.locator(".job")).to_have_count(1)
    finally:
        made.close()


def test_the_page_is_small():
    assert sum(len(gzip.compress(file.read_bytes())) for file in STATIC.iterdir()) < 60_000
