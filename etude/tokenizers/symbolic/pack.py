"""Symbolic tokens joined with the split: the only input of training, and the gate against leakage.

results/packed/{corpus}/{tokens}/ then holds train/, valid/ and test/ (datasets' save_to_disk) with
the columns piece (string), window (int32, counted from 0 in its piece and transposition),
transpose (int32, semitones; 0 alone outside of train) and input_ids (list of int32, at most
`window` of them, not padded); and info.json:

    kind          "symbolic" (packed audio has no such key)
    tokenizer     the `kind` of its settings (onoff, remi, …)
    vocabulary    ids are in 0 ... vocabulary - 1
    pad, bos, eos, unknown   ids, or null where there is no such token (pad there always is)
    window        tokens of a window at the most
    data_hash     SHA-256 of all that training can see
    splits        {train: {items, pieces, tokens}, valid: …, test: …}
    tokenizers    {symbolic: hash of the tokenizer's folder}
    tokens        the settings of the token set

Rows are in the order of piece, transposition (as configured) and window, so that the number of
shards changes neither the packed data nor its hash.
"""

from __future__ import annotations

VERSION = 1  # raised when the packed data change
