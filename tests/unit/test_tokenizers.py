"""Tokenizers: shapes, bits, quality on harmonic sound, and odd input."""

from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from refused import refused

from etude.config import PRETRAINED_KINDS, SYMBOLIC_KINDS, MagnitudeRvq, Mfcc, SemitoneBands
from etude.storage import read_json, write_json
from etude.tokenizers import phase, registry
from etude.tokenizers.base import AcousticTokenizer, SemanticTokenizer
from etude.tokenizers.clustering import kmeans, nearest, sample_frames
from etude.tokenizers.spectrum import (
    bin_frequencies,
    cosine_transform,
    magnitudes,
    mel_filters,
    semitones,
    slope,
    triangles,
)
from tests.music import tones

RATE = 24000


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def music(seed, seconds, rate=RATE):
    """Four voices of decaying harmonic tones: [samples]."""
    parts = [tones(Random(f"{seed}/{voice}"), seconds, rate, 1)[:, 0] for voice in range(4)]
    return torch.from_numpy(0.5 * np.sum(parts, axis=0, dtype=np.float32))


def segments(seed, count, rate=RATE):
    """[count, 2 seconds]."""
    return music(seed, 2 * count, rate).view(count, -1)


def semitone_bands(**settings):
    return SemitoneBands(kind="semitone_bands", **settings)


def mfcc(**settings):
    return Mfcc(kind="mfcc", **settings)


def magnitude_rvq(**settings):
    return MagnitudeRvq(kind="magnitude_rvq", **settings)


def fitted(settings, waves):
    tokenizer = registry.create_tokenizer(settings)
    tokenizer.fit(waves.split(16))
    return tokenizer


SMALL = {
    "semitone_bands": semitone_bands(clusters=24),
    "mfcc": mfcc(clusters=24),
    "magnitude_rvq": magnitude_rvq(codebook_size=24, components=32),
}


@pytest.fixture(scope="module")
def small():
    """Each member, fitted on a little music."""
    waves = segments("fit", 16)
    return {kind: fitted(setting, waves) for kind, setting in SMALL.items()}


@pytest.fixture(scope="module")
def codec():
    """The default codec, fitted on three minutes of music."""
    return fitted(magnitude_rvq(), segments("train", 90))


@pytest.fixture(scope="module")
def held_out():
    return segments("held out", 12)


# --------------------------------------------------------------------------------- interface


@pytest.mark.slow
def test_members_keep_the_protocols(small):
    others = {*SYMBOLIC_KINDS, *PRETRAINED_KINDS}  # have tests of their own
    assert set(small) == set(registry.MEMBERS) - others
    for kind in ("semitone_bands", "mfcc"):
        assert isinstance(small[kind], SemanticTokenizer)
    assert isinstance(small["magnitude_rvq"], AcousticTokenizer)


@pytest.mark.parametrize(
    ("setting", "frames", "frame_rate", "size"),
    [
        (semitone_bands(), 100, 50, 128),
        (mfcc(), 100, 50, 128),
        # HuBERT's shape
        (
            semitone_bands(sample_rate=16000, hop=320, receptive_field=400, clusters=500),
            99,
            50,
            500,
        ),
        (mfcc(sample_rate=16000, hop=320, receptive_field=400), 99, 50, 128),
    ],
)
def test_semantic_shapes(setting, frames, frame_rate, size):
    tokenizer = fitted(setting, segments(0, 3, setting.sample_rate))
    samples = 2 * setting.sample_rate
    assert tokenizer.frames(samples) == frames
    assert (tokenizer.frame_rate, tokenizer.codebook_size) == (frame_rate, size)
    assert tokenizer.quantizers == 1
    ids = tokenizer.encode(segments(1, 2, setting.sample_rate))
    assert ids.shape == (2, frames)
    assert ids.dtype == torch.int64
    assert ids.min() >= 0
    assert ids.max() < size


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "frames", "frame_rate", "size", "quantizers"),
    [
        (magnitude_rvq(iterations=2), 75, 37.5, 256, 4),
        # EnCodec's shape
        (magnitude_rvq(hop=320, codebook_size=1024, quantizers=8, iterations=1),
         150, 75, 1024, 8),
    ],
)  # fmt: skip
def test_acoustic_shapes(setting, frames, frame_rate, size, quantizers):
    tokenizer = fitted(setting, segments(0, 10))
    assert tokenizer.frames(2 * RATE) == frames
    assert (tokenizer.frame_rate, tokenizer.codebook_size) == (frame_rate, size)
    assert tokenizer.quantizers == quantizers
    codes = tokenizer.encode(segments(1, 2))
    assert codes.shape == (2, quantizers, frames)
    assert codes.dtype == torch.int64
    assert codes.min() >= 0
    assert codes.max() < size
    for used in (1, quantizers):
        wave = tokenizer.decode(codes[:, :used])
        assert wave.shape == (2, 2 * RATE)
        assert wave.dtype == torch.float32


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(0, 9000))
def test_frames_says_what_encode_gives(small, samples):
    wave = torch.sin(torch.arange(samples) / 20)[None]
    for tokenizer in small.values():
        assert tokenizer.encode(wave).shape[-1] == tokenizer.frames(samples)


