"""VERSIONs by label: who names them, what a raised one changes, and the ledger."""

import csv
import json
import re
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest

from etude import config
from etude.config.systems import CLASSES
from etude.corpus import withdrawn
from etude.errors import UserError
from etude.workflow import ledger, versions
from etude.workflow.plan import Plan
from etude.workflow.versions import MODULES, Versions, modules, numbers, script_hash, tree_hash

ROOT = Path(__file__).resolve().parents[2]
# Read by etude itself, no rule depends on it: the form of a file in the user's cache.
NAMED_BY_NOBODY = {"embedding.cache"}


@pytest.fixture(scope="module")
def settings() -> config.Config:
    """Each system, and each kind of stage that has modules of its own."""
    library = {"backend": "audiolm_pytorch", "dim": 32, "depth": 1, "heads": 2}
    experiments = {
        "sound": {"system": "audiolm", "corpus": "c"},
        "library": {
            "system": "audiolm", "corpus": "c", "stages": {"coarse": {"network": library}},
        },
        "notes": {"system": "symbolic_lm", "corpus": "c", "tokens": "s"},
        "theirs": {"system": "external", "corpus": "c", "clips": "somewhere"},
        "said": {"system": "musicgen", "corpus": "c"},
        "words": {
            "system": "textual_inversion", "corpus": "c", "base": "said", "concepts": ["x"],
        },
        "made": {"system": "stable_audio", "corpus": "c"},
        "phrases": {"system": "phrase_ldm", "corpus": "d", "tokens": "z"},
        "phrases_t5": {
            "system": "phrase_ldm", "corpus": "d", "tokens": "z",
            "stages": {"vae": {"network": {"kind": "t5"}}},
        },
    }  # fmt: skip
    of_tokens = ("remi", "remi_z", "onoff", "hubert", "encodec", "mfcc")
    over = {
        "corpora": {
            "c": {"source": "music21"},
            "d": {"source": "music21", "annotations": {"beats": "{stem}.txt"}},
        },
        "pretrained": {n: {"kind": n, "hub": n} for n in ("hubert", "encodec", "clap")},
        "tokenizers": {kind: {"kind": kind} for kind in of_tokens},
        "tokens": {"s": {"tokenizer": "remi"}, "z": {"tokenizer": "remi_z", "window": 65536}},
        "experiments": experiments,
        "run": list(experiments),
        "evaluation": {"embeddings": [*config.EMBEDDINGS, "clap", "vggish"]},
    }
    return config.read(config.DEFAULT, overrides=over)


def rules() -> dict[str, str]:
    """The text of every rule that has a script, by its name."""
    found = {}
    for file in sorted((ROOT / "rules").glob("*.smk")):
        for text in re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            if "script:" in text:
                found[text.partition(":")[0]] = text
    return found


def written(text: str) -> str:
    """The expression of a rule's `version=`."""
    start = re.search(r"^ +version=(version\()", text, re.MULTILINE).end()
    depth, end = 1, start
    while depth:
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        end += 1
    return "version(" + text[start:end]


def chosen(settings: config.Config, rule: str):
    """All wildcards that the version of a rule may be asked with."""
    every = [{"tokenizer": name} for name in settings.tokenizers]
    every += [{"corpus": name} for name in settings.corpora]
    every += [{"embedding": name} for name in settings.evaluation.embeddings]
    for name in settings.run:
        experiment = settings.experiments[name]
        stages = [plan.name for plan in experiment.stage_plans()]
        every += [{"experiment": name}, *({"experiment": name, "stage": s} for s in stages)]
    return [SimpleNamespace(**values) for values in every]


def params(settings: config.Config) -> dict[str, set[str]]:
    """Every text that `version` may be in the params of each rule."""
    found = {}
    for rule, text in rules().items():
        names = {"version": Versions(settings), "CONFIG": settings, "plan": Plan(settings)}
        names["withdrawals"] = lambda w: withdrawn.version_of(settings.corpora[w.corpus])
        version = eval(written(text), names)
        if isinstance(version, str):
            found[rule] = {version}
            continue
        found[rule] = set()
        for wildcards in chosen(settings, rule):
            try:
                found[rule].add(version(wildcards))
            except (AttributeError, UserError):  # another rule's wildcards, or not of this system
                continue
        assert found[rule], rule
    return found


def named(text: str) -> set[str]:
    return set(json.loads(text))


# ---------------------------------------------------------------------------- labels and modules


def test_every_version_has_a_label_and_every_label_a_version():
    paths = (p.relative_to(versions.PACKAGE) for p in versions.PACKAGE.rglob("*.py"))
    have = {m for p in paths if versions.number(m := p.with_suffix("").as_posix()) is not None}
    known = list(modules().values())
    assert sorted(known) == sorted(set(known)), "one label for a module"
    assert set(known) == have
    own = [label for settings in CLASSES.values() for label in settings.modules]
    assert not MODULES.keys() & set(own), "a label means one module"
    assert len(own) == len(set(own))


