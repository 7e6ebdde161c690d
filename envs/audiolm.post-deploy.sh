#!/usr/bin/env bash
# Snakemake runs this once in the environment of audiolm.yaml. A package of conda's pip section would
# bring what it declares; this one must not.
set -euo pipefail
python -m pip install --quiet --disable-pip-version-check --no-deps audiolm-pytorch==2.4.0
