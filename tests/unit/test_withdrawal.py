"""Withdrawal: what knew a file is deleted, nothing else is, and a kill in the middle loses nothing."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from refused import refused
from tiny_experiments import make_sound, write_search

from etude import config
from etude.__main__ import _parser, main
from etude.config import FolderCorpus
from etude.corpus.fetch import prune
from etude.corpus.ingest import ingest_shard
from etude.corpus.scan import corpus_files, digests, piece_id, shard_of
from etude.corpus.withdrawn import left_out, pending, refuse_if_pending, version_of
from etude.generation.command import generate
from etude.generation.export import export
from etude.generation.registry import exports
from etude.metrics.cache import EmbeddingCache
from etude.storage import embeddings_folder, hash_file, read_csv, read_json, write_csv, write_json
from etude.withdrawal import removal
from etude.withdrawal.removal import carry_out

HEAD = "file,contributor,licence,share,consent_date,may_train,may_publish\n"
PLANTED, KEPT = "Ann/jam für zwei.wav", "Bo/other.wav"


def tables(home: Path, *withdrawn: str) -> None:
    rows = [f"{name},{name[:2]},CC-BY-4.0,,2026-01-01,yes,yes\n" for name in (PLANTED, KEPT)]
    (home / "ownership.csv").write_text(HEAD + "".join(rows), encoding="utf-8")
    if withdrawn:
        text = "file,reason\n" + "".join(f"{name},x\n" for name in withdrawn)
        (home / "withdrawn.csv").write_text(text, encoding="utf-8")


def music(home: Path) -> dict[str, str]:
    """Two recordings -> their hashes."""
    for number, name in enumerate((PLANTED, KEPT), start=1):
        path = home / "music" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.3 * np.sin(np.arange(24000) * 0.05 * number), 24000)
    return {name: hash_file(home / "music" / name) for name in (PLANTED, KEPT)}


def write(path: str, text: str = "x") -> Path:
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")
    return place


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A trained experiment over two people's music, what is around it, and one of other music."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make_sound(tmp_path)
    content = yaml.safe_load((tmp_path / "mine.yaml").read_text())
    content["corpora"]["mine"] |= {"ownership": "ownership.csv"}
    content["corpora"]["other"] = {"source": "folder", "path": "elsewhere"}
    content["experiments"]["other"] = {"system": "audiolm", "corpus": "other"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    tables(tmp_path)
    hashes = music(tmp_path)
    columns = ["piece", "path", "sha256", "notes_hash", "seconds", "status", "split"]
    rows = [
        {
            "piece": piece_id(name), "path": name, "sha256": hashes[name], "seconds": "60",
            "notes_hash": hashes[name][::-1], "status": "kept", "split": "train",
        }
        for name in (PLANTED, KEPT)
    ]  # fmt: skip
    write_csv("results/corpora/mine/pieces.csv", columns, rows)
    for number, row in enumerate(rows):
        write_csv(f"results/corpora/mine/ingest/000{number}.csv", columns, [row])
        wav = write(f"results/corpora/mine/wav/000{number}/{row['piece']}.wav")
        shutil.copyfile(tmp_path / "music" / row["path"], wav)
        write(f"results/cuts/mine/short/000{number}/index.csv", f"segment,{row['piece']}")
        write(f"results/tokens/mine/embedded/000{number}.jsonl", json.dumps(row))
    write_search(tmp_path, "mine", (3, 5))
    for name in ("mine", "other"):
        write(f"results/packed/{name}/embedded/info.json", json.dumps({"data_hash": name}))
        write(f"results/packed/{name}/embedded/train/data.arrow", piece_id(PLANTED))
        write(f"results/clips/{name}/seed-3/draw-0/clips.csv", "clip")
        write(f"results/metrics/{name}/seed-3/draw-0/fad.csv")
        write(f"results/tensorboard/{name}/fine/3/events.out", "x")
        write(f"results/memorisation/{name}/short/recall.csv")
    for digit, whose in (
        ("a", "mine/fine/seed-3"),
        ("b", "other/fine/seed-3"),
        ("c", "gone/lm/seed-0"),
    ):
        state = f"results/state/{digit * 24}"
        write_json(f"{state}/about.json", {"for": whose, "data_hash": whose[:5].strip("/")})
        write(f"{state}/state.pt", "weights")
        write(f"results/state/refs/{whose}", digit * 24 + "\n")
    write("results/models/gone/lm/seed-0/card.md", "# lm\n| corpus | mine |\n")
    write("results/clips/gone/seed-0/draw-0/clips.csv")
    write("results/logs/ingest_corpus/mine/0000.log", f"rejected: {PLANTED}")
    write("results/logs/ingest_corpus/mine/0001.log", "nothing")
    write("results/report/index.html", f"<p>nearest: {piece_id(PLANTED)}")
    write("results/fad.txt", "figures")
    cache = EmbeddingCache(embeddings_folder())
    for name in (PLANTED, KEPT):
        cache.put(cache.key(tmp_path / "music" / name, rate=1), {"windows": np.zeros(2)})
    return tmp_path


def settings():
    return config.read(config.DEFAULT, "mine.yaml")


def grep(home: Path, hashes: dict[str, str]) -> list[str]:
    """Files outside the user's own that have the planted piece: by name, hash or bytes."""
    words = [PLANTED.encode(), Path(PLANTED).stem.encode(), piece_id(PLANTED).encode()]
    words += [hashes[PLANTED].encode(), hashes[PLANTED][::-1].encode()]
    sound = (home / "music" / PLANTED).read_bytes()[8000:8400]
    found = []
    for top in ("results", "cache", "exports"):
        for path in (home / top).rglob("*"):
            data = path.read_bytes() if path.is_file() else b""
            if any(word in data or word in str(path).encode() for word in [*words, sound]):
                found.append(str(path.relative_to(home)))
    return found


