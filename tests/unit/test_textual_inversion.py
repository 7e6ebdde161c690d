"""Textual inversion: only new rows are learned; files; bases; what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from captioned import FRAMES, QUANTIZERS, Beeps, experiment, make_captioned
from refused import invalid, refused
from safetensors.torch import load_file
from trainings import stop_after

from etude import config
from etude.clips.progress import never, silent
from etude.config import Pretrained
from etude.config.systems.textual_inversion import TextualInversion
from etude.generation import export
from etude.generation.trained import LoadedExperiment
from etude.pretrained.fetch import fetch_weights
from etude.pretrained.network_hash import hash_state
from etude.storage import read_csv, read_json
from etude.systems import open_system
from etude.systems.base import Parts
from etude.systems.conditions import Conditions
from etude.systems.musicgen.network import Lm
from etude.systems.musicgen.player import MusicGenPlayer
from etude.systems.textual_inversion.concepts import Concepts, alike, check_names, crowded
from etude.systems.textual_inversion.files import (
    LearnedRows,
    check_base,
    read_concepts,
    write_concept,
    write_original,
)
from etude.systems.textual_inversion.system import open_words
from etude.training.loop import Interrupted
from etude.training.stage import import_stage, stage_fingerprint, train_stage
from etude.workflow.plan import Plan


def inversion(steps=40, **more):
    training = {"steps": steps, "batch_size": 4, "validate_every": 5, "save_every": 3}
    stages = {"concept": {"training": training | more.pop("training", {})} | more.pop("stage", {})}
    values = {"concepts": ["owned"], "base": "base", "tokens_per_concept": 3, "stages": stages}
    return TextualInversion(system="textual_inversion", corpus="c", **(values | more))


@pytest.fixture
def parts(tmp_path):
    return make_captioned(tmp_path)


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory):
    """A base that was trained on the sounds but for the concept, whose name it has never read."""
    folder = tmp_path_factory.mktemp("base")
    parts = make_captioned(folder)
    how = experiment(steps=80, leave_out=["owned"])
    train_stage(how, "lm", 0, parts, folder / "lm/seed-0", folder / "state")
    return folder / "lm/seed-0"


@pytest.fixture
def with_base(parts, base_folder, tmp_path):
    """The parts of an inversion, with its base taken over."""
    target = tmp_path / "ti/base/seed-0"
    import_stage(inversion(), "base", 0, parts, base_folder / "model.safetensors", target)
    return replace(parts, models={"base": target})


def learn(parts, folder, **more):
    target = folder / "ti/concept/seed-0"
    more = {"should_stop": never} | more
    stop = more.pop("should_stop")
    how = inversion(**more)
    trained = train_stage(how, "concept", 0, parts, target, folder / "state", should_stop=stop)
    return target, trained


@pytest.mark.slow
def test_the_base_is_taken_over_as_it_is(with_base, base_folder):
    ours, theirs = Lm.load(with_base.models["base"]), Lm.load(base_folder)
    assert hash_state([ours]) == hash_state([theirs])


@pytest.mark.slow
def test_a_word_is_learned_and_nothing_else(with_base, tmp_path):
    """Held-out pieces of the concept are likelier after the word than after none."""
    before = {n: w.clone() for n, w in Lm.load(with_base.models["base"]).state_dict().items()}
    folder, _ = learn(with_base, tmp_path)
    proof = read_json(folder / "frozen.json")
    assert proof["equal"]
    assert proof["before"] == proof["after"] == hash_state([Lm.load(with_base.models["base"])])
    after = Lm.load(with_base.models["base"]).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    rows = [row for row in read_csv(folder / "history.csv") if row["valid_loss"]]
    gains = [float(row["against_null"]) for row in rows]
    assert min(gains) < -0.1
    losses = [float(row["valid_loss"]) for row in rows]
    words = Concepts.load(folder)
    how = inversion()
    model = Concepts(words.shape, how, Lm.load(with_base.models["base"]))
    model.load_state_dict(words.state_dict())
    _, valid = open_system("textual_inversion").data(how, "concept", with_base)
    with torch.no_grad():
        kept, figures = model.eval().loss(valid.batch(list(range(len(valid)))))
    assert kept.item() == pytest.approx(min(losses), abs=1e-4), "the best step is kept"
    assert figures["against_null"] == pytest.approx(gains[int(np.argmin(losses))], abs=1e-4)
    assert [name for name, _ in model.named_parameters()] == ["rows"]


def test_only_the_rows_have_gradients_and_moments(with_base):
    from etude.training.optimiser import build_optimiser

    how = inversion()
    model = open_system("textual_inversion").build(how, "concept", with_base, 0)
    optimiser = build_optimiser(model, how.stage("concept").training)
    train, _ = open_system("textual_inversion").data(how, "concept", with_base)
    loss, _ = model.train().loss(train.batch([0, 1], np.array([0.1, 0.7])))
    assert not model.base.training, "no dropout of the base"
    loss.backward()
    optimiser.step()
    assert all(p.grad is None for p in model.base.parameters())
    held = [t for state in optimiser.state.values() for t in state.values()]
    assert sum(t.numel() for t in held) == 2 * model.rows.numel() + 1
    assert model.rows.grad.abs().sum() > 0
    assert model.rows.shape == (1, 3, 32)


@pytest.mark.slow
def test_a_stopped_inversion_goes_on_and_ends_alike(with_base, tmp_path):
    whole, _ = learn(with_base, tmp_path / "whole")
    with pytest.raises(Interrupted):
        learn(with_base, tmp_path / "twice", should_stop=stop_after(17))
    again, _ = learn(with_base, tmp_path / "twice")
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    for name in ("owned.safetensors", "words.pt"):
        assert (again / name).read_bytes() == (whole / name).read_bytes()
    words = read_concepts(whole / "words.pt")
    assert torch.equal(words["owned"].rows, Concepts.load(whole).rows[0]), "as TI-MusicGen reads it"


@pytest.mark.slow
def test_a_training_takes_over_no_other_ones_state(with_base, tmp_path):
    """The rolling state is of one experiment's keys: another number of rows begins anew."""
    learn(with_base, tmp_path, steps=5)
    other, _ = learn(with_base, tmp_path, steps=5, tokens_per_concept=2)
    assert Concepts.load(other).rows.shape == (1, 2, 32)
    prints = {
        stage_fingerprint(inversion(**more), "concept", with_base, 0)
        for more in (
            {},
            {"tokens_per_concept": 2},
            {"orthogonality": 0.1},
            {"shuffle_tokens": True},
            {"concepts": ["low"]},
            {"templates": {"train": ["{}"], "test": ["a {}"]}},
        )
    }
    assert len(prints) == 6
    same = {"training": {"audition": True}}
    assert stage_fingerprint(inversion(**same), "concept", with_base, 0) in prints
    of_base = {
        stage_fingerprint(experiment(**more), "lm", with_base, 0)
        for more in ({}, {"without_text": 0.2}, {"leave_out": ["owned"]}, {"templates": ["{}"]})
    }
    assert len(of_base) == 4


