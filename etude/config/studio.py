"""The studio: what visitors may do, how long their things are kept, how long anything may take."""

from __future__ import annotations

from pydantic import Field

from etude.config.base import Section


class StudioSettings(Section):
    """The studio: what visitors may do, and how long their things are kept."""

    keep_hours: float = Field(
        48, gt=0, le=8760, description="hours after which primes and clips are deleted"
    )
    starred_hours: float = Field(
        720, gt=0, le=8760, description="hours after which starred clips are deleted"
    )
    disk_mb: int = Field(
        4000, ge=10, description="megabytes of all primes and clips; then nothing more is taken"
    )
    clips: int = Field(8, ge=1, le=32, description="versions of one request")
    seconds: float = Field(60, gt=0, le=600, description="seconds of one version")
    prime_seconds: float = Field(
        180, gt=0, le=3600, description="seconds of what is to be continued"
    )
    waiting: int = Field(3, ge=1, description="requests that one visitor may have waiting")
    queue: int = Field(100, ge=1, le=1000, description="requests that may wait in all")
    hourly: int = Field(60, ge=1, description="uploads and requests of one visitor in an hour")
    address_hourly: int = Field(
        600, ge=1, description="uploads and requests from one address in an hour (IPv6: one /64)"
    )
    connections: int = Field(32, ge=1, description="requests of one address at the same time")
    upload_mb: float = Field(20, gt=0, le=500, description="megabytes of a recording")
    midi_kb: int = Field(1024, ge=1, le=16384, description="kilobytes of a MIDI file")
    job_seconds: float = Field(600, gt=0, description="seconds after which a request is ended")
    deaf_seconds: float = Field(
        3, gt=0, description="seconds that a worker has to obey a cancel before it is ended"
    )
    expo_seconds: float = Field(
        90, ge=5, description="seconds of quiet after which the expo mode starts again"
    )
    pairs: int = Field(20, ge=1, le=200, description="pairs that a listener is asked about")
    catch_pairs: int = Field(2, ge=0, le=20, description="extra pairs whose answer is known")
