"""`python -m etude export`: a trained experiment as one folder, without corpus and results.

README.md            the model card
export.json          format, training seed, how clips are made, sha256 of what plays
config.yaml          the configuration in effect, paths of this machine left out
models/<stage>/      model.safetensors, config.json, card.md
tokenizers/<role>/   semantic and acoustic, as they were fitted

All is copied as it is, so that `generate --from` gives the bytes of `generate --experiment`.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlsplit

import yaml

import etude
from etude.config import Config, Fit, TrainedExperiment
from etude.errors import UserError
from etude.generation.trained import ABOUT, FORMAT, Trained, find_experiment, in_results, roles
from etude.storage import atomic_directory, hash_file, visible_files, write_json, write_text
from etude.systems.audiolm.player import Instrument
from etude.systems.symbolic_lm.player import SymbolicInstrument
from etude.workflow.given_weights import MODEL

log = logging.getLogger(__name__)
OF_A_STAGE = (MODEL, "config.json", "card.md")


def export(settings: Config, name: str, seed: int | None, folder: Path) -> None:
    """Write the folder of an experiment, whole or not at all.

    Args:
        seed: of training; None: the first that config names.

    Raises:
        UserError: the experiment is unknown or not trained, or the folder holds something.
    """
    folder = folder.absolute()
    _refuse_what_is_there(folder)
    experiment = find_experiment(settings, name)
    trained = in_results(settings, name, seed)
    instrument = trained.load()  # what cannot play here would not play elsewhere
    with atomic_directory(folder) as temporary:
        for stage, source in trained.models.items():
            _copy(source, temporary / "models" / stage, OF_A_STAGE)
        for role, source in trained.tokenizers.items():
            inner = source / "model"  # the network of a pretrained tokenizer
            files = [*visible_files(source), *(visible_files(inner) if inner.is_dir() else [])]
            names = [file.relative_to(source).as_posix() for file in files]
            _copy(source, temporary / "tokenizers" / role, names)
        write_text(temporary / "config.yaml", _config(settings, name, experiment, trained.seed))
        corpus = f"{experiment.corpus} ({settings.corpora[experiment.corpus].source})"
        write_text(temporary / "README.md", _card(name, corpus, trained, instrument))
        # Not of the README: whoever passes the folder on writes the licence into it.
        parts = [p for d in ("models", "tokenizers") for p in (temporary / d).rglob("*.*")]
        about: dict[str, Any] = {
            "format": FORMAT,
            "etude": etude.__version__,
            "experiment": name,
            "system": experiment.system,
            "train_seed": trained.seed,
            "generate": trained.generate.model_dump(mode="json", exclude={"prime"}),
            "sha256": {p.relative_to(temporary).as_posix(): hash_file(p) for p in parts},
        }
        if trained.corpus is not None:  # how the notes are played
            about["corpus"] = json.loads(trained.corpus.params("filter", "render"))
            about["corpus"]["render"].pop("soundfont", None)
        write_json(temporary / ABOUT, about)
    log.info("%s, training seed %d: %d files", name, trained.seed, len(parts) + 3)


def _refuse_what_is_there(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            f"the place to export to is {'not empty' if folder.is_dir() else 'a file'}",
            where=str(folder),
            why="nothing that is there is ever overwritten",
            do="name another with --output, or remove it first",
        )


def _copy(source: Path, target: Path, names: Iterable[str]) -> None:
    target.mkdir(parents=True)
    for name in names:
        if not (source / name).is_file():
            raise UserError(
                f"{name} of a trained stage is missing",
                where=str(source),
                do="run the workflow again, which makes it: snakemake --cores all",
            )
        (target / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(source / name, target / name)


def _config(settings: Config, name: str, experiment: TrainedExperiment, seed: int) -> str:
    """All of the configuration that decided this experiment, as YAML that Étude reads again."""
    tokenizers = set(roles(settings, experiment).values())
    parts = [settings.tokenizers[t] for t in tokenizers]
    fits = [part.fit for part in parts]
    weights = [getattr(part, key, None) for part in parts for key in ("model", "centres")]
    corpora = {experiment.corpus, *(fit.corpus for fit in fits if fit.corpus)}
    cuts = {experiment.cut_name(settings), *(f.cut for f in fits if isinstance(f, Fit))}
    chosen: dict[str, set[str]] = {
        "run": {name},
        "corpora": corpora,
        "cuts": cuts,
        "tokenizers": tokenizers,
        "pretrained": {name for name in weights if name},
        "tokens": {experiment.tokens},
        "experiments": {name},
    }
    values: dict[str, Any] = {"run": [name]}
    for section in ("corpora", "cuts", "tokenizers", "pretrained", "tokens", "experiments"):
        entries = getattr(settings, section)
        values[section] = {key: entries[key].model_dump() for key in sorted(chosen[section])}
    values["experiments"][name]["seeds"]["train"] = [seed]
    values["evaluation"] = settings.evaluation.model_dump()
    head = f"# {name} as it was trained; of paths on the machine it was trained on, only names.\n"
    return head + yaml.safe_dump(_plain(values), sort_keys=False, allow_unicode=True)


def _plain(value: Any, key: str = "") -> Any:
    """Values as YAML has them; of a local path, only its name: it says nothing elsewhere."""
    if isinstance(value, dict):
        return {name: _plain(entry, name) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, PurePath) or (key == "url" and not urlsplit(value).netloc):
        return PurePath(value).name
    return value


CARD = """---
library_name: etude
tags: [music, audio, audio-generation, audiolm]
---

