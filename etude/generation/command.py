"""`python -m etude generate` and `continue`: clips from a trained experiment, outside the workflow.

What is asked on the command line is laid over the experiment's `generate` settings, whatever keys
these have.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from etude import config
from etude.audio.files import write_wav
from etude.audio.levels import fade_out
from etude.clips.clip import Clip
from etude.clips.progress import GenerationProgress, ProgressBar, never, teller
from etude.clips.writing import check_clip, write_notes
from etude.config import GenerateSettings
from etude.corpus.scan import list_files, music_kind
from etude.corpus.withdrawn import refuse_if_pending
from etude.errors import UserError
from etude.generation.registry import refuse_withdrawn
from etude.generation.trained import LoadedExperiment, in_export, in_results, open_player
from etude.storage import check_place
from etude.systems.conditions import Conditions
from etude.workflow.lineage import corpora_of

log = logging.getLogger(__name__)

# Options that are laid over settings of the same name, and over those of their sampling.
OPTIONS = ("hop", "guidance")
SECONDS = 8.0  # of a clip whose system says no length of its own
SAMPLING = ("temperature", "top_k", "top_p", "min_p", "grammar")


def generate(options: argparse.Namespace) -> list[Path]:
    """Write `<output>1.wav` … (and .mid, where there are notes) and give back their paths.

    Raises:
        UserError: an unknown experiment, one that is not trained yet, a value out of range, an
            option that means nothing to its system.
    """
    trained = open_trained(options)
    if options.prime:
        _require(trained, "recording", "leave out --prime")
    if options.text:
        _require(trained, "text", "leave out --text")
    seconds = options.duration
    if seconds is None and "length" not in trained.experiment.conditions:
        options.duration = seconds = SECONDS
    conditions = Conditions(text=options.text or "", seconds=seconds)
    return _write(trained, conditions, options, options.fade, options.prime)


def continue_midi(options: argparse.Namespace) -> list[Path]:
    """Continue the user's own MIDI, or each file of a folder.

    It is the whole file, then this many bars of its last metre.

    Raises:
        UserError: a system that does not, or a prompt that cannot be used.
    """
    trained = open_trained(options)
    _require(trained, "midi", "name another experiment")
    conditions = Conditions(
        seconds=options.seconds,
        bars=options.bars if options.seconds is None else None,
        tokens=options.prompt_tokens or 0,
    )
    return _write(trained, conditions, options, 0.0, options.midi)


def open_trained(options: argparse.Namespace) -> LoadedExperiment:
    """The parts of what the command line names: an exported folder or an experiment.

    Raises:
        UserError: there is none, nothing can be written where the clips are to be, or it may know a
            file that was withdrawn.
    """
    for path in (options.output, options.progress):
        if path is not None:
            check_place(path)
    if options.exported is None:
        settings = config.read(config.DEFAULT, *options.configfile)
        trained = in_results(settings, options.experiment, options.train_seed)
        refuse_if_pending(corpora_of(settings, options.experiment))
        return trained
    if options.configfile or options.train_seed is not None:
        raise UserError(
            "an exported folder has its own configuration and one training seed",
            code="conflicting-options",
            do="leave out --configfile and --train-seed beside --from",
        )
    refuse_withdrawn(options.exported)
    return in_export(options.exported)


# How each kind of file is given to the commands.
GIVEN_BY = {
    "recording": "`etude generate --prime recording.wav` continues a recording",
    "midi": "`etude continue my.mid` continues MIDI",
    "text": '`etude generate --text "..."` plays what a text says',
}


def _require(trained: LoadedExperiment, condition: str, do: str) -> None:
    """See that a system takes a condition.

    Raises:
        UserError: naming those that it takes.
    """
    takes = trained.experiment.conditions
    if condition not in takes:
        other = [text for name, text in GIVEN_BY.items() if name in takes]
        raise UserError(
            f"the system {trained.experiment.system} takes no {condition}",
            code="condition-not-taken",
            where=f"experiment {trained.name}",
            why=f"it takes: {', '.join(sorted(takes)) or 'none, it plays from nothing'}",
            do="; or ".join([do, *other]),
        )


def prompts_of(given: Path | None, takes: Collection[str]) -> dict[str, tuple[Path, ...]]:
    """The files that clips continue, by what the names of these clips get: a folder's stems.

    Args:
        takes: the conditions of the system: of a folder, files of the kinds that it can continue.

    Raises:
        UserError: the folder holds none.
    """
    if given is None:
        return {"": ()}
    if not given.is_dir():
        return {"": (given,)}
    kinds = {"midi": "midi", "audio": "recording"}
    names = [name for name in list_files(given) if kinds.get(music_kind(name)) in takes]
    if not names:
        raise UserError(
            "there is no file to continue",
            code="no-prompt-file",
            where=str(given),
            why=f"this system continues: {', '.join(sorted(set(kinds.values()) & set(takes)))}",
            do="give a folder with such files, or one file",
        )
    stems = [name.rpartition(".")[0].replace("/", "-") for name in names]
    twice = {stem for stem in stems if stems.count(stem) > 1}
    labels = [n.replace("/", "-") if s in twice else s for s, n in zip(stems, names, strict=True)]
    return {f"-{label}-": (given / name,) for label, name in zip(labels, names, strict=True)}


def _write(
    trained: LoadedExperiment,
    conditions: Conditions,
    options: argparse.Namespace,
    fade_s: float,
    given: Path | None,
) -> list[Path]:
    """Make the clips, write and name them; of a folder of prompts for each of its files."""
    settings = laid_over(trained.experiment.generate, options)
    prompts = prompts_of(given, frozenset(trained.experiment.conditions))
    player = open_player(trained)
    notes, name = "notes" in trained.experiment.makes, str(options.output)
    for suffix in (".wav", *[".mid"] * notes):
        name = name.removesuffix(suffix)
    written: list[Path] = []
    refused: list[str] = []
    with ProgressBar("generating") as bar:
        tell = teller(bar, options.progress)
        for label, files in prompts.items():
            asked = with_files(replace(conditions, files=files), settings)
            try:
                prepared = player.prepare(settings, asked)
            except UserError as error:
                if len(prompts) == 1:
                    raise
                refused.append(f"{files[0]}: {error.what}")
                continue
            clips = player.clips(settings, trained.seed, options.seed, prepared, tell, never)
            for number, clip in enumerate(clips, start=1):
                check_clip(clip, player.rate, f"the system {trained.experiment.system}", notes)
                if clip.row.get("ended") == "true":
                    seconds = len(clip.wave) / player.rate
                    log.info("track %d ended by itself at %.1f s", number, seconds)
                written += _write_clip(clip, f"{name}{label}{number}", player.rate, fade_s)
        tell(GenerationProgress("done", 100.0, settings.seconds, 0.0))
    for path in written:
        print(path)
    _refuse_all(refused, len(prompts))
    return written


def _refuse_all(refused: list[str], count: int) -> None:
    """Name the prompts that cannot be used; an error where none can."""
    if refused and len(refused) == count:
        raise UserError(
            "none of the prompts can be used:\n  " + "\n  ".join(refused[:8]),
            code="no-usable-prompt",
        )
    for line in refused:
        log.warning("left out: %s", line)


def with_files(conditions: Conditions, settings: GenerateSettings) -> Conditions:
    """The conditions with the files that `--set` names, as the workflow has those of a config.

    Raises:
        UserError: the command has a file of its own too.
    """
    if not settings.primes:
        return conditions
    if conditions.files:
        raise UserError(
            f"two ways to name a file: {conditions.files[0]} and --set",
            code="conflicting-options",
            do="leave one of them out",
        )
    return replace(conditions, files=tuple(settings.primes))


def _write_clip(clip: Clip, name: str, rate: int, fade_s: float) -> list[Path]:
    """A clip's notes, where it has any, and its sound -> the files."""
    files = [Path(f"{name}.mid")] * (clip.notes is not None) + [Path(f"{name}.wav")]
    if files[0].exists():
        log.warning("%s is replaced", files[0])
    if clip.notes is not None:
        write_notes(clip, files[0])
    write_wav(files[-1], fade_out(clip.wave, rate, fade_s), rate)
    return files


