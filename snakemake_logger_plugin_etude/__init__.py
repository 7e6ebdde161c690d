"""`snakemake --logger etude`: one line that says what is done, what runs, and how long it takes.

Snakemake's own messages go to its log file (`.snakemake/log`), those of a job to the job's log;
the terminal shows a line for each part of the workflow that is complete, and, where it is a
terminal, one more that changes in place. What goes wrong is shown in full. Snakemake finds a
logger by the name of its package, so this one lies outside of `etude`; it imports nothing of it,
since it is read before the Snakefile says where `etude` is.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from logging import WARNING, LogRecord
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from tqdm import tqdm

QUIET_JOBS = "ETUDE_QUIET_JOBS"  # jobs write to their logs alone (scripts/adapter.py)

# The parts of a run in their order, their rules, and the usual seconds of a job (two CPU cores,
# the default configuration). The seconds are only where an estimate starts: after the first jobs
# they are scaled by what those took here.
PARTS: dict[str, dict[str, float]] = {
    "music": {
        "fetch_source": 35,
        "ingest_corpus": 5,
        "decide_split": 2,
        "list_owners": 2,
        "caption_corpus": 3,
        "render_midi": 20,
    },
    "pretrained parts": {
        "fetch_weights": 30,
        "import_weights": 5,
        "import_tokenizer": 5,
        "verify_models": 20,
        "verify_embedding": 5,
        "verify_embedding_fadtk": 20,
        "verify_text": 10,
    },
    "tokens": {
        "cut_segments": 4,
        "fit_tokenizer": 8,
        "tokenize_audio": 12,
        "pack_tokens": 3,
        "make_tokenizer": 5,
        "tokenize_midi": 4,
        "write_events": 4,
        "summarise_tokens": 3,
        "pack_symbolic": 3,
    },
    "training": {"train_stage": 60, "encode_stage": 20, "keep_step": 2},
    "clips": {
        "generate_clips": 15,
        "clips_over_steps": 20,
        "import_clips": 5,
        "make_baselines": 15,
    },
    "metrics": {
        "embed_clips": 8,
        "embed_clips_pretrained": 60,
        "embed_clips_fadtk": 60,
        "measure_clips": 5,
        "score_concepts": 10,
        "score_fad": 8,
        "train_word2vec": 6,
        "measure_symbolic": 5,
        "score_symbolic": 8,
        "score_latents": 8,
        "score_perplexity": 6,
        "measure_over_steps": 20,
    },
    "search for copies": {
        "catalogue_corpus": 4,
        "embed_corpus": 10,
        "study_memorisation": 15,
        "tokenize_clips": 6,
        "extract_prefixes": 4,
        "find_memorisation": 12,
    },
    "results": {"check_criteria": 2, "write_fad": 5, "build_report": 20},
}
PART_OF = {rule: part for part, rules in PARTS.items() for rule in rules}
USUAL_S = {rule: seconds for rules in PARTS.values() for rule, seconds in rules.items()}
A_JOB_S = 10.0  # of a rule that another workflow adds

LAST_LINES = 12  # of a failed job's log
BAR = re.compile(r"(\d+)%\|[^|]*\|[^\r\n\[]*\[[^<\]]*<([\d:]+)")  # tqdm's, in a job's log


@dataclass
class Job:
    """A job that runs, or ran."""

    rule: str
    label: str
    log: list[str]
    started: float


class Progress:
    """What is known of a run: which jobs there are, which run, which are done, and how long."""

    def __init__(self, now: float) -> None:
        self.begun = now
        self.total: Counter[str] = Counter()
        self.started: dict[int, float] = {}
        self.running: dict[int, Job] = {}
        self.done: Counter[str] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def describe(self, number: int, rule: str, label: str, log: list[str], now: float) -> None:
        """A job runs; Snakemake says that it begins before it says what it is."""
        self.running[number] = Job(rule, label, log, self.started.pop(number, now))

    def finish(self, number: int, now: float) -> str | None:
        """A job has ended well -> the part that is complete with it, or None."""
        job = self.running.pop(number, None)
        if job is None:
            return None
        self.done[job.rule] += 1
        self.seconds[job.rule] += now - job.started
        part = part_of(job.rule)
        return part if self.count(part) == self.count(part, self.total) else None

    def count(self, part: str, of: Counter[str] | None = None) -> int:
        """Jobs of a part that are done, or those of another count."""
        return sum(
            n for rule, n in (self.done if of is None else of).items() if part_of(rule) == part
        )

    def part_seconds(self, part: str) -> float:
        """What the jobs of a part took, one after the other."""
        return sum(s for rule, s in self.seconds.items() if part_of(rule) == part)

    def next_part(self) -> str | None:
        """The first part of which nothing has begun."""
        begun = {part_of(job.rule) for job in self.running.values()}
        parts = [*PARTS, *sorted({part_of(rule) for rule in self.total} - set(PARTS))]
        ahead = (p for p in parts if self.count(p, self.total) and not self.count(p))
        return next((part for part in ahead if part not in begun), None)

    def left(self, now: float) -> float | None:
        """Seconds that the run will still take, or None before the first job is done.

        A rule's jobs will take what those took that are done; where none is, the usual seconds,
        scaled by what all jobs so far took of theirs. As many run side by side as did until now.
        """
        usual = sum(USUAL_S.get(rule, A_JOB_S) * n for rule, n in self.done.items())
        took, gone = sum(self.seconds.values()), now - self.begun
        if not usual or not took or not gone:
            return None
        here = took / usual
        still = 0.0
        for rule, total in self.total.items():
            n = self.done[rule]
            each = self.seconds[rule] / n if n else USUAL_S.get(rule, A_JOB_S) * here
            still += each * (total - n)
            under_way = (now - job.started for job in self.running.values() if job.rule == rule)
            still -= sum(min(each, seconds) for seconds in under_way)
        busy = took + sum(now - job.started for job in self.running.values())
        return still / max(1.0, busy / gone)


def part_of(rule: str) -> str:
    """The part of a run that a rule belongs to; rules of other workflows are their own."""
    return PART_OF.get(rule, rule)


def clock(seconds: float) -> str:
    """Minutes and seconds.

    Example:
        >>> clock(83)
        '1:23'
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def label_of(rule: str, wildcards: dict[str, object]) -> str:
    """A job in words.

    Example:
        >>> label_of("train_stage", {"experiment": "music", "stage": "coarse", "seed": 0})
        'train_stage music coarse 0'
    """
    return " ".join([rule, *map(str, wildcards.values())])


