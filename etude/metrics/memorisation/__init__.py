"""Does a clip repeat the training music? Several searches, each with measured recall.

    exact        the same samples (PCM SHA-256)
    fingerprint  the same music at any offset, gain, noise, encoding, up to 2 % faster
    waveform     the same sound at any offset and gain, with noise, in another encoding
    chroma       the same harmonies in any key, up to 12 % faster or slower, with another voice
    neighbours   nearest windows in the space of an embedding
    sequences    longest common run and least edit distance of tokens or notes
    melody       least word error rate of the highest voice, in any key (told)
    bars         most bars in a row that one training piece has, in any key (told)
    extraction   what a model goes on with when it is given the beginning of a training item

Each search gives a score per clip, higher is nearer to the training music. What a high score is, is
said by a null: held-out real music against the same training music (`null.py`). What a search finds
is said by planted copies (`attacks.py`, `recall.py`).
"""
