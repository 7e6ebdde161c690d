"""`python -m etude train`: the configuration of one experiment, written, shown and run."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from etude import config
from etude.config import Config
from etude.config.base import closest, merge
from etude.config.reading import DEFAULT
from etude.config.systems import CLASSES
from etude.corpus.audit import audit
from etude.corpus.forecast import forecast, forecast_lines
from etude.corpus.scan import list_files, music_kind
from etude.errors import UserError
from etude.runs import run_workflow
from etude.storage import check_place, write_text
from etude.train.options import keys_of

PRESETS = DEFAULT.parent / "presets"
WRITTEN = "# Written by `python -m etude train`; with it the run is\n#   {command}\n"


def train(options: argparse.Namespace, folder: Path | None) -> int:
    """Write the YAML, say what it will take, run Snakemake; its exit status.

    Raises:
        UserError: no folder of music is named or there, no system of this name is there, or a key
            is not allowed.
    """
    if folder is None:
        raise UserError("which music?", where="etude train", do="name a folder of it")
    system = options.system or chosen(folder)
    if system not in CLASSES or not CLASSES[system].trained:
        trained = [name for name, found in CLASSES.items() if found.trained]
        raise UserError(
            f"there is no system {system!r} to train{closest(system, trained)}",
            where="--system",
            do=f"use one of: {', '.join(trained)}",
        )
    if not folder.is_dir():
        raise UserError("there is no such folder", where=str(folder), do="name a folder of music")
    base, written = configuration(options, system, folder)
    name = written["run"][0]
    path = options.yaml or Path(f"{name}.yaml")
    check_place(path)
    files = [*base, *options.configfile]
    settings = config.read(DEFAULT, *files, overrides=written)
    command = ["snakemake", "--cores", str(options.cores or "all")]
    command += ["--resources", f"gpu={options.gpus}"] if options.gpus is not None else []
    shown = " ".join([*command, "--configfile", *map(str, [*files, path])])
    text = WRITTEN.format(command=shown)
    text += yaml.safe_dump(written, sort_keys=False, allow_unicode=True)
    write_text(path, text)
    print(f"{path}:\n{text}")
    print("\n".join(expected(folder, settings, name)), flush=True)
    more = [*command[3:], *(["-n"] if options.dry_run else [])]
    return run_workflow(options.cores or "all", *more, configfiles=[*files, path])


def chosen(folder: Path) -> str:
    """The system for what is in a folder: that of MIDI where most of its music is MIDI.

    Raises:
        UserError: there is no music.
    """
    kinds = Counter(music_kind(name) for name in list_files(folder))
    del kinds[""]
    if not kinds:
        raise UserError(
            "no music is there",
            where=str(folder),
            do="name a folder with MIDI or audio files",
        )
    kind = "midi" if kinds["midi"] >= kinds["audio"] else "audio"
    return next(name for name, found in CLASSES.items() if found.one_line.chosen_by == kind)


def configuration(
    options: argparse.Namespace, system: str, folder: Path
) -> tuple[list[Path], dict[str, Any]]:
    """The preset that an experiment is laid over, if its system has one, and what is written."""
    line = CLASSES[system].one_line
    entry: dict[str, Any] = {"system": system}
    files: list[Path] = []
    if line.preset:
        base = PRESETS / f"{line.preset}.yaml"
        raw = yaml.safe_load(base.read_text(encoding="utf-8"))
        name = next(n for n in raw["run"] if raw["experiments"][n]["system"] == system)
        corpus = raw["experiments"][name]["corpus"]
        files.append(base)
    else:
        name = corpus = options.name or named_after(folder)
        entry |= {"corpus": corpus, **line.keys}
    stages: Any = CLASSES[system].model_fields["stages"].annotation
    entry = merge(entry, keys_of(options, list(stages.model_fields)))
    return files, {
        "corpora": {corpus: {"source": "folder", "path": str(folder)}},
        "experiments": {name: entry},
        "run": [name],
    }


def named_after(folder: Path) -> str:
    """A name for a corpus and an experiment, of a folder's."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", folder.resolve().name).strip("_-")
    return name if name[:1].isalpha() else f"my_{name}".rstrip("_")


def expected(folder: Path, settings: Config, name: str) -> list[str]:
    """What the run will take, as far as it is known before its music has been read."""
    corpus = settings.corpora[settings.experiments[name].corpus]
    lines = forecast_lines(forecast(settings), settings)
    if isinstance(corpus, config.FolderCorpus):
        text, _ = audit(folder, corpus, settings, 1)
        blocks = text.split("\n\n")
        lines = [*(block for block in blocks if not block.startswith("three lines")), *lines]
    return lines