@pytest.mark.slow
def test_what_knew_it_is_gone_and_nothing_else(home):
    hashes = {name: hash_file(home / "music" / name) for name in (PLANTED, KEPT)}
    export(settings(), "mine", None, home / "exports/first")
    write("exports/first/notes from Bo.txt")
    export(settings(), "mine", 5, home / "exports/moved")
    (home / "exports/moved").rename(home / "away")
    assert len(grep(home, hashes)) > 8, "the test would see it"
    tables(home, PLANTED)
    said = "\n".join(carry_out(settings()))
    assert [p for p in grep(home, hashes) if not p.startswith("results/packed/other")] == []
    assert "an export may know them and is not within reach" in said
    assert str(home / "exports/moved") in said
    left = {p.name for p in (home / "exports/first").rglob("*")}
    assert left == {"notes from Bo.txt"}, "what is not ours stays"
    assert exports() == []
    results = home / "results"
    for gone in ("models/mine", "models/gone", "clips/gone", "tensorboard/mine", "packed/mine",
                 "tokenizers/mine/bands", "metrics/mine", "memorisation/mine", f"state/{'a' * 24}",
                 f"state/{'c' * 24}", "corpora/mine/pieces.csv", "corpora/mine/wav/0000"):  # fmt: skip
        assert not (results / gone).exists(), gone
    for stays in ("corpora/mine/ingest/0001.csv", "corpora/mine/wav/0001", "cuts/mine/short/0001",
                  "tokens/mine/embedded/0001.jsonl", "packed/other/embedded/info.json",
                  "clips/other", "metrics/other", "tensorboard/other", f"state/{'b' * 24}",
                  "logs/ingest_corpus/mine/0001.log", "fad.txt"):  # fmt: skip
        assert (results / stays).exists(), stays
    assert len(list((home / "cache").rglob("*.npz"))) == 1
    assert pending(settings().corpora["mine"], "mine") == []
    assert carry_out(settings()) == [], "once is enough"


class Killed(BaseException):
    """As a kill would: nothing may catch it."""


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 1, 4, 9, 14, 17])
def test_a_kill_in_the_middle_is_completed_by_the_next_run(after, home, monkeypatch):
    hashes = {name: hash_file(home / "music" / name) for name in (PLANTED, KEPT)}
    export(settings(), "mine", None, home / "exports/first")
    tables(home, PLANTED)
    count, delete = 0, shutil.rmtree

    def killed(path, *arguments, **options):
        nonlocal count
        if count == after:
            raise Killed
        count += 1
        delete(path, *arguments, **options)

    monkeypatch.setattr(removal.shutil, "rmtree", killed)
    with pytest.raises(Killed):
        carry_out(settings())
    monkeypatch.undo()
    monkeypatch.chdir(home)
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    assert pending(settings().corpora["mine"], "mine") == [PLANTED]
    for command in (
        ["generate", "--experiment", "mine", "--configfile", "mine.yaml"],
        ["export", "--experiment", "mine", "--output", "out", "--configfile", "mine.yaml"],
        ["studio", "--from", ".", "--configfile", "mine.yaml"],
    ):
        options = _parser().parse_args(command)
        with refused("withdrawal-pending"):
            options.run(options)
    carry_out(settings())
    assert [p for p in grep(home, hashes) if not p.startswith("results/packed/other")] == []
    assert not (home / "results/clips/gone").exists()
    assert not (home / "results/state/refs/mine").exists()


