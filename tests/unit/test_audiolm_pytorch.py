"""What of `backend: audiolm_pytorch` needs no package: config, dispatch, errors, the import itself.

What needs it is in tests/audiolm_pytorch, in an environment of its own.
"""

from __future__ import annotations

import json
import logging
import random
import sys
import warnings

import pytest
import torch
from packed import make_packed

from etude.config import DEFAULT, Weights, load_config, merge
from etude.config.systems.audiolm import AudioLm, AudioLmPytorch, Network
from etude.doctor import machine
from etude.errors import UserError
from etude.storage import read_json, write_json
from etude.systems.audiolm import library as audiolm_library
from etude.systems.audiolm.audiolm_pytorch import LIBRARY_STAGES
from etude.systems.audiolm.building import STAGES, build_stage, load_stage, stage_class
from etude.systems.audiolm.networks import read_network
from etude.systems.base import Parts
from etude.training.stage import stage_fingerprint
from etude.training.transfer import transfer
from etude.workflow import extras

NETWORK = {"backend": "audiolm_pytorch", "dim": 32, "depth": 1, "heads": 2}


def experiment(*stages: str, network: dict | None = None, **over) -> AudioLm:
    chosen = {stage: {"network": network or NETWORK} for stage in stages}
    values = {"corpus": "c", "end_of_sequence": "every_segment", "stages": chosen}
    return AudioLm(system="audiolm", **(values | over))


@pytest.fixture
def absent(monkeypatch):
    """An environment without the package, also where a developer has it."""
    missing = extras.packages("audiolm")
    found = extras.installed
    monkeypatch.setattr(extras, "installed", lambda n: None if n in missing else found(n))
    audiolm_library.library.cache_clear()


# ------------------------------------------------------------------------------------- config


def test_a_backend_chooses_the_network():
    wanted = experiment("semantic", "fine")
    assert wanted.library_stages() == ["semantic", "fine"]
    assert wanted.library_stages("coarse") == []
    assert isinstance(wanted.stages.coarse.network, Network)
    assert wanted.stages.fine.network == AudioLmPytorch(**NETWORK)
    seeds = AudioLmPytorch(backend="audiolm_pytorch")
    assert (seeds.dim, seeds.depth, seeds.heads, seeds.flash_attn) == (1024, 6, 16, False)


def test_it_survives_json_and_changes_no_other_parameter():
    params = json.loads(experiment("coarse").stage_params("coarse"))
    assert params["stages"]["coarse"]["network"]["backend"] == "audiolm_pytorch"
    again = AudioLm.model_validate(params | {"corpus": "c"})
    assert again.stages.coarse == experiment("coarse").stages.coarse
    assert "backend" not in experiment().stage_params("coarse")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"network": NETWORK | {"rope_base": 3}}, ["network.rope_base", "dim, depth, heads"]),
        ({"network": NETWORK | {"backend": "musiclm"}}, ["network", "audiolm_pytorch"]),
        ({"network": NETWORK | {"dim": 33}}, ["network.dim"]),
        ({"network": NETWORK, "training": {"compile": True}}, ["training.compile"]),
        (
            {"network": NETWORK, "training": {"checkpoint_activations": True}},
            ["training.checkpoint_activations"],
        ),
    ],
)
def test_a_mistake_is_named(values, words):
    mine = {"system": "audiolm", "corpus": "chorales", "stages": {"coarse": values}}
    with pytest.raises(UserError) as caught:
        load_config({"run": ["mine"], "experiments": {"mine": mine}} | _rest())
    assert all(word in str(caught.value) for word in words), caught.value


def _rest() -> dict:
    import yaml

    default = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))
    return {key: default[key] for key in ("corpora", "cuts", "tokenizers", "tokens")}


@pytest.mark.parametrize("end", ["piece_end", "none"])
def test_the_library_knows_one_end(end):
    with pytest.raises(ValueError, match="set end_of_sequence: every_segment"):
        experiment("semantic", end_of_sequence=end)
    experiment("coarse", "fine", end_of_sequence=end)  # they follow the semantic stage


def test_another_backend_replaces_a_network():
    assert merge({"dim": 192, "rope_base": 9.0}, NETWORK) == NETWORK
    assert merge(NETWORK, {"dim": 64}) == NETWORK | {"dim": 64}


# ----------------------------------------------------------------------- which class, or none


@pytest.mark.parametrize("stage", list(STAGES))
def test_a_stage_is_of_its_networks_class(stage):
    assert stage_class(stage, Network()) is STAGES[stage]
    library = stage_class(stage, AudioLmPytorch(**NETWORK))
    assert library is LIBRARY_STAGES[stage]
    assert issubclass(library, STAGES[stage])
    assert library.shape_keys == STAGES[stage].shape_keys
    assert read_network(AudioLmPytorch(**NETWORK).model_dump()) == AudioLmPytorch(**NETWORK)


@pytest.mark.usefixtures("absent")
def test_without_the_package_a_stage_says_what_to_install(tmp_path):
    info = read_json(make_packed(tmp_path / "packed") / "info.json")
    with pytest.raises(UserError) as caught:
        build_stage(experiment("coarse"), "coarse", info, 0)
    said = str(caught.value)
    assert "audiolm-pytorch is not installed" in said
    assert extras.install("audiolm") in said
    assert "--sdm conda" in said
    folder = tmp_path / "coarse"
    shape = {"stage": "coarse", "version": 1, "network": NETWORK, "shape": {}}
    write_json(folder / "config.json", shape | {"version": 99})
    with pytest.raises(UserError, match="another version of Étude"):
        load_stage(folder)


