"""What `python -m etude doctor` prints, in which order, and when it says that a run cannot work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from etude.doctor import configured, machine
from etude.doctor.findings import Finding
from etude.errors import UserError
from etude.workflow import extras

if TYPE_CHECKING:
    from etude.config import Config


def doctor(configfiles: Sequence[Path]) -> tuple[str, bool]:
    """The findings as text, and whether the configured run can work."""
    found = list(examine(configfiles))
    broken = [finding for finding in found if finding.state == "broken"]
    if broken:
        names = ", ".join(dict.fromkeys(finding.what for finding in broken))
        verdict = f"This run cannot work: {names} (marked !!)."
    else:
        verdict = "This run can work here. What is marked -- it does without."
        if any(finding.state == "odd" for finding in found):
            verdict += " What is marked ?? makes its results doubtful."
    return "\n".join([*map(str, found), "", verdict]), not broken


def examine(configfiles: Sequence[Path]) -> Iterator[Finding]:
    """All findings; where the configuration cannot be read, those of the machine alone."""
    yield machine.examine_python()
    yield machine.examine_packages()
    config, reading = _read(configfiles)
    yield from machine.examine_devices(configured.devices_configured(config) if config else 1)
    midi = config is not None and configured.renders_midi(config)
    yield machine.examine_library(midi)
    yield machine.examine_soundfont(
        midi and config is not None and configured.uses_default_soundfont(config)
    )
    yield from machine.examine_commands()
    yield machine.examine_fadtk(config is not None and _asks_for_fadtk(config))
    used = _environments(config) if config is not None else []
    yield from (machine.examine_extras(env, env in used) for env in extras.environments())
    yield reading
    if config is not None:
        yield from configured.examine_music(config)
        yield from configured.examine_weights(config)
        yield from configured.examine_codes(config)
        yield configured.examine_disk(config)
    yield configured.examine_folder()
    yield configured.examine_locks()


def _asks_for_fadtk(config: Config) -> bool:
    from etude.config import FADTK

    asked = [n for n in config.evaluation.embeddings if n in FADTK and n not in config.pretrained]
    return config.evaluation.fadtk and bool(asked)


def _environments(config: Config) -> list[str]:
    from etude.workflow import needs

    return needs.environments_used(config)


def _read(configfiles: Sequence[Path]) -> tuple[Config | None, Finding]:
    name = ", ".join(["config/config.yaml", *map(str, configfiles)])
    try:
        from etude import config
    except ModuleNotFoundError as error:
        text = f"not read: the package {error.name} is missing"
        return None, Finding("configuration", "broken", text, "make setup")
    try:
        settings = config.read(config.DEFAULT, *configfiles)
    except UserError as error:
        text = "not valid:\n" + "\n".join(f"{'':<18}{line}" for line in str(error).splitlines())
        return None, Finding("configuration", "broken", text)
    return settings, Finding("configuration", "ok", f"{name}: {', '.join(settings.run)}")
