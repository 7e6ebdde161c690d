"""`python -m etude export`: a trained experiment as one folder, without corpus and results.

README.md            the model card
export.json          format, training seed, settings, how clips are made, sha256 of what plays and,
                     where the corpus has owners, of the pieces that it knows
config.yaml          the configuration in effect, paths of this machine left out
models/<stage>/      model.safetensors, config.json, card.md, the files that config.json names
latents/<stage>/     statistics.json of a stage that encodes for others
tokenizers/<role>/   as they were fitted

All is copied as it is, so that `generate --from` gives the bytes of `generate --experiment`.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml

import etude
from etude.config import Config, Fit
from etude.corpus.withdrawn import refuse_if_pending
from etude.errors import UserError
from etude.generation.copy_check import copy_check_text
from etude.generation.disclosure import check_publishing, owned_corpora, owners_text, pieces_of
from etude.generation.manifest import ABOUT, FORMAT
from etude.generation.registry import register
from etude.generation.trained import LoadedExperiment, in_results, open_player
from etude.storage import (
    atomic_directory,
    check_place,
    hash_file,
    read_json,
    visible_files,
    write_json,
    write_text,
)
from etude.systems import open_system
from etude.systems.base import Player
from etude.workflow.imported_weights import MODEL
from etude.workflow.lineage import corpora_of

log = logging.getLogger(__name__)
OF_A_STAGE = (MODEL, "config.json", "card.md")
STATISTICS = "statistics.json"


def export(
    settings: Config, name: str, seed: int | None, folder: Path, *, half: bool = False
) -> None:
    """Write the folder of an experiment, whole or not at all.

    Args:
        seed: of training; None: the first that config names.
        half: weights in 16 bits: half as large, and what plays differs a little.

    Raises:
        UserError: the experiment is unknown or not trained, the folder holds something, or a piece
            that the model knows may not be published.
    """
    folder = folder.absolute()
    check_place(folder)
    refuse_what_is_there(folder)
    trained = in_results(settings, name, seed)
    owners = publishing(settings, trained)
    experiment, parts = trained.experiment, trained.parts
    player = open_player(trained)  # what cannot play here would not play elsewhere
    with atomic_directory(folder) as temporary:
        for stage, source in parts.models.items():
            more = read_json(source / "config.json").get("files", [])  # a stage's own
            _copy(source, temporary / "models" / stage, [*OF_A_STAGE, *more])
            if half:
                halve(temporary / "models" / stage / MODEL)
        for stage, source in parts.latents.items():
            _copy(source, temporary / "latents" / stage, [STATISTICS])
        for role, source in parts.tokenizers.items():
            inner = source / "model"  # the network of a pretrained tokenizer
            files = [*visible_files(source), *(visible_files(inner) if inner.is_dir() else [])]
            names = [file.relative_to(source).as_posix() for file in files]
            _copy(source, temporary / "tokenizers" / role, names)
        write_text(temporary / "config.yaml", _config(settings, trained))
        corpus = f"{experiment.corpus} ({settings.corpora[experiment.corpus].source})"
        write_text(temporary / "README.md", _card(corpus, trained, player, owners.text))
        # Not of the README: whoever passes the folder on writes the licence into it.
        folders = ("models", "latents", "tokenizers")
        kept = [path for top in folders for path in (temporary / top).rglob("*.*")]
        hashes = {path.relative_to(temporary).as_posix(): hash_file(path) for path in kept}
        write_json(temporary / ABOUT, _about(trained) | {"sha256": hashes} | owners.known)
    register(settings, name, trained.seed, folder)
    log.info("%s, training seed %d: %d files", name, trained.seed, len(kept) + 3)


class OwnerStatement(NamedTuple):
    """What an export says of the owners: in its card, and in export.json."""

    text: str
    known: dict[str, list[str]]


def publishing(settings: Config, trained: LoadedExperiment) -> OwnerStatement:
    """See that a model may be published.

    Raises:
        UserError: a withdrawal waits, a piece may not be published, or nobody has searched the
            clips for copies.
    """
    name, experiment = trained.name, trained.experiment
    refuse_if_pending(corpora_of(settings, name))
    owned = owned_corpora(settings, name)
    check_publishing(owned)
    parts = [owners_text(owned)]
    if any(corpus.ownership is not None for corpus in owned):
        clips = [f"seed-{trained.seed}/draw-{draw}" for draw in experiment.seeds.generate]
        parts.append(copy_check_text(name, clips, trained.parts.models))
    known = {"pieces": pieces_of(owned)} if owned else {}
    return OwnerStatement("\n".join(filter(None, parts)), known)


def _about(trained: LoadedExperiment) -> dict[str, Any]:
    """What opens the experiment again, and plays its clips as they were played here."""
    experiment, corpus = trained.experiment, trained.parts.corpus
    about: dict[str, Any] = {
        "format": FORMAT,
        "etude": etude.__version__,
        "experiment": trained.name,
        "system": experiment.system,
        "settings": _plain(experiment.model_dump(exclude={"generate"})),
        "train_seed": trained.seed,
        "generate": experiment.generate.model_dump(mode="json", exclude={"prime"}),
    }
    if corpus is not None:  # how the notes are played
        about["corpus"] = json.loads(corpus.params("filter", "render"))
        about["corpus"]["render"].pop("soundfont", None)
    return about


def refuse_what_is_there(folder: Path) -> None:
    """See that a place to export to is free.

    Raises:
        UserError: something is there.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            f"the place to export to is {'not empty' if folder.is_dir() else 'a file'}",
            where=str(folder),
            why="nothing that is there is ever overwritten",
            do="name another with --output, or remove it first",
        )