# {name}

A generator of music: AudioLM (Borsos et al., arXiv 2209.03143) as Étude {version} trains it, three
transformers over discrete audio tokens, with the tokenizers that make and play these tokens.

    python -m etude generate --from FOLDER --duration 8 --batch_size 4 --output track

plays it (FOLDER: where this lies) in Étude's environment, from any directory; neither Snakemake nor
the corpus is needed. To go on from these weights on other music, name this folder as `weights` of a
stage, and its tokenizers/semantic and tokenizers/acoustic as `fit.folder` of the tokenizers.

| | |
|---|---|
{rows}

## Rights

No licence is given here: the rights in weights hang on the music that they learned from. Whoever
passes this folder on names that music and adds the licence under which it may be used.
"""


SYMBOLIC = """---
library_name: etude
tags: [music, midi, music-generation]
---

# {name}

A generator of music as notes: a language model over symbolic tokens, as Étude {version} trains it.

    python -m etude generate --from FOLDER --duration 8 --batch_size 4 --output track
    python -m etude continue my.mid --from FOLDER --bars 8 --out continued

play it and go on from a MIDI file of yours (FOLDER: where this lies) in Étude's environment, from
any directory. models/lm of a GPT-2 or a Llama is read by transformers' `from_pretrained` as well.

| | |
|---|---|
{rows}

## Rights

No licence is given here: the rights in weights hang on the music that they learned from. Whoever
passes this folder on names that music and adds the licence under which it may be used.
"""


def _card(
    name: str, corpus: str, trained: Trained, instrument: Instrument | SymbolicInstrument
) -> str:
    """The model card: what this is, how it plays, what it learned from, each stage's own card."""
    rows: dict[str, Any] = {"corpus": corpus, "sound": f"{instrument.rate} Hz, mono"}
    if isinstance(instrument, SymbolicInstrument):
        rows |= {"context": f"{instrument.stage.shape['context']} tokens"}
    else:
        rows |= {"window": f"{instrument.generator.window_seconds:g} s"}
    rows |= {"training seed": trained.seed}
    lines = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    text = CARD if trained.corpus is None else SYMBOLIC
    page = text.format(name=name, version=etude.__version__, rows=lines)
    cards = [(trained.models[s] / "card.md").read_text(encoding="utf-8") for s in trained.models]
    return "\n".join([page, *(f"#{card}" for card in cards)])