def test_another_release_is_refused(monkeypatch):
    monkeypatch.setattr(extras, "installed", lambda name: "2.5.0")
    with pytest.raises(UserError, match=r"2\.4\.0 is needed, 2\.5\.0 is installed"):
        extras.check_installed("audiolm")


@pytest.mark.usefixtures("absent")
def test_a_fingerprint_needs_no_package_and_tells_backends_apart(tmp_path):
    """So a kept step is brought out of a state by any environment."""
    parts = Parts(packed=make_packed(tmp_path / "packed"))
    for stage, same in (("coarse", False), ("fine", True)):
        prints = {
            stage_fingerprint(e, stage, parts, 0) for e in (experiment("coarse"), experiment())
        }
        assert (len(prints) == 1) == same


def test_weights_of_another_backend_are_told_apart(tmp_path):
    """By the config.json beside them, before names and versions are compared."""
    info = read_json(make_packed(tmp_path / "packed") / "info.json")
    stage = build_stage(experiment(), "coarse", info, 0)
    stage.save(tmp_path / "given")
    config = read_json(tmp_path / "given" / "config.json")
    write_json(tmp_path / "given" / "config.json", config | {"network": NETWORK, "version": 1})
    file = tmp_path / "given" / "model.safetensors"
    with pytest.raises(
        UserError, match="backend's network: audiolm_pytorch, this stage's is étude"
    ):
        transfer(stage, file, Weights(path=file), {})


# --------------------------------------------------------------------------------- the import

FAKE = """
import logging, random, warnings
import torch, torchaudio
from torchaudio.functional import resample
from audiolm_pytorch.hubert_kmeans import HubertWithKmeans
from audiolm_pytorch.t5 import get_encoded_dim, DEFAULT_T5_NAME
from audiolm_pytorch.inner import VALUE

warnings.warn = lambda *_, **__: None
logging.root.setLevel(logging.ERROR)

class SemanticTransformer(torch.nn.Module):
    def __init__(self, *, dim):
        super().__init__()
        width = get_encoded_dim(DEFAULT_T5_NAME)
        self.proj_text_embed = torch.nn.Linear(width, dim, bias=False)
        self.stream, self.value = random.randrange(10**9), VALUE
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A package that behaves as badly as the real one, of which most must not be imported."""
    folder = tmp_path / "audiolm_pytorch"
    folder.mkdir()
    for name in ("__init__", "hubert_kmeans", "t5", "trainer"):
        (folder / f"{name}.py").write_text("raise RuntimeError('imported')\n")
    (folder / "inner.py").write_text("VALUE = 3\n")
    (folder / "audiolm_pytorch.py").write_text(FAKE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(audiolm_library, "check_installed", lambda env: None)
    audiolm_library.library.cache_clear()
    yield
    audiolm_library.library.cache_clear()


@pytest.mark.usefixtures("fake")
def test_only_the_networks_are_imported_and_nothing_stays_changed(monkeypatch):
    mine = object()
    monkeypatch.setitem(sys.modules, "torchaudio", mine)
    warn, level, before = warnings.warn, logging.root.level, dict(sys.modules)
    module = audiolm_library.library()
    assert (warnings.warn, logging.root.level) == (warn, level)
    assert sys.modules["torchaudio"] is mine
    assert not [n for n in sys.modules.keys() - before.keys() if n.startswith("audiolm_pytorch")]
    assert audiolm_library.library() is module
    with pytest.raises(NotImplementedError):
        module.HubertWithKmeans()
    with pytest.raises(NotImplementedError):
        module.resample()


@pytest.mark.usefixtures("fake")
def test_a_network_is_made_from_torchs_random_state_alone():
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        random.seed(9)
        made.append(audiolm_library.make("SemanticTransformer", dim=4))
        assert random.random() == random.Random(9).random()
    assert [m.stream == made[0].stream for m in made] == [True, True, False]
    assert made[0].value == 3
    assert made[0].proj_text_embed.weight.shape == (4, 768)
    assert not made[0].proj_text_embed.weight.requires_grad


@pytest.mark.usefixtures("fake")
def test_a_failed_import_leaves_nothing_behind(tmp_path):
    (tmp_path / "audiolm_pytorch" / "audiolm_pytorch.py").write_text("import no_such_package_x\n")
    before = set(sys.modules)
    with pytest.raises(ModuleNotFoundError):
        audiolm_library.library()
    assert set(sys.modules) == before


# ------------------------------------------------------------------------------------- doctor


@pytest.mark.usefixtures("absent")
@pytest.mark.parametrize(
    ("needed", "conda", "state"),
    [(False, None, "absent"), (True, "/usr/bin/conda", "absent"), (True, None, "broken")],
)
def test_the_doctor_fails_only_where_a_run_needs_it(needed, conda, state, monkeypatch):
    monkeypatch.setattr(machine.shutil, "which", lambda name: conda)
    finding = machine.examine_extras("audiolm", needed)
    assert finding.state == state
    assert extras.install("audiolm") in str(finding) or state == "absent"
