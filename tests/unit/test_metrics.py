"""Metrics: closed forms and properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refused import refused
from scipy import linalg, signal

from etude.audio.tempered import power_spectra, tempered_share
from etude.audio.windows import hann
from etude.config.embeddings import EMBEDDINGS, FADTK, why_not
from etude.metrics import frechet, signals
from etude.metrics.logmel import LogMel, mel_filters

RATE = 24000


def gaussian(seed, n, d):
    generator = np.random.default_rng(seed)
    return generator.standard_normal((n, d)) @ generator.standard_normal(
        (d, d)
    ) + generator.standard_normal(d)


# ------------------------------------------------------------------------ Fréchet distance


def test_closed_form_of_commuting_gaussians():
    """Diagonal covariances: sum of (m1 - m2)^2 + (s1 - s2)^2 over dimensions."""
    generator = np.random.default_rng(0)
    m1, m2, s1, s2 = (generator.uniform(0.1, 3, 20) for _ in range(4))
    distance = frechet.frechet_distance(m1, np.diag(s1**2), m2, np.diag(s2**2))
    assert distance == pytest.approx(((m1 - m2) ** 2 + (s1 - s2) ** 2).sum(), rel=1e-10)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 12))
def test_equals_the_general_square_root(seed, d):
    a, b = gaussian(seed, 60, d), gaussian(seed + 1, 50, d)
    (m1, c1), (m2, c2) = frechet.statistics(a), frechet.statistics(b)
    root = linalg.sqrtm(c1 @ c2).real
    expected = (m1 - m2) @ (m1 - m2) + np.trace(c1 + c2 - 2 * root)
    assert frechet.frechet_distance(m1, c1, m2, c2) == pytest.approx(expected, rel=1e-7, abs=1e-7)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 8))
def test_identity_symmetry_and_order(seed, d):
    a, b = gaussian(seed, 40, d), gaussian(seed + 1, 30, d)
    forth = frechet.evaluate(a, b)["frechet_distance"]
    assert frechet.evaluate(a, a)["frechet_distance"] == pytest.approx(0, abs=1e-8)
    assert frechet.evaluate(b, a)["frechet_distance"] == pytest.approx(forth, rel=1e-7, abs=1e-8)
    assert frechet.evaluate(a[::-1], b)["frechet_distance"] == pytest.approx(forth, rel=1e-9)


def test_fewer_rows_than_dimensions():
    a, b = gaussian(0, 10, 32), gaussian(1, 8, 32)
    assert np.isfinite(frechet.evaluate(a, b)["frechet_distance"])


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        (np.zeros((1, 4)), "too-few-samples"),
        (np.zeros(4), "not-a-table-of-embeddings"),
        (np.full((5, 4), np.nan), "not-finite"),
        (np.zeros((5, 3)), "dimensions-differ"),
    ],
)
def test_bad_embeddings_are_refused(rows, code):
    with refused(code):
        frechet.evaluate(gaussian(0, 10, 4), rows)


def test_projection_has_a_floor_under_near_constant_bands():
    reference = gaussian(0, 200, 6)
    reference[:, 5] = 1e-9 * np.arange(200)
    project = frechet.Projection(reference, 4, floor=3.0)
    assert project(reference).shape == (200, 4)
    shifted = reference.copy()
    shifted[:, 5] += 0.1
    assert frechet.evaluate(project(reference), project(shifted))["frechet_distance"] < 0.01


# ----------------------------------------------------------------------------- embeddings


def test_log_mel_statistics_of_a_constant_tone():
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE)
    rows = LogMel(RATE).embed(tone[None])
    assert rows.shape == (1, 3, 192)
    mean, deviation, slope = rows[0, 1].reshape(3, 64)
    centres = np.argmax(mel_filters(64, 1024, RATE), axis=1) * RATE / 1024
    assert centres[mean.argmax()] == pytest.approx(1000, abs=60)
    assert deviation.max() < 1
    assert slope.max() < 1
    assert mean.min() == -60


def test_short_and_silent_waves_have_one_window():
    rows = LogMel(RATE).embed(np.zeros((2, 100)))
    assert rows.shape == (2, 1, 192)
    assert np.isfinite(rows).all()


def test_every_embedding_says_why_it_cannot_run():
    assert [why_not(name) for name in EMBEDDINGS] == [""] * len(EMBEDDINGS)
    assert "`clap-laion-audio` in `pretrained`" in why_not("clap-laion-audio")
    assert all("evaluation.fadtk: true" in why_not(name) for name in FADTK)
    assert not any(why_not(name, fadtk=True) for name in FADTK)
    assert not why_not("mine", pretrained=["mine"])
    assert "no embedding has this name" in why_not("clap")


# -------------------------------------------------------------------------------- signals


def tempered(seed, cents=0.0):
    generator = np.random.default_rng(seed)
    time = np.arange(2 * RATE) / RATE
    notes = 440 * 2 ** ((generator.integers(-9, 12, 4) + cents / 100) / 12)
    return sum(np.sin(2 * np.pi * f * time) for f in notes) / 8


def test_tempered_share_tells_music_from_noise():
    noise = np.random.default_rng(0).standard_normal(8 * RATE) * 0.1
    assert tempered_share(tempered(0), RATE) > 0.99
    assert tempered_share(tempered(0, cents=50), RATE) < 0.05
    assert tempered_share(noise, RATE) == pytest.approx(0.5, abs=0.05)
    assert np.isnan(tempered_share(np.zeros(RATE), RATE))


def test_flatness_and_level():
    flatness = lambda wave: signals.flatness_db(power_spectra(wave))  # noqa: E731
    noise = np.random.default_rng(0).standard_normal(4 * RATE) * 0.1
    assert flatness(noise) > -3 > -20 > flatness(tempered(0))
    assert signals.level_db(noise) == pytest.approx(-20, abs=0.1)
    assert signals.level_db(np.zeros(10)) == signals.level_db(np.zeros(0)) == -120


def test_the_window_is_scipys_to_the_bit():
    for samples in (2, 3, 341, 2048, 8192):
        assert np.array_equal(hann(samples), signal.get_window("hann", samples))
    with pytest.raises(ValueError, match="1 samples"):
        hann(1)
