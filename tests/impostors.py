"""Impostors: sets of clips that are no music of a model's own, in the place of a model's clips.

Each was let through by an earlier gate. A corpus is read, dealt, rendered and cut by the workflow's
own functions; reference, rivals and impostors are made of it, and measured and judged by what
measures and judges a model: KAD against the rivals, the searches for copies, `gate.judge`.

    benchmarks/bench_impostors.py      64 clips of each, of music21's chorales
    tests/unit/test_impostors.py       a small form, of music made by code

Gates
    audio   the rivals of a system of sound
    notes   those of a system of notes, the 5-gram among them
    time    as notes, with `time` beside timbre and harmony
Untrained networks and shuffled tokens are left out, since no model is here: with them a gate can
only be harder to pass. Clips are sound alone, so that nobody searches their notes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from unittest.mock import patch

import ladder
import numpy as np

from etude.audio.cuts import cut_shard
from etude.clips.clip import Clip
from etude.clips.writing import COMPARED, write_clips
from etude.config import Cut, Evaluation, ExperimentBase, FolderCorpus, Memorisation
from etude.config.symbolic_tokens import Remi
from etude.config.systems import CLASSES
from etude.config.systems.base import RIVALS, RIVALS_WITH_NOTES
from etude.corpus.ingest import ingest_shard
from etude.corpus.piece_paths import piece_paths
from etude.corpus.split import decide_split
from etude.generation.baselines import Real, choose_spans, find_spans
from etude.generation.dumb import CorpusFiles, Dumb
from etude.metrics.distances import Yardstick
from etude.metrics.embed import embed_with
from etude.metrics.memorisation.catalogue import Catalogue
from etude.metrics.memorisation.chroma import Chroma
from etude.metrics.memorisation.excerpts import CorpusPieces
from etude.metrics.memorisation.find import Search, SearchedClips
from etude.metrics.memorisation.reference import catalogue_corpus, read_hashes
from etude.metrics.memorisation.rows import tidy
from etude.metrics.registry import open_embedding, projection, residual_weight
from etude.metrics.rivals import COLUMNS as RIVAL_COLUMNS
from etude.metrics.rivals import rival_rows
from etude.metrics.samples import Clips
from etude.metrics.score import measure_set, summarise_signals
from etude.metrics.tidy import COLUMNS
from etude.midi.render import render_midi, render_shard
from etude.midi.writing import apart, to_score
from etude.results.gate import Verdict, judge
from etude.results.table import Table
from etude.storage import read_csv
from etude.systems.ngram import NGram
from etude.tokenizers.symbolic.factory import create_symbolic_tokenizer

SECONDS = 2.0
CUT = Cut(seconds=2, rate=ladder.RATE, rms_threshold=100, write_audio=True)
EMBEDDED = ("timbre", "harmony", "time")
GATES = {  # rivals, embeddings
    "audio": (RIVALS, EMBEDDED[:2]),
    "notes": (("ngram", *RIVALS_WITH_NOTES), EMBEDDED[:2]),
    "time": (("ngram", *RIVALS_WITH_NOTES), EMBEDDED),
}
REAL = "real"  # other held-out music: no impostor
DAMAGES = {  # of the ladder: what is done to pieces of a split, in which dose
    "a tone up": (ladder.transposed, 2, "train"),
    "a tone down": (ladder.transposed, -2, "train"),
    "40 % wrong notes": (ladder.wrong, 0.4, "train"),
    "bars shuffled": (ladder.bars_shuffled, 4, "train"),
    "held-out bars shuffled": (ladder.bars_shuffled, 4, "valid"),
}
OF_RIVALS = ("random_notes", "one_chord", "spectrum_noise", "grains")  # by another random seed
NAMES = (REAL, *OF_RIVALS, "ngram", "copies", "reversed", *DAMAGES)
OWN_SEED = 100  # of impostors; rivals have 0
NGRAM_TOKENS = 192

Found = dict[str, Verdict]  # by gate


class Corpus:
    """A folder of MIDI as the workflow has it, in a folder of its own; made once.

    Args:
        source: the folder of MIDI, with metadata.csv.
        folder: where tables, audio and the catalogue of copies go.
        limit: pieces at the most.
    """

    def __init__(self, source: Path, folder: Path, limit: int | None = None) -> None:
        self.settings = FolderCorpus(source="folder", path=source, limit=limit, shards=1)
        self.source, self.pieces = source, folder / "pieces.csv"
        self.ingest, self.wav, self.cuts = folder / "0.csv", folder / "wav", folder / "cuts"
        self.catalogue = folder / "catalogue"
        if self.catalogue.is_dir():
            return
        folder.mkdir(parents=True, exist_ok=True)
        ingest_shard(self.settings, source, 0, self.ingest, 1)
        decide_split(self.settings, [self.ingest], self.pieces)
        render_shard(self.settings, self.ingest, source, self.wav, 1)
        cut_shard(CUT, self.wav, self.cuts, 1)
        catalogue_corpus(self.pieces, [self.wav], [self.cuts], CUT, self.catalogue)

    @cached_property
    def spans(self):
        """Stretches as long as a clip, by split."""
        return find_spans(self.pieces, [self.wav], [self.cuts], CUT, SECONDS)

    def real(self, count: int) -> Real:
        """Real music, as every experiment is measured by it."""
        return Real(self.spans, {}, CUT, SECONDS, count, 0)

    def dumb(self, count: int, seed: int) -> Dumb:
        """The dumb sets, as every experiment has them."""
        train = choose_spans(self.spans["train"], len(self.spans["train"]), seed)
        files = CorpusFiles(self.pieces, [self.ingest], self.source)
        return Dumb(train, "", files, self.settings, CUT.rate, SECONDS, count, seed)


# ------------------------------------------------------------------------------------------- sets


def rivals(corpus: Corpus, count: int) -> Iterator[tuple[str, Iterator[Clip]]]:
    """The rivals that need no network."""
    yield from _dumb(corpus, count, 0, RIVALS_WITH_NOTES)
    yield "ngram", ngram(corpus, count, 0)


def impostors(corpus: Corpus, count: int, names: tuple[str, ...] = NAMES):
    """Each of `names` with its clips."""
    yield from _dumb(corpus, count, OWN_SEED, [n for n in names if n in OF_RIVALS])
    real = dict(corpus.real(count).sets())
    copied = [clip.wave for clip in real["copies"].clips]
    made = {
        REAL: lambda: (Clip(clip.wave) for clip in islice(real["real"].clips, count)),
        "ngram": lambda: ngram(corpus, count, OWN_SEED),
        "copies": lambda: map(Clip, copied),
        "reversed": lambda: (Clip(wave[::-1].copy()) for wave in copied),
    }
    yield from ((name, make()) for name, make in made.items() if name in names)
    for name, (change, dose, split) in DAMAGES.items():
        if name in names:
            chosen = _excerpts(corpus, split, count)
            waves = ladder.made(ladder.Rungs(name, change), dose, chosen, [None] * len(chosen))
            yield name, map(Clip, waves)


def _dumb(corpus, count, seed, names):
    for name, made in corpus.dumb(count, seed).sets():
        if name in names:
            assert made.rate == CUT.rate
            yield name, made.clips


def _excerpts(corpus: Corpus, split: str, count: int) -> list[ladder.Excerpt]:
    """Stretches of a split's pieces, of as many as there are."""
    inside = {row["piece"] for row in read_csv(corpus.pieces) if row["split"] == split}
    rows = [row for row in read_csv(corpus.ingest) if row["piece"] in inside]
    paths = list(piece_paths(corpus.source, rows).values())
    order = np.random.default_rng(OWN_SEED).permutation(len(paths))
    pieces = {paths[i].stem: ladder.read(paths[i]) for i in order[:count]}
    each = -(-count // len(pieces))
    return ladder.excerpts(pieces, each, SECONDS, OWN_SEED)[:count]


def ngram(corpus: Corpus, count: int, seed: int) -> Iterator[Clip]:
    """Samples of a 5-gram of the training pieces' REMI tokens; some stretch of each is heard."""
    tokenizer = create_symbolic_tokenizer(Remi(kind="remi"))
    begin = tokenizer.pad if tokenizer.bos is None else tokenizer.bos
    texts = [tokenizer.encode(table) for table in corpus.dumb(count, 0).tables]
    texts = [text if text[:1] == [begin] else [begin, *text] for text in texts]
    model = NGram(tokenizer.vocabulary).fit(texts)
    samples = model.sample(count, NGRAM_TOKENS, seed, begin=[begin], end=tokenizer.eos)
    for ids in samples:
        table, wave = tokenizer.decode(ids[1:]), np.zeros(0, np.float32)
        if len(table):
            wave = render_midi(to_score(apart(table)), corpus.settings.render)
        wave = np.pad(wave, (0, max(round(SECONDS * CUT.rate) - len(wave), 0)))
        yield Clip(wave, {"prime_seconds": "0", "heard_seconds": f"{SECONDS:g}"})


# -------------------------------------------------------------------------------------- judgement


@dataclass
class Court:
    """Reference and rivals, measured once; then any number of sets in the place of `generated`.

    Attributes: corpus, folder (where clips go), count (clips of each set), memorisation, limits (of
    the gate, where they are not the default's).
    """

    corpus: Corpus
    folder: Path
    count: int = 64
    memorisation: Memorisation = field(default_factory=Memorisation)
    limits: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.models = {name: open_embedding(name, CUT.rate) for name in EMBEDDED}
        reference = self.write(
            "reference", dict(self.corpus.real(self.count).sets())["reference"].clips
        )
        self.rivals = {
            name: self.write(name, clips) for name, clips in rivals(self.corpus, self.count)
        }
        self.yardsticks, self.known = {}, {}
        for name in EMBEDDED:
            space = *projection(name), residual_weight(name)
            self.yardsticks[name] = Yardstick(self.embedded(reference, name), *space)
            self.known[name] = {key: self.embedded(one, name) for key, one in self.rivals.items()}
        self.search = Search(
            CorpusPieces(self.corpus.pieces, [self.corpus.wav]), CUT, self.memorisation, 0
        )
        self.hashes = read_hashes(self.corpus.catalogue, self.search.music.split)
        self.fingerprints = Catalogue.load(self.corpus.catalogue / "fingerprints.npz")
        self.harmonies = Chroma.load(self.corpus.catalogue / "chroma.npz")

    def write(self, name: str, clips) -> Path:
        write_clips(clips, self.folder / name, CUT.rate, COMPARED)
        return self.folder / name

    def embedded(self, folder: Path, name: str) -> Clips:
        return embed_with(self.models[name], folder, name)

    def table(self, folder: Path) -> Table:
        """What fad.csv, memorisation.csv and rivals.csv hold of a set in the place of `generated`."""
        head = {"experiment": "e", "system": "impostor", "train_seed": "0", "draw": "0"}
        signals = summarise_signals(list(measure_set("generated", folder, CUT.rate)))
        rows, against = [*signals, *self.copies(folder)], []
        for name, yardstick in self.yardsticks.items():
            sets = {"generated": self.embedded(folder, name), **self.known[name]}
            kad = f"{yardstick.tally(sets['generated']).kad()[0]:.6f}"
            about = {"clips": "generated", "metric": "kad", "embedding": name, "value": kad}
            rows.append(about | {"n": sets["generated"].count})
            found = rival_rows(yardstick, sets, {}, self.rivals)
            against += [{"embedding": name} | row for row in found]
        columns = dict.fromkeys([*COLUMNS, *RIVAL_COLUMNS], "") | head
        text = [
            [columns | {key: str(value) for key, value in row.items()} for row in part]
            for part in (rows, against)
        ]
        return Table(text[0], rivals=text[1])

    def copies(self, folder: Path):
        """Rows of the searches for copies."""
        clips = SearchedClips.read(folder, CUT.rate)
        said = [
            self.search.exact(clips, self.hashes)[0],
            self.search.fingerprint(clips, self.fingerprints),
            self.search.waveform(clips, self.fingerprints),
            self.search.chroma(clips, self.harmonies),
        ]
        return [row for one in said for row in tidy(one, "generated")]

    def judge(self, table: Table) -> Found:
        """The verdict of each gate."""
        return {gate: self._judged(table, *how) for gate, how in GATES.items()}

    def _judged(self, table: Table, names: tuple[str, ...], embeddings: Iterable[str]) -> Verdict:
        system = type("Impostor", (ExperimentBase,), {"rivals": names})
        settings = Evaluation(gate_embeddings=list(embeddings), **self.limits)
        with patch.dict(CLASSES, {"impostor": system}):
            return judge(table, settings)

    def try_all(self, names: tuple[str, ...] = NAMES) -> dict[str, tuple[Table, Found]]:
        """What became of each set."""
        found = {}
        for name, clips in impostors(self.corpus, self.count, names):
            table = self.table(self.write(f"generated-{name.replace(' ', '-')}", clips))
            found[name] = table, self.judge(table)
        return {name: found[name] for name in names}


def reasons(verdict: Verdict) -> str:
    """Who was lost to, what was not decided, which rate was too high."""
    parts = [
        f"{one.word}: {one.rival}" + f" ({', '.join(d.by for d in one.by)})" * bool(one.by)
        for one in verdict.rivals
        if one.word != "beaten"
    ]
    parts += [
        f"{r.word}: {r.name} {r.value:.0%} ({r.note})" for r in verdict.rates if r.word != "holds"
    ]
    return "; ".join(parts)
