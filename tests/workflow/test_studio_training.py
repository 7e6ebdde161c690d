"""From the operator's choice to hearing what was trained; stopped, and gone on with."""

import time

import pytest
import yaml
from studio import ended, open_studio, serving
from studio_worker import SLOW

from etude.errors import UserError
from etude.studio.training import PREFIX, Choice, TrainingPlan, Trainings, _shorter, curves
from etude.training.state import open_state, write_history
from tests import music

TRAINING = {"steps": 30, "warmup_steps": 5, "batch_size": 4, "validate_every": 10}


def write_plan(folder, steps=30, **more):
    """A configuration that trains a small model of notes."""
    music.make_chorales(folder / "music", 8)
    network = {"kind": "llama", "layers": 1, "dim": 16, "heads": 2}
    content = {
        "run": ["notes"],
        "corpora": {"mine": {"source": "folder", "path": str(folder / "music"), "shards": 1}},
        "experiments": {
            "notes": {
                "system": "symbolic_lm", "corpus": "mine", "tokens": "remi",
                "stages": {"lm": {"network": network, "training": TRAINING | {"steps": steps}}},
                "generate": {"clips": 2, "new_tokens": 64},
            }
        },
    }  # fmt: skip
    path = folder / "notes.yaml"
    path.write_text(yaml.safe_dump(content | more))
    return path


def open_training(tmp_path, monkeypatch, steps=30):
    monkeypatch.chdir(tmp_path)
    state = open_studio(tmp_path, codes=(None, "operate"))
    state.trainings = Trainings(state.store, [write_plan(tmp_path, steps)], 1)
    return state


def newest(client):
    return client.get("/api/trainings").json()["jobs"][0]


def until(client, *states, percent=0.0, shown=False, seconds=400):
    """The newest training once it is in one of the states, that far, and its curves are `shown`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = newest(client)
        far = found["percent"] >= percent and (bool(found.get("curves")) or not shown)
        if found["state"] in states and far:
            return found
        assert found["state"] in ("waiting", "running") or found["state"] in states, found
        time.sleep(0.2)
    raise AssertionError(f"still {found}")


def test_choices_are_from_lists_and_get_a_name_of_their_own(tmp_path):
    plan = TrainingPlan.of(write_plan(tmp_path))
    made = plan.overlay(Choice(plan=plan.id, length="try"))
    assert made["run"] == [PREFIX + "notes"]
    entry = made["experiments"][PREFIX + "notes"]
    assert entry["stages"]["lm"]["training"]["steps"] == 10
    assert entry["stages"]["lm"]["network"]["dim"] == 16
    full = plan.overlay(Choice(plan=plan.id))["experiments"][PREFIX + "notes"]
    assert full["stages"]["lm"]["training"]["steps"] == 30
    for wrong in ({"length": "x"}, {"concepts": ["drum"]}):
        with pytest.raises(UserError, match="none of the choices"):
            plan.overlay(Choice(plan=plan.id, **wrong))
    assert _shorter(plan.experiment.stages.lm.training, 0.5) == {"steps": 15, "warmup_steps": 3}
    with pytest.raises(UserError, match="one experiment"):
        TrainingPlan.of(write_plan(tmp_path, run=["audiolm", "remi_llama"]))


def test_of_concepts_those_that_are_chosen_are_learned(tmp_path):
    path = tmp_path / "words.yaml"
    content = {"run": ["words"], "corpora": {"mine": {"source": "folder", "path": str(tmp_path)}}}
    base = {"system": "musicgen", "corpus": "mine"}
    words = {
        "system": "textual_inversion",
        "corpus": "mine",
        "base": "base",
        "concepts": ["harp", "drum"],
    }
    path.write_text(yaml.safe_dump(content | {"experiments": {"base": base, "words": words}}))
    plan = TrainingPlan.of(path)
    assert plan.as_json()["concepts"] == ["harp", "drum"]
    made = plan.overlay(Choice(plan=plan.id, concepts=["drum"], length="try"))
    entry = made["experiments"][PREFIX + "words"]
    assert (entry["concepts"], entry["base"]) == (["drum"], "base")
    with pytest.raises(UserError, match="no concept"):
        plan.overlay(Choice(plan=plan.id))


def test_curves_are_those_of_the_training_that_runs(tmp_path):
    """Not of another day's, which lies in the same place until the new one has begun."""
    plan = TrainingPlan.of(write_plan(tmp_path))
    name = f"{PREFIX}notes/lm/seed-{plan.experiment.seeds.train[0]}"
    results, job = tmp_path / "results", {"state": "running", "started": time.time() - 60}
    assert curves(plan, job, results) == {}
    state = open_state(results / "state/abc", name, {})
    rows = [{"step": s, "train_loss": 3 - s / 10, "learning_rate": 1.0} for s in (10, 20)]
    write_history(state.history, list(rows[0]), rows)
    lines = {"lm": {"train_loss": [[10.0, 2.0], [20.0, 1.0]]}}
    assert curves(plan, job, results) == lines
    assert curves(plan, job | {"started": time.time() + 60}, results) == {}
    assert curves(plan, job | {"started": None, "state": "waiting"}, results) == {}
    assert curves(plan, job | {"state": "cancelled"}, results) == lines
    write_history(results / "models" / name / "history.csv", list(rows[0]), rows[:1] * 2)
    assert curves(plan, job | {"state": "done"}, results)["lm"]["train_loss"] == [[10.0, 2.0]] * 2


