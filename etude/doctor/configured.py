"""The configured run: its music, weights, disk, folder and locks."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from etude.corpus import scan
from etude.doctor.findings import Finding

if TYPE_CHECKING:
    from etude.config import Config, ExperimentBase, Pretrained

RESULTS = Path("results")


def _run(config: Config) -> list[ExperimentBase]:
    from etude.workflow import needs  # not above: the machine is examined without any package

    return list(needs.experiments_of(config).values())


def devices_configured(config: Config) -> int:
    """The most devices that a training of the run takes."""
    from etude.workflow import needs

    trainings = (settings.training for _, _, settings in needs.stages_of(config))
    return max((training.devices for training in trainings), default=1)


# ----------------------------------------------------------------------------------- music


def renders_midi(config: Config) -> bool:
    """Whether a corpus of the run may hold MIDI; an archive is not looked into."""
    corpora = [config.corpora[e.corpus] for e in _run(config)]
    return any(c.source != "folder" or _holds_midi(c.path) for c in corpora)  # type: ignore[union-attr]


def uses_default_soundfont(config: Config) -> bool:
    """Whether a corpus of the run names no SoundFont of its own."""
    corpora = [config.corpora[e.corpus] for e in _run(config)]
    return any(corpus.render.soundfont is None for corpus in corpora)


def _holds_midi(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    return any(Path(f).suffix.lower() in scan.MIDI_SUFFIXES for f in scan.list_files(folder))


def examine_music(config: Config) -> Iterator[Finding]:
    """Folders and SoundFonts that the configuration names."""
    for name in sorted({e.corpus for e in _run(config)}):
        corpus = config.corpora[name]
        where = getattr(corpus, "path", None)
        if where is not None:
            there = where.is_dir()
            text = f"corpus {name!r}: {where}" + ("" if there else " is no folder")
            do = f"correct `corpora.{name}.path`; paths count from where the command is run"
            yield Finding("music", "ok" if there else "broken", text, do)
        own = corpus.render.soundfont
        if own is not None:
            there = own.is_file()
            text = f"corpus {name!r}: {own}" + ("" if there else " is not there")
            do = f"correct `corpora.{name}.render.soundfont`"
            yield Finding("SoundFont", "ok" if there else "broken", text, do)


# --------------------------------------------------------------------------------- weights


def examine_weights(config: Config, results: Path = RESULTS) -> Iterator[Finding]:
    """Pretrained weights that the run uses, and those that stages begin with."""
    from etude.workflow import needs

    used = needs.weights_used(config)
    for name, tokenizers in used.items():
        yield _pretrained(name, config.pretrained[name], tokenizers, results)
    for name, stage, settings in needs.stages_of(config):
        if (weights := settings.weights) is not None and (path := weights.path) is not None:
            there = path.exists()
            text = f"{name}, {stage}: {path}" + ("" if there else " is not there")
            do = f"correct `experiments.{name}.stages.{stage}.weights.path`"
            yield Finding("weights", "ok" if there else "broken", text, do)
    if not used:
        yield Finding("weights", "ok", "none of a hub: this run trains everything itself")


def _pretrained(name: str, settings: Pretrained, proofs: list[str], results: Path) -> Finding:
    what = f"{name!r}"
    folder = results / "pretrained" / name
    if (folder / "origin.json").is_file():
        text = f"{what} {_whole(folder)}{_verdict(proofs, results)}"
        broken = "changed" in text or "FAILED" in text
        do = f"snakemake --cores all --forcerun {folder}"
        if "FAILED" in text:
            do = "get other weights, or set `verify: report`; the CSV has the figures"
        state = "broken" if broken and settings.verify == "strict" else "ok"
        return Finding("weights", state, text, do)  # type: ignore[arg-type]
    if settings.path is not None:
        there = settings.path.exists()
        text = f"{what} {settings.path}" + ("" if there else " is not there")
        do = f"correct `pretrained.{name}.path`"
        return Finding("weights", "ok" if there else "broken", text, do)
    place = settings.hub or settings.url
    if settings.hub and _in_cache(settings):
        return Finding(
            "weights", "ok", f"{what} {place}: in the hub's cache, the run takes it over"
        )
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    do = f"hf download {settings.hub}" if settings.hub else "the run downloads it"
    if settings.hub and offline:
        text = f"{what} {place}: not in the hub's cache, and HF_HUB_OFFLINE is set"
        return Finding("weights", "broken", text, f"where there is a network: {do}")
    return Finding("weights", "absent", f"{what} {place}: not here, the run fetches it", do)


def _whole(folder: Path) -> str:
    """Whether fetched weights are as they were fetched."""
    from etude.storage import hash_file, read_json

    origin = read_json(folder / "origin.json")
    files = [folder / n for n in ("model.safetensors", "centres.safetensors")]
    file = next((f for f in files if f.is_file()), None)
    if file is None or hash_file(file) != origin["sha256"]:
        return "fetched, and changed since"
    return f"fetched (sha256 {origin['sha256'][:16]}…)"


def _verdict(proofs: list[str], results: Path) -> str:
    tables = [path for proof in proofs if (path := results / proof).is_file()]
    if not tables:
        return ", not verified yet" if proofs else ""
    rows = [row for p in tables for row in csv.DictReader(p.open(encoding="utf-8", newline=""))]
    failed = sorted(
        {row["check"] for row in rows if row["passed"].lower() not in ("true", "1", "yes")}
    )
    return f", verification FAILED ({', '.join(failed)})" if failed else ", verified"


def _in_cache(settings: Pretrained) -> bool:
    """Whether the hub's own cache has a configuration of these weights; no network is asked."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return False
    assert settings.hub is not None
    found = try_to_load_from_cache(settings.hub, "config.json", revision=settings.revision)
    return isinstance(found, str)


