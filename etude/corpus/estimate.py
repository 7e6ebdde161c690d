"""What a corpus costs in time and disk: measured constants, and what follows from them."""

from __future__ import annotations

import math

from etude.config import Config, Cut, ExperimentBase

# Seconds of music (or files) per second of one core, measured on a shared cloud machine with the
# default settings: 160 chorales of 5,221 s, and recordings of 309 s. Dense orchestral scores
# render three times slower.
INGEST_FILES = 1200.0
RENDER_SPEED = 300.0
LOOK_SPEED = 1000.0  # decoding and hashing recordings
COPY_SPEED = 1000.0
CUT_SPEED = 1500.0
TOKENIZE_SPEED = 600.0
FIT_S = 6.0  # both embedded tokenizers, whatever the corpus
JOB_START_S = 4.0  # Python, libraries, Snakemake

JOB_S = 300.0  # a good length of a job
JOB_CORES = 4  # cores that such a job is assumed to have
FILES_PER_JOB = 5000  # what one folder and one table hold easily
MAX_SHARDS = 2000  # etude.config's own limit

TRAINED_TOKENS = 10_000.0  # a second on two cores, networks of the default size
TOKENS_BYTES = 3000.0  # of a segment: as JSON lines and packed
MADE_BYTES = 170e6  # of an experiment: clips and those beside them, states, weights

# Jobs of a run with one experiment, by rule. Fetching is left out: a folder is read in place.
JOBS_PER_SHARD = ("ingest_corpus", "render_midi", "cut_segments", "tokenize_audio")
JOBS_ONCE = {
    "decide_split": 1,
    "fit_tokenizer": 2,  # semantic, acoustic
    "pack_tokens": 1,
    "train_stage": 3,
    "generate_clips": 1,
    "make_baselines": 1,
    "embed_clips": 4,  # of the clips and of the baselines, in two embeddings
    "measure_clips": 2,
    "catalogue_corpus": 1,
    "embed_corpus": 2,  # in two embeddings
    "tokenize_clips": 1,
    "extract_prefixes": 1,
    "study_memorisation": 1,
    "find_memorisation": 1,
    "score_fad": 1,
    "write_fad": 1,
    "build_report": 1,
    "all": 1,
}


def work_seconds(midi_s: float, audio_s: float, files: int, shards: int) -> float:
    """Core-seconds from files to tokens."""
    everything = midi_s + audio_s
    starts = JOB_START_S * (4 * shards + 4)  # per shard; split, two tokenizers, packing
    recordings = audio_s / LOOK_SPEED + audio_s / COPY_SPEED
    tokens = everything / CUT_SPEED + everything / TOKENIZE_SPEED + FIT_S
    return starts + files / INGEST_FILES + midi_s / RENDER_SPEED + recordings + tokens


def advise_shards(midi_s: float, audio_s: float, files: int) -> int:
    """Jobs per step so that those of the longest step take some minutes; at least 2."""
    rendering = midi_s / RENDER_SPEED + audio_s / COPY_SPEED
    tokenizing = (midi_s + audio_s) / TOKENIZE_SPEED
    by_time = math.ceil(max(rendering, tokenizing) / (JOB_S * JOB_CORES))
    return min(MAX_SHARDS, max(2, by_time, math.ceil(files / FILES_PER_JOB)))


def jobs(shards: int) -> int:
    """Jobs of a run with one experiment, as Snakemake counts them."""
    return len(JOBS_PER_SHARD) * shards + sum(JOBS_ONCE.values())


def training_seconds(experiment: ExperimentBase, settings: Config) -> float:
    """Seconds of training on two cores: the steps are given, so the corpus does not matter."""
    return experiment.positions(settings) / TRAINED_TOKENS


def disk_bytes(midi_s: float, audio_s: float, stored: float, rate: int, cut: Cut) -> float:
    """What a corpus and one experiment on it take."""
    return corpus_bytes(midi_s, audio_s, stored, rate, cut) + MADE_BYTES


def corpus_bytes(midi_s: float, audio_s: float, stored: float, rate: int, cut: Cut) -> float:
    """WAVs of the pieces (16 bits, mono where rendered) and of the segments that a cut writes,
    and tokens.
    """
    segments = (midi_s + audio_s) / cut.hop
    written = 2 * cut.rate * cut.seconds * cut.write_audio
    return 2 * rate * midi_s + stored + segments * (written + TOKENS_BYTES)
