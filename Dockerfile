# NEVER BUILT so far: written by the book, tried by nobody. Who builds it first: take this line out
# and say in docs/decisions.md what had to change.
#
#   docker build -t etude .
#   docker run --rm -v "$PWD/results:/opt/etude/results" etude make demo
#   docker run --rm --gpus all -v "$PWD/results:/opt/etude/results" -v /music:/music:ro etude \
#     .venv/bin/snakemake --cores all --configfile /music/mine.yaml
#
# torch comes from the index at hand: PyPI's build brings CUDA; for a small CPU image add
#   --build-arg UV_INDEX=https://download.pytorch.org/whl/cpu
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ git libfluidsynth3 make \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 etude && mkdir -p /opt/etude && chown etude /opt/etude
USER etude
WORKDIR /opt/etude

# The packages first: they stay in their layer when only the code changes.
ARG UV_INDEX=""
COPY --chown=etude requirements requirements
COPY --chown=etude etude/__init__.py etude/errors.py etude/setup.py etude/
RUN UV_INDEX="$UV_INDEX" requirements/install.sh python3 .venv

COPY --chown=etude . .
CMD [".venv/bin/python", "-m", "etude", "doctor"]