@pytest.mark.parametrize(
    "wrong",
    [{}, {"plan": "../../etc"}, {"plan": "x" * 16}, {"length": "full; rm"}, {"concepts": ["<x>"]}, {"more": 1}, {"concepts": "x"}],
    ids=str,
)  # fmt: skip
def test_what_is_no_choice_is_refused(tmp_path, monkeypatch, wrong):
    with serving(open_training(tmp_path, monkeypatch)) as client:
        assert client.post("/api/trainings", json={}).status_code == 403
        assert client.get("/api/trainings").status_code == 403
        client.post("/api/enter", json={"code": "operate"})
        plan = client.get("/api/trainings").json()["plans"][0]["id"]
        body = ({"plan": plan} | wrong) if wrong else {}
        assert client.post("/api/trainings", json=body).status_code == 422


@pytest.mark.slow
@pytest.mark.workflow
def test_from_a_choice_to_hearing_it(tmp_path, monkeypatch):
    state = open_training(tmp_path, monkeypatch, steps=300)
    with serving(state) as client:
        client.post("/api/enter", json={"code": "operate"})
        before = len(client.get("/api/me").json()["models"])
        plan = client.get("/api/trainings").json()["plans"][0]["id"]
        choice = {"plan": plan, "length": "full"}
        assert client.post("/api/trainings", json=choice).status_code == 201
        until(client, "running")
        # What visitors ask for waits meanwhile, and is made afterwards.
        model = next(m["id"] for m in client.get("/api/me").json()["models"])
        waits = client.post("/api/jobs", json={"model": model, "seconds": 1.0, "seed": SLOW}).json()
        until(client, "running", percent=1)
        assert client.get(f"/api/jobs/{waits['id']}").json()["state"] == "waiting"
        job = newest(client)["id"]
        client.delete(f"/api/trainings/{job}")
        until(client, "cancelled")
        assert ended(client, waits["id"])["state"] == "done"
        assert client.post("/api/trainings", json=choice).status_code == 201
        live = until(client, "running", "done", shown=True)
        assert live["state"] == "running", "the curves are there while it trains"
        assert len(live["curves"]["lm"]["train_loss"]) < 30
        found = until(client, "done", "failed")
        log = (state.trainings.place(found["id"]) / "log").read_text()
        assert found["state"] == "done", log[-3000:]
        assert len(found["curves"]["lm"]["train_loss"]) == 30
        models = client.get("/api/me").json()["models"]
        assert len(models) == before + 1
        trained = next(m for m in models if m["name"] == PREFIX + "notes")
        heard = client.post("/api/jobs", json={"model": trained["id"], "seconds": 1.0}).json()
        assert ended(client, heard["id"])["state"] == "done"
