"""Which experiments and corpora a model learned from: its own, and those it was built on.

Read when Snakemake parses the workflow: standard library and pydantic only.
"""

from __future__ import annotations

from etude.config import Config, Corpus


def experiments_behind(config: Config, name: str) -> list[str]:
    """The experiment, then all whose weights or latents it builds on, however many steps away."""
    found: list[str] = []
    waiting = [name]
    while waiting:
        here = waiting.pop(0)
        if here in found or here not in config.experiments:
            continue
        found.append(here)
        experiment = config.experiments[here]
        waiting += experiment.builds_on
        for plan in experiment.stage_plans():
            waiting += [borrowed for borrowed, _, _ in plan.borrows]
            given = plan.settings.weights
            parts = given.path.parts if given is not None and given.path is not None else ()
            if parts[:2] == ("results", "models") and len(parts) > 2:
                waiting.append(parts[2])
    return found


def corpora_behind(config: Config, name: str) -> list[str]:
    """The corpora that these experiments or their tokenizers learned from, its own first."""
    found: dict[str, None] = {}
    for experiment in (config.experiments[name] for name in experiments_behind(config, name)):
        found[experiment.corpus] = None
        for tokenizer in experiment.roles(config).values():
            if (fitted := config.tokenizers[tokenizer].fit.corpus) is not None:
                found[fitted] = None
    return list(found)


def corpora_of(config: Config, name: str) -> dict[str, Corpus]:
    """The same with their settings."""
    return {corpus: config.corpora[corpus] for corpus in corpora_behind(config, name)}


def corpora_used(config: Config) -> list[str]:
    """The corpora that the experiments of the run learn from, each once."""
    run = [name for name in config.run if name in config.experiments]
    return list(dict.fromkeys(c for name in run for c in corpora_behind(config, name)))
