"""What learned words are worth: paired likelihoods, the judge behind the codec, deaf codecs."""

from dataclasses import replace

import numpy as np
import pytest
import soxr
from refused import refused
from tiny_models import make_clap

from etude.config import ConceptMetrics
from etude.metrics.clap import Clap
from etude.metrics.concepts import Means, judge, paired, write_concepts
from etude.metrics.discriminant import Discriminant, away
from etude.storage import read_csv, write_json
from etude.systems.concept_queries import ConceptQuery

RATE, SECONDS = 8000, 1.0
REAL = 36  # clips; more than harmony has dimensions
SETTINGS = ConceptMetrics(clips=12)
PIECES = ["a", "a", "b", "c", "c", "d"]


def tones(hertz, count, seed, harmonics=4):
    """Notes around a pitch, with noise; a timbre of its own by its harmonics."""
    generator = np.random.default_rng(seed)
    time = np.arange(int(RATE * SECONDS)) / RATE
    for _ in range(count):
        base = hertz * 2 ** generator.uniform(-0.1, 0.1)
        wave = sum(np.sin(2 * np.pi * base * h * time) / h for h in range(1, harmonics + 1))
        yield (0.1 * wave + 0.002 * generator.standard_normal(len(time))).astype(np.float32)


SOUNDS = {"null": (200, 1), "learned": (900, 6), "wrong": (300, 1), "untrained": (500, 2)}
NATS = {"null": 3.0, "learned": 2.5, "wrong": 3.2, "untrained": 2.9}


def asked(said=(900, 6)):
    """A concept at 900 Hz; `said` is how it sounds behind the codec."""
    level = np.linspace(-0.3, 0.3, len(PIECES))
    return ConceptQuery(
        concept="bell",
        conditions={name: f"the text of {name}" for name in SOUNDS},
        pieces=PIECES,
        nats=lambda name: NATS[name] + level + 0.01 * np.arange(len(PIECES)) * (name == "learned"),
        clips=lambda name: tones(*SOUNDS[name][:1], 12, 5, SOUNDS[name][1]),
        real=lambda split: tones(
            *(said[0] if split == "test" else 900, REAL, {"train": 1, "test": 2}[split]),
            said[1] if split == "test" else 6,
        ),
        others={"low": lambda: tones(200, 12, 3, 1), "mid": lambda: tones(450, 12, 4, 2)},
        pieces_of={"test": [f"p{i // 3}" for i in range(REAL)], "train": []},
        rate=RATE,
    )


def test_the_rows_of_a_concept(tmp_path):
    write_concepts([asked()], SETTINGS, tmp_path / "concept.csv")
    rows = {row["condition"]: row for row in read_csv(tmp_path / "concept.csv")}
    assert list(rows) == ["real", *SOUNDS]
    learned, wrong = rows["learned"], rows["wrong"]
    assert float(learned["against_null"]) == pytest.approx(-0.47, abs=0.02)
    assert float(learned["ci_high"]) < 0 < float(wrong["ci_low"])
    assert (learned["better_share"], wrong["better_share"]) == ("1.0000", "0.0000")
    assert rows["null"]["against_null"] == "0.000000"
    assert (learned["pieces"], learned["segments"]) == ("4", "6")
    assert float(wrong["word_less"]) == pytest.approx(-0.67, abs=0.02)
    assert float(wrong["word_ci_low"]) < float(wrong["word_ci_high"]) < 0
    assert learned["word_less"] == ""
    assert float(learned["recognised"]) == 1.0
    assert float(wrong["recognised"]) == 0.0
    assert float(rows["real"]["distance"]) < float(learned["distance"]) + 1e-6
    assert float(learned["distance"]) < float(wrong["distance"])
    assert rows["real"]["note"] == ""
    assert {row["primary_metric"] for row in rows.values()} == {"harmony kad"}
    assert float(rows["real"]["primary"]) < float(wrong["primary_ci_low"])


def test_a_codec_that_cannot_say_it_is_said(caplog):
    rows = list(judge(asked(said=(200, 1)), SETTINGS))
    assert "the codec cannot say it" in rows[0]["note"]
    assert "tokenizer" in rows[0]["note"]
    assert rows[-1]["note"] == "" or rows[-1]["condition"] == "untrained"
    assert "cannot say it" in caplog.text


def test_pieces_are_the_units():
    """Many segments of one piece are no more than that piece."""
    null = np.full(40, 3.0)
    nats = null + np.r_[np.full(37, -1.0), 1.0, 1.0, 1.0]
    row = paired(nats, null, ["a"] * 37 + ["b", "c", "d"])
    assert float(row["against_null"]) == pytest.approx(0.5)
    assert float(row["ci_low"]) < 0 < float(row["ci_high"])
    assert paired(np.zeros(0), np.zeros(0), []) == {"segments": 0, "pieces": 0}
    assert "ci_low" not in paired(nats[:3], null[:3], ["a"] * 3), "one piece has no interval"


def test_intervals_of_few_pieces_hold_what_they_say():
    """Of eight pieces that differ by chance alone, zero is left out in 5 % of cases."""
    generator = np.random.default_rng(0)
    pieces = [str(number) for number in range(8)]
    found = [paired(generator.normal(3, 1, 8), np.full(8, 3.0), pieces) for _ in range(1000)]
    wrong = sum(float(r["ci_low"]) > 0 or float(r["ci_high"]) < 0 for r in found)
    assert 25 < wrong < 75  # 50 expected; the percentile bootstrap's were 110


