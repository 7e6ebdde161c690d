"""From cuts to packed tokens: fitted on training pieces only, and nothing crosses."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import datasets
import numpy as np
import pytest
import torch
from refused import refused

from etude.audio.cuts import cut_shard
from etude.audio.files import write_wav
from etude.config import Cut, Fit, MagnitudeRvq, SemitoneBands
from etude.storage import hash_folder, read_json, write_csv
from etude.tokenizers.fit import choose_segments, fit_tokenizer, import_tokenizer
from etude.tokenizers.pack import pack_tokens
from etude.tokenizers.tokenize import tokenize_shard
from etude.workflow.imported_tokenizers import check_fitted, fitted_files
from tests.music import tones

PIECES_COLUMNS = [
    *("piece", "path", "kind", "sha256", "notes_hash", "seconds", "notes", "programs"),
    *("status", "reason", "tune_group", "split"),
]
CUT = Cut()
SPLIT = {"a": "train", "b": "train", "c": "train", "d": "valid", "e": "test", "f": ""}
SMALL_FIT = Fit(segments=8)
SEMANTIC = SemitoneBands(kind="semitone_bands", clusters=16, fit=SMALL_FIT)
ACOUSTIC = MagnitudeRvq(kind="magnitude_rvq", codebook_size=16, components=24, fit=SMALL_FIT)
# The shapes of HuBERT (49.5 tokens a second) and EnCodec (75 x 8).
HUBERT = SemitoneBands(
    kind="semitone_bands", sample_rate=16000, hop=320, receptive_field=400, clusters=20,
    fit=SMALL_FIT,
)  # fmt: skip
ENCODEC = MagnitudeRvq(
    kind="magnitude_rvq", hop=320, codebook_size=32, quantizers=8, components=16, iterations=2,
    fit=SMALL_FIT,
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def waves():
    """Six pieces of 7 seconds: three segments and a tail each."""
    return {piece: tones(Random(piece), 7, 24000, 1)[:, 0] for piece in SPLIT}


class Corpus:
    """Shards of WAVs, cuts and tokens in a folder, as the workflow leaves them."""

    def __init__(self, folder: Path, waves, shards: int, split=SPLIT, cut=CUT):
        self.folder, self.cut = folder, cut
        self.wav, self.cuts, self.tokens = [], [], []
        for number in range(shards):
            name = f"{number:04d}"
            self.wav.append(folder / "wav" / name)
            self.cuts.append(folder / "cuts" / name)
            self.tokens.append(folder / "tokens" / f"{name}.jsonl")
            mine = [p for i, p in enumerate(waves) if (5 * i + 1) % max(1, shards - 1) == number]
            for piece in mine:
                write_wav(self.wav[-1] / f"{piece}.wav", waves[piece], 24000)
            self.wav[-1].mkdir(parents=True, exist_ok=True)
            rows = [{"piece": piece, "status": "kept"} for piece in mine]
            write_csv(self.wav[-1] / "index.csv", ["piece", "status"], rows)
            cut_shard(cut, self.wav[-1], self.cuts[-1], threads=1)
        self.pieces = folder / "pieces.csv"
        self.write_split(split)

    def write_split(self, split):
        rows = [
            {
                "piece": piece, "path": f"{piece}.mid", "kind": "midi", "sha256": f"{n:064x}",
                "notes_hash": f"{n:064x}", "status": "kept" if side else "rejected",
                "reason": "" if side else "duplicate_of:a", "tune_group": piece, "split": side,
            }
            for n, (piece, side) in enumerate(split.items())
        ]  # fmt: skip
        write_csv(self.pieces, PIECES_COLUMNS, rows)

    def fit(self, *tokenizers):
        for name, settings in zip(("semantic", "acoustic"), tokenizers, strict=True):
            fit_tokenizer(settings, self.cut, self.wav, self.cuts, self.pieces, self.folder / name)
        return self

    def tokenize(self):
        models = self.folder / "semantic", self.folder / "acoustic"
        for wav, cuts, tokens in zip(self.wav, self.cuts, self.tokens, strict=True):
            tokenize_shard(self.cut, wav, cuts, *models, tokens, tokens.with_suffix(".csv"))
        return self

    def pack(self):
        models = self.folder / "semantic", self.folder / "acoustic"
        pack_tokens(self.tokens, self.pieces, *models, self.cut, self.folder / "packed")
        return self.folder / "packed"

    def lines(self):
        return [json.loads(line) for path in self.tokens for line in path.open()]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, waves):
    """One shard and an empty one, tokenized."""
    return Corpus(tmp_path_factory.mktemp("corpus"), waves, 2).fit(SEMANTIC, ACOUSTIC).tokenize()


@pytest.fixture
def copy(corpus, tmp_path):
    """The same, to be spoilt."""
    ignore = shutil.ignore_patterns("packed")
    shutil.copytree(corpus.folder, tmp_path / "copy", ignore=ignore)
    spoilt = object.__new__(Corpus)
    spoilt.folder, spoilt.cut = tmp_path / "copy", corpus.cut
    for name in ("wav", "cuts", "tokens"):
        paths = [spoilt.folder / p.relative_to(corpus.folder) for p in getattr(corpus, name)]
        setattr(spoilt, name, paths)
    spoilt.pieces = spoilt.folder / "pieces.csv"
    return spoilt


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


# --------------------------------------------------------------------------------------- fit


@pytest.mark.slow
def test_choice_is_of_the_training_split(corpus):
    chosen = choose_segments(corpus.wav, corpus.cuts, corpus.pieces, 100, seed=0)
    names = [row["segment"] for _, row in chosen]
    assert names == [f"{piece}_{i:05d}" for piece in "abc" for i in range(3)]


def test_choice_is_spread_and_knows_no_shards(tmp_path, waves, corpus):
    other = Corpus(tmp_path, waves, 4)
    for seed in (0, 1):
        first, second = (
            [row["segment"] for _, row in choose_segments(c.wav, c.cuts, c.pieces, 5, seed)]
            for c in (corpus, other)
        )
        assert first == second
        assert len({name[0] for name in first}) > 1
    assert first != [
        row["segment"] for _, row in choose_segments(other.wav, other.cuts, other.pieces, 5, 0)
    ]


def test_held_out_pieces_do_not_change_a_fit(tmp_path, waves, corpus):
    louder = {p: w * (1 if SPLIT[p] == "train" else 0.3) for p, w in waves.items()}
    other = Corpus(tmp_path, louder, 2).fit(SEMANTIC, ACOUSTIC)
    for name in ("semantic", "acoustic"):
        assert files(other.folder / name) == files(corpus.folder / name)


def test_nothing_to_fit_on(tmp_path, waves):
    silent = Corpus(tmp_path, {p: 0 * w for p, w in waves.items()}, 2)
    with refused("nothing-to-fit-on") as caught:
        silent.fit(SEMANTIC, ACOUSTIC)
    training = list(SPLIT.values()).count("train")
    assert f"none of the {training} pieces of the training split" in caught.value.why
    assert "blank_segment" in caught.value.why
    assert not (tmp_path / "semantic").exists()


@pytest.mark.parametrize(
    ("setting", "code", "named"),
    [
        (SEMANTIC.model_copy(update={"sample_rate": 32000}), "rates-differ", "32000 Hz"),
        (SEMANTIC.model_copy(update={"hop": 60000}), "segment-too-short", ""),
    ],
)
def test_tokenizer_that_does_not_go_with_the_cut(copy, setting, code, named):
    with refused(code, named):
        copy.fit(setting, ACOUSTIC)


# ---------------------------------------------------------------------------------- tokenize


def test_lines(corpus):
    lines = corpus.lines()
    kept = [f"{piece}_{i:05d}" for piece in SPLIT for i in range(3)]
    assert [line["segment"] for line in lines] == kept
    assert [line["last"] for line in lines] == [False, False, True] * 6
    assert list(lines[0]) == ["segment", "piece", "last", "semantic", "acoustic"]
    assert np.array([line["semantic"] for line in lines]).shape == (18, 100)
    assert np.array([line["acoustic"] for line in lines]).shape == (18, 4, 75)
    assert " " not in corpus.tokens[0].read_text()
    assert corpus.tokens[1].read_bytes() == b""


def test_tokens_are_the_same_twice(copy):
    before = [path.read_bytes() for path in copy.tokens]
    copy.tokenize()
    assert [path.read_bytes() for path in copy.tokens] == before


def test_a_tokenizer_fitted_elsewhere_is_taken_over_as_it_is(copy, tmp_path):
    (copy.folder / "semantic/.snakemake_timestamp").touch()
    fit = Fit(folder=copy.folder / "semantic")
    given, folder = SEMANTIC.model_copy(update={"fit": fit}), tmp_path / "taken"
    check_fitted(fit)
    import_tokenizer(given, [Path(file) for file in fitted_files(fit)], folder)
    assert sorted(p.name for p in folder.iterdir()) == ["codebooks.safetensors", "config.json"]
    assert hash_folder(folder) == hash_folder(fit.folder)
    assert '"folder": "semantic"' in given.params(), "nothing of the machine"
    assert '"folder"' not in SEMANTIC.params(), "a key that is not used fits nothing anew"


def test_a_tokenizer_of_other_settings_is_not_taken_over(corpus, tmp_path):
    files = [Path(f) for f in fitted_files(Fit(folder=corpus.folder / "semantic"))]
    with refused("fitted-with-other-settings") as error:
        import_tokenizer(SEMANTIC.model_copy(update={"clusters": 99}), files, tmp_path / "taken")
    assert error.value.why == f"clusters is {SEMANTIC.clusters}, here 99"
    damaged = tmp_path / "damaged"
    shutil.copytree(corpus.folder / "semantic", damaged)
    (damaged / "codebooks.safetensors").write_bytes(b"cut off")
    with refused("unreadable-tokenizer"):
        import_tokenizer(SEMANTIC, sorted(damaged.iterdir()), tmp_path / "taken")
    with refused("tokenizer-not-found", where="nowhere"):
        check_fitted(Fit(folder=tmp_path / "nowhere"))
    assert not (tmp_path / "taken").exists()


# -------------------------------------------------------------------------------------- pack


def _used(codes):
    """Of three pieces none is called odd."""
    return {"used": len(np.unique(codes)), "alone": 0, "piece": ""}


def test_packed(corpus):
    folder = corpus.pack()
    made = ["info.json", "left_out.csv", "test", "train", "valid"]
    assert sorted(p.name for p in folder.iterdir()) == made
    lines = {line["segment"]: line for line in corpus.lines()}
    info = read_json(folder / "info.json")
    for split, pieces in (("train", "abc"), ("valid", "d"), ("test", "e")):
        dataset = datasets.load_from_disk(folder / split)
        segments = [f"{piece}_{i:05d}" for piece in pieces for i in range(3)]
        assert dataset["segment"][:] == segments
        assert info["splits"][split] == {"items": len(segments), "pieces": len(pieces)}
        for row in dataset:
            line = lines[row["segment"]]
            assert row["semantic"] == line["semantic"]
            assert row["acoustic"] == np.ravel(line["acoustic"]).tolist()  # quantizer by quantizer
            assert (row["piece"], row["last"]) == (line["piece"], line["last"])
        assert dataset.features["semantic"] == datasets.List(datasets.Value("int32"), length=100)
        assert dataset.features["acoustic"] == datasets.List(datasets.Value("int32"), length=300)
    assert info.pop("left_out") == {"pieces": 0, "segments": 0}
    del info["splits"], info["data_hash"]
    used = info.pop("codes_used")
    assert used == {
        "semantic": [_used(np.array([lines[s]["semantic"] for s in lines if s[0] in "abc"]))],
        "acoustic": [
            _used(np.array([lines[s]["acoustic"][q] for s in lines if s[0] in "abc"]))
            for q in range(4)
        ],
    }
    tokenizers = info.pop("tokenizers")
    assert tokenizers.keys() == {"semantic", "acoustic"}
    assert tokenizers["semantic"] != tokenizers["acoustic"]
    assert info == {
        "quantizers": 4,
        "semantic_frames": 100,
        "acoustic_frames": 75,
        "semantic_vocabulary": 16,
        "codebook_size": 16,
        "semantic_frame_rate": 50,
        "acoustic_frame_rate": 37.5,
        "cut": CUT.model_dump(),
    }


@pytest.mark.slow
def test_shards_do_not_change_what_is_packed(tmp_path, waves, corpus):
    other = Corpus(tmp_path, waves, 4).fit(SEMANTIC, ACOUSTIC).tokenize()
    assert [bool(path.stat().st_size) for path in other.tokens].count(True) > 1
    assert files(other.pack()) == files(corpus.pack())
    traces = b"".join(files(tmp_path / "packed").values())
    assert str(tmp_path).encode() not in traces


def test_hash_sees_tokens_and_split(copy):
    def data_hash():
        return read_json(copy.pack() / "info.json")["data_hash"]

    first = data_hash()
    copy.write_split(SPLIT | {"d": "train"})
    second = data_hash()
    copy.write_split(SPLIT)
    assert data_hash() == first
    text = copy.tokens[0].read_text()
    copy.tokens[0].write_text(text.replace('"last":true', '"last":false', 1))
    third = data_hash()
    copy.tokens[0].write_text(text.replace('"semantic":[', '"semantic":[1,', 1).replace(
        text.split('"semantic":[')[1].split("]")[0],
        ",".join(text.split('"semantic":[')[1].split("]")[0].split(",")[:-1]), 1,
    ))  # fmt: skip
    fourth = data_hash()
    assert len({first, second, third, fourth}) == 4


@pytest.mark.slow
def test_shapes_of_hubert_and_encodec(tmp_path, waves):
    corpus = Corpus(tmp_path, waves, 2).fit(HUBERT, ENCODEC).tokenize()
    folder = corpus.pack()
    info = read_json(folder / "info.json")
    assert (info["semantic_frames"], info["semantic_frame_rate"]) == (99, 50)
    assert (info["acoustic_frames"], info["acoustic_frame_rate"]) == (150, 75)
    row = datasets.load_from_disk(folder / "train")[0]
    assert (len(row["semantic"]), len(row["acoustic"])) == (99, 8 * 150)


def test_splits_may_be_empty(copy):
    copy.write_split(dict.fromkeys(SPLIT, "train"))
    folder = copy.pack()
    for split in ("valid", "test"):
        dataset = datasets.load_from_disk(folder / split)
        assert len(dataset) == 0
        assert dataset.features == datasets.load_from_disk(folder / "train").features
    assert read_json(folder / "info.json")["splits"]["valid"] == {"items": 0, "pieces": 0}


def test_training_may_not_be_empty(copy):
    copy.write_split(SPLIT | {"a": "", "b": "", "c": ""})
    with refused("nothing-to-train-on"):
        copy.pack()
    assert not (copy.folder / "packed").exists()


def test_no_tokens_at_all(copy):
    for path in copy.tokens:
        path.write_text("")
    with refused("no-tokens"):
        copy.pack()


def spoil(path, old, new):
    path.write_text(path.read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "code", "named"),
    [
        ('"piece":"c"', '"piece":"z"', "pieces-not-in-table", "z"),
        ('"segment":"b_00001"', '"segment":"a_00001"', "tokenized-twice", "a_00001"),
        ('"semantic":[', '"semantic":[1,', "tokens-do-not-fit", "semantic"),
        ('"acoustic":[[', '"acoustic":[[1],[', "tokens-do-not-fit", "acoustic"),
    ],
)
def test_tokens_that_do_not_fit(copy, old, new, code, named):
    spoil(copy.tokens[0], old, new)
    with refused(code, named):
        copy.pack()
    assert sorted(p.name for p in copy.folder.iterdir()) == [
        "acoustic", "cuts", "pieces.csv", "semantic", "tokens", "wav",
    ]  # fmt: skip


def test_numbers_beyond_the_codebook(copy):
    first = copy.lines()[0]["acoustic"][0][0]
    spoil(copy.tokens[0], f'"acoustic":[[{first},', '"acoustic":[[16,')
    with refused("tokens-do-not-fit", "acoustic"):
        copy.pack()


def test_leak_is_refused(copy):
    """One tune group on two sides: the gate stands in front of training."""
    text = copy.pieces.read_text().splitlines()
    header = text[0].split(",")
    rows = [line.split(",") for line in text[1:]]
    group = header.index("tune_group")
    rows[4][group] = rows[0][group]
    copy.pieces.write_text("\n".join(",".join(r) for r in [header, *rows]) + "\n")
    with refused("leaking-split"):
        copy.pack()


@pytest.mark.slow
def test_home_is_left_alone(copy, tmp_path):
    """Neither a cache nor a server is asked for anything."""
    home = tmp_path / "home"
    code = """
import sys
from pathlib import Path
from etude.config import Cut
from etude.tokenizers.pack import pack_tokens
folder, *tokens = map(Path, sys.argv[1:])
models = folder / "semantic", folder / "acoustic"
pack_tokens(tokens, folder / "pieces.csv", *models, Cut(), folder / "packed")
"""
    root = Path(__file__).resolve().parents[2]
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", code, str(copy.folder), *map(str, copy.tokens)]
    subprocess.run(command, env=environment, check=True, cwd=tmp_path)
    assert not home.exists()
    assert (copy.folder / "packed" / "info.json").is_file()
