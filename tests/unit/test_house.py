"""The house holds: environments, lock, profile, sizes, directions of import."""

import ast
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
import yaml

import etude.slurm

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements" / "lock.txt").read_text().splitlines()
ENVS = sorted((ROOT / "envs").glob("*.yaml"))


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


PINS = {canonical(line.split("==")[0]): line.split("==")[1] for line in LOCK}


# -------------------------------------------------------------------------- lock, environments


def test_lock_holds_plain_pins_only():
    for line in LOCK:
        assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*==[0-9][A-Za-z0-9.]*", line), line
    assert not [name for name in PINS if name.startswith(("nvidia-", "cuda-", "triton"))]


@pytest.mark.parametrize("source", ["main.in", "dev.in"])
def test_lock_has_every_name_that_is_asked_for(source):
    lines = (ROOT / "requirements" / source).read_text().splitlines()
    names = [canonical(line) for line in lines if line and not line.startswith("#")]
    assert names == sorted(names), "keep the names in order"
    assert not set(names) - PINS.keys()


# What fadtk wants in older versions than the lock has, and itself; what audiolm-pytorch needs.
FADTK = {"encodec", "hypy-utils", "laion-clap", "librosa", "torchaudio", "torchvision"}
OTHERWISE = {
    "fadtk": {"fadtk", "numpy", "pandas", "transformers", *FADTK},
    "audiolm": {"beartype", "einops", "hyper-connections", "torch-einops-utils"},
}
# An environment that a rule names, by its name or through the function that chooses one.
CONDA = r'conda:\s*(?:(with_library)\()?"([^"]+)"'
LIBRARY = ROOT / "envs" / "audiolm.yaml"  # what with_library may choose


@pytest.mark.parametrize("path", ENVS, ids=lambda path: path.stem)
def test_env_pins_equal_the_lock(path):
    env = yaml.safe_load(path.read_text())
    assert env["channels"] == ["conda-forge", "nodefaults"]
    pips = [row for part in env["dependencies"] if isinstance(part, dict) for row in part["pip"]]
    assert pips == sorted(pips), "keep the pins in order"
    for row in pips:
        name, version = row.split("==")
        if name in OTHERWISE.get(path.stem, ()):
            continue
        assert PINS[canonical(name)] == version, f"{path.name}: {row}"
    conda = {part.split("=")[0] for part in env["dependencies"] if isinstance(part, str)}
    assert conda <= {"python", "pip", "fluidsynth", "ffmpeg"}, "what the lock pins is pinned there"


def test_every_env_that_a_rule_names_exists():
    for rules in (ROOT / "rules").glob("*.smk"):
        for _, name in re.findall(CONDA, rules.read_text()):
            assert (rules.parent / name).is_file(), f"{rules.name}: {name}"


def test_no_rule_lacks_an_env_and_no_env_a_rule():
    named = set()
    for rules in (ROOT / "rules").glob("*.smk"):
        for text in re.split(r"^rule ", rules.read_text(), flags=re.MULTILINE)[1:]:
            found = re.search("^    " + CONDA, text, re.MULTILINE)
            assert found, f"{rules.name}: {text.split(':')[0]} has no conda environment"
            named.add((rules.parent / found[2]).resolve())
            if found[1]:
                named.add(LIBRARY)
    assert named == set(ENVS)


def test_audiolm_pytorch_is_one_release_everywhere():
    """In the environment, in what installs it elsewhere, in what loads it."""
    from etude.workflow.audiolm_release import INSTALL, PACKAGE, RELEASE

    lines = (ROOT / "requirements" / "audiolm.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pins.pop(PACKAGE) == RELEASE
    assert f"--no-deps {PACKAGE}=={RELEASE}\n" in LIBRARY.with_suffix(".post-deploy.sh").read_text()
    parts = yaml.safe_load(LIBRARY.read_text())["dependencies"]
    rows = [row for part in parts if isinstance(part, dict) for row in part["pip"]]
    env = dict(row.split("==") for row in rows)
    assert pins == {name: env[name] for name in OTHERWISE["audiolm"]}
    torch = yaml.safe_load((ROOT / "envs" / "torch.yaml").read_text())["dependencies"]
    for part in torch:
        assert part in parts if isinstance(part, str) else set(part["pip"]) <= set(rows)
    assert f"#   {INSTALL}\n" in (ROOT / "requirements" / "audiolm.txt").read_text()


def test_version_is_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert etude.__version__ == project["version"] == citation["version"]


def test_profile_leaves_sites_alone():
    profile = yaml.safe_load((ROOT / "profiles" / "default" / "config.yaml").read_text())
    known = {"rerun-triggers", "rerun-incomplete", "show-failed-logs", "keep-going"}
    assert profile.keys() == known
    assert "software-env" not in profile["rerun-triggers"]


def test_slurm_profile_is_whole():
    """What each key is for stands above it; what breaks a cluster's run is not in it."""
    path = ROOT / "profiles" / "slurm" / "config.yaml"
    profile = yaml.safe_load(path.read_text())
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"[a-z-]+:", line) and not re.match(r"[a-z-]+:|#", lines[number - 1]):
            raise AssertionError(f"no reason stands above {line!r}")
    assert profile["slurm-status-command"] == "squeue", "defect A"
    patience = profile["slurm-status-attempts"] / profile["max-status-checks-per-second"]
    assert patience >= 60, "defect B"
    assert not {"slurm-array-jobs", "resources", "default-resources"} & profile.keys()
    assert profile["slurm-jobname-prefix"] == etude.slurm.PREFIX, "resume looks for it"
    rules = "".join(file.read_text() for file in (ROOT / "rules").glob("*.smk"))
    assert all(f"rule {name}:" in rules for name in profile["groups"])


