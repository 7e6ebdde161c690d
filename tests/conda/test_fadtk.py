"""envs/fadtk.yaml for real: its pip part in a clean environment, and fadtk's own loop in it.

The weights alone are ours: a small `ModelLoader` takes the place of CLAP's, whose file cannot be
fetched here. Everything else is fadtk's: its module, its class, its `load_wav` and `get_embedding`.
"""

from __future__ import annotations

import music
import numpy as np
import pytest
from stand_in import run_in_conda, use_stand_in
from workspace import SMOKE, own_folder

from etude.storage import read_csv

pytestmark = [pytest.mark.workflow, pytest.mark.proof]
LOADER = '''


class Local(ModelLoader):
    """A network that hears how jagged, how bright and how loud a sound is; no weights to fetch."""

    def __init__(self, type):
        super().__init__(f"clap-laion-{type}", 3, 16000)

    def load_model(self):
        torch.manual_seed(0)
        self.model = nn.Linear(3, 3, bias=False)
        nn.init.eye_(self.model.weight)

    def _get_embedding(self, audio):
        frames = torch.from_numpy(audio).float()[: len(audio) // 320 * 320].reshape(-1, 320)
        level = frames.square().mean(1).sqrt() + 1e-4
        bright = (frames.sign().diff(dim=1) != 0).float().mean(1)
        jagged = level.log().diff().abs().mean()
        rows = torch.stack([10 * bright.mean(), 5 * jagged, level.log().std()])[None]
        return self.model(rows)


CLAPLaionModel = Local
'''


@pytest.fixture
def conda(workspace, monkeypatch):
    """A corpus, somebody else's clips, and the settings with which Snakemake finds the stand-in."""
    made = music.make_chorales(workspace.folder / "music", 12, seed=1)
    assert made
    config = own_folder(workspace.folder / "music")
    config["corpora"]["mine"]["shards"] = 1
    for number in range(6):
        music.recording(
            workspace.folder / f"clips/{number}.wav", music.Random(f"c{number}"), 24000, 1
        )
    theirs = {"system": "external", "corpus": "mine", "clips": str(workspace.folder / "clips")}
    config |= {
        "experiments": {"theirs": theirs},
        "run": ["theirs"],
        "evaluation": {"fadtk": True, "embeddings": ["logmel", "clap-laion-audio"]},
    }
    workspace.configs = [SMOKE, workspace.config("mine", config)]
    use_stand_in(monkeypatch, workspace)
    return workspace


def test_fadtks_environment_and_its_loop(conda):
    folder = "results/embeddings/theirs"
    targets = [f"{folder}/{clips}/clap-laion-audio.npz" for clips in ("baselines", "seed-0/draw-0")]
    table = "results/metrics/theirs/seed-0/draw-0/fad.csv"
    run_in_conda(conda, "--conda-create-envs-only", *targets)
    (module,) = conda.folder.glob("envs/*/lib/python3*/site-packages/fadtk/model_loader.py")
    module.write_text(module.read_text() + LOADER)
    run_in_conda(conda, *targets, table)
    # The scripts ran in that environment, and with no packages of another.
    lines = [line.split("\t") for line in conda.text("alone.tsv").splitlines()]
    pairs = {(script.split(".")[1], prefix) for script, prefix in lines}
    own = str(module.parents[4])
    assert {("embed_clips", own), ("verify_embedding", own)} <= pairs
    with np.load(conda.folder / targets[0]) as arrays:
        assert arrays["real"].shape[1] == 3
        assert arrays["real"].dtype == np.float64
        assert str(arrays["about/weights"][0]).startswith("fadtk clap-laion-audio ")
        # fadtk keeps embeddings as float16.
        assert np.array_equal(arrays["real"], arrays["real"].astype(np.float16))
    rows = [r for r in read_csv(conda.folder / table) if r["embedding"] == "clap-laion-audio"]
    values = {r["clips"]: r for r in rows if r["metric"] == "frechet_distance"}
    assert float(values["generated"]["value"]) >= 0
    assert values["generated"]["weights"].startswith("fadtk clap-laion-audio ")
    verified = conda.folder / "results/verified_embeddings/mine/two_seconds/clap-laion-audio.csv"
    assert all(row["passed"] == "true" for row in read_csv(verified))
