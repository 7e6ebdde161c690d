"""The plan: which files a run makes, asked without Snakemake."""

from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import pytest
from pydantic import create_model

from etude import config
from etude.config.systems.base import StageSettings, TrainedExperiment
from etude.errors import UserError
from etude.workflow import extras, needs
from etude.workflow.data import fill, share
from etude.workflow.plan import Plan

W = SimpleNamespace
EXPERIMENTS = {
    "sound": {"system": "audiolm", "corpus": "c", "seeds": {"train": [0, 1], "generate": [0, 1]}},
    "notes": {"system": "symbolic_lm", "corpus": "c", "tokens": "s"},
    "theirs": {"system": "external", "corpus": "c", "clips": "somewhere"},
}


def read(**over) -> config.Config:
    values: dict[str, Any] = {
        "corpora": {"c": {"source": "music21", "shards": 3}},
        "tokenizers": {"words": {"kind": "remi"}},
        "tokens": {"s": {"tokenizer": "words"}},
        "experiments": EXPERIMENTS,
        "run": list(EXPERIMENTS),
    }
    return config.read(config.DEFAULT, overrides=config.merge(values, over))


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(read())


def test_a_pattern_is_filled_as_snakemake_does():
    from snakemake.io import expand

    values = {"a": ["1", "2"], "b": "x", "c": ["3"]}
    for pattern in ("{a}/{b}/{c}", "{b}/{open}/{a}", "{open}", "none"):
        expected = expand(pattern, **values, allow_missing=True)
        assert fill(pattern, **values) == list(dict.fromkeys(expected))
    assert fill("{a}", a=[]) == []


def test_what_is_asked_of_an_experiment(plan):
    sound, notes, theirs = (W(experiment=name, clips="seed-0/draw-1") for name in EXPERIMENTS)
    pattern = "results/packed/{corpus}/{tokens}/{shard}"
    assert plan.for_experiment(pattern)(notes) == [f"results/packed/c/s/000{i}" for i in range(3)]
    assert plan.trained_here(pattern)(theirs) == []
    assert plan.tokenizers_of(notes) == {"tokenizer": "results/tokenizers/c/words"}
    assert plan.tokenizers_of(theirs) == {}
    assert plan.for_experiment("{tokenizer}")(sound) == []
    assert plan.for_experiment("{semantic}")(notes) == []
    assert plan.for_experiment("{clips}")(notes) == ["{clips}"], "left to the rule"
    assert [bool(plan.with_role("semantic", pattern)(w)) for w in (sound, notes, theirs)] == [
        True, False, False,
    ]  # fmt: skip
    assert [bool(plan.rendering_of(w)) for w in (sound, notes, theirs)] == [False, True, False]
    assert plan.extraction_of(sound) == ["results/metrics/sound/seed-0/extraction.csv"]
    assert plan.extraction_of(theirs) == []
    assert plan.extraction_of(W(experiment="sound", clips="baselines")) == []
    assert plan.draws("theirs") == ["seed-0/draw-0"]
    assert plan.draws("sound") == [f"seed-{s}/draw-{d}" for s in (0, 1) for d in (0, 1)]
    assert plan.env_of(sound) == "torch"


def test_who_can_what(plan):
    ours = lambda names: [name for name in names if name in EXPERIMENTS]  # noqa: E731
    assert ours(plan.having("trained")) == ["sound", "notes"]
    assert ours(plan.having("likelihood")) == ["notes"]
    assert ours(plan.having("continues")) == ["sound", "notes"]
    assert ours(plan.making("notes")) == ["notes"]
    assert ours(plan.making("audio")) == list(EXPERIMENTS)
    assert plan.gated == ["sound", "notes"]
    judged = plan.config.model_copy(
        update={"evaluation": plan.config.evaluation.model_copy(update={"gate_external": True})}
    )
    assert Plan(judged).gated == list(EXPERIMENTS)


