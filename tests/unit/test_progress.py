"""`snakemake --logger etude`: what the terminal shows of a run."""

import io
import logging
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_etude import (
    PART_OF,
    LogHandler,
    Progress,
    bar_of,
    last_lines,
)

ROOT = Path(__file__).resolve().parents[2]


def test_every_rule_is_part_of_the_run_and_no_other():
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "rules").glob("*.smk"))
    assert set(re.findall(r"^rule (\w+):", text, re.MULTILINE)) == set(PART_OF)


@pytest.fixture
def shown(monkeypatch):
    """A handler whose terminal is a string -> what it shows."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("ETUDE_QUIET_JOBS", "")
    handler = LogHandler(SimpleNamespace(stdout=False), None)
    yield SimpleNamespace(handler=handler, text=stream.getvalue)
    handler.close()


def tell(shown, event, message="", level=logging.INFO, **fields):
    record = logging.LogRecord("snakemake", level, "", 0, message, None, None)
    record.__dict__.update(event=event, **fields)
    shown.handler.emit(record)


def a_job(shown, number, rule, log=(), **wildcards):
    tell(shown, LogEvent.JOB_STARTED, jobs=[number])
    tell(
        shown,
        LogEvent.JOB_INFO,
        "reason: Missing output files",
        jobid=number,
        rule_name=rule,
        wildcards=wildcards,
        log=list(log),
    )


def test_a_run_is_a_line_for_each_part_that_is_complete(shown):
    tell(shown, LogEvent.RUN_INFO, stats={"render_midi": 2, "train_stage": 1, "all": 1, "total": 4})
    a_job(shown, 1, "render_midi", corpus="chorales", shard="0000")
    a_job(shown, 2, "render_midi", corpus="chorales", shard="0001")
    tell(shown, LogEvent.JOB_FINISHED, job_id=1)
    assert "music" not in shown.text()
    tell(shown, LogEvent.JOB_FINISHED, job_id=2)
    lines = shown.text().splitlines()
    assert lines[1].startswith("3 steps")
    assert "music done: 2 steps" in lines[2]
    assert len(lines) == 3  # planning, steps, music; no reasons, no numbers of jobs


def test_the_line_says_what_is_done_what_runs_what_comes_and_how_long(shown, tmp_path):
    log = tmp_path / "train.log"
    log.write_text(
        "coarse: 0.9 M parameters\n\rcoarse:  43%|████      | 300/700 [01:05<01:27, 4.5step/s"
    )
    tell(shown, LogEvent.RUN_INFO, stats={"render_midi": 1, "train_stage": 1, "build_report": 1})
    a_job(shown, 1, "render_midi", corpus="chorales", shard="0000")
    tell(shown, LogEvent.JOB_FINISHED, job_id=1)
    a_job(shown, 2, "train_stage", [log], experiment="music", stage="coarse", seed=0)
    known = shown.handler.progress
    line = shown.handler.line(known.begun + 83)
    assert line.startswith("1 of 3, 1:23, about ")
    assert "now: train_stage music coarse 0 (43 %, 1:27 left)" in line
    assert line.endswith("next: results")


def test_what_is_left_follows_what_jobs_took_here():
    def left(each):
        known = Progress(now=0.0)
        known.total.update(render_midi=4, build_report=1)
        for number in range(3):
            known.describe(number, "render_midi", "", [], each * number)
            known.finish(number, each * (number + 1))
        return known.left(each * 3)

    assert left(40) == pytest.approx(2 * left(20))  # a machine of half the speed
    assert left(20) == pytest.approx(20 + 20)  # one more of these, and a page, one at a time


def test_a_failed_job_shows_its_last_words_once(shown, tmp_path):
    log = tmp_path / "job.log"
    log.write_text("\rfit:  3%|\nfolder of music is empty\n  do:    add a file\n")
    a_job(shown, 7, "ingest_corpus", [log], corpus="mine", shard="0000")
    for _ in range(2):  # as Snakemake does
        tell(shown, LogEvent.JOB_ERROR, level=logging.ERROR, jobid=7, rule_name="ingest_corpus")
    text = shown.text()
    assert text.count("failed: ingest_corpus mine 0000") == 1
    assert "  folder of music is empty\n    do:    add a file" in text
    assert str(log) in text
    assert "fit:" not in text


def test_warnings_and_errors_are_shown_and_chatter_is_not(shown):
    tell(shown, None, "Select jobs to execute...")
    tell(shown, None, "withdrawn: 2 files", level=logging.WARNING)
    tell(shown, LogEvent.ERROR, "WorkflowError:\nno such key", level=logging.ERROR)
    assert shown.text() == "planning …\nwithdrawn: 2 files\nWorkflowError:\nno such key\n"


def test_a_job_without_a_log_or_a_bar_has_none(tmp_path):
    assert bar_of(tmp_path / "none.log") == ""
    assert last_lines(tmp_path / "none.log") == []
    (tmp_path / "a.log").write_text("nothing but words\n")
    assert bar_of(tmp_path / "a.log") == ""