@pytest.mark.slow
def test_patience_fires(with_base, tmp_path):
    training = {"patience": 2, "learning_rate": 1.0, "validate_every": 1, "schedule": "constant"}
    folder, _ = learn(with_base, tmp_path, steps=80, training=training)
    steps = [int(row["step"]) for row in read_csv(folder / "history.csv")]
    assert max(steps) < 80


@pytest.mark.slow
def test_several_words_and_their_terms(with_base, tmp_path):
    how = {
        "concepts": ["owned", "low"],
        "orthogonality": 1.0,
        "contrast": 1.0,
        "shuffle_tokens": True,
    }
    plain, _ = learn(with_base, tmp_path / "plain", steps=20, concepts=["owned", "low"])
    kept, _ = learn(with_base, tmp_path / "terms", steps=20, **how)
    before, after = Concepts.load(plain).rows, Concepts.load(kept).rows
    assert alike(after) < alike(before)
    assert crowded(after, 1.5) <= crowded(before, 1.5)
    assert sorted(path.name for path in kept.glob("*.safetensors")) == [
        *("low.safetensors", "model.safetensors", "owned.safetensors")
    ]


def test_terms_are_what_they_say():
    square = torch.eye(3)[None]
    assert alike(square).item() == 0
    assert alike(torch.ones(1, 2, 5)).item() == pytest.approx(2.0), "both off-diagonal entries"
    same, apart = torch.ones(2, 1, 4), torch.tensor([[[1.0, 0]], [[-1.0, 0]]])
    assert crowded(same, 1.5).item() == pytest.approx(1.5)
    assert crowded(apart, 1.5).item() == 0