def test_tables_are_those_that_a_rule_makes(plan):
    names = {
        name: sorted({path.rpartition("/")[2] for path in plan.tables_of(name)["tables"]})
        for name in EXPERIMENTS
    }
    audio = ["fad.csv", "memorisation.csv"]
    assert names == {
        "sound": audio, "notes": sorted([*audio, "symbolic.csv", "perplexity.csv"]), "theirs": audio,
    }  # fmt: skip
    assert plan.tables_of("sound")["replicates"] == [], "those of clips pair with nothing"
    assert plan.tables_of("theirs")["rivals"] == ["results/metrics/theirs/seed-0/draw-0/rivals.csv"]
    of_training = "results/metrics/notes/seed-0/perplexity_replicates.csv"
    assert plan.tables_of("notes")["replicates"] == [of_training]
    assert plan.tables_if_made("symbolic.csv") == [
        "results/metrics/notes/seed-0/draw-0/symbolic.csv"
    ]
    assert len(plan.tables_if_made("rivals.csv")) == 4 + 1 + 1
    assert plan.tables_if_made("perplexity.csv") == ["results/metrics/notes/seed-0/perplexity.csv"]
    found = plan.of_each_kind()
    assert set(found) == {"tables", "replicates", "rivals", "concepts"}
    every = [path for name in EXPERIMENTS for path in plan.tables_of(name)["tables"]]
    assert found["tables"] == every


def test_trainings_of_the_run():
    stages = {
        "semantic": {"weights": {"path": "there"}},
        "coarse": {"training": {"keep_steps": [5, 9]}},
        "fine": {"weights": {"path": "there", "fine_tune": True}},
    }
    plan = Plan(read(experiments={"sound": {"stages": stages}}))
    histories = plan.histories_of(W(experiment="sound"))
    assert histories == [
        f"results/models/sound/{stage}/seed-{seed}/history.csv"
        for stage in ("coarse", "fine")
        for seed in (0, 1)
    ]
    assert len(plan.kept_steps()) == 4
    assert "sound(?=/semantic/)" in plan.with_stage(imported=True).split("|")
    assert "sound(?=/semantic/)" not in plan.with_stage(imported=False).split("|")
    weights = W(experiment="sound", stage="semantic", seed="0")
    assert plan.weights_of(weights) == ["there/model.safetensors"]
    assert plan.weights_of(W(experiment="notes", stage="lm", seed="0")) == []


def test_jobs_that_can_run_side_by_side_share_the_cores(plan):
    nothing = W(corpus="c")
    assert plan.shards_together(nothing) == 3
    assert plan.trainings_together(nothing) == 3 * 2 + 1, "stages and seeds; theirs has none"
    assert plan.fits_together(nothing) == 2, "of sound; the words of notes are not audio"
    assert plan.draws_together(nothing) == 2 * 2 + 1
    stages = {"semantic": {"weights": {"path": "there"}}}
    given = Plan(read(experiments={"sound": {"stages": stages}}))
    assert given.trainings_together(nothing) == 2 * 2 + 1
    assert [share(cores, jobs=4, most=8) for cores in (1, 2, 4, 9, 64)] == [1, 1, 1, 2, 8]
    assert share(2, jobs=1, most=8) == share(2, jobs=0, most=8) == 2


class Latents(TrainedExperiment):
    """codes -> (encodes) -> dream, which also begins with the weights of `warm`."""

    stage_needs: ClassVar = {"dream": ("codes", "warm")}
    stage_encodes: ClassVar = ("codes",)

    system: Literal["latents"] = "latents"
    stages: create_model(  # type: ignore[valid-type]
        "Stages", **{name: (StageSettings, StageSettings()) for name in ("codes", "warm", "dream")}
    )


def test_the_stage_graph(plan):
    made = Latents(corpus="c", tokens="embedded", stages={})
    changed = Plan(plan.config.model_copy(update={"experiments": {"x": made}, "run": ["x"]}))
    dream, codes = (W(experiment="x", stage=stage, seed="3") for stage in ("dream", "codes"))
    assert changed.upstream_models(dream) == ["results/models/x/warm/seed-3/model.safetensors"]
    assert changed.upstream_latents(dream) == ["results/latents/x/codes/seed-3"]
    assert changed.upstream_models(codes) == changed.upstream_latents(codes) == []
    assert changed.latents_of("x") == {"codes": "results/latents/x/codes/seed-{seed}"}
    whole = W(experiment="x", seed="3")
    assert [path.split("/")[3] for path in changed.models_of(whole)] == ["codes", "warm", "dream"]
    assert changed.upstream_latents(whole) == ["results/latents/x/codes/seed-3"]
    assert changed.with_stage(encodes=True) == "x(?=/codes/)"
    assert changed.stages == {"codes", "warm", "dream"}
    assert changed.trainings_together(dream) == 2, "dream waits for both"


# ------------------------------------------------------------------------------------- needs


