"""Recordings before they are a corpus: cut, compared, captioned on a page, checked."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from browser import launched, opened
from refused import refused

from etude.__main__ import main
from etude.collection.cutting import Cutting, cut_folder
from etude.collection.duplicates import likenesses
from etude.collection.sheet import write_sheet
from etude.collection.table import problems, read_captions
from etude.config import Captions, FolderCorpus
from etude.corpus.captions import caption_corpus
from etude.corpus.ingest import ingest_shard
from etude.corpus.ownership import check_consent
from etude.corpus.scan import list_files
from etude.corpus.split import decide_split
from etude.storage import read_csv, write_csv

RATE = 24000
HEAD = "file,contributor,licence,share,consent_date,may_train,may_publish\n"


def tone(seconds, hertz=220.0, rate=RATE):
    return 0.4 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def tune(seed, seconds=3.0):
    """Notes of a quarter of a second, of a random walk."""
    steps = np.random.default_rng(seed).integers(-5, 6, round(seconds * 4)).cumsum() % 24
    parts = [tone(0.25, 220 * 2 ** (s / 12)) * np.linspace(1, 0.2, RATE // 4) for s in steps]
    return np.concatenate(parts)


def write(path: Path, wave, rate=RATE, **how) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate, **how)
    return path


def silence(seconds, rate=RATE):
    return np.zeros(round(seconds * rate))


# ------------------------------------------------------------------------------------ cutting


def test_a_jam_is_cut_at_its_silences(tmp_path):
    jam = np.concatenate([
        silence(1), tone(3), silence(0.2), tone(2), silence(2), tone(0.3), silence(1), tone(7.5),
    ])  # fmt: skip
    write(tmp_path / "jams/Dienstag für Zoë v1.2.wav", jam)
    made, left = cut_folder(tmp_path / "jams", tmp_path / "out", Cutting(longest_s=4), None)
    rows = list(read_csv(tmp_path / "out/captions.csv"))
    spans = [(round(float(r["start_s"]), 1), round(float(r["end_s"]), 1)) for r in rows]
    assert spans == [(0.9, 3.6), (3.6, 6.3), (9.4, 13.2), (13.2, 17.0)]
    assert (made, left) == (4, 1)
    assert rows[0]["file"] == "Dienstag für Zoë v1.2/Dienstag für Zoë v1.2 [0001].wav"
    assert {row["tune"] for row in rows} == {"Dienstag für Zoë v1.2.wav"}
    (short,) = read_csv(tmp_path / "out/left_out.csv")
    assert short["reason"] == "too_short: under 1 s"
    assert (tmp_path / "out" / rows[3]["file"]).is_file()
    again = tmp_path / "again"
    cut_folder(tmp_path / "jams", again, Cutting(longest_s=4), None)
    for path in (path for path in again.rglob("*") if path.is_file()):
        other = tmp_path / "out" / path.relative_to(again)
        assert path.read_bytes() == other.read_bytes(), "the same bytes every time"


@pytest.mark.parametrize("rate", [24000, 44100, 96000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_fixed_lengths_are_the_recording_to_the_last_bit(rate, channels, subtype, tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (round(2.5 * rate), channels))
    path = write(tmp_path / "in/one.wav", noise, rate, subtype=subtype)
    made, left = cut_folder(path.parent, tmp_path / "out", Cutting(seconds=1), None)
    assert (made, left) == (2, 1)
    whole, _ = soundfile.read(path, dtype="int32", always_2d=True)
    parts = sorted((tmp_path / "out").rglob("*.wav"))
    for number, part in enumerate(parts):
        samples, found = soundfile.read(part, dtype="int32", always_2d=True)
        assert found == rate
        assert soundfile.info(part).subtype == subtype
        assert (samples == whole[number * rate : (number + 1) * rate]).all()


def test_recordings_that_cannot_be_cut_are_rows(tmp_path):
    write(tmp_path / "in/good.wav", tone(2))
    write(tmp_path / "in/good.flac", tone(2))
    write(tmp_path / "in/silent.wav", silence(2))
    (tmp_path / "in/bad.wav").write_text("no sound")
    made, _ = cut_folder(tmp_path / "in", tmp_path / "out", Cutting(), None)
    assert made == 2
    reasons = {r["source_file"]: r["reason"] for r in read_csv(tmp_path / "out/left_out.csv")}
    assert reasons.keys() == {"silent.wav", "bad.wav"}
    assert reasons["silent.wav"] == "silent"
    files = sorted(list_files(tmp_path / "out"))
    assert "good.flac/good.flac [0001].wav" in files, "one name, two recordings"
    with refused("folder-not-empty"):
        cut_folder(tmp_path / "in", tmp_path / "out", Cutting(), None)
    (tmp_path / "none").mkdir()
    with refused("no-recordings"):
        cut_folder(tmp_path / "none", tmp_path / "out2", Cutting(), None)


def test_ownership_goes_on_to_the_snippets(tmp_path):
    """And a snippet whose recording has no owner stops the run, as any file does."""
    write(tmp_path / "in/a.wav", np.concatenate([tone(2), silence(1), tone(2, 330)]))
    write(tmp_path / "in/b.wav", tone(2, 440))
    table = tmp_path / "ownership.csv"
    rows = ["a.wav,Ann,CC0-1.0,1/3,2026-01-01,yes,no", "a.wav,Bo,CC0-1.0,2/3,2026-01-01,yes,yes"]
    table.write_text(HEAD + "\n".join(rows))
    cut_folder(tmp_path / "in", tmp_path / "out", Cutting(), table)
    files = [file for file in list_files(tmp_path / "out") if file.endswith(".wav")]
    with refused("no-consent", "1 of 3"):
        check_consent(tmp_path / "out/ownership.csv", files)
    found = check_consent(tmp_path / "out/ownership.csv", [f for f in files if f[0] == "a"])
    (first, *_) = found.rights.values()
    assert [(r.contributor, round(r.share, 3), r.may_publish) for r in first] == [
        ("Ann", 0.333, False), ("Bo", 0.667, True),
    ]  # fmt: skip


def test_snippets_are_a_corpus(tmp_path, monkeypatch):
    """Snippets of one recording are on one side of the split, and have the captions of the table."""
    monkeypatch.chdir(tmp_path)
    for name, base in (("a", 1), ("b", 11), ("c", 21), ("d", 31)):
        parts = [part for i in range(3) for part in (tune(base + i), silence(1))]
        write(tmp_path / f"in/{name}.wav", np.concatenate(parts))
    cut_folder(tmp_path / "in", tmp_path / "out", Cutting(), None)
    rows = list(read_csv(tmp_path / "out/captions.csv"))
    assert len(rows) == 12
    write_csv(
        tmp_path / "out/captions.csv",
        list(rows[0]),
        (row | {"caption": f"a sound, {n}"} for n, row in enumerate(rows)),
    )
    corpus = FolderCorpus(
        source="folder", path=tmp_path / "out", metadata="captions.csv", shards=1,
        split={"train": 0.5, "valid": 0.25, "test": 0.25},
    )  # fmt: skip
    ingest_shard(corpus, tmp_path / "out", 0, tmp_path / "0.csv", 1)
    decide_split(corpus, [tmp_path / "0.csv"], tmp_path / "pieces.csv")
    kept = [row for row in read_csv(tmp_path / "pieces.csv") if row["status"] == "kept"]
    assert len(kept) == 12
    sides = {(row["tune"], row["split"]) for row in kept}
    assert len(sides) == 4
    caption_corpus(corpus, tmp_path / "pieces.csv", tmp_path / "out", tmp_path / "captions.csv", 1)
    assert {row["source"] for row in read_csv(tmp_path / "captions.csv")} == {"column"}


# ----------------------------------------------------------------------------------- likeness


def test_copies_and_near_copies_are_found(tmp_path):
    for number in range(5):
        write(tmp_path / f"{number}.wav", tune(number))
    shutil.copy(tmp_path / "1.wav", tmp_path / "copy of 1.wav")
    noise = np.random.default_rng(0).normal(0, 0.002, 3 * RATE)
    write(tmp_path / "louder 3.wav", 1.8 * tune(3) + noise)
    (tmp_path / "bad.wav").write_text("no sound")
    found, faults = likenesses(tmp_path, sorted(list_files(tmp_path)))
    assert {name: one.other for name, one in found.items()} == {
        "1.wav": "copy of 1.wav", "copy of 1.wav": "1.wav",
        "3.wav": "louder 3.wav", "louder 3.wav": "3.wav",
    }  # fmt: skip
    assert found["copy of 1.wav"].score == 1
    assert 0.95 <= found["3.wav"].score < 1
    assert faults.keys() == {"bad.wav"}


# -------------------------------------------------------------------------------------- check


@pytest.fixture
def collection(tmp_path):
    """Four recordings and their table, in which everything that can be wrong is wrong."""
    for number, name in enumerate(("a b.wav", "größe.wav", "sub/c.wav", "d.wav")):
        write(tmp_path / "music" / name, tune(number))
    long = " ".join(["bass"] * 500)
    (tmp_path / "music/captions.csv").write_text(
        f'\ufefffile;caption;mood\na b.wav;a low, "wobbly" bass;dark\ngröße.wav;;\nsub/c;{long};\n'
        "gone.wav;x;\na b.wav;again;\n",
        encoding="utf-8",
    )
    return tmp_path / "music"


def test_what_is_wrong_is_a_row(collection):
    found = read_captions(collection, collection / "captions.csv")
    assert [(row["row"], row["file"], row["problem"].partition(":")[0]) for row in problems(found)] == [
        (3, "größe.wav", "empty"), (4, "sub/c", "too_long"), (5, "gone.wav", "no_file"),
        (6, "a b.wav", "named_twice"), ("", "d.wav", "missing"),
    ]  # fmt: skip
    assert next(r for r in problems(found) if r["problem"].startswith("too"))["words"] == 500
    assert not any(r["problem"].startswith("too_long") for r in problems(found, 500))


def test_the_check_as_a_command(collection, capsys):
    assert main(["captions", "--check", str(collection / "captions.csv")]) == 1
    said = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert [row["problem"].partition(":")[0] for row in rows][:2] == ["empty", "too_long"]
    assert "5 of 4 need a look" in said.err
    assert not (collection / "captions.html").exists()
    text = "file,caption\n" + "".join(f"{f},x\n" for f in list_files(collection) if "wav" in f)
    (collection / "captions.csv").write_text(text)
    assert main(["captions", "--check", str(collection / "captions.csv")]) == 0
    (collection / "captions.csv").write_text(text.replace("caption", "captoin"))
    assert main(["captions", "--check", str(collection / "captions.csv")]) == 1
    said = capsys.readouterr().err
    assert "[missing-column]" in said
    assert "did you mean 'captoin'?" in said


@pytest.mark.slow
def test_of_3000_captions_one_is_empty(tmp_path):
    """In the table it is a row of the check; in the corpus a row with the reason."""
    rows = [{"file": f"{n}.wav", "caption": f"sound {n}"} for n in range(3000)]
    rows[1234]["caption"] = "  "
    write_csv(tmp_path / "captions.csv", ["file", "caption"], rows)
    for row in rows:
        (tmp_path / row["file"]).touch()
    found = read_captions(tmp_path, tmp_path / "captions.csv")
    (wrong,) = problems(found)
    assert (wrong["row"], wrong["file"], wrong["problem"]) == (1236, "1234.wav", "empty")
    pieces = [
        {
            "piece": f"p{n}", "path": row["file"], "kind": "audio", "status": "kept",
            "caption": row["caption"],
        }
        for n, row in enumerate(rows)
    ]  # fmt: skip
    write_csv(tmp_path / "pieces.csv", list(pieces[0]), pieces)
    corpus = FolderCorpus(
        source="folder", path=tmp_path, captions=Captions.model_validate({"from": ["column"]})
    )
    caption_corpus(corpus, tmp_path / "pieces.csv", tmp_path, tmp_path / "out.csv", 1)
    (without,) = [row for row in read_csv(tmp_path / "out.csv") if row["reason"]]
    assert (without["piece"], without["caption"], without["reason"]) == (
        "p1234",
        "",
        "column: empty",
    )


def test_a_caption_of_500_words_is_told(tmp_path, caplog):
    row = {"piece": "p", "path": "a.wav", "kind": "audio", "status": "kept"}
    write_csv(tmp_path / "pieces.csv", [*row, "caption"], [row | {"caption": "low " * 500}])
    corpus = FolderCorpus(source="folder", path=tmp_path)
    caption_corpus(corpus, tmp_path / "pieces.csv", tmp_path, tmp_path / "out.csv", 1)
    assert "1 captions have over 100 words" in caplog.text
    assert len(next(read_csv(tmp_path / "out.csv"))["caption"].split()) == 500, "nothing is lost"


# -------------------------------------------------------------------------------------- sheet


def test_a_sheet_of_linked_files_has_no_sound_in_it(collection):
    (collection / "<!-- <script> & 100%.wav").write_bytes((collection / "d.wav").read_bytes())
    found = read_captions(collection, collection / "captions.csv")
    assert write_sheet(found, collection, collection / "page.html", link=True) == 2
    text = (collection / "page.html").read_text(encoding="utf-8")
    assert "data:audio" not in text
    assert "gr%C3%B6%C3%9Fe.wav" in text
    assert text.count("</script>") == 1, "no file name ends the script"


@pytest.fixture(scope="module")
def chrome():
    with launched() as browser:
        yield browser


@pytest.mark.slow
def test_the_sheet_in_a_browser(collection, chrome, tmp_path):
    shutil.copy(collection / "d.wav", collection / "d again.wav")
    assert main(["captions", str(collection)]) == 0
    with opened(
        chrome, collection / "captions.html", viewport={"width": 900, "height": 900}
    ) as page:
        page.locator("body[data-ready]").wait_for()
        assert page.locator("#count").inner_text() == "2 of 5 have a caption"
        assert page.locator("audio").count() == 5
        seconds = page.evaluate(
            """() => new Promise((done) => { const one = document.querySelector("audio");
            one.addEventListener("loadedmetadata", () => done(one.duration)); one.load(); })"""
        )
        assert seconds == pytest.approx(3, abs=0.2)
        assert page.get_by_text("500 words: only about 100 are read").count() == 1
        assert page.get_by_text("the same samples as d.wav").count() == 1
        page.get_by_label("caption of d.wav").fill('bright, "metallic"\nfx')
        assert page.locator("#count").inner_text() == "3 of 5 have a caption"
        page.get_by_label("show").select_option("empty")
        assert page.locator(".row:visible").count() == 2
        page.get_by_label("show").select_option("all")
        page.screenshot(path=tmp_path / "sheet.png")
        page.reload()
        assert page.get_by_label("caption of d.wav").input_value().startswith("bright"), (
            "it is kept"
        )
        with page.expect_download() as download:
            page.get_by_role("button").click()
        download.value.save_as(tmp_path / "saved.csv")
    assert download.value.suggested_filename == "captions.csv"
    rows = {row["file"]: row for row in read_csv(tmp_path / "saved.csv")}
    assert rows["d.wav"]["caption"] == 'bright, "metallic" fx'
    assert rows["a b.wav"] == {"file": "a b.wav", "caption": 'a low, "wobbly" bass', "mood": "dark"}
    assert len(rows) == 5
    wrong = problems(read_captions(collection, tmp_path / "saved.csv"))
    assert sorted(row["problem"][:5] for row in wrong) == ["empty", "empty", "too_l"]