@pytest.mark.slow
def test_the_primary_metric_is_the_runs(tmp_path):
    """Another one by its name; of an embedding that does not run here there is none."""
    for primary, name in (
        (("frechet_distance", "timbre"), "timbre frechet_distance"),
        (("kad", "vggish"), ""),
    ):
        write_concepts([asked()], SETTINGS, tmp_path / "concept.csv", Means(primary))
        rows = {row["condition"]: row for row in read_csv(tmp_path / "concept.csv")}
        assert {row["primary_metric"] for row in rows.values()} == {name}
        if name:
            assert float(rows["learned"]["primary"]) < float(rows["wrong"]["primary"])


@pytest.mark.slow
def test_equal_texts_are_played_once():
    played = []
    same = replace(asked(), clips=lambda name: played.append(name) or asked().clips(name))
    means = Means()
    rows = list(judge(same, SETTINGS, means))
    assert list(judge(same, SETTINGS, means)) == rows
    assert played == list(SOUNDS)


@pytest.mark.slow
def test_copies_of_training_clips_are_seen():
    copying = replace(
        asked(), clips=lambda name: tones(900, 12, 1, 6), conditions={"null": "", "learned": "x"}
    )
    rows = {row["condition"]: row for row in judge(copying, SETTINGS)}
    honest = {row["condition"]: row for row in judge(asked(), SETTINGS)}
    assert float(rows["learned"]["copied"]) == 1.0
    assert float(honest["learned"]["copied"]) < 0.5


@pytest.mark.slow
def test_other_sounds_are_heard_once(tmp_path):
    """Two concepts that are told from the same sounds: the figures are those of each alone."""
    heard = []

    def low():
        heard.append(1)
        return tones(200, 12, 3, 1)

    one = replace(asked(), others=asked().others | {"low": low})
    write_concepts([one, one], SETTINGS, tmp_path / "concept.csv")
    rows = list(read_csv(tmp_path / "concept.csv"))
    assert len(heard) == 1
    assert rows[: len(rows) // 2] == rows[len(rows) // 2 :]


@pytest.mark.slow
def test_neighbours_and_originality():
    """Of copies all neighbours are of the concept and nothing is new; other sounds are neither."""
    rows = {row["condition"]: row for row in judge(asked(), SETTINGS)}
    copying = replace(asked(), clips=lambda name: tones(900, 12, 1, 6))
    copied = next(row for row in judge(copying, SETTINGS) if row["condition"] == "learned")
    assert float(rows["learned"]["neighbours"]) == float(copied["neighbours"]) == 1.0
    assert float(rows["null"]["neighbours"]) == 0.0
    assert float(rows["real"]["originality"]) == pytest.approx(1.0)
    assert float(copied["originality"]) < float(rows["learned"]["originality"])
    assert float(rows["null"]["originality"]) > 3


@pytest.mark.slow
def test_clap_reads_the_description(tmp_path):
    """The cosine of clips and a text: the network's own two ways, one number a clip."""
    make_clap(tmp_path)
    write_json(tmp_path / "origin.json", {"from": "tiny", "sha256": "0" * 64})
    clap = Clap(tmp_path)
    waves = list(tones(900, 2, 1))
    found = clap.similarity(waves, RATE, ["a high bell"])[:, 0]
    heard = np.stack([soxr.resample(w, RATE, clap.sample_rate, quality="HQ") for w in waves])
    audio = clap.embed(heard.astype(np.float64))[:, 0]
    text = clap.read("a high bell")
    cosines = audio @ text / np.linalg.norm(audio, axis=1) / np.linalg.norm(text)
    assert found == pytest.approx(cosines, abs=1e-5)
    assert not np.allclose(found, clap.similarity(waves, RATE, ["low"])[:, 0])
    write_concepts([asked()], SETTINGS, tmp_path / "concept.csv", Means(clap=clap))
    rows = read_csv(tmp_path / "concept.csv")
    assert all(-1 <= float(row["clap"]) <= 1 for row in rows)
    write_concepts([asked()], SETTINGS, tmp_path / "concept.csv")
    assert {row["clap"] for row in read_csv(tmp_path / "concept.csv")} == {""}
    (tmp_path / "tokenizer.json").unlink()
    with refused("text-tokenizer-missing"):
        Clap(tmp_path).similarity(waves, RATE, ["low"])


def test_without_held_out_music_there_are_rows():
    empty = replace(
        asked(), pieces=[], nats=lambda name: np.zeros(0), real=lambda split: iter(()),
        pieces_of={"test": [], "train": []}, others={},
    )  # fmt: skip
    rows = list(judge(empty, SETTINGS))
    assert all(not row["distance"] and not row["recognised"] for row in rows)


def test_the_discriminant():
    generator = np.random.default_rng(0)
    classes = {n: generator.normal(m, 1, (40, 5)) for n, m in (("a", 0), ("b", 6))}
    found = Discriminant(classes)(np.array([[0.0] * 5, [6.0] * 5]))
    assert found.tolist() == ["a", "b"]
    rows = generator.normal(size=(6, 5))
    assert away(rows, rows[::-1]).min(1).max() < 1e-6