def bar_of(log: Path) -> str:
    """How far a job is by the last progress bar in its log: '43 %, 1:27 left', or ''."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 400))
            found = BAR.findall(file.read().decode("utf-8", "replace"))
    except OSError:  # no log yet
        return ""
    return f"{found[-1][0]} %, {found[-1][1].removeprefix('0')} left" if found else ""


def last_lines(log: Path) -> list[str]:
    """What a failed job said last, without its progress bars."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in text.splitlines()]
    return [line for line in lines if line and "%|" not in line][-LAST_LINES:]


class LogHandler(LogHandlerBase):
    """Snakemake's messages -> lines on the terminal."""

    def __post_init__(self) -> None:
        os.environ[QUIET_JOBS] = "1"  # what Snakemake starts inherits it
        self.stream = sys.stdout if self.common_settings.stdout else sys.stderr
        self.progress = Progress(time.monotonic())
        self.failed: set[int] = set()
        self.last_error = ""
        self.bar = tqdm(
            bar_format="{desc}",
            dynamic_ncols=True,
            leave=False,
            file=self.stream,
            disable=not self.stream.isatty(),
        )
        self.shows = {
            LogEvent.RUN_INFO: self._planned,
            LogEvent.JOB_INFO: self._described,
            LogEvent.JOB_STARTED: self._started,
            LogEvent.JOB_FINISHED: self._finished,
            LogEvent.JOB_ERROR: self._job_failed,
            LogEvent.ERROR: self._error,
        }
        self.closed = threading.Event()
        self.clockwork = threading.Thread(target=self._tick, daemon=True)
        self.clockwork.start()
        self._say("planning …")

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def emit(self, record: LogRecord) -> None:
        """One message of Snakemake's."""
        event = getattr(record, "event", None)
        with self.lock or threading.RLock():
            if event in self.shows:
                self.shows[event](record)
            elif record.levelno >= WARNING and record.msg:
                self._say(str(record.getMessage()))

    def close(self) -> None:
        """The end of the run; the last line goes."""
        self.closed.set()
        self.bar.close()
        super().close()

    # ------------------------------------------------------------------------------- messages

    def _planned(self, record: LogRecord) -> None:
        stats = getattr(record, "stats", {})
        self.progress.total = Counter({r: n for r, n in stats.items() if r != "total"})
        self.progress.total.pop("all", None)
        self.progress.begun = time.monotonic()
        self._say(f"{sum(self.progress.total.values())} steps; VERBOSE=1 shows Snakemake's own log")

    def _described(self, record: LogRecord) -> None:
        label = label_of(record.rule_name, dict(record.wildcards or {}))  # type: ignore[attr-defined]
        log = list(map(str, getattr(record, "log", None) or []))
        self.progress.describe(record.jobid, record.rule_name, label, log, time.monotonic())  # type: ignore[attr-defined]

    def _started(self, record: LogRecord) -> None:
        jobs = getattr(record, "jobs", [])
        for number in jobs if isinstance(jobs, list) else [jobs]:
            self.progress.started[number] = time.monotonic()

    def _finished(self, record: LogRecord) -> None:
        part = self.progress.finish(getattr(record, "job_id", -1), time.monotonic())
        if part and part != "all":
            count, gone = self.progress.count(part), time.monotonic() - self.progress.begun
            steps = f"{count} step{'s' if count > 1 else ''}"
            self._say(
                f"  {clock(gone):>6}  {part} done: {steps}, "
                f"{clock(self.progress.part_seconds(part))} of work"
            )

    def _job_failed(self, record: LogRecord) -> None:
        number = getattr(record, "jobid", -1)
        if number in self.failed:  # Snakemake says it again at the end
            return
        self.failed.add(number)
        job = self.progress.running.pop(number, None)
        logs = [Path(log) for log in (job.log if job else getattr(record, "log", None) or [])]
        self._say(f"failed: {job.label if job else getattr(record, 'rule_name', '')}")
        for log in logs:
            self._say("\n".join(f"  {line}" for line in last_lines(log)))
            self._say(f"  log:   {log}")

    def _error(self, record: LogRecord) -> None:
        text = str(record.getMessage())
        if self.failed and "rule" in text:  # what was said already
            return
        if text != self.last_error:
            self._say(text)
        self.last_error = text

    # -------------------------------------------------------------------------------- the line

    def _say(self, text: str) -> None:
        if text:
            tqdm.write(text, file=self.stream)
            self.stream.flush()

    def _tick(self) -> None:
        while not self.closed.wait(1.0):
            with self.lock or threading.RLock():
                self.bar.set_description_str(self.line(time.monotonic()))

    def line(self, now: float) -> str:
        """The line that changes in place."""
        known = self.progress
        total, left = sum(known.total.values()), known.left(now)
        if not total:
            return ""
        words = [f"{sum(known.done.values())} of {total}", clock(now - known.begun)]
        if left is not None:
            words.append(f"about {clock(max(left, 1))} left")
        line = ", ".join(words)
        now_running = [
            f"{job.label} ({bar})"
            if (bar := bar_of(Path(job.log[0])) if job.log else "")
            else job.label
            for job in known.running.values()
        ]
        if now_running:
            line += " | now: " + "; ".join(now_running)
        if part := known.next_part():
            line += f" | next: {part}"
        return line
