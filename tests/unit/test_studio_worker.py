"""The studio's worker on real (tiny) exports: what it makes, the command makes again."""

import errno
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from tiny_experiments import make_notes, make_sound

from etude.__main__ import main
from etude.audio.files import write_wav
from etude.generation.export import export
from etude.midi.writing import plain_table, write_midi
from etude.studio import responses
from etude.studio.instruments import Ask, find_instruments
from etude.studio.store import Store
from etude.studio.worker import Worker

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """Exports of two systems, as `etude export` writes them."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for make, name in ((make_notes, "notes"), (make_sound, "mine")):
            place = home / name
            place.mkdir()
            patch.chdir(place)
            export(make(place), name, None, home / "exports" / name)
    return home / "exports"


@pytest.fixture
def studio(exports, tmp_path):
    store = Store(tmp_path / "data")
    worker = Worker(store, find_instruments([exports]), "cpu")
    for file, table in (
        ("my-keys-0", plain_table(np.arange(8) * 480, np.full(8, 480), 60 + np.arange(8))),
    ):
        write_midi(table, store.primes / f"{file}.mid")
    write_wav(
        store.primes / "my-keys-0.wav", np.sin(np.arange(24000) / 20).astype(np.float32) / 2, 24000
    )
    store.add_prime("me", "my-keys-0", 4.0, True)
    yield worker
    store.close()


def made(worker, model, **more):
    """The clips of a request, and the job."""
    name = next(i.id for i in worker.instruments.values() if i.exported.name == model)
    ask = Ask(model=name, seconds=1.0, **more)
    job = worker.store.add_job("me", "clips", ask.model_dump(mode="json"))
    worker.work(worker.store.claim("cpu"))
    return worker.store.own("jobs", "me", job), worker.store.clips_of([job])[job]


@pytest.mark.parametrize(
    ("model", "prime"),
    [("notes", None), ("notes", "my-keys-0"), ("mine", None), ("mine", "my-keys-0")],
)
def test_the_command_makes_the_same_bytes(studio, exports, tmp_path, monkeypatch, model, prime):
    more = {"settings": {"sampling.temperature": 0.9}, "seed": 4, "clips": 2, "prime": prime}
    job, clips = made(studio, model, **more)
    assert (job["state"], job["error"]) == ("done", "")
    monkeypatch.chdir(tmp_path)
    for form in ("wav", "mid"):
        Path(f"prime.{form}").write_bytes((studio.store.primes / f"my-keys-0.{form}").read_bytes())
    (tmp_path / model).symlink_to(exports / model)
    for clip in clips:
        about = json.loads((studio.store.clips / f"{clip['id']}.json").read_text())
        command = shlex.split(about["command"])
        assert main(command[3:]) == 0
        written = Path("continued1" if "continue" in command else "track1")
        for form in ("wav", "mid") if clip["notes"] else ("wav",):
            kept = (studio.store.clips / f"{clip['id']}.{form}").read_bytes()
            assert written.with_suffix(f".{form}").read_bytes() == kept
    assert len({json.loads(clip["about"])["seed"] for clip in clips}) == 2


def test_a_model_is_opened_once(studio):
    first, _ = made(studio, "notes")
    second, _ = made(studio, "notes")
    assert first["loaded"] > 0
    assert second["loaded"] < first["loaded"] / 2
    assert len(studio.players) == 1


def test_a_clip_is_gone_on_from(studio):
    _, (clip,) = made(studio, "mine", prime="my-keys-0", seed=1)
    job, (longer,) = made(studio, "mine", clip=clip["id"], seed=2)
    assert job["state"] == "done"
    assert longer["seconds"] > clip["seconds"]
    assert longer["prime"] == pytest.approx(clip["seconds"], abs=0.01)


def test_what_is_deleted_is_not_gone_on_from(studio):
    studio.store.remove("primes", ["my-keys-0"])
    job, clips = made(studio, "notes", prime="my-keys-0")
    assert (job["state"], clips) == ("failed", [])
    assert "deleted" in job["error"]


def test_a_version_that_is_there_is_not_made_again(studio):
    job, clips = made(studio, "mine", clips=2, seed=9)
    studio.store.sql.execute("UPDATE jobs SET state = 'waiting' WHERE id = ?", (job["id"],))
    studio.store.sql.execute("DELETE FROM clips WHERE id = ?", (clips[1]["id"],))
    studio.work(studio.store.claim("cpu"))
    again = studio.store.clips_of([job["id"]])[job["id"]]
    assert again[0] == clips[0]
    assert [c["number"] for c in again] == [0, 1]


@pytest.mark.parametrize("last", ["worker.write_wav", "store.Store.add_clip"])
def test_a_full_disk_ends_the_job_in_words_and_leaves_no_half_of_a_clip(studio, monkeypatch, last):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "/secret/place")

    with monkeypatch.context() as patch:
        patch.setattr(f"etude.studio.{last}", full)
        job, clips = made(studio, "notes")
    assert (job["state"], job["error"], clips) == ("failed", responses.FULL, [])
    assert list(studio.store.clips.iterdir()) == []
    assert made(studio, "notes")[0]["state"] == "done", "the worker goes on once there is room"