def test_partitions_are_as_the_plugin_reads_them():
    from snakemake_executor_plugin_slurm.partitions import read_partition_file

    for folder in ("profiles/slurm", "tests/slurm/profile"):
        names = [p.name for p in read_partition_file(ROOT / folder / "partitions.yaml")]
        assert names == ["cpu", "gpu"]


# ---------------------------------------------------------------------------- sizes and imports

CODE = sorted([*ROOT.glob("etude/**/*.py"), *ROOT.glob("scripts/*.py")])
FLOORS = [  # a module may import from its own floor and those before it
    {"corpus", "midi", "audio"},
    {"tokenizers"},
    {"models"},
    {"training", "generation"},
    {"metrics"},
    {"report"},
]


def functions(tree):
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_size_of_files_and_functions():
    too_long = []
    for path in CODE:
        text = path.read_text()
        if len(text.splitlines()) > 400:
            too_long.append(f"{path.relative_to(ROOT)}: {len(text.splitlines())} lines")
        for node in functions(ast.parse(text)):
            lines = node.end_lineno - node.lineno + 1
            if lines > 50:
                too_long.append(f"{path.relative_to(ROOT)}: {node.name} has {lines} lines")
    assert not too_long, "a room is missing:\n" + "\n".join(too_long)


def imported(path):
    """Absolute names of all that a module imports, at its top or in its functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def packages(path, seen):
    """Names of the packages that a script needs, by itself or through modules of etude."""
    seen.add(path)
    for name in imported(path):
        top = name.split(".")[0]
        if top == "etude":
            inner = ROOT / name.replace(".", "/")
            for file in (inner.with_suffix(".py"), inner / "__init__.py"):
                if file.is_file() and file not in seen:
                    yield from packages(file, seen)
        elif top not in sys.stdlib_module_names | {"adapter"}:
            yield {"yaml": "pyyaml", "fluidsynth": "pyfluidsynth", "faiss": "faiss-cpu"}.get(
                top, canonical(top)
            )


def rules_with_env():
    for file in sorted((ROOT / "rules").glob("*.smk")):
        for text in re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            env, script = re.search(CONDA, text), re.search(r'script:\s*"([^"]+)"', text)
            if env and script:
                place, name = (file.parent / script[1]).resolve(), text.split(":")[0]
                yield pytest.param((file.parent / env[2]).resolve(), place, id=name)
                if env[1]:
                    yield pytest.param(LIBRARY, place, id=f"{name}-audiolm")


@pytest.mark.parametrize(("env", "script"), list(rules_with_env()))
def test_env_of_a_rule_has_what_its_script_imports(env, script):
    """Snakemake lends a script the packages of its own environment, so a run does not show it."""
    parts = yaml.safe_load(env.read_text())["dependencies"]
    pips = [row.split("==")[0] for part in parts if isinstance(part, dict) for row in part["pip"]]
    assert not set(packages(script, set())) - set(pips), f"missing in {env.name}"


def test_imports_run_one_way():
    floor = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}
    wrong = []
    for path in ROOT.glob("etude/**/*.py"):
        for name in imported(path):
            if name.split(".")[0] == "snakemake":
                wrong.append(f"{path.relative_to(ROOT)} imports Snakemake")
            own = path.relative_to(ROOT / "etude").parts[0]
            other = name.split(".")[1] if name.startswith("etude.") else ""
            if floor.get(own, 99) < floor.get(other, 0):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}, of a floor above it")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "allowed"),
    [("config", {"pydantic", "yaml"}), ("runs", set()), ("setup", set()), ("errors", set())],
)
def test_parse_time_imports_are_light(module, allowed):
    code = f"""
        import sys
        before = set(sys.modules)
        import etude.{module}
        for name in set(sys.modules) - before:
            origin = getattr(sys.modules[name], "__file__", None) or ""
            if "site-packages" in origin and "." not in name:
                print(name)
        """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    helpers = {"annotated_types", "pydantic_core", "typing_extensions", "typing_inspection"}
    extra = helpers if "pydantic" in allowed else set()
    assert {name.lstrip("_") for name in found.stdout.split()} <= allowed | extra
