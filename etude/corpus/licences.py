"""The words for a licence: identifiers of SPDX, and what people agree on among themselves."""

from __future__ import annotations

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from etude.errors import closest

# What SPDX has no identifier for.
OWN_WORDS = ("all rights reserved", "public domain", "by agreement")
OTHER = "other:"  # then what it is, in the contributor's own words

# Of SPDX's hundreds, those that music bears; only for the hint to a word that is none.
USUAL = (
    "CC0-1.0",
    *(
        f"CC-{terms}-{version}"
        for terms in ("BY", "BY-SA", "BY-NC", "BY-NC-SA", "BY-ND", "BY-NC-ND")
        for version in ("1.0", "2.0", "2.5", "3.0", "4.0")
    ),
    *("PDDL-1.0", "ODbL-1.0", "ODC-By-1.0", "MIT", "Apache-2.0", "LAL-1.3"),
    *OWN_WORDS,
)


def licence(word: str) -> str:
    """A licence as SPDX writes it, or one of the own words, or `other: text` as it is.

    Raises:
        ValueError: it is none of these; with the nearest one that is.
    """
    if word.lower() in OWN_WORDS:
        return word.lower()
    if word.lower().startswith(OTHER) and word[len(OTHER) :].strip():
        return word
    try:
        return canonicalize_license_expression(word)
    except InvalidLicenseExpression:
        hint = closest(word.upper(), USUAL) or closest(word.lower(), OWN_WORDS)
        raise ValueError(f"licence {word!r} is not known{hint}") from None
