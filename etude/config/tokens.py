"""Cuts, tokenizers and token sets: from audio to tokens."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, Tag, model_validator

from etude.config.base import OPTIONS, OWN, ModuleClass, Options, Section, chosen_by
from etude.config.pretrained import Encodec, Hubert
from etude.config.tokens_fit import Fit


class Cut(Section):
    """A named way of cutting a corpus into segments."""

    seconds: float = Field(2.0, gt=0, le=600, description="length of a segment")
    hop: float = Field(
        default_factory=lambda earlier: earlier.get("seconds", 2.0),
        ge=0.01,
        le=600,
        description="seconds between starts of segments, at most `seconds` (none: equal to it)",
    )
    rate: int = Field(24000, ge=4000, le=192000, description="samples per second, mono")
    rms_threshold: float = Field(
        100.0,
        ge=0,
        le=32768,
        description="quieter segments are rejected as `blank_segment` (int16 RMS; 100 is -50.3 "
        "dBFS)",
    )
    write_audio: bool = Field(False, description="also write each kept segment as a WAV")

    @model_validator(mode="before")
    @classmethod
    def _no_hop_is_the_default(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("hop", 0) is None:
            return {key: entry for key, entry in value.items() if key != "hop"}
        return value

    @model_validator(mode="after")
    def _no_gaps(self) -> Cut:
        if self.hop > self.seconds:
            raise ValueError(
                f"hop {self.hop:g} leaves gaps between segments of {self.seconds:g} seconds; "
                "it must not be more than `seconds`"
            )
        return self


class SemitoneBands(Section):
    """Semantic: k-means over semitone-band spectra and their slope; tokens that name the chord."""

    kind: Literal["semitone_bands"]
    fit: Fit = Fit()
    sample_rate: int = Field(24000, ge=4000, description="rate at which audio is read")
    hop: int = Field(480, ge=1, description="samples between frames (480 at 24 kHz: 50 Hz)")
    receptive_field: int | None = Field(
        None, ge=1, description="samples a frame needs (none: hop; 400 gives HuBERT's 99 frames)"
    )
    n_fft: int = Field(4096, ge=64, description="window of the spectrum")
    bands: int = Field(48, ge=1, description="semitone bands")
    lowest_hz: float = Field(110.0, gt=0, description="centre of the lowest band")
    delta: float = Field(0.7, ge=0, description="weight of the two-frame slope")
    clusters: int = Field(128, ge=2, description="size of the vocabulary")
    iterations: int = Field(10, ge=1, description="k-means iterations")

    @property
    def shortest(self) -> int:
        """Samples that one frame needs."""
        return self.receptive_field or self.hop


class Mfcc(Section):
    """Semantic: k-means over 13 MFCCs with slopes (HuBERT's first teacher)."""

    kind: Literal["mfcc"]
    fit: Fit = Fit()
    sample_rate: int = Field(24000, ge=4000, description="rate at which audio is read")
    hop: int = Field(480, ge=1, description="samples between frames")
    receptive_field: int | None = Field(None, ge=1, description="samples a frame needs (none: hop)")
    n_fft: int = Field(1024, ge=64, description="window of the spectrum")
    coefficients: int = Field(13, ge=2, description="cepstral coefficients")
    clusters: int = Field(128, ge=2, description="size of the vocabulary")
    iterations: int = Field(10, ge=1, description="k-means iterations")

    @property
    def shortest(self) -> int:
        """Samples that one frame needs."""
        return self.receptive_field or self.hop


class MagnitudeRvq(Section):
    """Acoustic: compressed STFT magnitude, PCA, residual k-means; phase by SPSI + Griffin-Lim."""

    kind: Literal["magnitude_rvq"]
    fit: Fit = Fit()
    sample_rate: int = Field(24000, ge=4000, description="rate at which audio is read")
    hop: int = Field(640, ge=1, description="samples between frames (640: 37.5 Hz; 320: 75 Hz)")
    n_fft: int = Field(2048, ge=64, description="window of the spectrum")
    power: float = Field(0.3, gt=0, le=1, description="compression of the magnitudes")
    components: int = Field(96, ge=1, description="PCA dimensions")
    codebook_size: int = Field(256, ge=2, description="entries per codebook")
    quantizers: int = Field(4, ge=1, le=64, description="residual codebooks")
    iterations: int = Field(8, ge=1, description="k-means iterations")
    griffin_lim: int = Field(8, ge=0, description="fast Griffin-Lim iterations after SPSI")

    @property
    def shortest(self) -> int:
        """Samples that one frame needs."""
        return self.hop


class PluginTokenizer(Section):
    """A tokenizer class of your own: semantic, acoustic (which has `decode`), or symbolic."""

    kind: ModuleClass = Field(description="`module:Class`; see CONTRIBUTING.md")
    fit: Fit = Fit()
    options: Options = Field({}, description=OPTIONS)


Tokenizer = Annotated[
    Annotated[SemitoneBands, Tag("semitone_bands")]
    | Annotated[Mfcc, Tag("mfcc")]
    | Annotated[MagnitudeRvq, Tag("magnitude_rvq")]
    | Annotated[Hubert, Tag("hubert")]
    | Annotated[Encodec, Tag("encodec")]
    | Annotated[PluginTokenizer, Tag(OWN)],
    chosen_by("kind"),
]
SEMANTIC_KINDS = ("semitone_bands", "mfcc", "hubert")
ACOUSTIC_KINDS = ("magnitude_rvq", "encodec")


class TokenSet(Section):
    """A token set: one cut read by one semantic and one acoustic tokenizer."""

    cut: str = Field(description="a name from `cuts`")
    semantic: str = Field(description="a semantic tokenizer from `tokenizers`")
    acoustic: str = Field(description="an acoustic tokenizer from `tokenizers`")

    @property
    def roles(self) -> dict[str, str]:
        """Its tokenizers by role."""
        return {"semantic": self.semantic, "acoustic": self.acoustic}


OWN_FRAME_RATE = 50.0  # as most tokenizers have


def frame_rate(tokenizer: Any) -> float:
    """Frames per second; a plugin is not asked, it would have to be imported."""
    if isinstance(tokenizer, PluginTokenizer):
        return OWN_FRAME_RATE
    return float(tokenizer.sample_rate / tokenizer.hop)
