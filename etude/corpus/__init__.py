"""Corpora: sources, ingest, de-duplication, tune groups, splits and the audit."""
