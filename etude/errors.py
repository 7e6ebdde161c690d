"""Errors of the user's making: shown as four short lines, never as a traceback."""

import difflib
from collections.abc import Iterable
from typing import Any


class UserError(Exception):
    """Something that the user can fix: what happened, where, why, and what to do.

    Attributes: code (the kind of mistake in a few words, `not-trained-yet`; the words of a message
    may change, its code stays. docs/messages.md lists all of them).
    """

    def __init__(
        self, what: str, *, code: str, where: str = "", why: str = "", do: str = ""
    ) -> None:
        self.what, self.code, self.where, self.why, self.do = what, code, where, why, do
        super().__init__(str(self))

    def __str__(self) -> str:
        first, *more = self.what.split("\n")
        rows = [("where", self.where), ("why", self.why), ("do", self.do)]
        said = (f"  {name + ':':<6} {text}" for name, text in rows if text)
        return "\n".join([f"{first} [{self.code}]", *more, *said])

    def __reduce__(self) -> tuple[Any, ...]:  # worker processes hand their errors over by pickle
        return _rebuild, (self.what, self.code, self.where, self.why, self.do)


def _rebuild(what: str, code: str, where: str, why: str, do: str) -> UserError:
    return UserError(what, code=code, where=where, why=why, do=do)


def of_a_file(error: OSError) -> UserError:
    """A file or folder that cannot be read or written, as four lines."""
    return UserError(
        "a file or folder cannot be used",
        code="unusable-path",
        where=str(error.filename),
        why=error.strerror or str(error),
        do="see that it is there, is of the right kind (file or folder) and may be read and "
        "written, or name another",
    )


def closest(word: str, words: Iterable[object]) -> str:
    """` (did you mean 'x'?)` where one of the words is near, else nothing."""
    match = difflib.get_close_matches(str(word), [str(w) for w in words], n=1, cutoff=0.5)
    return f" (did you mean {match[0]!r}?)" if match else ""
