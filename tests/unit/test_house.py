"""The house holds: environments, lock, profile, sizes, directions of import, names."""

import ast
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import contributing
import pytest
import yaml

import etude.slurm
from etude.config.systems import MEMBERS
from etude.systems import MEMBERS as HEAVY_MEMBERS

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
CONDA = r'conda:\s*(system_env|"[^"]+")'
LIBRARY = ROOT / "envs" / "audiolm.yaml"
SYSTEM_ENVS = [ROOT / "envs" / "torch.yaml", LIBRARY]  # what system_env may choose


def envs_named(text):
    """The environments that the conda directive of a rule may mean; none where there is none."""
    found = re.search("^    " + CONDA, text, re.MULTILINE)
    if not found:
        return []
    return (
        SYSTEM_ENVS if found[1] == "system_env" else [(ROOT / "rules" / found[1][1:-1]).resolve()]
    )


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


def test_no_rule_lacks_an_env_and_no_env_a_rule():
    named = set()
    for rules in (ROOT / "rules").glob("*.smk"):
        for text in re.split(r"^rule ", rules.read_text(), flags=re.MULTILINE)[1:]:
            found = envs_named(text)
            assert found, f"{rules.name}: {text.split(':')[0]} has no conda environment"
            named.update(found)
    assert named == set(ENVS)


def test_audiolm_pytorch_is_one_release_everywhere():
    """In the environment, in what installs it elsewhere, in what loads it."""
    from etude.systems.audiolm.library import PACKAGE, RELEASE
    from etude.workflow.extras import install

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
    assert f"#   {install('audiolm')}\n" in (ROOT / "requirements" / "audiolm.txt").read_text()


def test_profile_leaves_sites_alone():
    profile = yaml.safe_load((ROOT / "profiles" / "default" / "config.yaml").read_text())
    known = {"rerun-triggers", "rerun-incomplete", "show-failed-logs", "keep-going"}
    assert profile.keys() == known
    # `code` also compares times of scripts, which a fresh clone changes; see test_versions.
    assert profile["rerun-triggers"] == ["mtime", "params", "input"]


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
FLOORS = [  # a module may import from its own floor and those before it; `etude` is __init__.py
    {"arguments", "errors", "etude"},
    {"devices", "file_signatures", "plugins", "pool", "processes", "setup", "slurm", "storage"},
    {"runs"},
    {"config", "workflow"},
    {"audio", "corpus", "midi"},
    {"pretrained"},
    {"diffusion", "tokenizers"},
    {"clips"},
    {"systems"},
    {"generation", "training"},
    {"metrics"},
    {"results"},
    {"collection", "report", "studio"},
    {"clean", "doctor", "plugin_check", "proofs", "reference", "train", "withdrawal"},
    {"__main__"},
]


def functions(tree):
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


RULES = [ROOT / "Snakefile", *sorted(ROOT.glob("rules/*.smk"))]
LONGEST = {"Snakefile": 80, "common.smk": 200}  # lines of a file; of others 400


def functions_in_rules(text):
    """The functions of a Snakefile, each as Python: Snakemake's own words are no Python."""
    starts = [found.start() for found in re.finditer(r"^def ", text, re.MULTILINE)]
    for start in starts:
        after = re.search(r"^(?!def |\)|#)\S", text[start + 1 :], re.MULTILINE)
        end = start + 1 + after.start() if after else len(text)
        following = re.search(r"^def ", text[start + 1 : end], re.MULTILINE)
        yield text[start : start + 1 + following.start() if following else end]


def test_size_of_files_and_functions():
    too_long = []
    for path in [*CODE, *RULES]:
        text = path.read_text()
        if len(text.splitlines()) > LONGEST.get(path.name, 400):
            too_long.append(f"{path.relative_to(ROOT)}: {len(text.splitlines())} lines")
        parts = functions_in_rules(text) if path in RULES else [text]
        for node in (node for part in parts for node in functions(ast.parse(part))):
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
            yield {
                "yaml": "pyyaml",
                "fluidsynth": "pyfluidsynth",
                "faiss": "faiss-cpu",
                "PIL": "pillow",
            }.get(top, canonical(top))


