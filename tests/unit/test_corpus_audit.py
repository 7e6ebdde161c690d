"""The audit says what would come of a folder, and that is what comes of it."""

import re
import shutil
from functools import partial
from pathlib import Path

import pytest
import yaml
from refused import invalid

from etude.__main__ import main
from etude.config import DEFAULT, Filter, FolderCorpus, read
from etude.config.systems.audiolm import AudioLm
from etude.corpus.audit import audit
from etude.corpus.estimate import JOBS_ONCE, JOBS_PER_SHARD, disk_bytes, jobs, training_seconds
from etude.corpus.ingest import ingest_shard
from etude.corpus.split import decide_split
from etude.storage import read_csv
from etude.tokenizers.symbolic.forecast import forecast_notes
from tests import music

ROOT = Path(__file__).resolve().parents[2]


def audited(root, cores=2, **options):
    corpus = FolderCorpus(source="folder", path=root, **options)
    said = partial(forecast_notes, corpus.rules, threads=1)
    text, works = audit(root, corpus, read(DEFAULT), cores, said)
    assert works == ("would stop" not in text)
    return text


def plain(*texts):
    return [re.sub(r"\s+", " ", text) for text in texts]


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "my music!"
    music.make_mixed(root, 8)
    music.make_multitrack(root, 4)
    (root / "notes.txt").write_text("hello")
    (root / "broken.mid").write_text("no music")
    shutil.copy(root / "mid/piece-004.mid", root / "z copy.mid")
    return root


@pytest.mark.slow
def test_the_text(folder):
    before = sorted(p.name for p in folder.rglob("*"))
    (text,) = plain(audited(folder, filter=Filter(max_minutes=0.6)))
    assert "my music!: 15 files" in text
    assert "corrupt_midi: no option takes them: fix or leave them such as broken.mid" in text
    assert "duplicate_of: duplicates: keep takes them such as z copy.mid (mid-piece-004-" in text
    assert "of them have drums, which are left out (filter: {drums: keep})" in text
    assert re.search(r"too_long: filter: \{max_minutes: 1\} takes them", text)
    assert "not music: 1 (1 .txt)" in text
    assert re.search(r"notes that a symbolic tokenizer would keep.*\d+ of \d+ files tried", text)
    for kind in ("onoff", "remi", "tsd", "structured", "remi_z"):
        assert re.search(rf"{kind}: [\d,]+ notes, [\d,]+ kept \([\d.]+ %\); \d+ of drums", text)
    assert "recordings are compared by their samples only" in text
    assert re.search(r"\d+ segments of 2 s", text)
    assert "34 jobs with shards: 2" in text
    assert re.search(r"[1-9][\d.]* minutes of training on two cores", text)
    assert re.search(r"[\d.]+ minutes from files to tokens on 2 cores", text)
    assert before == sorted(p.name for p in folder.rglob("*"))


@pytest.mark.slow
def test_it_is_what_comes(folder, tmp_path):
    text = audited(folder)
    corpus = FolderCorpus(source="folder", path=folder, shards=1)
    ingest_shard(corpus, folder, 0, tmp_path / "i.csv", 1)
    decide_split(corpus, [tmp_path / "i.csv"], tmp_path / "p.csv")
    rows = [row for row in read_csv(tmp_path / "p.csv") if row["status"] == "kept"]
    minutes = sum(float(row["seconds"]) for row in rows) / 60
    assert f"kept: {len(rows)} pieces, {minutes:.1f} minutes" in text
    for side in ("train", "valid", "test"):
        count = sum(row["split"] == side for row in rows)
        assert re.search(rf"\s{count} pieces for {side} ", text)


@pytest.mark.slow
def test_the_three_lines_are_config(folder):
    lines = audited(folder, limit=8).rpartition("three lines of config")[2].splitlines()[1:]
    assert len(lines) == 3
    config = yaml.safe_load("\n".join(lines))
    assert config["run"] == ["my_music"]
    assert Path(config["corpora"]["my_music"].pop("path")) == folder.resolve()
    assert config["corpora"]["my_music"] == {"source": "folder", "limit": 8}
    assert config["experiments"] == {"my_music": {"system": "audiolm", "corpus": "my_music"}}