@pytest.mark.slow
def test_an_export_on_record_waits_too(home):
    export(settings(), "mine", None, home / "exports/first")
    command = ["generate", "--from", "exports/first", "--seconds", "0.6", "--clips", "1"]
    assert len(generate(_parser().parse_args(command))) == 1
    tables(home, PLANTED)
    with refused("withdrawal-pending"):
        generate(_parser().parse_args(command))


def test_an_export_without_the_piece_stays(home):
    export(settings(), "mine", None, home / "exports/first")
    about = read_json(home / "exports/first/export.json")
    assert len(about["pieces"]) == 2
    about["pieces"] = about["pieces"][:0]
    write_json(home / "exports/first/export.json", about)
    tables(home, PLANTED)
    carry_out(settings())
    assert (home / "exports/first/export.json").is_file()
    assert [entry["folder"] for entry in exports()] == [str(home / "exports/first")]


@pytest.mark.slow
def test_the_card_says_that_files_were_withdrawn(home):
    tables(home, "Cy/long gone.wav")
    write_json("results/ownership/withdrawn.json", {})
    with refused("withdrawal-pending"):
        export(settings(), "mine", None, home / "out")
    shutil.copytree("results", "before")
    carry_out(settings())
    for name in (
        "models",
        "corpora",
        "tokenizers",
        "clips",
        "metrics",
    ):  # as the next run makes them anew
        shutil.copytree(f"before/{name}", f"results/{name}", dirs_exist_ok=True)
    export(settings(), "mine", None, home / "out")
    card = (home / "out/README.md").read_text(encoding="utf-8")
    assert "One file was withdrawn by the owners. This model was trained without." in card
    assert "Cy" not in card


@pytest.mark.slow
def test_the_studio_refuses_an_export_that_knows_a_withdrawn_piece(home):
    export(settings(), "mine", None, home / "exports/first")
    shutil.copytree("exports/first", "given/away")
    assert main(["withdraw", PLANTED, "--now", "--configfile", "mine.yaml"]) == 0
    options = _parser().parse_args(["studio", "--from", "given", "--configfile", "mine.yaml"])
    with refused("export-knows-withdrawn", 1):
        options.run(options)


# ----------------------------------------------------------------------------------- reading


@pytest.mark.slow
def test_withdrawn_files_are_not_there(home):
    corpus, root = settings().corpora["mine"], home / "music"
    (root / "metadata.csv").write_text(f"path,caption\n{PLANTED},ours\n{KEPT},theirs\n")
    before = digests(root, 2, out=left_out(corpus, root))
    assert version_of(corpus) == {}
    tables(home, "jam für zwei.wav")
    out = left_out(corpus, root)
    assert out == {PLANTED}
    assert corpus_files(root, out=out) == [KEPT]
    after = digests(root, 2, out=out)
    changed = [a != b for a, b in zip(before, after, strict=True)]
    assert changed == [shard == shard_of(PLANTED, 2) for shard in range(2)]
    assert version_of(corpus)
    for shard in range(corpus.shards):
        ingest_shard(corpus, root, shard, home / f"{shard}.csv", 1)
    rows = [row for shard in range(corpus.shards) for row in read_csv(home / f"{shard}.csv")]
    assert [row["path"] for row in rows] == [KEPT]
    (root / PLANTED).unlink()
    assert digests(root, 2, out=left_out(corpus, root)) == after, "that it is gone changes nothing"


@pytest.mark.slow
def test_no_log_names_it(home, caplog):
    corpus, root = settings().corpora["mine"], home / "music"
    (root / "metadata.csv").write_text(f"path,caption\n{PLANTED},ours\nno such.wav,x\n")
    tables(home, PLANTED)
    (root / PLANTED).unlink()
    with caplog.at_level("INFO"):
        for shard in range(corpus.shards):
            ingest_shard(corpus, root, shard, home / f"{shard}.csv", 1)
    assert "no such.wav" in caplog.text
    assert "jam" not in caplog.text


