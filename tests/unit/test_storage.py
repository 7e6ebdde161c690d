"""Files are whole or not there, whatever interrupts their making."""

from __future__ import annotations

import errno
import os

import pytest
from refused import refused
from workspace import mounted

from etude import storage
from etude.storage import atomic, atomic_directory, check_folder, write_csv


def test_what_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.csv"
    write_csv(path, ["x"], [{"x": 1}])
    before = path.read_bytes()

    def rows():
        yield {"x": 2}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_csv(path, ["x"], rows())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_a_folder_takes_the_place_of_the_old_one(tmp_path):
    folder = tmp_path / "x" / "0000"
    with atomic_directory(folder) as first:
        (first / "old.wav").touch()

    def fail():
        with atomic_directory(folder) as second:
            (second / "new.wav").touch()
            raise ValueError("oh")

    with pytest.raises(ValueError, match="oh"):
        fail()
    assert [p.name for p in folder.iterdir()] == ["old.wav"]
    with atomic_directory(folder) as third:
        (third / "new.wav").touch()
        (third / ".half.123.part.wav").touch()  # of a worker that was killed
    assert [p.name for p in folder.iterdir()] == ["new.wav"]
    assert [p.name for p in folder.parent.iterdir()] == ["0000"]


@pytest.mark.parametrize("make", [atomic, atomic_directory])
@pytest.mark.parametrize(
    "error", [RuntimeError("PytorchStreamWriter failed"), OSError(errno.ENOSPC, "No space left")]
)
def test_a_full_disk_has_a_name(tmp_path, monkeypatch, make, error):
    """Libraries say it in many ways; at a full disk all of them mean the same."""
    monkeypatch.setattr(storage, "_is_full", lambda folder: True)
    with pytest.raises(OSError, match="No space left") as caught, make(tmp_path / "x.pt"):
        raise error
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path / "x.pt")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_with_room_changes_no_error(tmp_path):
    for error in (RuntimeError("mine"), OSError(errno.EIO, "broken"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, atomic(tmp_path / "x"):
            raise error
        assert caught.value is error


def test_full_is_what_the_system_says(tmp_path, monkeypatch):
    def system(free, nodes):
        values = {"f_bavail": free, "f_frsize": 4096, "f_files": 1000, "f_favail": nodes}
        return type("Statvfs", (), values)

    cases = {(0, 10): True, (15, 10): True, (10_000, 10): False, (10_000, 0): True}
    for case, full in cases.items():
        monkeypatch.setattr(os, "statvfs", lambda _, case=case: system(*case))
        assert storage._is_full(tmp_path) == full, case


def test_the_folder_for_results(tmp_path):
    check_folder(tmp_path)
    check_folder(tmp_path / "none")
    (tmp_path / "file").touch()
    (tmp_path / "dead").symlink_to("nowhere")
    (tmp_path / "link").symlink_to(tmp_path)
    check_folder(tmp_path / "link")
    for name in ("file", "dead"):
        with refused("results-not-a-folder", where=name):
            check_folder(tmp_path / name)


# How the libraries that write results do it; each has other words, or none, for a full disk.
WRITERS = {
    "x.pt": "import torch; torch.save(torch.zeros(2**18), path)",
    "x.safetensors": "import torch, safetensors.torch as s; s.save_file({'x': torch.zeros(2**18)}, path)",
    "x.npz": "import numpy; numpy.savez(path, x=numpy.zeros(2**17))",
    "x.wav": "import numpy; from etude.audio.files import write_wav; write_wav(path, numpy.zeros(2**19), 8000)",
    "y.wav": "import numpy; from etude.midi.render import write_pcm16; write_pcm16(path, numpy.zeros(2**19), 8000)",
    "x.csv": "path.write_text('x' * 2**20)",
    "x.png": "import matplotlib.pyplot as p; p.plot([1]); p.savefig(path, dpi=4000)",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_every_library_on_a_full_disk(tmp_path, name):
    def write():
        with atomic(disk / name) as path:
            exec(WRITERS[name], {"path": path})

    disk = tmp_path / "disk"
    with mounted(disk, "size=300k"):
        with pytest.raises(OSError, match=r"No space left|no space is left") as caught:
            write()
        assert caught.value.errno == errno.ENOSPC
        assert list(disk.iterdir()) == []


@pytest.mark.slow
def test_a_data_set_on_a_full_disk(tmp_path):
    datasets = pytest.importorskip("datasets")
    disk, data = tmp_path / "disk", datasets.Dataset.from_dict({"x": list(range(10**6))})

    def write():
        with atomic_directory(disk / "packed") as folder:
            data.save_to_disk(str(folder))

    with mounted(disk, "size=300k"):
        with pytest.raises(OSError, match="No space left"):
            write()
        assert list(disk.iterdir()) == []


def test_what_a_killed_job_left_goes_with_the_next_try(tmp_path):
    for name in (".0000.77.part", ".0001.77.part"):
        (tmp_path / name).mkdir()
    with atomic_directory(tmp_path / "0000") as folder:
        (folder / "a").write_text("a")
    assert {path.name for path in tmp_path.iterdir()} == {"0000", ".0001.77.part"}