def test_words_are_files_of_both_forms(tmp_path):
    rows = torch.randn(4, 8)
    learned = LearnedRows(rows, "base", "a" * 64, 30)
    write_concept(tmp_path / "drone.safetensors", "drone", learned)
    tensors = load_file(tmp_path / "drone.safetensors")
    assert list(tensors) == ["<drone>"], "as diffusers' load_textual_inversion reads it"
    assert torch.equal(tensors["<drone>"], rows)
    found = read_concepts(tmp_path / "drone.safetensors")["drone"]
    assert (found.base, found.sha256, found.step) == ("base", "a" * 64, 30)
    write_original(tmp_path / "best.pt", {"drone": learned, "bell": learned})
    content = torch.load(tmp_path / "best.pt", weights_only=True)
    assert content["bell"]["epoch"] == 30
    assert torch.equal(content["bell"]["embeds"], rows)
    again = read_concepts(tmp_path / "best.pt")
    assert torch.equal(again["drone"].rows, rows)
    check_base(again["drone"], "b" * 64, 8, tmp_path, "drone")  # it does not say whose it is
    with refused("another-base"):
        check_base(found, "b" * 64, 8, tmp_path, "drone")
    with refused("another-base", "drone", 768):
        check_base(again["drone"], "b" * 64, 768, tmp_path, "drone")
    (tmp_path / "bad.pt").write_bytes(b"no pickle")
    (tmp_path / "bad.safetensors").write_bytes(b"\0" * 20)
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("bad.pt", "bad.safetensors", "list.pt", "none.pt"):
        with refused("no-learned-words"):
            read_concepts(tmp_path / name)


@pytest.mark.slow
def test_words_of_elsewhere_are_taken_over(with_base, tmp_path):
    folder, _ = learn(with_base, tmp_path, steps=5)
    file = folder / "owned.safetensors"
    how = inversion(stage={"weights": {"path": str(file)}})
    target = tmp_path / "taken/concept/seed-0"
    import_stage(how, "concept", 0, with_base, file, target)
    assert torch.equal(Concepts.load(target).rows, Concepts.load(folder).rows)
    learned = read_concepts(file)["owned"]
    write_concept(tmp_path / "other.safetensors", "owned", replace(learned, sha256="c" * 64))
    how = inversion(stage={"weights": {"path": str(tmp_path / "other.safetensors")}})
    with refused("another-base"):
        import_stage(how, "concept", 0, with_base, tmp_path / "other.safetensors", target)
    more = inversion(concepts=["owned", "low"], stage={"weights": {"path": str(file)}})
    with refused("words-do-not-fit", "<low>"):
        import_stage(more, "concept", 0, with_base, file, target)


