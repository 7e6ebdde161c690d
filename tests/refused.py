"""That a mistake is refused: by the code of its message and the values in it, never by its words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydantic import ValidationError

from etude.audio.files import AudioError
from etude.config.base import SettingError
from etude.config.reading import ConfigError, Mistake, mistakes
from etude.errors import UserError
from etude.midi.notes import MidiError


@contextmanager
def refused(code: str, *named: object, where: object = "") -> Iterator[pytest.ExceptionInfo]:
    """What runs inside ends in a UserError.

    Args:
        code: of the message.
        named: values that it names: keys, paths, numbers, `did you mean 'x'`.
        where: a part of its `where`.
    """
    with pytest.raises(UserError) as caught:
        yield caught
    check(caught.value, code, *named, where=where)


def check(error: UserError, code: str, *named: object, where: object = "") -> None:
    """See that an error is the one that was to come."""
    text = str(error)
    assert error.code == code, text
    missing = [str(value) for value in named if str(value) not in text]
    assert not missing, f"{missing} not in: {text}"
    assert str(where) in error.where, text


@contextmanager
def unusable(reason: str, *named: object) -> Iterator[pytest.ExceptionInfo]:
    """What runs inside ends in an AudioError or MidiError whose reason begins with that word.

    Reasons are a closed list (docs/bad-input.md) with details behind a colon.
    """
    with pytest.raises((AudioError, MidiError)) as caught:
        yield caught
    said = str(getattr(caught.value, "reason", caught.value))
    assert said.split(":", maxsplit=1)[0] == reason, said
    missing = [str(value) for value in named if str(value) not in said]
    assert not missing, f"{missing} not in: {said}"


@contextmanager
def invalid(key: str, code: str, *named: object) -> Iterator[pytest.ExceptionInfo]:
    """What runs inside reads a configuration, or a section of it, in which that key is wrong.

    Args:
        key: the end of it; empty: the section itself.
        code: of `fault`, or pydantic's type.
        named: values that the message names.
    """
    with pytest.raises((ConfigError, ValidationError, SettingError)) as caught:
        yield caught
    match caught.value:
        case ConfigError() as error:
            found = error.mistakes
        case SettingError() as error:
            found = (Mistake(error.key, error.code, error.what),)
        case error:
            found = tuple(mistakes(error))
    of_key = [m for m in found if m.code == code and (m.key == key or m.key.endswith(f".{key}"))]
    assert of_key, found
    missing = [str(value) for value in named if not any(str(value) in m.what for m in of_key)]
    assert not missing, f"{missing} not in: {of_key}"