def halve(path: Path) -> None:
    """Write the floating-point tensors of a safetensors file in 16 bits, in place."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    wide, mode = (torch.float32, torch.float64), path.stat().st_mode
    save_file(
        {name: t.to(torch.float16) if t.dtype in wide else t for name, t in tensors.items()},
        path,
        metadata,
    )
    path.chmod(mode)  # safetensors writes for its owner alone; an export is passed on


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


def _config(settings: Config, trained: LoadedExperiment) -> str:
    """All of the configuration that decided this experiment, as YAML that Étude reads again."""
    name, experiment = trained.name, trained.experiment
    experiments = {name: experiment} | {n: settings.experiments[n] for n in experiment.builds_on}
    tokenizers = {t for e in experiments.values() for t in e.roles(settings).values()}
    parts = [settings.tokenizers[t] for t in tokenizers]
    fits = [part.fit for part in parts]
    weights = [getattr(part, key, None) for part in parts for key in ("model", "centres")]
    stages = [plan.settings.weights for e in experiments.values() for plan in e.stage_plans()]
    weights += [given.pretrained for given in stages if given is not None]
    corpora = {e.corpus for e in experiments.values()} | {f.corpus for f in fits if f.corpus}
    cuts = {e.cut_name(settings) for e in experiments.values()}
    cuts |= {f.cut for f in fits if isinstance(f, Fit)}
    chosen: dict[str, set[str]] = {
        "run": {name},
        "corpora": corpora,
        "cuts": cuts,
        "tokenizers": tokenizers,
        "pretrained": {name for name in weights if name},
        "tokens": {e.tokens for e in experiments.values()},
        "experiments": set(experiments),
    }
    values: dict[str, Any] = {"run": [name]}
    for section in ("corpora", "cuts", "tokenizers", "pretrained", "tokens", "experiments"):
        entries = getattr(settings, section)
        values[section] = {key: entries[key].model_dump() for key in sorted(chosen[section])}
    values["experiments"][name]["seeds"]["train"] = [trained.seed]
    values["evaluation"] = settings.evaluation.model_dump()
    head = f"# {name} as it was trained; of paths on the machine it was trained on, only names.\n"
    return head + yaml.safe_dump(_plain(values), sort_keys=False, allow_unicode=True)


def _plain(value: Any, key: str = "") -> Any:
    """Values as YAML has them; of a local path, only its name: it says nothing elsewhere."""
    if isinstance(value, dict):
        return {name: _plain(entry, name) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, PurePath) or (key == "url" and value and not urlsplit(value).netloc):
        return PurePath(value).name
    return value


CARD = """---
library_name: etude
tags: [{tags}]
---

# {name}

{text}

| | |
|---|---|
{rows}

## Rights

No licence is given here: the rights in weights depend on the music that they learned from. Whoever
passes this folder on names that music and adds the licence under which it may be used.
"""


def _card(corpus: str, trained: LoadedExperiment, player: Player, owners: str) -> str:
    """The model card: what this is, how it plays, whose music it knows, each stage's own card."""
    system, models = open_system(trained.experiment.system), trained.parts.models
    rows = {"corpus": corpus, "sound": f"{player.rate} Hz, mono"} | system.card(player)
    rows |= {"training seed": trained.seed}
    page = CARD.format(
        name=trained.name,
        tags=", ".join(system.card_tags),
        text=system.card_text,
        rows="\n".join(f"| {key} | {value} |" for key, value in rows.items()),
    )
    cards = [(models[stage] / "card.md").read_text(encoding="utf-8") for stage in models]
    parts = [page, *([owners] if owners else []), *(f"#{card}" for card in cards)]
    return "\n".join(parts)
