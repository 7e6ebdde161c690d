"""What the report page is made of: spectrograms, scales, colours, figures, captions."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from etude.report.charts import Scale, panel
from etude.report.figures import decimal, duration, in_order, some
from etude.report.spectrogram import HEIGHT, WIDTH, log_spectrogram, palette, write_spectrogram
from etude.results.leaderboard import number

ROOT = Path(__file__).resolve().parents[2]
RATE = 24000


def test_spectrogram_places_a_sine_and_its_level():
    time = np.arange(RATE) / RATE
    for hertz in (110.0, 440.0, 5000.0):
        levels = log_spectrogram(0.1 * np.sin(2 * np.pi * hertz * time), RATE)
        assert levels.shape == (HEIGHT, WIDTH)
        row = levels[:, WIDTH // 2].argmax()
        place = 55 * (10000 / 55) ** ((HEIGHT - 1 - row) / (HEIGHT - 1))
        assert abs(12 * np.log2(place / hertz)) < 0.75
        assert -27 < levels.max() < -19


@pytest.mark.parametrize("rate", [4000, 8000, 44100, 96000])
@pytest.mark.parametrize("samples", [1, 100, 30000])
def test_spectrogram_of_any_rate_and_length(rate, samples):
    levels = log_spectrogram(np.random.default_rng(0).standard_normal(samples), rate)
    assert levels.shape == (HEIGHT, WIDTH)
    assert np.isfinite(levels).all()


def test_png_is_read_back_by_others(tmp_path):
    chirp = np.sin(np.cumsum(np.geomspace(0.02, 2, RATE)))
    write_spectrogram(chirp, RATE, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (WIDTH, HEIGHT)
        colours = np.asarray(picture.convert("RGB"))
    seen = np.unique(colours.reshape(-1, 3), axis=0).tolist()
    assert len(seen) > 8
    assert all(colour in palette().tolist() for colour in seen)


def test_palette_gets_lighter_all_the_way():
    lightness = palette() @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > 0).all()


@pytest.mark.parametrize("values", [[3, 190], [0, 5], [7, 7], [0, 0], [-4, 3], [1e-4, 2e-4], [1e6]])
def test_scale_holds_its_values_and_its_ticks(values):
    scale = Scale.around(values)
    assert all(0 <= scale.at(value) <= 100 for value in values)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 8
    assert all(0 <= tick.at <= 100 for tick in ticks)
    assert len({tick.label for tick in ticks}) == len(ticks)


def test_panel_of_one_point_and_of_none():
    assert panel("x", []) is None
    assert panel("x", [("valid", [(0.0, 2.0)])]).lines[0].dots


def test_figures_are_written_as_people_write_them():
    assert [duration(s) for s in (0.84, 9.96, 42, 185, 7800)] == [
        "0.8 s", "10.0 s", "42 s", "3 min 05 s", "2 h 10 min",
    ]  # fmt: skip
    assert [decimal(v, 1) for v in (-0.04, -1234.56, None)] == ["0.0", "−1,234.6", "–"]
    assert (some(1, "clip"), some(1024, "clip")) == ("1 clip", "1,024 clips")
    assert [number(cell) for cell in ("1.5", "", None, "nan", "inf", "-")] == [1.5] + [None] * 5


def test_captions_render_for_snakemakes_report():
    jinja2, core = pytest.importorskip("jinja2"), pytest.importorskip("docutils.core")
    wildcards = {"corpus": "c", "experiment": "e", "stage": "fine", "seed": "0", "clips": "x"}
    wildcards |= {"tokenizer": "t", "tokens": "k", "embedding": "logmel", "draw": "0"}
    wildcards |= {"pretrained": "p"}
    job = {"wildcards": wildcards, "params": {"run": ["a"], "gated": []}}
    for path in (ROOT / "docs" / "captions").glob("*.rst"):
        text = jinja2.Template(path.read_text(), undefined=jinja2.StrictUndefined)
        strict = {"report_level": 1, "halt_level": 2}
        assert core.publish_parts(
            text.render(snakemake=job), writer="html", settings_overrides=strict
        )["body"]


def test_every_caption_is_attached_by_a_rule():
    rules = "".join(p.read_text() for p in (ROOT / "rules").glob("*.smk"))
    attached = set(re.findall(r'caption="\.\./docs/captions/(\w+)\.rst"', rules))
    assert attached == {path.stem for path in (ROOT / "docs" / "captions").glob("*.rst")}


def test_paths_are_in_the_order_of_their_numbers():
    paths = [Path(f"seed-{s}/draw-{d}") for s in (10, 9) for d in (2, 11, 0)]
    assert [path.as_posix() for path in in_order(iter(paths))] == [
        f"seed-{s}/draw-{d}" for s in (9, 10) for d in (0, 2, 11)
    ]


def luminance(colour):
    """Relative luminance (WCAG 2.2)."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_words_have_contrast_enough(theme):
    """WCAG AA for words of any size: 4.5."""
    css = (ROOT / "etude/report/style.css").read_text()
    block = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[theme]
    colours = dict(re.findall(r"--(\w+): (#\w+)", block))
    for ink in ("ink", "muted", "accent", "good", "bad", "warn"):
        for paper in ("paper", "sheet"):
            bright, dark = sorted((luminance(colours[c]) for c in (ink, paper)), reverse=True)
            assert (bright + 0.05) / (dark + 0.05) >= 4.5, (ink, paper)
