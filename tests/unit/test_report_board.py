"""Leaderboard, differences, copies, evidence of clips, media, rolls: what the page puts together."""

import mido
import numpy as np
import pytest
import soundfile
from pages import (
    COPIES,
    NASTY,
    RATE,
    report,
    tone,
    write_board,
    write_notes,
    write_set,
    write_trust,
)

from etude.config import Page
from etude.midi.notes import read_midi
from etude.report.copies import ALL, read_copies
from etude.report.evidence import read_evidence, unlike
from etude.report.figures import figure, p_value, percent, rows_of, split_note
from etude.report.leaderboard import (
    digits_of,
    read_boards,
    read_differences,
    read_figures,
    shown_first,
)
from etude.report.media import Job, make_media
from etude.report.pianoroll import roll
from etude.report.provenance import hash_code, read_provenance
from etude.storage import write_csv, write_text

NAMES = ["audiolm", "audiolm-large", "notes"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("board")
    write_board(folder, NAMES)
    return folder


def rows(results, name):
    return list(rows_of(results / f"{name}.csv"))


def test_boards_hold_own_rows_first_with_floor_and_ceilings(results):
    boards = read_boards(rows(results, "leaderboard"), NAMES)
    first = boards[0]
    assert (first.metric, first.embedding) == ("Fréchet distance", "logmel")
    assert [entry.experiment for entry in first.entries] == NAMES
    assert first.best.experiment == "audiolm-large"
    assert len(first.others) == 3 * 5
    for entry in first.entries:
        assert entry.floor < min(entry.ceilings)
        assert entry.reach[0] < entry.at < entry.reach[1]
        assert entry.seeds == "3 × 2"
        assert "training seed 42% (5% to 97%)" in entry.shares
    assert [b.not_run for b in boards if b.not_run] == ["needs weights & patience"]


def test_boards_of_one_experiment_have_all_rows_in_one_table(results):
    board = read_boards(rows(results, "leaderboard"), ["notes"])[0]
    assert [entry.clips for entry in board.entries][:3] == ["generated", "real", "reconstruction"]
    assert not board.others


def test_boards_of_empty_and_broken_cells():
    row = {"experiment": "a", "metric": "kad", "embedding": "e", "clips": "generated"}
    for value in ("", "nan", "inf", "x", "0", "-1"):
        (board,) = read_boards([row | {"value": value, "ci_low": "nan"}], ["a"])
        assert board.entries[0].value in (None, 0.0, -1.0)
    assert read_boards([], ["a"]) == []
    assert read_boards([row], ["b"]) == []


def test_differences_have_zero_in_the_middle(results):
    found = read_differences(rows(results, "differences"), NAMES)
    assert [d.verdict for d in found[:3]] == ["better", "inconclusive", "worse"]
    assert [d.mood for d in found[:3]] == ["good", "even", "bad"]
    assert all(d.zero == 50 for d in found)
    assert found[0].reach[1] < 50 < found[2].reach[0]
    assert found[1].reach[0] < 50 < found[1].reach[1]
    assert read_differences(rows(results, "differences"), ["notes"]) == []


def test_a_ratio_lies_where_its_logarithm_does(results):
    found = read_differences(rows(results, "differences"), NAMES)
    ratios, others = ([d for d in found if d.ratio == wanted] for wanted in (True, False))
    assert {d.metric for d in ratios} == {"Fréchet distance"}
    assert [d.at for d in ratios] == pytest.approx([d.at for d in others[:3]], abs=0.01)
    assert ratios[0].value < 1 < ratios[2].value
    half = [{"a": "a", "b": "b", "metric": "m", "scale": "ratio", "value": v} for v in ("0.5", "2")]
    low, high = read_differences(half, ["a", "b"])
    assert low.at + high.at == pytest.approx(100), "twice as far as it, half as far"
    nothing = half[0] | {"value": "0.000000"}
    assert read_differences([nothing], ["a", "b"])[0].at < 50


def test_figures_without_embedding_have_a_column_for_each_set(results):
    (one,) = read_figures(rows(results, "leaderboard"), ["notes"])
    assert one.sets[:2] == ["generated", "real"]
    metrics = {metric: cells for metric, _, cells in one.rows}
    assert metrics["et_grid"][1].value == 0.95


def test_what_was_named_before_the_run_stands_first(results):
    found = read_differences(rows(results, "differences"), NAMES)
    shown, rest = shown_first(found)
    assert [d.metric for d in shown] == 3 * ["KAD"]
    assert len(rest) == 6
    assert not any(d.primary for d in rest)


def test_of_many_figures_the_telling_ones_come_first():
    common = {"experiment": "a", "clips": "generated", "value": "1"}
    names = ["et_grid", "duration_kl", "Attacks", *(f"detail_{i}" for i in range(20))]
    (one,) = read_figures([common | {"metric": n} for n in names], ["a"], ["Attacks"])
    assert [metric for metric, _, _ in one.rows] == names[:3]
    assert [metric for metric, _, _ in one.more] == names[3:]
    (one,) = read_figures([common | {"metric": n} for n in names[3:8]], ["a"])
    assert (len(one.rows), one.more) == (5, [])


def test_beginnings_that_are_continued_are_a_table(tmp_path):
    rows = [
        {"clips": f"prefixes_{kind}", "metric": f"extracted_{how}_after_{length}", "value": value,
         "train_seed": "0", "draw": "0", "n": "24", "unit": "share"}
        for kind, value in (("train", 0.5), ("held_out", 0.0))
        for length in (32, 64) for how in ("exact", "nearly")
    ]  # fmt: skip
    write_csv(tmp_path / "a.csv", list(rows[0]), rows)
    found = read_copies("a", [tmp_path / "a.csv"])
    assert found.lengths == ["after 32 tokens", "after 64 tokens"]
    said = {name: [cell.value for cell in cells] for name, cells in found.extraction}
    assert said["exactly, training pieces"] == [0.5, 0.5]
    assert said["80 % of the tokens, held-out pieces"] == [0.0, 0.0]
    assert not found.others


def test_a_clip_of_symbols_pays_no_codec(results):
    board = read_boards(rows(results, "leaderboard"), NAMES)[0]
    said = {e.experiment: e.meaning for e in board.others if e.clips == "reconstruction"}
    assert "codec" in said["audiolm"]
    assert "codec" not in said["notes"]
    assert "renderer" in said["notes"]


def test_copies_by_rung_with_all_seeds_first(tmp_path):
    common = {"metric": "memorised_fp", "embedding": "", "clips": "generated", "n": "500"}
    for seed in (0, 1):
        recall = {"metric": "recall_fp_noise_30db", "clips": "planted", "value": "0.99"}
        row = common | {"train_seed": seed, "draw": "0", "value": "0.02"}
        short = {"metric": "memorised_embedding", "embedding": "logmel", "clips": "generated",
                 "train_seed": seed, "draw": "0", "note": "n/a: the null has 12 clips"}  # fmt: skip
        columns = [*row, "note"]
        write_csv(tmp_path / f"{seed}.csv", columns, [row, recall, short])
    paths = [tmp_path / "0.csv", tmp_path / "1.csv"]
    pooled = common | {"experiment": "a", "value": "0.018", "ci_low": "0.01", "ci_high": "0.03"}
    found = read_copies("a", paths, [pooled])
    assert found.wheres == [ALL, "seed 0, draw 0", "seed 1, draw 0"]
    rung, _, cells = found.flagged[0]
    assert (rung, cells[0].value, cells[1].value) == ("fp", 0.018, 0.02)
    assert found.flagged[1][2][1].note == "the null has 12 clips"
    assert found.recalls == ["noise 30db"]
    assert found.flagged[1][0] == "embedding logmel"
    assert found.recall[0][0] == "fp"
    assert read_copies("a", []) is None


def test_evidence_finds_outliers_and_prefers_the_rung_that_flags(tmp_path):
    clips = [f"c{i}" for i in range(12)]
    fad = [{"clip": c, "embedding": e, "fad": 50 if c == "c3" else 9 + 0.1 * i}
           for e in ("logmel", "chroma") for i, c in enumerate(clips)]  # fmt: skip
    write_csv(tmp_path / "per_clip.csv", ["clip", "embedding", "fad"], fad)
    copies = [
        {"clip": "c0", "rung": "nn", "flagged": "false", "nearest_piece": "p", "nearest_file": "a.wav"},
        {"clip": "c0", "rung": "tokens", "flagged": "true", "nearest_piece": "q"},
        {"clip": "c1", "rung": "nn", "flagged": "False"},
    ]  # fmt: skip
    write_csv(tmp_path / "memorisation_clips.csv", COPIES, copies)
    evidence = read_evidence(tmp_path)
    assert evidence.embedding == "logmel"
    assert [c for c in clips if evidence.of(c).far] == ["c3"]
    assert evidence.of("c0").rungs == ("tokens",)
    assert evidence.of("c0").nearest.piece == "q"
    assert evidence.of("c1").nearest is None
    assert evidence.of("nobody").fad is None
    assert read_evidence(tmp_path / "nowhere").clips == {}


def flagged(rung, word="false"):
    return {"clip": "c0", "rung": rung, "flagged": word}


@pytest.mark.parametrize(
    ("copies", "decided"),
    [
        ([flagged("fingerprint")], True),
        ([flagged("notes", "true")], True),
        ([flagged("fingerprint", "n/a"), flagged("waveform", "n/a")], False),  # without a null
        ([flagged("exact")], False),  # equal samples alone: another key would pass
        ([flagged("neighbours"), flagged("tokens")], False),  # told only
        ([], False),
    ],
)
def test_no_copies_were_found_only_where_they_could_have_been(tmp_path, copies, decided):
    write_csv(tmp_path / "memorisation_clips.csv", COPIES, copies)
    found = read_evidence(tmp_path)
    assert found.searched
    assert found.decided is decided


def test_notes_of_how_a_figure_was_fitted_are_apart():
    fit = "a line in 1/n through 25 subsets of 4 to 16, slope 0.8, R² 0.9"
    more = "2 more notes of other cells, in metrics/"
    assert split_note(f"{fit}; {more}; one is silent") == ("one is silent", f"{fit}; {more}")
    assert split_note(f"one is silent; {more}") == (f"one is silent; {more}", "")
    assert split_note("") == ("", "")


def test_the_primary_metrics_board_comes_first(results):
    found = read_boards(rows(results, "leaderboard"), NAMES, ("kad", "chroma"))
    assert (found[0].metric, found[0].embedding) == ("KAD", "chroma")
    assert len(found) == len(read_boards(rows(results, "leaderboard"), NAMES))


def test_unlike_needs_company():
    assert unlike({"a": 1.0, "b": 99.0}) == set()
    values = dict.fromkeys(map(str, range(9)), 1.0) | {"low": -5.0, "high": 9.0, "none": None}
    assert unlike(values) == {"low", "high"}
    assert unlike(values, above=True) == {"high"}


def test_roll_is_as_long_as_the_sound(tmp_path):
    file = mido.MidiFile(ticks_per_beat=480)
    notes = [
        mido.Message("note_on", note=60, velocity=80),
        mido.Message("note_off", note=60, time=480),
    ]
    file.tracks.append(mido.MidiTrack(notes * 4))
    file.save(tmp_path / "a.mid")
    table = read_midi(tmp_path / "a.mid")
    text = roll(table, 4.0)  # four notes of half a second
    assert text.count("M0 ") >= 1
    starts = [
        float(part.split(" ")[0]) for part in text.split('d="')[-1].split('"')[0].split("M")[1:]
    ]
    assert starts == [0.0, 45.0, 90.0, 135.0]
    later = roll(table, 1.0, start_s=0.5)
    starts = [
        float(part.split(" ")[0]) for part in later.split('d="')[-1].split('"')[0].split("M")[1:]
    ]
    assert starts == [0.0, 180.0]
    assert roll(table.at(np.zeros(len(table), bool)), 2.0).endswith("</svg>\n")


def test_media_are_made_once_and_cut_where_they_are_asked_for(tmp_path):
    wave = tone(1, 12.0)
    soundfile.write(tmp_path / "piece.wav", wave, RATE, subtype="PCM_16")
    job = Job(tmp_path / "piece.wav", "x/near", start_s=4.0, seconds=2.0)
    late = Job(tmp_path / "piece.wav", "x/late", start_s=11.5, seconds=2.0)
    short = Job(tmp_path / "piece.wav", "x/whole", start_s=4.0, seconds=11.0)
    bad = Job(tmp_path / "nothing.wav", "x/bad")
    made = make_media([job, late, short, bad, job], tmp_path / "media", threads=1)
    assert [round(made[j].seconds) for j in (job, late, short)] == [2, 2, 12]
    assert "cannot be played" in made[bad].trouble
    samples = [
        soundfile.read(p, dtype="int16")[0]
        for p in (tmp_path / "piece.wav", tmp_path / "media/x/near.flac")
    ]
    np.testing.assert_array_equal(samples[0][4 * RATE : 6 * RATE], samples[1])


def test_clip_with_broken_notes_has_its_sound_drawn(tmp_path):
    names = write_set(tmp_path / "set", [tone(0), tone(1)])
    write_notes(tmp_path / "set" / f"{names[0]}.mid", 0, 1.0)
    write_text(tmp_path / "set" / f"{names[1]}.mid", "no notes")
    jobs = [Job(tmp_path / "set" / f"{name}.wav", f"s/{name}") for name in names]
    made = make_media(jobs, tmp_path / "media", threads=1)
    assert [made[job].picture.rsplit(".")[-1] for job in jobs] == ["svg", "png"]


@pytest.mark.slow
def test_page_lists_every_clip_and_shows_the_first(tmp_path):
    results = tmp_path / "results"
    write_trust(results, 12, (0,), (0,), 0.5, ("notes",))
    report(results, ["notes"], results / "report", Page(clips=4, media=9))
    page = (results / "report/index.html").read_text()
    assert page.count("<template>") == 9 - 4
    assert page.count("<tr data-index=") == 12
    assert "3 clips without a link" in page
    assert len(list((results / "report/media/notes/seed-0-draw-0").glob("*.svg"))) == 9
    listed = page[page.index('id="listen"') :]
    assert listed.index("clip-0000") < listed.index("clip-0004"), "the outlier does not lead"


@pytest.mark.slow
def test_nasty_names_are_escaped_everywhere(tmp_path):
    results = tmp_path / "results"
    write_trust(results, 2, (0,), (0,), 0.5, ("audiolm",))
    folder = results / "metrics/audiolm/seed-0/draw-0"
    write_csv(folder / "memorisation_clips.csv", COPIES,
              [{"clip": "clip-0000", "rung": NASTY, "flagged": "true", "nearest_piece": NASTY,
                "nearest_file": "../../etc/passwd"}])  # fmt: skip
    board = [{"experiment": "audiolm", "clips": "generated", "metric": NASTY, "embedding": NASTY,
              "value": "1", "note": NASTY}]  # fmt: skip
    write_csv(results / "leaderboard.csv", list(board[0]), board)
    report(results, ["audiolm"], results / "report")
    assert "<script>alert" not in (results / "report/index.html").read_text()


def test_figures_of_any_size():
    said = [figure(v) for v in (0, 0.5, 12.345, 123.4, 5000, 2.5e7, -1e-5, None)]
    assert said == ["0.000", "0.500", "12.35", "123.4", "5,000", "2.50e+07", "−1.00e−05", "–"]
    assert [percent(v).replace("\N{NO-BREAK SPACE}", " ") for v in (0, 0.012, 0.5, 0.995, 1)] == [
        "0 %", "1.2 %", "50 %", "99.5 %", "100 %",
    ]  # fmt: skip
    assert [p_value(v) for v in (0.0002, 0.04, None)] == ["< 0.001", "0.040", "–"]
    assert [digits_of(v) for v in (187.0, 9.4, 0.13, 0.0, 1e-9)] == [0, 2, 3, 2, 6]


def test_provenance_hangs_on_the_code_and_on_nothing_else(tmp_path):
    write_text(tmp_path / "Snakefile", "a")
    before = hash_code(tmp_path)
    write_text(tmp_path / "results.txt", "b")
    assert hash_code(tmp_path) == before
    write_text(tmp_path / "rules/a.smk", "c")
    assert hash_code(tmp_path) != before
    made = read_provenance()
    assert len(made.code) == len(made.lock) == 64
    assert "/" not in made.python
    assert read_provenance(tmp_path).lock == ""