def test_batch_of_none(small):
    for kind, tokenizer in small.items():
        shape = tokenizer.encode(torch.zeros(0, 2 * RATE)).shape
        assert shape == ((0, 4, 75) if kind == "magnitude_rvq" else (0, 100))
    assert small["magnitude_rvq"].decode(torch.zeros(0, 4, 75).long()).shape == (0, 2 * RATE)
    assert small["magnitude_rvq"].decode(torch.zeros(2, 4, 0).long()).shape == (2, 0)


# -------------------------------------------------------------------------------- exact bits


@pytest.mark.slow
@pytest.mark.parametrize("kind", SMALL)
def test_two_fits_give_the_same_bytes(tmp_path, small, kind):
    again = fitted(SMALL[kind], segments("fit", 16))
    for name, tokenizer in (("a", small[kind]), ("b", again)):
        (tmp_path / name).mkdir()
        tokenizer.save(tmp_path / name)
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert names == ["codebooks.safetensors", "config.json"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("kind", SMALL)
def test_fit_leaves_the_global_generator_alone(kind):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    tokenizer = fitted(SMALL[kind], segments("fit", 2))
    codes = tokenizer.encode(segments(1, 1))
    if kind == "magnitude_rvq":
        tokenizer.decode(codes)
    assert torch.equal(torch.rand(3), expected)


def test_seed_changes_the_codebook(small):
    fit = {"segments": 16, "seed": 1}
    other = fitted(mfcc(clusters=24, fit=fit), segments("fit", 16))
    assert not torch.equal(other.tensors["codebook"], small["mfcc"].tensors["codebook"])


@pytest.mark.parametrize("kind", SMALL)
def test_save_and_load(tmp_path, small, held_out, kind):
    small[kind].save(tmp_path)
    loaded = registry.load_tokenizer(tmp_path)
    assert type(loaded) is type(small[kind])
    assert loaded.settings == small[kind].settings
    assert torch.equal(loaded.encode(held_out), small[kind].encode(held_out))
    config = read_json(tmp_path / "config.json")
    for name in ("sample_rate", "frame_rate", "codebook_size", "quantizers"):
        assert config[name] == getattr(loaded, name)


@pytest.mark.parametrize("kind", SMALL)
def test_an_item_does_not_depend_on_its_batch(small, held_out, kind):
    tokenizer = small[kind]
    together = tokenizer.encode(held_out)
    alone = torch.cat([tokenizer.encode(item[None]) for item in held_out])
    assert torch.equal(together, alone)
    if kind == "magnitude_rvq":
        wave = tokenizer.decode(together[:8])
        assert torch.equal(wave[5], tokenizer.decode(together[5:6])[0])


# ----------------------------------------------------------------------------------- quality


def log_mel(waves):
    """Level in dB of 64 mel bands, from -70 dB: [waves, frames, bands]."""
    filters = mel_filters(1024, RATE, 64)
    bands = torch.stack([magnitudes(wave, 1024, 256) @ filters for wave in waves])
    return 20 * bands.clamp(min=10 ** (-70 / 20)).log10()


def chroma_correlation(first, second):
    """Mean correlation over 48 semitone bands of log1p magnitude."""
    frequency = bin_frequencies(4096, RATE)
    filters = triangles(semitones(frequency, 110.0), torch.arange(48).double())
    spectra = []
    for waves in (first, second):
        bands = [torch.log1p(300 * magnitudes(wave, 4096, 480) @ filters) for wave in waves]
        flat = torch.stack(bands).flatten(1)
        spectra.append(torch.nn.functional.normalize(flat - flat.mean(1, keepdim=True)))
    return float((spectra[0] * spectra[1]).sum(1).mean())


@pytest.mark.slow
def test_reconstruction_is_close(codec, held_out):
    codes = codec.encode(held_out)
    errors, chroma = [], []
    for quantizers in (1, 2, 4):
        wave = codec.decode(codes[:, :quantizers])
        errors.append(float((log_mel(wave) - log_mel(held_out)).abs().mean()))
        chroma.append(chroma_correlation(wave, held_out))
    assert errors == sorted(errors, reverse=True), "each quantizer helps"
    assert chroma == sorted(chroma)
    # Measured: 1.9 dB and 0.90. Signal-to-noise ratios mean nothing where phase is invented.
    assert errors[-1] < 2.3
    assert chroma[-1] > 0.87
    levels = [wave.square().mean(1).sqrt() for wave in (codec.decode(codes), held_out)]
    # Compressed magnitudes are averaged, so what is uncertain becomes quieter (by 1.2 dB here).
    assert (20 * (levels[0] / levels[1]).log10()).abs().mean() < 2


def test_phases_alone_cost_little(held_out):
    """The limit of the codec: true magnitudes, invented phases."""
    waves = [
        phase.invert(Frames(magnitudes(wave, 2048, 640) * 512), 75, 2048, 640, 8)
        for wave in held_out[:4]
    ]
    assert chroma_correlation(waves, held_out[:4]) > 0.98


class Frames:
    """Magnitudes [frames, bins] as `phase.invert` asks for them."""

    def __init__(self, frames):
        self.frames = frames

    def __call__(self, first, last):
        return self.frames[first:last]


def test_semitone_tokens_name_the_note():
    """The same chord has one token wherever it starts; another chord has another."""
    rate = RATE
    time = torch.arange(rate) / rate

    def chord(*pitches):
        hertz = [440 * 2 ** ((pitch - 69) / 12) for pitch in pitches]
        return 0.2 * sum(torch.sin(2 * torch.pi * h * time) for h in hertz)

    major, minor = chord(60, 64, 67), chord(57, 60, 64)
    tokenizer = fitted(semitone_bands(clusters=8), torch.stack([major, minor] * 4))
    first = tokenizer.encode(torch.cat([major, minor])[None])[0]
    second = tokenizer.encode(torch.cat([minor, major])[None])[0]
    inner = slice(8, 42)
    assert len(set(first[inner].tolist())) == 1
    assert first[inner].tolist() == second[50:][inner].tolist()
    assert first[50:][inner].tolist() == second[inner].tolist()
    assert first[20] != second[20]


# ------------------------------------------------------------------------------- odd corpora


def test_silence_stays_quiet(codec):
    """Though the codec has heard nothing but music."""
    wave = codec.decode(codec.encode(torch.zeros(1, 2 * RATE)))
    assert torch.isfinite(wave).all()
    assert wave.square().mean().sqrt() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("setting", SMALL.values(), ids=SMALL)
@pytest.mark.parametrize("wave", [torch.zeros(1, 2 * RATE), torch.ones(2, 5000)], ids=["0", "1"])
def test_fit_on_nothing_but_a_constant(setting, wave):
    tokenizer = fitted(setting, wave)
    codes = tokenizer.encode(wave)
    assert codes.max() < tokenizer.codebook_size
    if setting.kind == "magnitude_rvq":
        assert torch.isfinite(tokenizer.decode(codes)).all()


@pytest.mark.slow
@pytest.mark.parametrize("setting", [semitone_bands(), mfcc(), magnitude_rvq()])
@pytest.mark.parametrize("samples", [1000, 3000, 2 * RATE])
def test_fewer_frames_than_clusters(tmp_path, setting, samples):
    wave = music(3, 3)[None, :samples]
    tokenizer = fitted(setting, wave)
    tokenizer.save(tmp_path)
    tokenizer = registry.load_tokenizer(tmp_path)
    codes = tokenizer.encode(wave)
    assert codes.numel() > 0
    if setting.kind == "magnitude_rvq":
        unused = torch.full_like(codes, setting.codebook_size - 1)
        assert torch.isfinite(tokenizer.decode(unused)).all()
        assert tokenizer.tensors["codebooks"].shape[:2] == (4, 256)


def test_one_segment_is_given_back_almost_exactly():
    """To overfit on purpose: with as many entries as frames nothing is lost but phase."""
    wave = segments(5, 1)
    tokenizer = fitted(magnitude_rvq(), wave)
    assert chroma_correlation(tokenizer.decode(tokenizer.encode(wave)), wave) > 0.98


def test_nothing_to_fit_on():
    for setting in SMALL.values():
        with pytest.raises(ValueError, match="no audio"):
            registry.create_tokenizer(setting).fit([])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_not_finite_is_refused(small, value):
    wave = torch.zeros(1, 2 * RATE)
    wave[0, 100] = value
    for kind, tokenizer in small.items():
        with pytest.raises(ValueError, match="finite"):
            tokenizer.encode(wave)
        with pytest.raises(ValueError, match="finite"):
            registry.create_tokenizer(SMALL[kind]).fit([wave])


def test_misuse_is_said_plainly(tmp_path, small):
    with pytest.raises(ValueError, match=r"\[batch, samples\]"):
        small["mfcc"].encode(torch.zeros(100))
    for shape in ((2, 75), (1, 5, 75)):
        with pytest.raises(ValueError, match=r"\[batch, quantizers, frames\]"):
            small["magnitude_rvq"].decode(torch.zeros(shape).long())
    with pytest.raises(RuntimeError, match="fitted"):
        registry.create_tokenizer(SMALL["mfcc"]).encode(torch.zeros(1, 1000))
    with refused("bands-too-high"):
        registry.create_tokenizer(semitone_bands(sample_rate=4000, bands=60))
    with refused("hop-too-large", "n_fft"):
        registry.create_tokenizer(magnitude_rvq(hop=2000))
    with refused("not-fitted-yet"):
        registry.load_tokenizer(tmp_path)
    small["mfcc"].save(tmp_path)
    config = read_json(tmp_path / "config.json")
    write_json(tmp_path / "config.json", config | {"version": 0})
    with refused("another-version"):
        registry.load_tokenizer(tmp_path)
    write_json(tmp_path / "config.json", config | {"kind": "hubret"})
    with refused("unknown-tokenizer", "'hubret'"):
        registry.load_tokenizer(tmp_path)


# ------------------------------------------------------------------------------------ streams


@pytest.mark.parametrize("iterations", [0, 3])
@pytest.mark.parametrize(("n_fft", "hop"), [(256, 80), (256, 128)])
def test_chunks_of_a_stream_do_not_show(monkeypatch, iterations, n_fft, hop):
    magnitude = magnitudes(music(1, 4, 8000), n_fft, hop) * n_fft / 4
    frames = len(magnitude) - 1
    arguments = Frames(magnitude), frames, n_fft, hop, iterations
    whole = phase.invert(*arguments)
    assert whole.shape == (frames * hop,)
    for chunk in (7, 64):
        monkeypatch.setattr(phase, "CHUNK", chunk)
        assert torch.allclose(phase.invert(*arguments), whole, atol=2e-4)


def test_a_long_stream_begins_as_a_short_one(codec, held_out):
    """One stream of many windows, however long: what was is not changed by what follows."""
    codes = codec.encode(held_out[:8]).transpose(0, 1).reshape(1, 4, -1)
    assert codes.shape == (1, 4, 600)
    long, short = codec.decode(codes), codec.decode(codes[:, :, :150])
    assert long.shape == (1, 600 * 640)
    # All but the end, which Griffin-Lim hears from behind.
    assert torch.allclose(long[0, : 100 * 640], short[0, : 100 * 640], atol=1e-4)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_very_short_streams(codec, frames):
    wave = codec.decode(torch.zeros(2, 4, frames).long())
    assert wave.shape == (2, frames * 640)
    assert torch.isfinite(wave).all()


def test_spsi_follows_a_sine():
    """A steady sine keeps its frequency and its level, though only magnitudes are known."""
    time = torch.arange(2 * RATE) / RATE
    sine = 0.5 * torch.sin(2 * torch.pi * 443.21 * time)
    wave = phase.invert(Frames(magnitudes(sine, 2048, 640) * 512), 75, 2048, 640, 0)
    inner = wave[4800:-4800]
    spectrum = torch.fft.rfft(inner * torch.hann_window(len(inner)), n=2**18).abs()
    assert abs(float(spectrum.argmax()) * RATE / 2**18 - 443.21) < 0.2
    assert 0.3 < float(inner.square().mean().sqrt()) < 0.38


# ------------------------------------------------------------------------------------- parts


@settings(max_examples=30, deadline=None)
@given(frames=st.integers(1, 60), clusters=st.integers(1, 40), seed=st.integers(0, 100))
def test_kmeans_never_gets_worse(frames, clusters, seed):
    points = torch.randn(frames, 3, generator=torch.Generator().manual_seed(seed))
    errors = []
    for iterations in (1, 2, 10):
        entries = kmeans(points, clusters, iterations, seed)
        assert entries.shape == (min(frames, clusters), 3)
        assert torch.equal(entries, kmeans(points, clusters, iterations, seed))
        errors.append(float(nearest(points, entries)[1].sum()))
    assert errors[2] <= errors[0] + 1e-4
    if clusters >= frames:
        assert errors[2] < 1e-4


def test_kmeans_finds_what_is_there():
    centres = torch.tensor([[0.0, 0], [10, 0], [0, 10]])
    noise = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    points = centres.repeat(100, 1) + 0.1 * noise
    entries = kmeans(points, 12, 10, seed=0)
    assert float(nearest(points, entries)[1].mean()) < 0.02


def test_kmeans_moves_entries_that_nothing_belongs_to():
    points = torch.cat([torch.zeros(1000, 2), torch.tensor([[5.0, 5], [9, 9], [5, 9]])])
    entries = kmeans(points, 4, 10, seed=0)
    assert float(nearest(points, entries)[1].sum()) < 1e-6


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=12),
    limit=st.integers(1, 50),
    seed=st.integers(0, 9),
)
def test_sample_of_frames_does_not_depend_on_batches(sizes, limit, seed):
    frames = torch.arange(sum(sizes), dtype=torch.float32)

    def sample(batches):
        return sample_frames(batches, lambda b: b[None, :, None], limit, seed)[:, 0]

    sampled = sample(frames.split(sizes))
    assert len(sampled) == min(limit, len(frames))
    assert len(set(sampled.tolist())) == len(sampled)
    if len(frames):
        assert torch.equal(sampled, sample([frames]))