def examine_codes(config: Config, results: Path = RESULTS) -> Iterator[Finding]:
    """Tokenizers of the run whose codes were counted already, and of which few are in use."""
    from etude.storage import read_json
    from etude.tokenizers.usage import hardly_used
    from etude.workflow import needs

    sets = {(e.corpus, e.tokens) for e in needs.experiments_of(config).values()}
    for corpus, tokens in sorted(sets):
        path = results / "packed" / corpus / tokens / "info.json"
        for line in hardly_used(read_json(path)) if path.is_file() else ():
            do = "look for pieces far louder than others (`peak` in wav/*/index.csv), or add music"
            yield Finding("codes", "odd", f"{corpus}/{tokens}: {line}", do)


# ---------------------------------------------------------------------- disk, folder, locks


def examine_disk(config: Config, results: Path = RESULTS) -> Finding:
    """Free space beside what the run is expected to take."""
    from etude.corpus.forecast import forecast, free_bytes, size

    found, free = forecast(config, results), free_bytes(results)
    least = "at least " if found.unknown else "about "
    text = f"{size(free)} free, {least}{size(found.disk)} still to come"
    if found.unknown:
        text += f" (not counted: {', '.join(found.unknown)}; `etude audit` measures a folder)"
    do = "python -m etude clean, or let results/ be a link to a larger disk"
    return Finding("disk", "broken" if found.disk > free else "ok", text, do)


def examine_folder(results: Path = RESULTS) -> Finding:
    """Whether results/ can be written."""
    folder = results.absolute()
    while not folder.exists() and not folder.is_symlink():
        folder = folder.parent
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".etude-doctor-"):
            pass
    except OSError as error:
        do = f"fix the permissions of {folder}, or work in a folder of your own"
        return Finding("results/", "broken", f"cannot be written: {error.strerror}", do)
    return Finding("results/", "ok", f"can be written ({folder})")


def examine_locks(folder: Path = Path(".snakemake")) -> Finding:
    """Locks of Snakemake's that no run holds any more."""
    try:
        from etude import runs
    except ModuleNotFoundError as error:
        return Finding("locks", "broken", f"not read: {error.name} is missing", "make setup")
    if pid := runs.alive(folder / "etude"):
        return Finding("locks", "ok", f"a run is alive here (pid {pid}); wait for it")
    locks = [p for p in (folder / "locks").glob("*") if p.is_file()]
    if locks:
        text = f"{len(locks)} left behind by a run that was killed: Snakemake will not start"
        return Finding("locks", "broken", text, "make resume")
    return Finding("locks", "ok", "none")
