"""What a result depends on: VERSIONs of Étude's modules by label, and the code of a rule's script.

Every module that decides results has a `VERSION`, raised when its results change. A rule's params
and a training's fingerprint name such modules by labels, which stay when a module moves. All is
read as text: nothing is imported, and nothing depends on the times of files.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.config.embeddings import EMBEDDINGS, FADTK
from etude.config.systems import CLASSES
from etude.config.systems.base import ExperimentBase
from etude.config.tokens import ACOUSTIC_KINDS, SEMANTIC_KINDS
from etude.errors import UserError
from etude.plugins import is_plugin, plugin_digest, plugin_label

if TYPE_CHECKING:
    from etude.config.whole import Config

PACKAGE = Path(__file__).resolve().parent.parent
SCRIPTS = PACKAGE.parent / "scripts"
Numbers = dict[str, int | str]

# Kinds of symbolic tokenizers that one module makes, or whose module has another name.
_SYMBOLIC = {
    "onoff": "onoff",
    "remi": "midi_tok",
    "tsd": "midi_tok",
    "structured": "midi_tok",
    "remi_z": "remi_z",
}

# What embeddings are made of besides their own module.
_MADE_OF = {
    "timbre": ("loudness",),
    "harmony": ("activations",),
    "time": ("loudness", "embedding.timbre"),
    "progression": ("activations", "embedding.harmony"),
    "form": ("activations", "loudness", "embedding.harmony", "embedding.timbre"),
}


def _by_name(prefix: str, folder: str, names: str) -> dict[str, str]:
    return {f"{prefix}{name}": f"{folder}/{name}" for name in names.split()}


# Label -> module below etude/, for the rooms that all systems share; the systems' own labels stand
# in the `modules` of their settings classes.
MODULES: dict[str, str] = {
    **_by_name("", "corpus", "annotations captions fetch ingest owners split"),
    "beats": "midi/beats",
    "notes": "midi/notes",
    "render": "midi/render",
    "words": "midi/descriptors",
    "midi_writing": "midi/writing",
    "midi_continuation": "midi/continuation",
    "cleaning": "midi/cleaning",
    "we_sharp": "midi/we_sharp",
    **_by_name("", "audio", "activations recordings cuts"),
    "tokenize": "tokenizers/tokenize",
    "pack": "tokenizers/pack",
    **{f"tokenizer.{kind}": f"tokenizers/{kind}" for kind in (*SEMANTIC_KINDS, *ACOUSTIC_KINDS)},
    **{f"tokenizer.{m}": f"tokenizers/symbolic/{m}" for m in dict.fromkeys(_SYMBOLIC.values())},
    **_by_name("symbolic.", "tokenizers/symbolic", "tokenize midilm pack summary remi_z_texts"),
    "pretrained": "pretrained/fetch",
    "pretrained_sound": "pretrained/sound",
    **_by_name("diffusion.", "diffusion", "guidance predictions schedules solvers"),
    "loop": "training/loop",
    "steps": "training/data",
    "sampling": "clips/sampling",
    "clips": "clips/writing",
    **_by_name("", "generation", "baselines dumb dumb_notes dumb_sound"),
    "clips_over_steps": "generation/over_steps",
    "ngram": "systems/ngram",
    **{
        f"embedding.{name}": module.split(":")[0].removeprefix("etude.").replace(".", "/")
        for name, module in EMBEDDINGS.items()
    },
    "embedding.clap": "metrics/clap",
    "embedding.fadtk": "metrics/fadtk_models",
    "embedding.cache": "metrics/cache",
    **_by_name(
        "",
        "metrics",
        "clip_sets concepts distances frechet kad latents mad over_steps perplexity samples score",
    ),
    **_by_name("", "metrics", "signals verify verify_embedding verify_text"),
    **_by_name("", "metrics", "kad_clips loudness rivals space"),
    **_by_name(
        "notes.",
        "metrics/notes",
        "chord_changes clips counterpoint counts divergence features frechet harmony means measure "
        "overlap recurrence score structure table whole_bars word2vec",
    ),
    "extraction": "metrics/memorisation/extraction",
    **_by_name(
        "memorisation.",
        "metrics/memorisation",
        "attacks bar_runs catalogue chroma clip_tokens evaluate exact find fingerprint melody "
        "neighbours notes recall reference rows sequences tunes waveform",
    ),
    **_by_name("results.", "results", "criteria differences leaderboard statistics summary table"),
    **_by_name("results.", "results", "gate preference rates wording"),
    "page": "report/page",
}


def modules() -> dict[str, str]:
    """Every label with its module: of the shared rooms and of all systems."""
    found = dict(MODULES)
    for settings in CLASSES.values():
        found |= settings.modules
    return found


def module_text(module: str) -> str:
    """The text of a module below etude/."""
    return (PACKAGE / f"{module}.py").read_text(encoding="utf-8")


@cache
def number(module: str) -> int | None:
    """The VERSION of a module; None where it has none."""
    found = re.search(r"^VERSION = (\d+)", module_text(module), re.MULTILINE)
    return int(found[1]) if found else None


def numbers_of(*labels: str, own: Iterable[str] = ()) -> Numbers:
    """{label: VERSION}, and a digest of each `module:Class` of the user's.

    Raises:
        KeyError: no module has this label, or it has no VERSION: a mistake in Étude.
    """
    known, found = modules(), Numbers()
    for name in labels:
        version = number(known[name])
        if version is None:
            raise KeyError(f"etude/{known[name]}.py (label {name!r}) has no VERSION")
        found[name] = version
    return found | {name: plugin_digest(name) for name in own}


def numbers(experiment: ExperimentBase, what: str, stage: str | None = None) -> Numbers:
    """What an experiment's results depend on besides settings and data.

    A rule's params and a training's fingerprint are both made of this, so that they agree.

    Args:
        what: a key of the system's `depends`: build, train, generate, baselines, ...
        stage: where it is about one stage; None: all of them.

    Raises:
        UserError: the system does not say what that depends on.
    """
    try:
        labels = experiment.labels(what, stage)
    except KeyError:
        raise UserError(
            f"the system {experiment.system!r} does not say what {what!r} depends on",
            code="dependence-not-declared",
            where=f"{type(experiment).__module__}: {type(experiment).__name__}.depends",
            do=f"add the key {what!r} with the labels of its modules",
        ) from None
    return numbers_of(*labels, own=experiment.plugin_networks(*((stage,) if stage else ())))


def code_hash(own: Iterable[str] = ()) -> str:
    """One hash for the VERSION of every label and the bytes of the user's parts."""
    lines = numbers_of(*modules(), own=own)
    return hashlib.sha256(json.dumps(lines, sort_keys=True).encode()).hexdigest()[:16]


