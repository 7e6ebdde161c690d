"""Sweeps: a grid over any keys of an experiment, expanded to experiments before all is checked."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from etude.config.base import Section, closest, merge
from etude.config.systems import Experiment
from etude.errors import UserError

MOST = 100  # experiments of one sweep: more is a slip of the hand, or wants several sweeps
LONGEST = 24  # letters of one value in a name


class Sweep(Section):
    """Experiments that are `base` but for some keys: one for every combination of their values."""

    base: str = Field(description="a name from `experiments`")
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        min_length=1,
        description="the values of each key; a key is a path, as in "
        "`stages.coarse.training.learning_rate: [1e-3, 2e-3]`",
    )


def expand(raw: dict[str, Any]) -> dict[str, Any]:
    """The configuration with every sweep's experiments, and `run` with their names.

    Names are the sweep's and the values, in the order of the keys: `size-0p001-a`. What is not
    well-formed is left as it is, for the whole configuration's check to say so.

    Raises:
        UserError: an unknown base or key, values that cannot be told apart, too many of them.
    """
    try:
        sweeps = TypeAdapter(dict[str, Sweep]).validate_python(raw.get("sweep", {}))
        experiments = dict(raw.get("experiments", {}))
    except (ValidationError, TypeError, ValueError):
        return raw
    if not sweeps:
        return raw
    names = {name: _add(name, sweep, experiments) for name, sweep in sweeps.items()}
    run = raw.get("run")
    if isinstance(run, list):
        words = (names.get(n, [n]) if isinstance(n, str) else [n] for n in run)
        listed = list(itertools.chain(*words))
        # One that is named beside its sweep is made once.
        raw = raw | {"run": [n for i, n in enumerate(listed) if n not in listed[:i]]}
    return raw | {"experiments": experiments}


def _add(sweep_name: str, sweep: Sweep, experiments: dict[str, Any]) -> list[str]:
    """Add a sweep's experiments; their names."""
    where = f"sweep.{sweep_name}"
    if sweep_name in experiments:
        raise UserError(
            f"{sweep_name!r} is the name of a sweep and of an experiment",
            where=where,
            do="rename one of them",
        )
    if sweep.base not in experiments:
        raise UserError(
            f"there is no experiment {sweep.base!r}{closest(sweep.base, experiments)}",
            where=f"{where}.base",
            do=f"use one of: {', '.join(experiments) or 'nothing is there yet'}",
        )
    base = experiments[sweep.base]
    if not isinstance(base, dict):
        return []  # the base is wrong itself, which is said with all the rest
    for key in sweep.grid:
        _check_key(f"{where}.grid", key, base)
    _check_count(sweep_name, sweep)
    added = []
    for values in itertools.product(*sweep.grid.values()):
        name = "-".join([sweep_name, *map(slug, values)])
        if name in experiments:
            raise UserError(
                f"two experiments are called {name!r}",
                where=f"{where}.grid",
                why="a value is named twice, or is written as another one",
                do="name each value once",
            )
        experiments[name] = _changed(base, dict(zip(sweep.grid, values, strict=True)))
        added.append(name)
    return added


def _changed(base: Any, values: dict[str, Any]) -> Any:
    """The base with other values at some paths of keys."""
    for key, value in values.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        base = merge(base, value)
    return base


def _check_count(sweep_name: str, sweep: Sweep) -> None:
    total = math.prod(map(len, sweep.grid.values()))
    if total > MOST:
        factors = " x ".join(str(len(values)) for values in sweep.grid.values())
        raise UserError(
            f"the sweep {sweep_name!r} has {total} combinations ({factors})",
            where=f"sweep.{sweep_name}.grid",
            why=f"each is an experiment with trainings of its own; {MOST} are allowed",
            do="name fewer values, or make several sweeps and run them one after the other",
        )


def slug(value: Any) -> str:
    """A value as part of a name: 0.001 is 0p001, true is true, [a, b] is a_b.

    What is too long, or a set of keys, ends with four digits of its hash, so that no two are alike.
    """
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        text = "_".join(map(slug, inner))
    else:
        text = re.sub(r"[^A-Za-z0-9_]+", "_", _number(value) or str(value).lower())
    if len(text) <= LONGEST and not isinstance(value, dict):
        return text
    digest = hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
    return f"{text[:LONGEST].rstrip('_')}_{digest[:4]}"


def _number(value: Any) -> str:
    """A number in letters that a name may hold; nothing for what is none."""
    if isinstance(value, bool):
        return ""
    try:  # YAML reads 1e-3 as a word
        text = f"{float(value):.12g}"
    except (TypeError, ValueError):
        return ""
    return text.replace("-", "m").replace("+", "").replace(".", "p")


def _check_key(where: str, key: str, base: Any) -> None:
    """See that a path of keys leads somewhere in an experiment."""
    try:
        here: Any = TypeAdapter(Experiment).validate_python(base)
    except ValidationError:
        return  # as above
    parts = key.split(".")
    for index, part in enumerate(parts):
        if isinstance(here, dict):
            return  # `options` are checked by the class that takes them
        known = list(type(here).model_fields) if isinstance(here, Section) else []
        if part not in known:
            inside = f"`{'.'.join(parts[:index])}` of the experiment" if index else "an experiment"
            raise UserError(
                f"unknown key {key!r}{_near(parts, index, known)}",
                where=where,
                why=f"{inside} has no {part!r}" if known else f"{inside} holds no keys",
                do=f"allowed there: {', '.join(known) or 'nothing, name the key itself'}",
            )
        here = getattr(here, part)


def _near(parts: list[str], index: int, known: list[str]) -> str:
    near = closest(parts[index], known)
    if not near:
        return ""
    word = near.partition("'")[2].rpartition("'")[0]
    return f" (did you mean {'.'.join([*parts[:index], word, *parts[index + 1 :]])!r}?)"
