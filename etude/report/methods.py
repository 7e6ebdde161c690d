"""A paragraph on how a run was made and measured, every number from its CSVs and settings."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from etude.config import Config, StagePlan
from etude.plugins import is_plugin, plugin_label
from etude.report import latex
from etude.report.figures import some
from etude.results.leaderboard import EXPLORATORY, GENERATED, PRIMARY
from etude.results.rates import percent
from etude.results.summary import NAMES
from etude.results.systems import rivals
from etude.storage import read_csv

Row = dict[str, str]


def methods(
    board: list[Row], pairs: list[Row], settings: Config, results: Path, kind: str = "md"
) -> str:
    """The paragraph as Markdown (`md`) or LaTeX (`tex`).

    Args:
        board, pairs: rows of leaderboard.csv and differences.csv.
        settings: the configuration of the run.
        results: the folder of the run; its pieces are counted where they are there.
    """
    names = list(dict.fromkeys(row["experiment"] for row in board))
    sentences = [s for name in names for s in _experiment(name, board, settings, results)]
    sentences += _measured(board, settings)
    sentences += _compared(pairs)
    sentences.append(_hashes(board))
    text = " ".join(sentences)
    return (latex.escape(text) if kind == "tex" else text) + "\n"


def _compared(pairs: list[Row]) -> list[str]:
    """How experiments were compared, where there are several."""
    if not pairs:
        return []
    first = next((r for r in pairs if r["role"] == PRIMARY), None)
    sizes = {r["role"]: r["family"] for r in pairs if r["family"]}
    if not any(int(size) for size in sizes.values()):
        paragraph = (
            "Experiments are not compared as systems, since one training says nothing of another; "
            "intervals of differences are of these clips."
        )
        return [paragraph]
    name = f"{first['embedding']} {NAMES[first['metric']]}" if first else "none"
    paragraph = (
        "Experiments are compared by Welch's t-test over trainings (Fréchet distances and "
        f"perplexities as logarithms). The primary metric is {name}, with Holm's correction over "
        f"{some(int(sizes.get(PRIMARY, 0)), 'test')}; of the others "
        f"{some(int(sizes.get(EXPLORATORY, 0)), 'test is', 'tests are')} "
        "exploratory, with Benjamini and Hochberg's correction over all of them. A difference "
        "whose interval spans 0 (a ratio: 1) is called inconclusive."
    )
    return [paragraph]


def _experiment(name: str, board: list[Row], settings: Config, results: Path) -> list[str]:
    experiment = settings.experiments.get(name)
    rows = [r for r in board if (r["experiment"], r["clips"]) == (name, GENERATED) and r["value"]]
    if experiment is None:
        return [f"The settings of {name} are not in the configuration that was given."]
    paragraph = [f"{name} ({experiment.system}) is of the corpus {experiment.corpus}"]
    paragraph[0] += f"{_pieces(results / 'corpora' / experiment.corpus / 'pieces.csv')}."
    if plans := experiment.stage_plans():
        paragraph.append(f"Its stages are {'; '.join(map(_stage, plans))}.")
    if rows:
        first = max(rows, key=lambda row: len(row["train_seeds"]))
        clips = sorted({int(r["n"]) for r in rows if r["n"].isdigit()})
        paragraph.append(
            f"It has {_several(first['train_seeds'], 'training seed')} and "
            f"{_several(first['draws'], 'draw')} of each; figures are of "
            f"{' or '.join(map(str, clips))} clips a cell{_length(experiment)}."
        )
    return paragraph


def _several(words: str, name: str) -> str:
    listed = words.split()
    return f"{len(listed)} {name}{'s' * (len(listed) != 1)} ({', '.join(listed)})"


def _length(experiment: Any) -> str:
    generate = getattr(experiment, "generate", experiment)
    seconds = getattr(generate, "seconds", None)
    return "" if seconds is None else f" of {seconds:g} s"


def _pieces(path: Path) -> str:
    if not path.is_file():
        return ""
    counts = Counter(row["split"] for row in read_csv(path) if row["split"])
    parts = [f"{counts[s]} {s}" for s in ("train", "valid", "test") if counts[s]]
    return f" (pieces: {', '.join(parts)})" if parts else ""


def _stage(plan: StagePlan) -> str:
    training = plan.settings.training
    how = (
        "with weights that were given"
        if plan.settings.imported
        else f"{training.steps} steps of {training.batch_size * training.accumulate} sequences"
    )
    return f"{plan.name}: {_network(plan.settings.network)}, {how}"


def _network(network: Any) -> str:
    """What a network is and how large, as far as its settings have the usual names for that."""
    kind, backend = (str(getattr(network, key, "")) for key in ("kind", "backend"))
    if is_plugin(kind):
        return f"a network of its own ({kind})"
    layers = getattr(network, "depth", None) or getattr(network, "layers", None)
    size = "" if layers is None else f" of {layers} layers, width {network.dim}"
    name = f"a {kind}" if kind else "a transformer" if size else "a network"
    return name.replace("_", " ") + size + (f" ({backend}'s)".replace("_", "-") if backend else "")


def _measured(board: list[Row], settings: Config) -> list[str]:
    rows = [r for r in board if r["value"] and r["metric"] in NAMES]
    metrics = list(dict.fromkeys(NAMES[r["metric"]] for r in rows))
    embeddings = list(dict.fromkeys(r["embedding"] for r in rows))
    references = list(dict.fromkeys(r["reference"] for r in rows))
    made = [r for r in rows if r["clips"] == GENERATED]
    seeds = max((len(r["train_seeds"].split()) for r in made), default=1)
    draws = max((len(r["draws"].split()) for r in made), default=1)
    how = (
        "Student's t over trainings"
        if seeds > 1
        else "Student's t over draws of one training"
        if draws > 1
        else "of the sampling of clips only, since there is one training and one draw"
    )
    gate = settings.evaluation
    gated = " or ".join(map(plugin_label, gate.gate_embeddings))
    compared = (
        f"Clips are compared with held-out music ({', '.join(references)}) by "
        f"{', '.join(metrics)} under the embeddings {', '.join(embeddings)}; intervals are 95 %, "
        f"{how}."
    )
    asked = (
        f"The gate asks that clips are nearer to held-out music than each of "
        f"{rivals(r['system'] for r in made)}: by the 95 % interval of KAD (jackknife over clips, "
        f"without pairs of one clip or piece) under {gated}, and farther under none, "
        f"with at least {gate.gate_clips} clips. Silent clips "
        f"({percent(gate.gate_silent)}), clips nearer to the training music than 99 % of held-out "
        f"ones ({percent(gate.gate_copied)}) and training beginnings continued exactly, beyond "
        f"held-out ones ({percent(gate.gate_extracted)}), fail it where the exact one-sided 95 % "
        "bound is above the limit."
    )
    return [compared, asked]


def _hashes(board: list[Row]) -> str:
    parts = []
    for key, word in (
        ("config_hash", "settings"), ("data_hash", "data"), ("code_hash", "code"),
        ("env_hash", "environment"),
    ):  # fmt: skip
        found = sorted({h[:16] for row in board for h in row.get(key, "").split()})
        parts.append(f"{word} {', '.join(found) or 'unknown'}")
    return f"Hashes: {'; '.join(parts)}."