def test_a_file_of_the_original_takes_the_place_of_a_training(with_base, tmp_path):
    """`<run>-best.pt` as TI-MusicGen's program writes it, fetched as the configuration names it."""
    torch.manual_seed(3)
    rows = torch.randn(7, Lm.load(with_base.models["base"]).text_dim)
    torch.save({"owned": {"epoch": 90, "embeds": rows}}, tmp_path / "run-best.pt")
    kind = Pretrained(kind="checkpoint", path=tmp_path / "run-best.pt", trust=True)
    fetch_weights("learned", kind, tmp_path / "learned")
    how = inversion(stage={"weights": {"pretrained": "learned"}})
    target = tmp_path / "taken/concept/seed-0"
    import_stage(how, "concept", 0, with_base, tmp_path / "learned", target)
    assert torch.equal(Concepts.load(target).rows[0], rows)
    base, words = open_words(replace(with_base, models=with_base.models | {"concept": target}))
    player = MusicGenPlayer(base, Beeps(), takes=TextualInversion.conditions, concepts=words)
    settings = how.generate.model_copy(update={"clips": 2})
    prepared = player.prepare(settings, Conditions(concept="owned"))
    assert len(list(player.clips(settings, 0, 0, prepared, silent, never))) == 2
    torch.save({"owned": {"epoch": 90, "embeds": rows[:, :-1]}}, tmp_path / "other.pt")
    kind = Pretrained(kind="checkpoint", path=tmp_path / "other.pt", trust=True)
    fetch_weights("other", kind, tmp_path / "other")
    with refused("another-base"):
        import_stage(how, "concept", 0, with_base, tmp_path / "other", target)


@pytest.mark.slow
def test_words_are_played_alone_and_in_sentences(with_base, tmp_path):
    folder, _ = learn(with_base, tmp_path, steps=5)
    base, words = open_words(replace(with_base, models=with_base.models | {"concept": folder}))
    player = MusicGenPlayer(base, Beeps(), takes=TextualInversion.conditions, concepts=words)
    how = inversion().generate.model_copy(update={"clips": 2})
    for conditions in (Conditions(text="<owned> minor"), Conditions(concept="owned")):
        prepared = player.prepare(how, conditions)
        clips = list(player.clips(how, 0, 0, prepared, silent, never))
        assert "<owned>" in clips[0].condition["prompt"]
    with refused("unknown-word", "<ownd>"):
        player.prepare(how, Conditions(text="<ownd>"))


@pytest.mark.slow
def test_words_do_not_play_on_another_base(with_base, tmp_path):
    folder, _ = learn(with_base, tmp_path, steps=5)
    other = Lm.load(with_base.models["base"])
    with torch.no_grad():
        next(other.parameters()).add_(1e-3)
    other.save(tmp_path / "other")
    with refused("another-base"):
        open_words(replace(with_base, models={"base": tmp_path / "other", "concept": folder}))


def test_what_cannot_be_learned_is_said(with_base, caplog):
    system = open_system("textual_inversion")
    with refused("unknown-concept", "'owmed'"):
        system.data(inversion(concepts=["owmed"]), "concept", with_base)
    train, valid = system.data(inversion(), "concept", with_base)
    assert (len(train), len(valid)) == (3, 1)
    assert "has 3 segments" in caplog.text
    assert train.batch([0])["codes"].shape == (1, QUANTIZERS, FRAMES)
    for name in ("a<b", "a/b", " ", "model"):
        with refused("invalid-concept-name", name):
            check_names([name])
    check_names(["müsic böx", "steel drum"])


def test_config():
    def read(**more):
        values = {
            "corpora": {"mine": {"source": "folder", "path": "."}},
            "experiments": {
                "base": {"system": "musicgen", "corpus": "chorales"},
                "ti": {"system": "textual_inversion", "corpus": "chorales", "base": "base"}
                | {"concepts": ["drone"]}
                | more,
            },
            "run": ["ti"],
        }
        return config.read(config.DEFAULT, overrides=values)

    words = read().experiments["ti"]
    texts = [*map(words.stage_params, ("base", "concept")), words.generate_params()]
    for text in (*texts, words.params(), words.untrained_params()):
        again = config.parse_section(config.Experiment, text)  # as the jobs read their params
        assert (again.base, again.concepts) == ("base", ["drone"])
        assert again.stage("base").weights.path == words.stage("base").weights.path
    plan = Plan(read())
    of_base = type("W", (), {"experiment": "ti", "stage": "base", "seed": "0"})
    assert plan.weights_of(of_base) == ["results/models/base/lm/seed-0/model.safetensors"]
    assert plan.models_of_baselines(of_base) == ["results/models/ti/base/seed-0/model.safetensors"]
    concept = type("W", (), {"experiment": "ti", "stage": "concept", "seed": "0"})
    assert plan.upstream_models(concept) == plan.models_of_baselines(of_base)
    for wrong, mistake in (
        ({"base": "basis"}, ("ti.base", "unknown-name", "'basis'")),
        ({"base": "audiolm"}, ("ti.base", "another-system", "musicgen")),
        ({"base_seed": 3}, ("ti.base_seed", "seed-not-trained")),
        ({"corpus": "mine"}, ("experiments.ti", "another-codec", "fit.corpus: chorales")),
        ({"concepts": []}, ("ti.concepts", "too_short")),
        ({"templates": {"train": ["{}"], "test": ["{}"]}}, ("templates", "template-in-both")),
        ({"templates": {"test": ["no place"]}}, ("templates.test", "template-without-place")),
    ):
        with invalid(*mistake):
            read(**wrong)


