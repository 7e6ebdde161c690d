"""The warm process of one device: it keeps models open and makes the clips of one job at a time.

    python -m etude.studio.worker --folder studio-data --device cpu --from to-go ...

Each version is one clip of a generation seed of its own (the job's seed, the next, ...), so that
it appears as soon as it is made, and `python -m etude generate` makes it again, byte for byte.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import json
import logging
import os
import shlex
import signal
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etude.audio.files import write_wav
from etude.audio.levels import fade_out
from etude.clips.clip import Clip
from etude.clips.progress import GenerationProgress, Stopped
from etude.clips.writing import check_clip, write_notes
from etude.errors import UserError
from etude.studio import responses, views
from etude.studio.instruments import Ask, Instrument, find_instruments
from etude.studio.store import Row, Store, new_id
from etude.studio.training import trained_exports

log = logging.getLogger("etude.studio.worker")
PROGRESS_SECONDS = 0.1  # progress is written, and a cancel looked for, no more often
IDLE_SECONDS = 0.1
PLAYERS = 3  # models that stay open
FADE = 0.5  # seconds, as `generate` has it
PR_SET_PDEATHSIG = 1


@dataclass
class Meter:
    """What of a job is done, told seldom, and never backwards: a player may begin again."""

    tell: Callable[[str, float, float], None]
    stopped: Callable[[], bool]
    clips: int
    number: int = 0
    began: float = field(default_factory=time.monotonic)
    percent: float = 0.0
    reported: float = 0.0
    stop: bool = False

    def __call__(self, event: GenerationProgress) -> None:
        """Tell of an event of the version at work.

        Raises:
            Stopped: somebody asked for it.
        """
        share = (self.number + min(event.percent, 99.0) / 100) / self.clips
        self.percent = max(self.percent, 100 * share)
        now = time.monotonic()
        if now - self.reported >= PROGRESS_SECONDS:
            self.reported, used = now, now - self.began
            rest = used * (100 - self.percent) / self.percent if self.percent else 0.0
            self.tell(event.stage, round(self.percent, 1), round(rest, 1))
            self.stop = self.stopped()
        if self.stop:
            raise Stopped

    def should_stop(self) -> bool:
        """What a player asks: the last answer; the store is asked in `__call__`."""
        return self.stop


class Worker:
    """Opens models and makes clips."""

    def __init__(self, store: Store, instruments: dict[str, Instrument], device: str) -> None:
        self.store, self.instruments, self.device = store, instruments, device
        self.players: OrderedDict[str, Any] = OrderedDict()

    def player(self, instrument: Instrument) -> Any:
        """That of a model, opened once."""
        from etude.generation.trained import in_export, open_player

        if instrument.id not in self.players:
            while len(self.players) >= PLAYERS:
                self.players.popitem(last=False)
            self.players[instrument.id] = open_player(in_export(instrument.exported.folder))
        self.players.move_to_end(instrument.id)
        return self.players[instrument.id]

    def work(self, job: Row) -> None:
        """Make the clips of a job, and end it one way or another."""
        try:
            self._make(job)
        except Stopped:
            self.store.end(job["id"], "cancelled")
        except UserError as error:
            log.info("job %s: %s", job["number"], error.what)
            self.store.end(job["id"], "failed", " ".join(filter(None, [error.what, error.why])))
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            log.exception("job %s", job["number"])
            words = responses.FULL if full else "A file could not be read or written."
            self.store.end(job["id"], "failed", words)
        except Exception:
            log.exception("job %s", job["number"])
            self.store.end(job["id"], "failed", "Something went wrong while this was made.")
        else:
            self.store.end(job["id"], "done")

    def _make(self, job: Row) -> None:
        from etude.systems.conditions import Conditions

        ask = Ask.model_validate_json(job["ask"])
        if ask.model not in self.instruments and (new := trained_exports(self.store.folder)):
            self.instruments |= find_instruments(new)  # trained since this worker was started
        instrument = self.instruments.get(ask.model)
        if instrument is None:
            raise UserError("this model is not here any more", code="model-not-here")
        began = time.monotonic()
        self.store.tell(job["id"], "loading", 0.0, 0.0)
        player = self.player(instrument)
        self.store.loaded(job["id"], time.monotonic() - began)
        settings = self._settings(instrument, ask)
        files = self._files(instrument, ask, job)
        conditions = Conditions(files, ask.text, ask.concept, ask.seconds, tokens=0)
        prepared = player.prepare(settings, conditions)
        meter = Meter(
            lambda *event: self.store.tell(job["id"], *event),
            lambda: self.store.is_cancelled(job["id"]),
            ask.clips,
        )
        for number in range(ask.clips):
            if self.store.is_cancelled(job["id"]):
                raise Stopped
            meter.number, seed = number, ((ask.seed or 0) + number) % 2**32
            if self.store.has_clip(job["id"], number):
                continue
            seeds = (instrument.exported.seed, seed)
            made = player.clips(settings, *seeds, prepared, meter, meter.should_stop)
            for clip in made:
                check_clip(clip, player.rate, "this model", instrument.makes_notes)
                self._keep(job, number, clip, player.rate, ClipRecipe(instrument, ask, seed, files))

    @staticmethod
    def _settings(instrument: Instrument, ask: Ask) -> Any:
        from etude.studio.forms import laid_over

        return laid_over(instrument.generate, dict(ask.settings))

    def _files(self, instrument: Instrument, ask: Ask, job: Row) -> tuple[Path, ...]:
        """What is continued, in the form that the model takes.

        Raises:
            UserError: it is deleted, or has no such form.
        """
        table, name = ("primes", ask.prime) if ask.prime else ("clips", ask.clip)
        if name is None:
            return ()
        if self.store.own(table, job["visitor"], name) is None:
            raise UserError("what this was to continue is deleted", code="clip-deleted")
        place = self.store.folder / table / name
        file = instrument.file_of(place.with_suffix(".wav"), place.with_suffix(".mid"))
        if file is None:
            raise UserError(
                "this model continues notes, and this is a recording", code="condition-not-taken"
            )
        return (file,)

    def _keep(self, job: Row, number: int, clip: Clip, rate: int, made: ClipRecipe) -> None:
        name = new_id()
        try:
            self._write(job, number, name, clip, rate, made)
        except BaseException:
            for file in self.store.clips.glob(f"{name}.*"):
                file.unlink()  # no half of a clip stays, least of all on a full disk
            raise

    def _write(
        self, job: Row, number: int, name: str, clip: Clip, rate: int, made: ClipRecipe
    ) -> None:
        place = self.store.clips / name
        wave = clip.wave if made.continued else fade_out(clip.wave, rate, FADE)
        if clip.notes is not None:
            write_notes(clip, place.with_suffix(".mid"))
        write_wav(place.with_suffix(".wav"), wave, rate)
        about = {
            "seconds": round(len(wave) / rate, 3),
            "prime_s": float(clip.row.get("prime_seconds") or 0),
            "has_notes": clip.notes is not None,
            "peaks": views.peaks(wave),
            "notes": views.notes(clip.notes) if clip.notes is not None else [],
        }
        self.store.add_clip(job, number, name, about | made.about())


@dataclass(frozen=True)
class ClipRecipe:
    """How a clip was made, so that it can be made again."""

    instrument: Instrument
    ask: Ask
    seed: int
    files: tuple[Path, ...]

    @property
    def continued(self) -> bool:
        """Whether `etude continue` makes it, which fades nothing out."""
        return any(file.suffix == ".mid" for file in self.files)

    def about(self) -> Row:
        """The settings, and the command that makes it again from the export and the prime."""
        exported = self.instrument.exported
        return {
            "model": exported.name,
            "system": exported.experiment.system,
            "seed": self.seed,
            "settings": self.ask.model_dump(mode="json", exclude={"prime", "clip", "model"}),
            "weights": dict(exported.hashes),
            "command": self.command(),
        }

    def command(self) -> str:
        """For a shell; of the prime it says only which form it has."""
        ask, folder = self.ask, self.instrument.exported.folder.name
        words = ["python", "-m", "etude", "continue" if self.continued else "generate"]
        if self.continued:
            words += ["prime.mid"]
        words += ["--from", folder, "--clips", "1", "--seed", str(self.seed)]
        if ask.seconds is not None:
            words += ["--seconds", f"{ask.seconds:g}"]
        if self.files and not self.continued:
            words += ["--prime", "prime.wav"]
        if ask.text:
            words += ["--text", ask.text]
        if ask.settings:
            words += ["--set", *(f"{k}={json.dumps(v)}" for k, v in ask.settings.items())]
        return shlex.join(words)


def die_with(parent: int) -> None:
    """End when the server does, also when it is killed: no worker is left over."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)


def main(arguments: list[str] | None = None) -> int:
    """Work until the parent is gone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--from", dest="exports", type=Path, nargs="+", required=True)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    die_with(options.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server's terminal; it ends its workers
    store = Store(options.folder)
    worker = Worker(store, find_instruments(options.exports), options.device)
    while os.getppid() == options.parent:
        job = store.claim(options.device)
        if job is None:
            time.sleep(IDLE_SECONDS)
        else:
            worker.work(job)
    return 0


if __name__ == "__main__":
    sys.exit(main())