def test_what_systems_depend_on_are_labels(settings):
    for experiment in settings.experiments.values():
        for what in experiment.depends:
            for stage in (None, *(plan.name for plan in experiment.stage_plans())):
                assert numbers(experiment, what, stage)
        own = {label for labels in experiment.depends.values() for label in labels}
        assert own <= modules().keys()


def test_every_label_is_named_by_a_rule(settings):
    found = {
        label for texts in params(settings).values() for text in texts for label in named(text)
    }
    unnamed = modules().keys() - found - NAMED_BY_NOBODY
    kinds = {f"tokenizer.{kind}" for kind in (*config.SEMANTIC_KINDS, *config.ACOUSTIC_KINDS)}
    assert unnamed <= kinds, "kinds of tokenizers that this configuration has not"


def test_every_rule_names_its_own_script(settings):
    for rule, text in rules().items():
        script = re.search(r'script:\s*"\.\./scripts/(\w+)\.py"', text)[1]
        assert re.match(r'version\(\s*"(\w+)"', written(text))[1] == script, rule
        for found in params(settings)[rule] if rule == "cut_segments" else ():
            assert json.loads(found)["script"] == script_hash(script)


# ------------------------------------------------------------------------------ what is raised


@pytest.fixture
def raised(monkeypatch):
    """Raises the VERSION of a label, as one reads it."""
    plain = versions.number

    def change(label):
        module = modules()[label]
        monkeypatch.setattr(versions, "number", lambda m: (plain(m) or 0) + (m == module) or None)

    return change


@pytest.mark.parametrize("label", sorted(modules()))
def test_a_raised_version_changes_exactly_those_who_name_it(label, settings, raised):
    before = params_before(settings)
    experiments = [settings.experiments[name] for name in settings.run if name != "theirs"]
    plans = [(e, plan.name) for e in experiments for plan in e.stage_plans()]
    trained = [numbers(e, "train", stage) for e, stage in plans]
    raised(label)
    after = params(settings)
    for rule, texts in before.items():
        gone = {text for text in texts if label in named(text)}
        assert texts - after[rule] == gone, rule
    for (experiment, stage), old in zip(plans, trained, strict=True):
        new = numbers(experiment, "train", stage)
        assert (new != old) == (label in experiment.labels("train", stage))


BEFORE: list[dict[str, set[str]]] = []


def params_before(settings) -> dict[str, set[str]]:
    """As `params`, made once."""
    if not BEFORE:
        BEFORE.append(params(settings))
    return BEFORE[0]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        # train_stage: noise of validation, and what an adaptation changed
        ("sampling", {"make_baselines", "generate_clips", "score_concepts", "train_stage"}),
        ("clips", {"make_baselines", "generate_clips"}),
        (
            "audiolm.transformer",
            {"import_weights", "train_stage", "make_baselines", "extract_prefixes"},
        ),
        ("steps", {"train_stage"}),
        ("loop", {"train_stage"}),
        ("symbolic_lm.data", {"train_stage", "extract_prefixes"}),
        ("ngram", {"make_baselines", "score_perplexity"}),
        ("dumb", {"make_baselines"}),
        ("dumb_notes", {"make_baselines"}),
        ("cuts", {"cut_segments"}),
        ("frechet", {"score_fad", "score_symbolic", "score_concepts"}),
        ("embedding.logmel", {"embed_clips", "embed_corpus"}),
    ],
)
def test_who_depends_on_it(label, expected, settings):
    """By hand, for those that had once been forgotten somewhere."""
    found = {
        rule
        for rule, texts in params_before(settings).items()
        if any(label in named(text) for text in texts)
    }
    for same in (
        "import_clips",
        "embed_clips_pretrained",
        "embed_clips_fadtk",
        "score_latents",  # where a system encodes: as score_symbolic and encode_stage
    ):
        found.discard(same)  # rules that share what they depend on with another
    assert found == expected


def test_a_stage_depends_on_its_own_network_alone(settings):
    experiment = settings.experiments["library"]
    assert "audiolm.library" in numbers(experiment, "train", "coarse")
    assert "audiolm.library" not in numbers(experiment, "train", "fine")
    assert "audiolm.library" in numbers(experiment, "baselines")


def test_a_network_of_the_users_own_counts_by_its_bytes(tmp_path, monkeypatch, settings):
    monkeypatch.chdir(tmp_path)
    network = {"network": {"kind": "mine:Mine"}}
    changed = settings.experiments["sound"].model_dump() | {"stages": {"fine": network}}
    experiment = type(settings.experiments["sound"])(**changed)
    file = tmp_path / "mine.py"
    file.write_text("class Mine: ...\n")
    before = numbers(experiment, "train", "fine")
    assert "mine:Mine" in before
    assert "mine:Mine" not in numbers(experiment, "train", "coarse")
    file.write_text("class Mine: 1\n")
    assert numbers(experiment, "train", "fine") != before