@pytest.mark.slow
def test_it_is_heard_while_it_learns(with_base, tmp_path, monkeypatch):
    """The distance to held-out pieces stands in the history, where auditions are asked for."""
    monkeypatch.setattr("etude.systems.textual_inversion.audition.open_codec", lambda _: Beeps())
    heard = []

    def distance(clips, real, rate):
        heard.append((len(clips), len(real), rate))
        return float(len(heard))

    target, state = tmp_path / "ti/concept/seed-0", tmp_path / "state"
    how = inversion(steps=10, concepts=["owned", "low"], training={"audition": True})
    train_stage(how, "concept", 0, with_base, target, state, distance=distance)
    rows = [row for row in read_csv(target / "history.csv") if row["valid_loss"]]
    assert [float(row["distance"]) for row in rows] == [1.5, 3.5], "the mean over two concepts"
    assert heard[0] == (10, 3, 8000)  # of one validation piece there is no distance: training ones
    plain, _ = learn(with_base, tmp_path / "plain", steps=5)
    assert {row["distance"] for row in read_csv(plain / "history.csv")} == {""}


@pytest.mark.slow
def test_words_are_asked_against_controls(with_base, tmp_path):
    """What metrics are given: likelihoods of held-out segments by condition, clips, real sounds."""
    folder, _ = learn(with_base, tmp_path, concepts=["owned", "low"])
    parts = replace(with_base, models=with_base.models | {"concept": folder})
    system = open_system("textual_inversion")
    how = inversion(concepts=["owned", "low"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("etude.systems.textual_inversion.system.open_codec", lambda _: Beeps())
        found = list(system.asked(how, parts, 0, config.ConceptMetrics(clips=4)))
    owned = found[0]
    assert [one.concept for one in found] == ["owned", "low"]
    assert set(owned.conditions) == {"null", "nearest", "words", "untrained", "wrong", "learned"}
    assert owned.conditions["nearest"].endswith("high"), "the word of its codes"
    assert owned.conditions["wrong"].endswith("<low>")
    assert owned.pieces == ["test3"]
    nats = {name: float(owned.nats(name).mean()) for name in owned.conditions}
    assert nats["learned"] < min(nats["null"], nats["untrained"], nats["wrong"])
    clips = list(owned.clips("learned"))
    assert len(clips) == 4
    assert {len(list(owned.real(split))) for split in ("test", "train")} == {1, 3}
    assert set(owned.others) == {"low", "high"}
    assert len(list(owned.others["high"]())) == 3


def test_what_is_exported_has_the_configuration_of_its_base(tmp_path):
    """Read again, it names the base, its pretrained weights and the codec's."""
    preset = config.DEFAULT.parent / "presets/ti_musicgen.yaml"
    settings = config.read(config.DEFAULT, preset)
    words = LoadedExperiment("words", settings.experiments["words"], Parts(), 0)
    (tmp_path / "config.yaml").write_text(export._config(settings, words), encoding="utf-8")
    again = config.read(tmp_path / "config.yaml")
    assert set(again.experiments) == {"words", "small"}
    assert set(again.pretrained) == {"musicgen_small", "encodec_32khz"}
    assert again.experiments["words"].stage("base") == settings.experiments["words"].stage("base")
