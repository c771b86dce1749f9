"""Settings: flags over variables over files over defaults. One table (`table.py`) says what there is."""

from anyclaude_lab.settings.load import load_settings, missing
from anyclaude_lab.settings.model import (
    MODES,
    BreakerSettings,
    ClaudeSettings,
    ClusterSettings,
    DistributedSettings,
    HostSettings,
    LocalSettings,
    LocalSource,
    Mode,
    NodeSettings,
    OpenRouterSettings,
    Settings,
    WebSearchSettings,
)
from anyclaude_lab.settings.rows.general import PREFERRED_PORT
from anyclaude_lab.settings.secret import Secret
from anyclaude_lab.settings.sources import FILE_NAME, home_folder

__all__ = [
    "FILE_NAME",
    "MODES",
    "PREFERRED_PORT",
    "BreakerSettings",
    "ClaudeSettings",
    "ClusterSettings",
    "DistributedSettings",
    "HostSettings",
    "LocalSettings",
    "LocalSource",
    "Mode",
    "NodeSettings",
    "OpenRouterSettings",
    "Secret",
    "Settings",
    "WebSearchSettings",
    "home_folder",
    "load_settings",
    "missing",
]
