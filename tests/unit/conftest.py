"""What several unit tests start from."""

from __future__ import annotations

import pytest
from packed import make_packed


@pytest.fixture
def packed(tmp_path):
    """A packed token set of random tokens: 12 training and 5 validation segments."""
    return make_packed(tmp_path / "packed")
