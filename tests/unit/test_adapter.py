"""The way into a job and out of it: what the terminal says, and what its log keeps."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(tmp_path, body, log="results/logs/rule/x.log"):
    """A script whose `snakemake` is made here."""
    code = f"""
        import sys
        from types import SimpleNamespace
        sys.path.insert(0, {str(ROOT / "scripts")!r})
        snakemake = SimpleNamespace(log=[{log!r}], rule="rule")
        from adapter import job
        with job(snakemake):
            import logging
            logging.getLogger("etude.x").info("begun")
    """
    code = textwrap.dedent(code) + textwrap.indent(textwrap.dedent(body), "    ")
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    path = tmp_path / log
    return done.returncode, done.stderr, path.read_text() if path.is_file() else ""


def test_a_defect_is_in_the_log_with_its_traceback(tmp_path):
    status, said, log = run(tmp_path, "int('x')")
    assert status == 1
    assert "begun" in said
    for text in (said, log):
        assert text.count("Traceback") == 1
        assert "ValueError: invalid literal for int()" in text
    assert "INFO etude.x: begun" in log


def test_a_users_mistake_has_no_traceback(tmp_path):
    body = "from etude.errors import UserError; "
    body += "raise UserError('oh', code='a-test', where='here', do='that')"
    status, said, log = run(tmp_path, body)
    assert status == 1
    assert said == "begun\noh [a-test]\n  where: here\n  do:    that\n"
    assert "ERROR etude: oh" in log
    assert "Traceback" not in log


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "ENOTDIR"])
def test_the_users_disk(tmp_path, name):
    body = f"import errno, os; raise OSError(errno.{name}, os.strerror(errno.{name}), 'results/x')"
    status, said, log = run(tmp_path, body)
    assert status == 1
    assert "where: results/x" in said
    assert "run the same command again" in said
    assert "Traceback" not in said + log, "Snakemake shows the log of a failed job"


def test_a_missing_package(tmp_path):
    status, said, _ = run(tmp_path, "import no_such_package")
    assert status == 1
    assert "the package no_such_package is not installed" in said
    assert "Traceback" not in said


def test_a_file_where_the_logs_should_be(tmp_path):
    (tmp_path / "results").write_text("mine")
    status, said, _ = run(tmp_path, "print('not reached')")
    assert status == 1
    assert "a file cannot be written or read" in said
    assert "Traceback" not in said


def test_a_crash_in_c_code_leaves_a_trace(tmp_path):
    status, _, log = run(tmp_path, "import ctypes; ctypes.string_at(0)")
    assert status < 0
    assert "Segmentation fault" in log


def test_a_log_that_cannot_be_written_is_not_told_at_every_line(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "results").mkdir()
    (tmp_path / "results/full.log").symlink_to("/dev/full")
    _, said, _ = run(tmp_path, "logging.getLogger('etude').info('on')", "results/full.log")
    assert "Traceback" not in said
    assert "on" in said
