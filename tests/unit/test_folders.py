"""Two folders of audio compared: equal numbers of stretches, copies by a file's own samples."""

from __future__ import annotations

import re

import numpy as np
import pytest
import soundfile
from stretches import RATE, fill, music

from etude.__main__ import main
from etude.metrics import folders, logmel
from etude.metrics.folders import Effort, compare_folders, listen, look_through
from etude.metrics.logmel import LogMel


def rows(text):
    found = re.findall(r"^  (clips|real vs real|noise) +(\d+) +(\S+)", text, re.MULTILINE)
    return {name: (figure, int(n)) for name, n, figure in found}


@pytest.mark.slow
def test_all_distances_that_depend_on_n_are_of_the_same(tmp_path):
    real, made = fill(tmp_path / "real", 8, 10), fill(tmp_path / "made", 6, 2, first=50)
    text = compare_folders(real, made, "logmel", None)
    found = rows(text)
    assert {n for _, n in found.values()} == {6}
    figures = {name: float(figure) for name, (figure, _) in found.items()}
    assert figures["real vs real"] < figures["noise"] / 5
    assert figures["clips"] < figures["noise"] / 5
    assert "real vs real" in text
    assert "mean of 40 draws of 6 clips of 4 pieces, from 20 of 4" in text
    assert text == compare_folders(real, made, "logmel", None)


def test_too_little_music_has_its_reason(tmp_path):
    one, few = fill(tmp_path / "one", 1, 30), fill(tmp_path / "few", 3, 2, first=50)
    text = compare_folders(one, few, "logmel", None)
    assert rows(text)["real vs real"] == ("n/a", 0)
    assert "a single real file has no other to compare it with" in text
    assert float(rows(text)["clips"][0]) > 0
    text = compare_folders(few, one, "logmel", None)
    assert {figure for figure, _ in rows(text).values()} == {"n/a"}
    assert re.search(r"the reference has \d+ windows of audio, more than 16 are needed", text)


def test_a_single_short_clip_has_no_covariance(tmp_path):
    real, made = fill(tmp_path / "real", 4, 20), fill(tmp_path / "made", 1, 1, first=50)
    assert "a single one has no covariance" in compare_folders(real, made, "logmel", None)


@pytest.mark.parametrize(
    ("subtype", "other"),
    [("PCM_16", ("flac", "PCM_16")), ("PCM_24", ("flac", "PCM_24")), ("FLOAT", ("aiff", "FLOAT"))],
)
def test_copies_are_equal_at_their_own_rate_and_channels(subtype, other, tmp_path):
    stereo = np.stack([music(3, 1, 44100), music(3, 2, 44100)], axis=1)
    if subtype != "FLOAT":  # integers are stored as they are; each container rounds in its own way
        bits = int(subtype.removeprefix("PCM_"))
        stereo = (stereo * 2 ** (bits - 1)).astype(np.int32) << (32 - bits)
    suffix, kind = other
    for name in ("real", "made"):
        (tmp_path / name).mkdir()
    soundfile.write(tmp_path / "real/a.wav", stereo, 44100, subtype)
    soundfile.write(tmp_path / f"made/x.{suffix}", stereo, 44100, kind)
    swapped = np.ascontiguousarray(stereo[:, ::-1])  # the same in mono
    soundfile.write(tmp_path / "made/y.wav", swapped, 44100, subtype)
    text = compare_folders(tmp_path / "real", tmp_path / "made", "logmel", None)
    assert "exact copies (same samples): 1 of 2" in text
    assert f"x.{suffix} = a.wav" in text


def test_long_files_are_heard_in_part_and_evenly(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "STRETCHES", 6)
    real = look_through(fill(tmp_path / "real", 2, 20))
    read = []
    monkeypatch.setattr(
        folders.AudioFile,
        "read",
        lambda _, rate, start_s, seconds, upsample: (
            read.append((start_s, seconds)) or music(seconds, int(start_s), rate)
        ),
    )
    heard = listen(real, "logmel", 2.0)
    assert read == [(0, 2), (8, 2), (18, 2)] * 2, "never more than a stretch at a time"
    assert heard.clips.count == 6
    assert heard.share == pytest.approx(0.3)
    assert list(heard.files) == [0, 0, 0, 1, 1, 1]


