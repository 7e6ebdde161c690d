"""`module:Class` in the configuration: parts of a user's own, without a change to Étude.

A module is looked for on the Python path and then in the folder that the run works in.
`check_plugin` and `plugin_digest` read its file and import nothing, for the workflow is parsed with
them (standard library only); `instantiate` imports it, in the job that needs it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from etude.errors import UserError, closest
from etude.storage import WRITE_ERRORS


def is_plugin(word: object) -> bool:
    """Whether a word of the configuration is a `module:Class`."""
    return isinstance(word, str) and ":" in word


def plugin_label(name: str) -> str:
    """What a part is called in tables and paths: the class of a `module:Class`, else the word."""
    return name.rpartition(":")[2]


def module_file(name: str) -> Path:
    """The file of a `module:Class`, found without importing anything.

    Raises:
        UserError: there is no such module, or it is not written in Python.
    """
    module = name.partition(":")[0]
    importlib.invalidate_caches()
    places: list[str] | None = _places()
    origin, spec = "", None
    for part in module.split("."):  # by parts, since a dotted name would import its packages
        spec = PathFinder.find_spec(part, places)
        places = list(spec.submodule_search_locations or []) if spec else []
        origin = (spec.origin or "") if spec else ""
    if not origin.endswith(".py"):
        near = closest(module, (path.stem for path in Path.cwd().glob("*.py")))
        raise UserError(
            f"there is no Python module {module!r}{near}",
            where=name,
            why=f"it is neither in {Path.cwd()} nor on the Python path",
            do=f"put {module.replace('.', '/')}.py there, or its folder into PYTHONPATH",
        )
    return Path(origin)


def check_plugin(name: str, key: str) -> None:
    """See that a `module:Class` is there, by reading the module's text.

    Args:
        key: where the configuration names it.

    Raises:
        UserError: no such module, no such class in it, or it is not valid Python.
    """
    try:
        names, whole = _names(module_file(name))
    except UserError as error:
        raise UserError(error.what, where=key, why=error.why, do=error.do) from None
    wanted = plugin_label(name)
    if whole and wanted not in names:
        _missing(wanted, names, key, module_file(name))


def literal(name: str, attribute: str) -> Any:
    """What a class attribute is set to in the module's text; None where the class has none.

    Raises:
        UserError: it is no literal (a string, a tuple of strings, a number).
    """
    path = module_file(name)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ClassDef) or node.name != plugin_label(name):
            continue
        for line in node.body:
            targets = line.targets if isinstance(line, ast.Assign) else []
            if any(isinstance(t, ast.Name) and t.id == attribute for t in targets):
                try:
                    return ast.literal_eval(line.value)  # type: ignore[attr-defined]
                except ValueError:
                    raise UserError(
                        f"`{attribute}` of {plugin_label(name)} cannot be read",
                        where=f"{path}, line {line.lineno}",
                        why="it is read as text, before anything is imported",
                        do=f'write it out: {attribute} = ("folder",)',
                    ) from None
    return None


def option_names(name: str) -> list[str]:
    """The options that a `module:Class` takes: of its `Settings`, else of its signature."""
    found = load_class(name)
    settings = getattr(found, "Settings", None)
    return list(getattr(settings, "model_fields", None) or inspect.signature(found).parameters)


def plugin_digest(name: str) -> str:
    """A hash of the module's file: its results depend on it, as Étude's own do on a VERSION."""
    return hashlib.sha256(module_file(name).read_bytes()).hexdigest()[:16]


def load_class(name: str, needs: Iterable[str] = ()) -> Any:
    """Import a `module:Class`.

    Args:
        needs: methods and class attributes that it must have.

    Raises:
        UserError: it is not there, cannot be imported, or lacks something.
    """
    path, module = module_file(name), name.partition(":")[0]
    if os.getcwd() not in sys.path:  # noqa: PTH109 (sys.path holds strings)
        sys.path.append(os.getcwd())  # noqa: PTH109
    try:
        loaded = importlib.import_module(module)
    except Exception as error:
        raise UserError(
            f"the module {module!r} cannot be imported",
            where=str(path),
            why=f"{type(error).__name__}: {error}",
            do=f"try: python -c 'import {module}'",
        ) from error
    found = getattr(loaded, plugin_label(name), None)
    if not isinstance(found, type):
        classes = [n for n, value in vars(loaded).items() if isinstance(value, type)]
        _missing(plugin_label(name), classes, name, path)
    missing = [need for need in needs if not hasattr(found, need)]
    if missing:
        near = closest(missing[0], (n for n in dir(found) if not n.startswith("__")))
        raise UserError(
            f"{plugin_label(name)} has no {missing[0]!r}{near}",
            where=str(path),
            why=f"a class in this place must have: {', '.join(needs)}",
            do="add it; CONTRIBUTING.md shows a part of each kind in full",
        )
    return found


def instantiate(
    name: str, options: Mapping[str, Any], needs: Iterable[str] = (), **given: Any
) -> Any:
    """An instance of a `module:Class`, its options passed by keyword.

    Args:
        options: the user's; checked by the class's own `Settings` (a pydantic model) where it has
            one, else by the signature of its `__init__`.
        given: what Étude itself passes, by keyword too.

    Raises:
        UserError: as `load_class`; an option that is unknown, missing or not allowed.
    """
    found = load_class(name, needs)
    settings = getattr(found, "Settings", None)
    if settings is not None and hasattr(settings, "model_validate"):
        values = _validated(name, settings, options)
    else:
        values = dict(options)
        _check_signature(name, found, values, given)
    return found(**given, **values)


@contextmanager
def blamed(name: str, what: str, do: str = "fix it there") -> Iterator[None]:
    """What the code of a `module:Class` raises is told as its author's, with the line.

    Args:
        what: what was asked of it, as `fetch`.

    Raises:
        UserError: anything was raised, but for what a full disk or the like causes.
    """
    file = module_file(name)
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if getattr(error, "errno", None) in WRITE_ERRORS:
            raise
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename) == file]
        raise UserError(
            f"the `{what}` of {plugin_label(name)} failed",
            where=f"{file}, line {lines[-1]}" if lines else str(file),
            why=f"{type(error).__name__}: {error}",
            do=do,
        ) from error


def wrong(name: str, what: str, why: str) -> UserError:
    """An error of what a `module:Class` gave back: `what` is the method, `why` what it should."""
    return UserError(
        f"the `{what}` of {plugin_label(name)} gives something else than it should",
        where=str(module_file(name)),
        why=why,
        do="fix it there; CONTRIBUTING.md shows a part of each kind in full",
    )


def check_attributes(part: Any, name: str, needs: Iterable[str]) -> None:
    """See that an instance has what the rest of the system reads from it.

    Raises:
        UserError: naming the first that is missing.
    """
    missing = [need for need in needs if not hasattr(part, need)]
    if missing:
        raise UserError(
            f"{plugin_label(name)} has no {missing[0]!r}{closest(missing[0], vars(part))}",
            where=str(module_file(name)),
            why=f"an object in this place must have: {', '.join(needs)}",
            do="set it in the class or in its __init__; see CONTRIBUTING.md",
        )


def _places() -> list[str]:
    return [*(place or os.getcwd() for place in sys.path), os.getcwd()]  # noqa: PTH109


def _names(path: Path) -> tuple[list[str], bool]:
    """The names at the top of a module, and whether these are all (no `import *`)."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        raise UserError(
            "a module of your own is not valid Python", why=f"{path}: {error}", do="fix it"
        ) from None
    names: list[str] = []
    whole = True
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names += [alias.asname or alias.name for alias in node.names]
            whole &= all(alias.name != "*" for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.append(node.id)
    return names, whole


def _missing(wanted: str, names: Iterable[str], where: str, path: Path) -> None:
    names = [name for name in names if not name.startswith("_")]
    raise UserError(
        f"there is no class {wanted!r}{closest(wanted, names)}",
        where=where,
        why=f"{path} does not have it",
        do="check the name behind the colon; where another module of this name comes first on the "
        "Python path, rename yours",
    )


def _validated(name: str, settings: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    _check_known(name, options, settings.model_fields)
    try:
        checked = settings.model_validate(dict(options))
    except ValueError as error:  # pydantic's ValidationError is one
        rows = error.errors() if hasattr(error, "errors") else []
        problems = [
            f"{'.'.join(map(str, r['loc']))}: {r['msg']} (it is {r['input']!r})" for r in rows
        ]
        raise UserError(
            f"an option of {plugin_label(name)} is not allowed",
            where=name,
            why="; ".join(problems) or str(error),
            do="fix `options` in the configuration",
        ) from None
    return {key: getattr(checked, key) for key in settings.model_fields}


def _check_signature(
    name: str, found: Any, options: Mapping[str, Any], given: Mapping[str, Any]
) -> None:
    signature = inspect.signature(found)
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    named = [key for key in signature.parameters if key not in given]
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        _check_known(name, options, named)
    try:
        signature.bind(**given, **options)
    except TypeError as error:
        raise UserError(
            f"{plugin_label(name)} cannot be made from its options",
            where=f"{name}, options {dict(options)}",
            why=f"{error}; Étude itself passes: {', '.join(given) or 'nothing'}",
            do="fix `options` in the configuration, or the class's __init__",
        ) from None


def _check_known(name: str, options: Mapping[str, Any], known: Iterable[str]) -> None:
    known = list(known)
    for key in options:
        if key not in known:
            raise UserError(
                f"{plugin_label(name)} has no option {key!r}{closest(key, known)}",
                where=f"{name}, `options` in the configuration",
                do=f"use one of: {', '.join(known) or 'none, it takes no options'}",
            )