def test_stages_that_are_not_there_and_those_that_sets_are_made_with():
    few = {"training": {"steps": 5}}
    whole = {"system": "phrase_ldm", "corpus": "c", "tokens": "z", "seeds": {"train": [3, 4]}}
    labels = {"ldm": {"labels": "forms.csv"}}
    experiments = EXPERIMENTS | {
        "short": whole, "long": whole | {"stages": {"infill": few} | labels},
    }  # fmt: skip
    tokens = {"s": {"tokenizer": "words"}, "z": {"tokenizer": "remi_z"}}
    tokenizers = {"words": {"kind": "remi"}, "remi_z": {"kind": "remi_z"}}
    plan = Plan(
        read(experiments=experiments, tokens=tokens, tokenizers=tokenizers, run=["short", "long"])
    )
    short, long = W(experiment="short"), W(experiment="long")
    trained = {(name, stage) for name, stage, *_ in plan.trainings()}
    assert trained == {
        ("short", "vae"), ("short", "ldm"), ("long", "infill"), ("long", "vae"), ("long", "ldm"),
    }  # fmt: skip
    model = "results/models/{}/{}/seed-3/model.safetensors"
    assert plan.models_of_baselines(short) == [model.format("short", "vae")]
    assert plan.latents_of_baselines(long) == ["results/latents/long/vae/seed-3"]
    for name in EXPERIMENTS:
        assert plan.models_of_baselines(W(experiment=name)) == []
    stages = {
        stage: W(experiment="long", stage=stage, seed=3) for stage in ("infill", "vae", "ldm")
    }
    assert plan.upstream_models(stages["vae"]) == [model.format("long", "infill")]
    assert plan.upstream_models(stages["ldm"]) == []
    assert plan.upstream_latents(stages["ldm"]) == ["results/latents/long/vae/seed-3"]
    assert [plan.files_of(stages[name]) for name in ("vae", "ldm")] == [[], ["forms.csv"]]


def test_weights_are_needed_by_those_who_use_them():
    over = {
        "pretrained": {n: {"kind": k, "hub": n} for n, k in (("h", "hubert"), ("l", "clap"))},
        "tokenizers": {"words_of_h": {"kind": "hubert", "model": "h"}},
        "tokens": {"p": {"cut": "two_seconds", "semantic": "words_of_h", "acoustic": "magnitude"}},
        "experiments": {"theirs": {"tokens": "p"}},
        "evaluation": {"embeddings": ["logmel", "l"]},
    }
    over["tokens"]["p"]["acoustic"] = read().tokens["embedded"].roles["acoustic"]
    settings = read(**over)
    proof = "verified_embeddings/c/two_seconds/l.csv"
    assert needs.weights_used(settings) == {"l": [proof] * 3}, "others' clips are not tokenized"
    settings = read(**config.merge(over, {"experiments": {"sound": {"tokens": "p"}}}))
    assert needs.weights_used(settings)["h"] == ["verified/c/words_of_h.csv"]
    plan = Plan(settings)
    assert plan.verified_tokenizers(W(corpus="c", tokens="p")) == [
        "results/verified/c/words_of_h.csv"
    ]
    assert plan.verified_embedding(W(experiment="sound", embedding="l")) == [f"results/{proof}"]
    assert plan.verified_embedding(W(experiment="sound", embedding="logmel")) == []


def test_what_must_be_brought_is_said(tmp_path):
    corpora = {"c": {"source": "folder", "path": str(tmp_path / "none"), "bring": "buy the CD"}}
    [lacking] = needs.to_bring(read(corpora=corpora))
    assert "corpus 'c'" in str(lacking)
    assert "buy the CD" in str(lacking)
    assert needs.to_bring(read()) == []


def test_weights_that_are_not_there_are_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    needs.check_needs(read())
    weights = {"stages": {"semantic": {"weights": "nowhere"}}}
    with pytest.raises(UserError, match="semantic"):
        needs.check_needs(read(experiments={"sound": weights}))


def test_extra_packages_of_an_environment(tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "REQUIREMENTS", tmp_path)
    (tmp_path / "lock.txt").write_text("numpy==0\n")
    (tmp_path / "mine.txt").write_text("# why\nno-such-package==1.2\n\nnumpy==9\n")
    assert extras.environments() == ["mine"]
    assert list(extras.packages("mine")) == ["no-such-package", "numpy"]
    extras.check_installed("torch")
    extras.check_installed("lock")
    with pytest.raises(UserError) as caught:
        extras.check_installed("mine")
    assert "no-such-package" in str(caught.value)
    assert extras.install("mine") in str(caught.value)
    monkeypatch.setattr(extras, "installed", lambda name: "1.2+cpu")
    with pytest.raises(UserError, match=r"numpy 9 is needed, 1\.2\+cpu is installed"):
        extras.check_installed("mine")