def test_a_system_that_does_not_say_is_named(settings):
    with pytest.raises(UserError, match="'external' does not say what 'train' depends on"):
        numbers(settings.experiments["theirs"], "train")


def test_the_fingerprint_of_a_training_has_them(tmp_path, raised):
    """Else a raised VERSION would rerun the rule, which would take the old weights back."""
    from packed import make_packed
    from trainings import experiment

    from etude.systems.base import Parts
    from etude.training.stage import stage_fingerprint

    parts = Parts(packed=make_packed(tmp_path / "packed"))
    plain = stage_fingerprint(experiment(), "semantic", parts, 0)
    for label in ("loop", "steps", "page", *experiment().modules):
        raised(label)
        changed = stage_fingerprint(experiment(), "semantic", parts, 0) != plain
        assert changed == (label in experiment().labels("train", "semantic")), label


def test_the_code_hash_is_of_every_label(raised):
    plain, seen = versions.code_hash(), set()
    for label in ("loop", "page", "symbolic_lm.stage"):
        raised(label)
        seen.add(versions.code_hash())
    assert len(seen | {plain}) == 4


# -------------------------------------------------------------------------------- syntax trees

CODE = '''
"""What it does."""

def f(x, *, y=None):
    """Too."""
    return f"{x}" + 'a' if y else None
'''


def test_form_comments_and_docstrings_are_no_code():
    other = textwrap.dedent("""
        def f(
            x, *,
            y=None,  # why
        ):
            return (f"{x}" + "a") if y else None
    """)
    assert tree_hash(CODE) == tree_hash(other)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("'a'", "'b'"),
        ("y=None", "y=0"),
        ("*, ", ""),
        ("return", "x ="),
        ("{x}", "{y}"),
        ("if y", "if x"),
    ],
)
def test_a_change_of_code_is_seen(old, new):
    assert tree_hash(CODE.replace(old, new)) != tree_hash(CODE)


# --------------------------------------------------------------------------------- the ledger


def test_the_ledger_is_as_the_code_is():
    """Never written here: `make ledger`, after a VERSION was raised or with a REASON."""
    different = ledger.ledger_differences(ledger.current(), ledger.read())
    assert not different, "\n".join(
        ["make ledger REASON='...', where no result changes:", *different]
    )


def test_a_ledger_wants_a_version_or_a_reason(tmp_path, monkeypatch):
    old = {"cuts": ledger.Row("cuts", 1, "aa"), "page": ledger.Row("page", 3, "bb", "names")}
    same = dict(old)
    assert ledger.updated(same, old) == [*old.values()]
    changed = old | {"cuts": ledger.Row("cuts", 1, "cc")}
    assert ledger.ledger_differences(changed, old) == ["cuts: the code changed, VERSION 1 did not"]
    with pytest.raises(UserError, match="neither its VERSION nor a reason"):
        ledger.updated(changed, old)
    assert ledger.updated(changed, old, "form")[0] == ledger.Row("cuts", 1, "cc", "form")
    higher = old | {"page": ledger.Row("page", 4, "dd")}
    assert ledger.ledger_differences(higher, old) == ["page: VERSION 3 -> 4"]
    assert ledger.updated(higher, old)[1] == ledger.Row("page", 4, "dd")
    assert ledger.ledger_differences({}, old) == ["cuts: no such label", "page: no such label"]
    path = tmp_path / "ledger.csv"
    ledger.write([*old.values()], path)
    assert ledger.read(path) == old
    with path.open(newline="") as file:
        assert next(csv.reader(file)) == list(ledger.COLUMNS)


def test_a_version_covers_what_has_none_in_its_room():
    assert ledger.covered("midi/render") == [
        "midi/events",
        "midi/render",
        "midi/synth",
        "midi/tempo",
    ]
    covered = ledger.covered("systems/symbolic_lm/stage")
    assert {ledger.room(module) for module in covered} == {"systems/symbolic_lm"}
    assert "systems/symbolic_lm/data" not in covered, "it has a VERSION of its own"


def test_a_module_that_moves_keeps_its_place(monkeypatch):
    """Labels stand in params and ledger, not paths."""
    before = ledger.current()["kad"]
    text = versions.module_text("metrics/kad")
    plain = versions.module_text
    monkeypatch.setitem(MODULES, "kad", "metrics/elsewhere")
    monkeypatch.setattr(
        versions, "module_text", lambda m: text if m == "metrics/elsewhere" else plain(m)
    )
    assert ledger.current()["kad"] == before
