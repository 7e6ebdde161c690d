"""A network of the user's in place of a stage's."""

from __future__ import annotations

from pydantic import Field

from etude.config.base import OPTIONS, ModuleClass, Options, Section


class PluginNetwork(Section):
    """A network class of your own in place of the transformer."""

    kind: ModuleClass = Field(description="`module:Class`; see CONTRIBUTING.md")
    options: Options = Field({}, description=OPTIONS)
