"""One request through transforms and a backend: what the proxy serves and the lab measures."""

from anyclaude_lab.exchange.flow import Exchange, Skim, prepare
from anyclaude_lab.exchange.variant import Variant

__all__ = ["Exchange", "Skim", "Variant", "prepare"]
