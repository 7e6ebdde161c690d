"""What training music a clip is nearest to: an index that an export carries, and its search.

near/notes.npz           the training pieces' notes, and how near held-out music comes to them
near/fingerprints.npz    of models that make sound alone: the catalogue of evaluation.memorisation
near/null.npz            how near held-out music comes to it, and the titles of its pieces

A model of sound whose training music was MIDI carries the notes as well: what is nearest is played
from them. Of recordings no sound is carried, since their rights are seldom the exporter's.

It is a hint for whoever listens, not the verdict of the results, which has a measured recall.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.audio.files import read_audio
from etude.config import Config, CorpusBase
from etude.metrics.memorisation.excerpts import HELD_OUT
from etude.metrics.memorisation.notes import midi_files, part
from etude.metrics.memorisation.sequences import SuffixIndex, note_sequence
from etude.midi.notes import MidiError, NoteTable, read_midi
from etude.storage import atomic, atomic_directory, read_csv

FOLDER, NOTES, SOUND, NULL = "near", "notes.npz", "fingerprints.npz", "null.npz"
SECONDS = 8.0  # of a held-out excerpt
MOST_EXCERPTS = 200
FEWEST_NOTES = 8  # of fewer every piece has most
EXCERPT_SECONDS = 8.0  # of the training music beside a clip
UNUSUAL = 0.95  # a clip above this share of held-out excerpts is told


@dataclass(frozen=True)
class NearestMusic:
    """The nearest training music.

    Attributes: piece (its title), start_s (where in it), share (of the clip: the longest stretch
    of notes that is there too; of sound: the similarity of the most similar 1.7 s), usual and most
    (of held-out music: the median, and what 95 % do not exceed), sounds (the piece can be played).
    """

    piece: str
    start_s: float
    share: float
    usual: float
    most: float
    sounds: bool

    @property
    def unusual(self) -> bool:
        """Whether few excerpts of held-out music are as near."""
        return self.share > self.most


# ------------------------------------------------------------------------------------ making it


def add_index(export: Path, settings: Config, name: str, results: Path = Path("results")) -> bool:
    """Put the index into an export; whether there was music that one could be made of."""
    experiment = settings.experiments[name]
    corpus = results / "corpora" / experiment.corpus
    if not (corpus / "pieces.csv").is_file():
        return False
    with atomic_directory(export / FOLDER) as folder:
        made = _index_notes(folder / NOTES, corpus, settings.corpora[experiment.corpus])
        if "notes" not in experiment.makes:
            cut = experiment.cut_name(settings)
            catalogue = results / "memorisation" / experiment.corpus / cut / "catalogue" / SOUND
            made = catalogue.is_file() and _index_sound(folder, corpus, catalogue)
    if not made:
        shutil.rmtree(export / FOLDER)
    return made


def _index_notes(path: Path, corpus: Path, settings: CorpusBase) -> bool:
    rows = list(read_csv(corpus / "pieces.csv"))
    source = corpus / "source"
    root = source if source.is_dir() else Path(getattr(settings, "path", source))
    files = midi_files(iter(rows), root)
    title, split = _titles(rows), {row["piece"]: row["split"] for row in rows}
    training = [(title[p], t) for p, t in _tables(files) if split[p] == "train"]
    if not training:
        return False
    held_out = [table for piece, table in _tables(files) if split[piece] in HELD_OUT]
    index = NotesIndex([name for name, _ in training], [table for _, table in training])
    null = [index.share(excerpt) for table in held_out for excerpt in _excerpts(table)]
    index.save(path, np.array([share for share in null if share is not None][:MOST_EXCERPTS]))
    return True


def _titles(rows: list[dict[str, str]]) -> dict[str, str]:
    return {row["piece"]: row.get("title") or row["piece"] for row in rows}


def _tables(files: dict[str, Path]) -> Iterator[tuple[str, NoteTable]]:
    for piece, file in sorted(files.items()):
        try:
            yield piece, read_midi(file).without_drums()
        except MidiError:
            continue  # it was readable when it was ingested; the index does without


def _excerpts(table: NoteTable) -> Iterator[NoteTable]:
    for start in np.arange(0, max(table.seconds - SECONDS, 0.1), SECONDS):
        yield part(table, float(start), SECONDS)


def _index_sound(folder: Path, corpus: Path, catalogue: Path) -> bool:
    from etude.metrics.memorisation.catalogue import Catalogue
    from etude.metrics.memorisation.fingerprint import RATE, features

    rows = list(read_csv(corpus / "pieces.csv"))
    split = {row["piece"]: row["split"] for row in rows}
    waves = [
        file for file in sorted(corpus.glob("wav/*/*.wav")) if split.get(file.stem) in HELD_OUT
    ]
    found = []
    for file in waves[: MOST_EXCERPTS // 4]:
        wave = read_audio(file, RATE)
        size = round(SECONDS * RATE)
        found += [features(wave[i : i + size]) for i in range(0, len(wave) - size, size)][:4]
    shutil.copyfile(catalogue, folder / SOUND)
    scores = [match.score for match in Catalogue.load(folder / SOUND).search(found)]
    pieces, titles = zip(*_titles(rows).items(), strict=True)
    with atomic(folder / NULL) as temporary:
        np.savez_compressed(temporary, null=np.array(scores), pieces=pieces, titles=titles)
    return True


# ----------------------------------------------------------------------------------- searching it


class NotesIndex:
    """The training pieces' notes.

    Args:
        names, tables: of each piece; tables of pitched notes.
        null: shares of held-out excerpts.
    """

    def __init__(
        self, names: list[str], tables: list[NoteTable], null: NDArray[np.float64] | None = None
    ) -> None:
        self.names, self.tables = names, tables
        self.null = np.zeros(0) if null is None else null
        self.index = SuffixIndex([note_sequence(table) for table in tables])

    def save(self, path: Path, null: NDArray[np.float64]) -> None:
        """Write the notes and the null."""
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(t, name) for t in self.tables]).astype(np.int32)
            for name in ("onset", "duration", "pitch", "program")
        }
        lengths = np.array([len(table) for table in self.tables])
        ticks = np.array([table.ticks_per_quarter for table in self.tables])
        tempos = np.array(
            [int(table.tempos[0, 1]) if len(table.tempos) else 500_000 for table in self.tables]
        )
        names = np.array(self.names)
        with atomic(path) as temporary:
            np.savez_compressed(
                temporary,
                allow_pickle=False,
                **columns,
                lengths=lengths,
                ticks=ticks,
                tempos=tempos,
                names=names,
                null=null,
            )

    @classmethod
    def load(cls, path: Path) -> NotesIndex:
        """Read what `save` wrote; of each piece the first tempo is kept."""
        from etude.midi.writing import plain_table

        with np.load(path, allow_pickle=False) as file:
            data = dict(file)
        ends = np.cumsum(data["lengths"])
        tables = []
        for number, end in enumerate(ends):
            at = slice(end - data["lengths"][number], end)
            tables.append(
                plain_table(
                    *(data[name][at] for name in ("onset", "duration", "pitch")),
                    program=data["program"][at],
                    quarters_a_minute=60e6 / data["tempos"][number],
                    ticks_per_quarter=int(data["ticks"][number]),
                )
            )
        return cls(data["names"].tolist(), tables, data["null"])

    def share(self, table: NoteTable) -> float | None:
        """The longest stretch that some notes share with a training piece, as a share of them."""
        ids = note_sequence(table)
        return self.index.search(ids).run if len(ids) >= FEWEST_NOTES else None

    def search(self, midi: Path, prime_s: float) -> NearestMusic | None:
        """The nearest piece to what a clip has after its prime; None: it has too few notes."""
        table = read_midi(midi).without_drums()
        ids = note_sequence(table.at(table.onset_s >= prime_s - 1e-6))
        if len(ids) < FEWEST_NOTES:
            return None
        found = self.index.search(ids)
        piece = self.tables[found.sequence]
        start = float(piece.onset_s[min(found.position, len(piece) - 1)])
        return _near(self.names[found.sequence], start, found.run, self.null, sounds=True)

    def excerpt(self, name: str, start_s: float) -> NoteTable:
        """The notes of a piece from a place on."""
        from etude.midi.continuation import after

        table = self.tables[self.names.index(name)]
        return after(table, start_s, start_s + EXCERPT_SECONDS)


class SoundIndex:
    """The training music's fingerprints, and its notes where it was MIDI."""

    def __init__(self, folder: Path) -> None:
        from etude.metrics.memorisation.catalogue import Catalogue

        self.catalogue = Catalogue.load(folder / SOUND)
        with np.load(folder / NULL, allow_pickle=False) as file:
            self.null: NDArray[np.float64] = file["null"]
            self.titles = dict(zip(file["pieces"].tolist(), file["titles"].tolist(), strict=True))
        notes = folder / NOTES
        self.notes = NotesIndex.load(notes) if notes.is_file() else None

    def search(self, wav: Path, prime_s: float) -> NearestMusic | None:
        """The nearest stretch to what a clip has after its prime; None: nothing sounds."""
        from etude.metrics.memorisation.fingerprint import RATE, features

        wave = read_audio(wav, RATE)[round(prime_s * RATE) :]
        (match,) = self.catalogue.search([features(wave)])
        if not match.piece:
            return None
        title = self.titles.get(match.piece, match.piece)
        sounds = self.notes is not None and title in self.notes.names
        return _near(title, match.start_s, match.score, self.null, sounds=sounds)

    def excerpt(self, name: str, start_s: float) -> NoteTable:
        """The notes of a piece from a place on, of what `sounds`."""
        assert self.notes is not None
        return self.notes.excerpt(name, start_s)


def _near(name: str, start: float, share: float, null: Any, *, sounds: bool) -> NearestMusic:
    usual, most = np.quantile(null, (0.5, UNUSUAL)) if len(null) else (np.nan, np.nan)
    return NearestMusic(name, start, float(share), float(usual), float(most), sounds)


def open_index(export: Path) -> NotesIndex | SoundIndex | None:
    """The index of an export; None: it carries none."""
    folder = export / FOLDER
    if (folder / NULL).is_file():
        return SoundIndex(folder)
    return NotesIndex.load(folder / NOTES) if (folder / NOTES).is_file() else None
