"""The 1,000 words of the released networks, and how a song is a row of their texts.

Words have the names of REMI-z (`etude.tokenizers.symbolic.remi_z_vocabulary`), but numbers of their
own: an id is a place in NAMES. A bar is four texts, each of which becomes one latent:

    i-13 o-0 p-72 d-12 ...    a track that plays in it, with its instrument; up to three
    [INST]                    in place of a track that does not play
    b-1                       the end of the bar

Behind the last bar a song is filled up with [SEP]. Each text stands between [BOS] and [EOS]; the
encoder's queries are the words [C0] to [C3] in front of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from etude.config.systems.released_phrases import TRACKS
from etude.tokenizers.symbolic.remi_z_texts import Texts
from etude.tokenizers.symbolic.remi_z_vocabulary import Bar

VERSION = 1  # raised when the same music gives other texts, or texts other music

SPECIALS = (
    *("EOS", "BOS", "UNK", "CLS", "SEP", "PAD", "MASK", "HIST", "PITCH", "INST", "MELODY"),
    *("CHORD", "COMPRESS", *(f"C{number}" for number in range(10))),
)
# Letter -> how many numbers it has, from 0; the signatures and tempos are REMI-z's.
COUNTED = {"o": 128, "i": 129, "p": 256, "d": 128, "v": 32, "s": 254, "t": 49}
NAMES = [
    *(f"[{name}]" for name in SPECIALS),
    "b-1",
    *(f"{letter}-{number}" for letter, count in COUNTED.items() for number in range(count)),
]
ID = {name: number for number, name in enumerate(NAMES)}
EOS, BOS, PAD, SEP, INST, BAR = (
    ID[name] for name in ("[EOS]", "[BOS]", "[PAD]", "[SEP]", "[INST]", "b-1")
)
QUERIES = [ID[f"[C{number}]"] for number in range(4)]
OF_BAR = TRACKS + 1  # texts
LONGEST = 128  # ids of a text that is written, with its first


class Translator(Texts):
    """Between a tokenizer's bars and the released words."""

    def texts(self, bars: Iterable[Bar]) -> Iterator[list[int]]:
        """The texts of bars, four each: tracks by the order of their slots, filled up."""
        for bar in bars:
            found = [[ID[word] for word in track] for track in self.tracks(bar)]
            yield from found
            yield from [[INST]] * (TRACKS - len(found))
            yield [BAR]

    def read(self, texts: Iterable[Sequence[int]]) -> list[Bar]:
        """The bars of texts up to the first [SEP]; see `Texts.bars`."""
        return self.bars(NAMES[number] for text in texts for number in text)


def ended(texts: Iterable[Sequence[int]]) -> bool:
    """Whether a song says itself where it ends."""
    return any(SEP in text for text in texts)