def laid_over(base: GenerateSettings, options: argparse.Namespace) -> GenerateSettings:
    """The experiment's generation settings with what the command line says.

    Raises:
        UserError: a value out of range, or an option that the settings do not have.
    """
    given, sampling = vars(options), getattr(base, "sampling", None)
    # What the experiment's own clips are asked to be is for the workflow.
    values = base.model_dump(exclude=set(base.conditions))
    values["clips"] = options.clips
    values["batch_size"] = min(options.clips, base.batch_size)
    if given.get("duration") is not None:
        values["seconds"] = options.duration
    values |= _asked(type(base), {key: given.get(key) or None for key in OPTIONS})
    drawing = {key: given.get(key) for key in SAMPLING}
    if given.get("free"):
        drawing["grammar"] = False
    if asked := _asked(type(sampling), drawing):
        values["sampling"] |= asked
    for word in given.get("set") or ():
        values = config.merge(values, _setting(word))
    return config.validated(type(base), values)


def _setting(word: str) -> dict[str, Any]:
    """`denoising.steps=50` as settings; values are read as YAML.

    Raises:
        UserError: it is not of that form.
    """
    import yaml

    path, equals, text = word.partition("=")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        equals = ""
    if not path or not equals:
        raise UserError(
            f"--set cannot be read: {word}",
            code="unreadable-value",
            why="it is KEY=VALUE, with dots between the names of sections",
            do="write it as in --set bars=16 denoising.steps=50",
        )
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


def _asked(section: type, options: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that are given.

    Raises:
        UserError: one that is no key of the section.
    """
    asked = {key: value for key, value in options.items() if value is not None}
    for key in asked:
        if key not in getattr(section, "model_fields", {}):
            option = {"grammar": "free"}.get(key, key).replace("_", "-")
            raise UserError(
                f"--{option} means nothing to this experiment",
                code="option-without-meaning",
                why=f"its system has no setting {key!r} for the clips that it makes",
                do=f"leave out --{option}",
            )
    return asked