def test_tables_in_the_folder_are_no_music(home):
    root = home / "music"
    for name in ("ownership.csv", "withdrawn.csv"):
        (root / name).write_text("file\n")
    corpus = FolderCorpus(source="folder", path=root, ownership=root / "ownership.csv")
    assert left_out(corpus, root) == {"ownership.csv", "withdrawn.csv"}
    assert corpus_files(root, out=left_out(corpus, root)) == [PLANTED, KEPT]


def test_a_name_of_several_files_is_no_withdrawal(home):
    (home / "music/Cy").mkdir()
    shutil.copy(home / "music" / KEPT, home / "music/Cy/other.wav")
    tables(home, "other.wav")
    with refused("ambiguous-name") as error:
        left_out(settings().corpora["mine"], home / "music")
    assert "Bo/other.wav, Cy/other.wav" in error.value.where


def test_a_table_that_is_named_must_be_there(tmp_path):
    corpus = FolderCorpus(source="folder", path=tmp_path, withdrawn=tmp_path / "withdrawn.csv")
    with refused("file-not-found", where="withdrawn.csv"):
        left_out(corpus, tmp_path)
    (tmp_path / "withdrawn.csv").write_text("name\nx.wav\n")
    with refused("missing-column"):
        left_out(corpus, tmp_path)


def test_a_row_that_was_taken_back_counts_again_later(home):
    tables(home, PLANTED)
    carry_out(settings())
    (home / "withdrawn.csv").unlink()
    carry_out(settings())
    tables(home, PLANTED)
    assert pending(settings().corpora["mine"], "mine") == [PLANTED]


def test_nothing_is_pending_where_nothing_was_made(home):
    shutil.rmtree("results")
    tables(home, PLANTED)
    refuse_if_pending(settings().corpora)
    assert carry_out(settings()) == []
    write("results/corpora/mine/pieces.csv")
    refuse_if_pending(settings().corpora)


def test_what_was_fetched_is_pruned(home):
    root = home / "music"
    (root / "metadata.csv").write_text(f"path;title\n{PLANTED};ours\n{KEPT};theirs\n")
    tables(home, PLANTED)
    assert prune(settings().corpora["mine"], "metadata.csv", root) == 1
    assert corpus_files(root) == [KEPT]
    with (root / "metadata.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["path", "title"], [KEPT, "theirs"]]


# ------------------------------------------------------------------------------- the command


def command(*arguments):
    return main(["withdraw", *arguments, "--configfile", "mine.yaml"])


@pytest.mark.slow
def test_the_command_writes_a_row_and_says_what_follows(home, capsys):
    export(settings(), "mine", None, home / "exports/first")
    digest = hash_file(home / "music" / PLANTED)
    assert command("jam für zwei", "--reason", "we parted; ways") == 0
    said = capsys.readouterr().out
    assert "trained again: mine, gone" in said
    assert f"the export {home / 'exports/first'}" in said
    (row,) = read_csv(home / "withdrawn.csv")
    assert (row["file"], row["reason"], row["sha256"]) == (PLANTED, "we parted; ways", digest)
    assert (home / "results/models/mine").exists(), "nothing is deleted yet"
    assert command(PLANTED) == 0
    assert len(list(read_csv(home / "withdrawn.csv"))) == 1, "once is enough"
    assert command("--now") == 0
    assert not (home / "results/models/mine").exists()


def test_the_command_adds_to_a_table_as_it_is(home):
    (home / "withdrawn.csv").write_bytes("﻿File;Reason\r\nCy/x.wav;für immer".encode())
    assert command(PLANTED, "--reason", "no more") == 0
    text = (home / "withdrawn.csv").read_text(encoding="utf-8-sig")
    assert text.splitlines() == ["File;Reason", "Cy/x.wav;für immer", f"{PLANTED};no more"]


def test_a_folder_is_all_that_lies_in_it(home):
    shutil.copy(home / "music" / PLANTED, home / "music/Ann/second.wav")
    assert command("Ann/") == 0
    rows = [row["file"] for row in read_csv(home / "withdrawn.csv")]
    assert rows == [PLANTED, "Ann/second.wav"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["Ann/jam fur zwei.wav"], f"did you mean '{PLANTED}'?"),
        ([], "no file is named"),
        ([PLANTED, "--corpus", "other"], "the corpus 'other' has no owners"),
    ],
)
def test_mistakes(arguments, words, home, capsys):
    assert command(*arguments) == 1
    assert words in capsys.readouterr().err
    assert not (home / "withdrawn.csv").exists()
