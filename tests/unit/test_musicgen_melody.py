"""MusicGen's melody network beside the library's own; melodies of recordings."""

import numpy as np
import pytest
import soundfile
import torch
from refused import refused
from tiny_models import make_melody

from etude.clips.sampling import ClipStreams
from etude.config import Sampling
from etude.config.systems.musicgen import MusicGen, TextGenerate
from etude.storage import write_json
from etude.systems.conditions import Conditions
from etude.systems.musicgen.melody import CHROMA, melody_of, read_melody
from etude.systems.musicgen.network import Lm, delayed, from_pretrained
from etude.systems.musicgen.player import MusicGenPlayer
from etude.systems.musicgen.sampling import sample

transformers = pytest.importorskip("transformers")

CODEC = {"codebook_size": 64, "quantizers": 4, "frames": 20, "frame_rate": 50.0}
TEXTS = ["the sound of a steel drum", "piano"]
GREEDY = Sampling(temperature=0)
RATE = 32000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("melody")
    make_melody(folder)
    write_json(folder / "origin.json", {"from": "tiny", "sha256": "0" * 64})
    return folder


@pytest.fixture(scope="module")
def whole(folder):
    found = transformers.MusicgenMelodyForConditionalGeneration.from_pretrained(str(folder))
    return found.eval()


@pytest.fixture(scope="module")
def model(folder):
    return from_pretrained(folder, CODEC)


def asked(melody):
    if not melody:
        return None
    classes = torch.randint(CHROMA, (2, 10), generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.one_hot(classes, CHROMA).float()


@pytest.mark.slow
@pytest.mark.parametrize("melody", [False, True])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_greedy_codes_are_the_librarys(whole, model, monkeypatch, guidance, melody):
    heard = {}

    def decode(codes, **_):
        heard["codes"] = codes
        return type("Out", (), {"audio_values": torch.zeros(len(codes), 1, 8)})()

    monkeypatch.setattr(whole.audio_encoder, "decode", decode)
    found = [model.tokenizer.encode(text).ids for text in TEXTS]
    length = max(map(len, found))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in found])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in found])
    chroma = asked(melody)
    given = {} if chroma is None else {"input_features": chroma}
    whole.generate(
        input_ids=ids, attention_mask=mask, do_sample=False, guidance_scale=guidance,
        max_length=24, **given,
    )  # fmt: skip
    rows, there = model.rows(TEXTS)
    how = (model, rows, there, 20, ClipStreams([0, 1]), GREEDY)
    ours = sample(*how, guidance=guidance, melody=chroma)
    assert torch.equal(ours, heard["codes"][0])
    assert len(ours.unique()) > 3, "not one code all the time"
    again = sample(*how, guidance=guidance, melody=chroma, cached=False)
    assert torch.equal(ours, again)


def test_a_melody_counts_and_none_is_the_first_class(model):
    rows, there = model.rows(TEXTS)
    codes = torch.randint(64, (2, 4, 20), generator=torch.Generator().manual_seed(0))
    none = torch.zeros(2, 1, CHROMA)
    none[..., 0] = 1
    with torch.no_grad():
        plain, first, other = (
            model.logits(delayed(codes, 64)[..., :-1], model.encode(rows, there, m), there)
            for m in (None, none, asked(melody=True))
        )
    torch.testing.assert_close(plain, first)
    assert (plain - other).abs().max() > 1e-3
    assert model.nats(codes, TEXTS, {}).shape == (2, 80)


def test_it_is_saved_and_loaded(model, tmp_path):
    model.save(tmp_path)
    again = Lm.load(tmp_path)
    assert again.shape["melody"] == {"chroma": CHROMA, "length": 7}
    ours, theirs = again.state_dict(), model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def tune(pitches, seconds=0.5):
    time = np.arange(int(RATE * seconds)) / RATE
    notes = [
        sum(np.sin(2 * np.pi * 440 * 2 ** ((p - 69) / 12) * h * time) / h**2 for h in (1, 2, 3))
        for p in pitches
    ]
    return (0.2 * np.concatenate(notes)).astype(np.float32)


def test_the_melody_of_a_tune_is_its_pitch_classes(tmp_path):
    pitches = [60, 67, 64, 69]
    found = melody_of(torch.from_numpy(tune(pitches, 2.0)), RATE)
    assert found.shape == (8 * RATE // 2**12 + 1, CHROMA)
    assert (found.sum(1) == 1).all()
    middles = [round((i + 0.5) * 2.0 * RATE / 2**12) for i in range(len(pitches))]
    assert found.argmax(1)[middles].tolist() == [p % 12 for p in pitches]
    assert melody_of(torch.from_numpy(tune([60], 0.1)), RATE).argmax(1)[0] == 0, "short ones too"
    soundfile.write(tmp_path / "tune.wav", tune(pitches, 2.0), RATE)
    read = read_melody(tmp_path / "tune.wav", RATE)
    assert read.argmax(1)[middles].tolist() == [p % 12 for p in pitches]
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE, np.float32), RATE)
    with refused("no-melody"):
        read_melody(tmp_path / "silent.wav", RATE)
    for name in ("none.wav", "text.wav"):
        (tmp_path / "text.wav").write_text("no sound")
        with refused("unusable-recording"):
            read_melody(tmp_path / name, RATE)


class Codec:
    sample_rate, frame_rate, codebook_size, quantizers = RATE, 50.0, 64, 4

    def decode(self, codes):
        return codes.float().mean(1).repeat_interleave(640, dim=1) / 64


def test_a_player_follows_a_recording_where_its_network_can(model, folder, tmp_path):
    soundfile.write(tmp_path / "tune.wav", tune([60, 67]), RATE)
    how = TextGenerate(melody=tmp_path / "tune.wav", clips=1, seconds=0.2)
    assert (how.primes, how.prompted) == ([tmp_path / "tune.wav"], False)
    player = MusicGenPlayer(model, Codec(), takes=MusicGen.conditions)
    given = player.prepare(how, Conditions(files=tuple(how.primes), text="piano"))
    assert given.melody.shape[1] == CHROMA
    from etude.clips.progress import never, silent

    (clip,) = player.clips(how, 0, 0, given, silent, never)
    assert len(clip.wave) == round(0.2 * RATE)
    plain = MusicGenPlayer.__new__(MusicGenPlayer)
    plain.__dict__ |= player.__dict__
    plain.model = type("Plain", (), {"prefix": None})()
    with refused("condition-not-taken", "recording"):
        plain.prepare(how, Conditions(files=tuple(how.primes)))
