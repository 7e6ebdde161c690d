"""An experiment: one of the systems, told apart by its `system`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from etude.config.symbolic_lm import SymbolicLm
from etude.config.systems import AudioLm, External

Experiment = Annotated[AudioLm | SymbolicLm | External, Field(discriminator="system")]
TrainedHere = AudioLm | SymbolicLm  # systems whose networks Étude trains
STAGES = (*AudioLm.STAGES, *SymbolicLm.STAGES)  # of all systems