def rules_with_env():
    for file in sorted((ROOT / "rules").glob("*.smk")):
        for text in re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            script, name = re.search(r'script:\s*"([^"]+)"', text), text.split(":")[0]
            for env in envs_named(text) if script else ():
                place = (file.parent / script[1]).resolve()
                yield pytest.param(env, place, id=f"{name}-{env.stem}")


@pytest.mark.parametrize(("env", "script"), list(rules_with_env()))
def test_env_of_a_rule_has_what_its_script_imports(env, script):
    """Snakemake lends a script the packages of its own environment, so a run does not show it."""
    parts = yaml.safe_load(env.read_text())["dependencies"]
    pips = [row.split("==")[0] for part in parts if isinstance(part, dict) for row in part["pip"]]
    assert not set(packages(script, set())) - set(pips), f"missing in {env.name}"


def at_run_time(tree):
    """All nodes but those that only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from (other, *at_run_time(other))
        else:
            yield node
            yield from at_run_time(node)


def modules():
    """The modules of etude by their dotted names."""
    named = {}
    for path in ROOT.glob("etude/**/*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


def module_of(name, known):
    """The module that an imported name is, or lies in."""
    while name not in known:
        name = name.rpartition(".")[0]
        if not name:
            return None
    return name


def import_graph():
    """The modules of etude that each imports when it runs, at its top or in its functions."""
    known = modules()
    graph = {name: set() for name in known}
    for module, path in known.items():
        for node in at_run_time(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module}: imports are absolute here"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            assert not [n for n in names if n.split(".")[0] == "snakemake"], f"{module}: Snakemake"
            found = {module_of(n, known) for n in names if n.split(".")[0] == "etude"}
            graph[module] |= found - {None, module}
    return graph


GRAPH = import_graph()


def room(module):
    """The room of a module, a module at the root is one: etude.midi.notes -> midi."""
    return module.split(".")[1] if "." in module else module


def test_every_room_has_a_floor():
    listed = [name for rooms in FLOORS for name in rooms]
    assert len(listed) == len(set(listed))
    assert not {room(module) for module in GRAPH} - set(listed), "say in FLOORS what it may import"


def test_imports_run_one_way():
    floor = {name: i for i, rooms in enumerate(FLOORS) for name in rooms}
    wrong = [
        f"{module} imports {other}, of a floor above it"
        for module, others in sorted(GRAPH.items())
        for other in sorted(others)
        if floor[room(module)] < floor[room(other)]
    ]
    assert not wrong, "\n".join(wrong)


def test_imports_make_no_circle():
    """Between modules, in one room or in several; imports inside functions count."""
    left = {module: set(others) for module, others in GRAPH.items()}
    while ready := {module for module, others in left.items() if not others}:
        left = {m: others - ready for m, others in left.items() if m not in ready}
    # What remains imports a circle; what nothing that remains imports is not in it.
    while outer := left.keys() - set().union(*left.values()):
        left = {m: others for m, others in left.items() if m not in outer}
    assert not left, "a circle among: " + ", ".join(sorted(left))


# ------------------------------------------------------------------------------ names of systems

# A system's name may stand in its own file and folder, and in the two registries. Kinds of weights
# from elsewhere, the package audiolm-pytorch and classes of diffusers have longer names, which are
# not those of systems; the key gate_external is about whatever Étude has not trained.
LONGER = (
    r"audiolm[-_]pytorch|audiolm[-_]release|external_attr|gate_external"
    r"|diffusers\.[\w.]+:\w+|StableAudio3?Pipeline"
)
NOT_SYSTEMS = re.compile(LONGER, re.IGNORECASE)


def own_paths():
    """Files in which systems are named: of each its own, and the registries."""
    found = {ROOT / "etude/systems/__init__.py", ROOT / "etude/config/systems/__init__.py"}
    for name in MEMBERS:
        found.add(ROOT / f"etude/config/systems/{name}.py")
        found |= set(ROOT.glob(f"etude/systems/{name}/**/*"))
    return found


def system_names():
    """What a system is called in code: its name as a word, its classes."""
    registries = [*MEMBERS.values(), *HEAVY_MEMBERS.values()]
    classes = sorted({entry.split(":")[1] for entry in registries})
    # An underscore ends a name as it begins one: `audiolm_stages` names a system as well.
    words = [rf"(?<![A-Za-z0-9]){name}(?![A-Za-z0-9])" for name in MEMBERS]
    return re.compile("|".join([*words, *(rf"(?<![A-Za-z]){name}(?![a-z])" for name in classes)]))


def said_in_python(text):
    """Identifiers, and strings that are no docstrings, with their lines.

    A string in prose may have an everyday word (external): only strings that are data count, which
    are without spaces.
    """
    tree = ast.parse(text)
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if " " not in node.value.strip():
                yield line, node.value
        elif isinstance(node, ast.Name):
            yield line, node.id
        elif isinstance(node, ast.Attribute):
            yield line, node.attr
        elif isinstance(node, ast.arg | ast.keyword):
            yield line, node.arg or ""
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield line, node.name
        elif isinstance(node, ast.alias):
            yield line, f"{node.name} {node.asname or ''}"
        elif isinstance(node, ast.ImportFrom):
            yield line, node.module or ""


def said_in_text(text, comment):
    """Lines of rules and templates without comments."""
    for number, line in enumerate(text.splitlines(), start=1):
        yield number, re.sub(comment, "", line)


def shared_files():
    """All that must not know a system: path -> (line, words)."""
    own = own_paths()
    for path in sorted([*ROOT.glob("etude/**/*.py"), *ROOT.glob("scripts/*.py")]):
        if path not in own:
            yield path, said_in_python(path.read_text())
    for path in sorted([ROOT / "Snakefile", *ROOT.glob("rules/*.smk")]):
        yield path, said_in_text(path.read_text(), r"#.*")
    for path in sorted([*ROOT.glob("etude/**/*.j2"), *ROOT.glob("etude/**/*.js")]):
        if path not in own:
            yield path, said_in_text(path.read_text(), r"\{#.*?#\}|//.*")


def test_shared_code_names_no_system():
    """It asks what a system can do (etude/config/systems/base.py), never which one it is."""
    names, wrong = system_names(), []
    for path, lines in shared_files():
        where = path.relative_to(ROOT)
        for line, words in [(0, path.stem), *lines]:
            if found := names.search(NOT_SYSTEMS.sub("", words)):
                wrong.append(f"{where}:{line} names {found[0]}")
    assert not wrong, "\n".join(dict.fromkeys(wrong))


def test_the_recipe_for_a_system_is_the_toy():
    """CONTRIBUTING.md shows parts of files that tests/workflow/test_toys.py takes to the page."""
    shown = contributing.parts()
    assert {path.stem for path, _ in shown} == {"toy_text", "system"}
    for path, part in shown:
        assert part in path.read_text(), f"{path.relative_to(ROOT)} has changed: show it anew"


def test_both_registries_have_the_same_systems():
    assert list(MEMBERS) == list(HEAVY_MEMBERS)
    for name, entry in MEMBERS.items():
        assert entry.startswith(f"etude.config.systems.{name}:")
        assert HEAVY_MEMBERS[name].startswith(f"etude.systems.{name}.system:")


@pytest.mark.parametrize(
    ("module", "allowed"),
    [("config", {"pydantic", "yaml"}), ("runs", {"psutil"}), ("setup", set()), ("errors", set())],
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