def test_amplitude_of_a_sine_is_its_peak():
    for n_fft in (1024, 4096):
        hertz = 10 * RATE / 1024
        sine = 0.25 * torch.sin(2 * torch.pi * hertz * torch.arange(RATE) / RATE)
        spectrum = magnitudes(sine, n_fft, 480)
        assert spectrum.shape == (51, n_fft // 2 + 1)
        assert spectrum[20].max() == pytest.approx(0.25, rel=1e-3)


def test_filters():
    narrow = triangles(semitones(bin_frequencies(256, RATE), 27.5), torch.arange(40).double())
    assert torch.allclose(narrow.sum(0), torch.ones(40))  # none is empty, however narrow
    mels = mel_filters(1024, RATE, 40)
    assert mels.shape == (513, 40)
    assert torch.allclose(mels.sum(0), torch.ones(40))
    centres = (mels * torch.arange(513)[:, None]).sum(0)
    assert (centres.diff() > 0).all()


def test_cosines_are_orthonormal():
    matrix = cosine_transform(40, 40)
    assert torch.allclose(matrix.T @ matrix, torch.eye(40), atol=1e-5)


def test_slope():
    frames = torch.arange(5.0)[:, None] ** 2
    assert slope(frames)[:, 0].tolist() == [1, 4, 8, 12, 7]