def test_odd_files_are_lines_and_no_errors(tmp_path):
    real, made = fill(tmp_path / "real", 4, 10), fill(tmp_path / "made", 2, 2, first=50)
    (made / "bad.wav").write_bytes(b"RIFF nothing")
    soundfile.write(made / "empty.wav", np.zeros(0), RATE)
    soundfile.write(made / "click.wav", np.ones(1, np.float32) / 2, 192000)
    soundfile.write(made / "silent.wav", np.zeros(RATE), RATE)
    text = compare_folders(real, made, "logmel", None)
    assert "not read: bad.wav: corrupt_audio" in text
    assert "not read: empty.wav: no_samples" in text
    assert "exact copies (same samples): 0 of 4" in text
    assert "nan" not in text


# ------------------------------------------------------------------------ kept embeddings


@pytest.fixture
def embedded(monkeypatch):
    """How many stretches were embedded so far."""
    heard = []
    embed = LogMel.embed
    monkeypatch.setattr(
        LogMel, "embed", lambda self, wave: heard.append(len(wave)) or embed(self, wave)
    )
    return heard


def test_embeddings_are_kept_until_audio_or_model_changes(tmp_path, embedded, monkeypatch):
    real = fill(tmp_path / "real", 3, 6)
    effort = Effort(cache=tmp_path / "cache")

    def hear(seconds=2.0):
        embedded.clear()
        heard = listen(look_through(real), "logmel", seconds, effort)
        return heard, sum(embedded)

    first, count = hear()
    assert count == 9
    again, count = hear()
    assert count == 0
    assert np.array_equal(again.clips.windows, first.clips.windows)
    assert again.harmony == first.harmony
    (real / "000.wav").rename(real / "other.wav")
    assert hear()[1] == 0, "content counts, not the name"
    soundfile.write(real / "001.wav", music(6, 99), RATE)
    changed, count = hear()
    assert count == 3
    assert not np.array_equal(changed.clips.windows, first.clips.windows)
    assert hear(3.0)[1] == 6, "other stretches"
    monkeypatch.setattr(logmel, "VERSION", logmel.VERSION + 1)
    assert hear()[1] == 9, "another model"
    assert {path.name for path in real.iterdir()} == {"other.wav", "001.wav", "002.wav"}


def test_a_damaged_or_unwritable_cache_only_costs_time(tmp_path, embedded, caplog):
    real = fill(tmp_path / "real", 2, 4)
    listen(look_through(real), "logmel", 2.0, Effort(cache=tmp_path / "cache"))
    for path in (tmp_path / "cache").rglob("*.npz"):
        path.write_bytes(b"PK nothing")
    embedded.clear()
    listen(look_through(real), "logmel", 2.0, Effort(cache=tmp_path / "cache"))
    assert sum(embedded) == 4
    (tmp_path / "file").write_text("no folder")
    listen(look_through(real), "logmel", 2.0, Effort(cache=tmp_path / "file" / "cache"))
    assert "embeddings are not kept" in caplog.text


@pytest.mark.slow
def test_workers_and_batches_change_no_figure(tmp_path):
    real, made = fill(tmp_path / "real", 6, 7), fill(tmp_path / "made", 8, 2, first=50)
    soundfile.write(made / "copy.wav", music(2, 50), RATE)  # equal files at once, one name
    soundfile.write(made / "again.wav", music(2, 50), RATE)
    texts = {
        compare_folders(real, made, "chroma_onset", None, use_inf=True, effort=effort)
        for effort in (
            Effort(),
            Effort(workers=4, batch_size=3, cache=tmp_path / "cache"),
            Effort(workers=4, batch_size=3, cache=tmp_path / "cache"),
        )
    }
    assert len(texts) == 1
    text = texts.pop()
    assert re.search(r"^ +n  FD +FAD-inf +KAD +MAD$", text, re.MULTILINE)
    assert re.search("clips, KAD: .*bandwidth ", text)
    assert "10 clips, at least 16 are needed: in fewer than the 16 dimensions" in text


def test_the_command_has_the_seeds_flags(tmp_path, capsys, monkeypatch):
    real, made = fill(tmp_path / "real", 4, 8), fill(tmp_path / "made", 8, 2, first=50)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    command = ["evaluate", "--baseline", str(real), "--eval", str(made), "--model", "logmel"]
    assert main([*command, "--workers", "2", "--batch-size", "4", "--use-inf"]) == 0
    said = capsys.readouterr().out
    assert "FAD-inf" in said
    assert len(list((tmp_path / "xdg/etude/embeddings").rglob("*.npz"))) == 12
    assert main([*command, "--no-cache"]) == 0
    assert "FAD-inf" not in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*command, "--workers", "0"])