def environment_hash() -> str:
    """One hash for all pinned packages: of the lock, which environments under envs/ repeat."""
    lock = PACKAGE.parent / "requirements" / "lock.txt"
    return hashlib.sha256(lock.read_bytes()).hexdigest()[:16]


# --------------------------------------------------------------------------------- syntax trees


@cache
def tree_hash(text: str) -> str:
    """A hash of what Python code does: its syntax tree without comments, form and docstrings."""
    return hashlib.sha256(repr(_plain(ast.parse(text))).encode()).hexdigest()[:16]


def _plain(node: Any) -> Any:
    """A tree as tuples, the same in every version of Python.

    Fields that are empty are left out, since newer versions have more of them.
    """
    if isinstance(node, list):
        return tuple(map(_plain, node))
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        fields["body"] = node.body[ast.get_docstring(node, clean=False) is not None :]
    return type(node).__name__, *((name, _plain(value)) for name, value in fields.items())


@cache
def script_hash(name: str) -> str:
    """The hash of what scripts/<name>.py does; adapter.py, the same for all, decides no result."""
    return tree_hash((SCRIPTS / f"{name}.py").read_text(encoding="utf-8"))


# ----------------------------------------------------------------------------------- for rules

Chosen = Callable[[Any], Mapping[str, int | str]]  # wildcards -> numbers


class Versions:
    """The `version` of rules' params: `version("cut_segments", "cuts")`."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def __call__(
        self, script: str, *parts: str | Chosen, what: str = "", own: Iterable[str] = ()
    ) -> Any:
        """Sorted JSON of the numbers that a rule depends on, with the hash of its script.

        Args:
            script: the rule's, in scripts/, without .py.
            parts: labels, or functions of the wildcards that give numbers.
            what: what of the experiment's system it depends on as well; see `numbers`.
            own: parts of the user's that count in any case.

        Returns:
            The text; or, where the wildcards decide, a function of them.
        """
        labels = [part for part in parts if isinstance(part, str)]
        chosen = [part for part in parts if not isinstance(part, str)]
        if what:
            chosen.append(lambda wildcards: self.of_experiment(wildcards, what))
        fixed = numbers_of(*labels, own=own) | {"script": script_hash(script)}

        def text(wildcards: Any) -> str:
            found = dict(fixed)
            for choose in chosen:
                found |= choose(wildcards)
            return json.dumps(found, sort_keys=True)

        return text if chosen else text(None)

    def of_experiment(self, wildcards: Any, what: str) -> Numbers:
        """As `numbers`, of the experiment and, where it is named, the stage of the wildcards."""
        experiment = self.config.experiments[wildcards.experiment]
        return numbers(experiment, what, getattr(wildcards, "stage", None))

    def of_tokenizer(self, wildcards: Any) -> Numbers:
        """Those of a tokenizer's kind."""
        kind = self.config.tokenizers[wildcards.tokenizer].kind
        if is_plugin(kind):
            return numbers_of(own=[kind])
        return numbers_of(f"tokenizer.{_SYMBOLIC.get(kind, kind)}")

    def of_source(self, wildcards: Any) -> Numbers:
        """That of fetching, of annotations, and the source where it is the user's own."""
        corpus = self.config.corpora[wildcards.corpus]
        labels = ("annotations", "beats", "midi_writing", "notes") if corpus.annotations else ()
        own = [corpus.source] if is_plugin(corpus.source) else []
        return numbers_of("fetch", *labels, own=own)

    def of_embedding(self, wildcards: Any) -> Numbers:
        """Those of an embedding and of how it reads clips."""
        return self.of_embedding_named(self.embedding(wildcards))

    def of_primary(self, _: Any) -> Numbers:
        """Those of the embedding of the primary metric."""
        return self.of_embedding_named(self.config.evaluation.primary_embedding)

    def of_embedding_named(self, name: str) -> Numbers:
        """Those of an embedding by its whole name."""
        if is_plugin(name):
            return numbers_of("clip_sets", own=[name])
        if name in FADTK and name not in self.config.pretrained:
            return numbers_of("embedding.fadtk", "clip_sets")
        if name not in EMBEDDINGS:
            return numbers_of("embedding.clap", "clip_sets")
        return numbers_of(f"embedding.{name}", *_MADE_OF.get(name, ()), "clip_sets")

    def embedding(self, wildcards: Any) -> str:
        """The embedding that the wildcards name: of a plugin they have the class."""
        names = self.config.evaluation.embeddings
        return next(name for name in names if plugin_label(name) == wildcards.embedding)