def test_remedies_are_options_that_work(tmp_path):
    notes = [(q, 1, 60 + q % 12, 7) for q in range(40)]
    music.write_midi(tmp_path / "a.mid", [(0, 40, notes)])
    music.write_midi(tmp_path / "b.mid", [(9, 0, notes)])
    music.write_midi(tmp_path / "c.mid", [(0, 0, notes[:9]), (9, 0, notes)])
    music.write_midi(tmp_path / "d.mid", [(0, 0, notes[:12])])
    music.write_midi(tmp_path / "e.mid", [(0, 0, [(0, 1, 60, 60), (9, 1, 60, 60)])])
    (text,) = plain(audited(tmp_path, filter="we_sharp"))
    assert "has_drums: filter: {drums: drop} takes them without drums, keep with them" in text
    assert "program_not_allowed: filter: {programs: null} takes every instrument" in text
    assert "velocity_too_low: filter: {min_velocity: 7} takes them" in text
    (text,) = plain(audited(tmp_path))
    assert "only_drums: filter: {drums: keep} takes them" in text
    assert "rejected: none" in audited(tmp_path, filter=Filter(drums="keep"))


def test_folders_with_nothing_to_use(tmp_path):
    assert "the corpus has no music" in audited(tmp_path)
    (tmp_path / "a.mid").write_text("no music")
    text = audited(tmp_path)
    assert "As it stands the run would stop" in text
    assert "1 of 1 music files were rejected" in text
    assert "three lines" not in text


@pytest.mark.slow
def test_metadata_is_heard(folder):
    (folder / "metadata.csv").write_text("file,split\npiece-000.mid,test\ngone.mid,train\n")
    text = audited(folder)
    assert "1 rows of metadata.csv have no single file: gone.mid" in text


def test_jobs_are_those_of_the_rules():
    """34 is what `snakemake -n` counts for a folder of two shards."""
    files = [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]
    rules = {n for f in files for n in re.findall(r"^rule (\w+):", f.read_text(), re.MULTILINE)}
    asked_for_by_name = {"fetch_source", "import_clips", "keep_step"}
    asked_for_by_name |= {"import_tokenizer", "import_weights"}
    asked_for_by_name |= {"fetch_weights", "verify_models", "verify_text"}
    asked_for_by_name |= {"check_criteria", "list_owners"}
    asked_for_by_name |= {"verify_embedding", "verify_embedding_fadtk"}
    asked_for_by_name |= {"embed_clips_pretrained", "embed_clips_fadtk"}
    asked_for_by_name |= {"encode_stage", "score_latents"}  # of stages that encode
    asked_for_by_name |= {"caption_corpus", "score_concepts"}  # of systems that take text
    # Of symbolic experiments.
    asked_for_by_name |= {"make_tokenizer", "tokenize_midi", "write_events", "summarise_tokens"}
    asked_for_by_name |= {"pack_symbolic", "train_word2vec"}
    asked_for_by_name |= {"measure_symbolic", "score_symbolic", "score_perplexity"}
    assert {*JOBS_PER_SHARD, *JOBS_ONCE} == rules - asked_for_by_name
    assert jobs(2) == 34


def test_training_takes_what_steps_and_tokens_take():
    settings = read(DEFAULT)
    experiment = AudioLm(system="audiolm", corpus="c")
    tokens = 130 * 32 * 100 + 340 * 16 * (100 + 2 * 75) + 260 * 16 * 4 * 25
    assert training_seconds(experiment, settings) == pytest.approx(tokens / 10_000)


def test_disk_counts_the_segments_that_the_default_writes():
    cut = read(DEFAULT).cuts["two_seconds"]
    assert cut.write_audio
    unwritten = cut.model_copy(update={"write_audio": False})
    with_audio, without = (disk_bytes(600, 0, 0, 24000, c) for c in (cut, unwritten))
    assert with_audio - without == pytest.approx(600 * 2 * 24000)


def test_the_command_says_by_its_status_whether_a_run_would_stop(tmp_path, capsys):
    (tmp_path / ".hidden.mid").touch()
    assert main(["audit", str(tmp_path)]) == 1
    text = capsys.readouterr().out
    assert "the run would stop" in text
    assert "passed over: hidden files (1)" in text
    music.make_chorales(tmp_path, 3)
    assert main(["audit", str(tmp_path)]) == 0
    with pytest.raises(SystemExit) as error:
        main(["audit", ""])
    assert error.value.code == 2
    assert "it is empty; . is the folder that you are in" in capsys.readouterr().err
    with invalid("path", "empty-path"):
        FolderCorpus(source="folder", path="")
