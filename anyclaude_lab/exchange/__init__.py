"""One request through transforms and a backend: what the proxy serves and the lab measures."""

from anyclaude_lab.exchange.flow import Exchange, prepare
from anyclaude_lab.exchange.variant import Variant

__all__ = ["Exchange", "Variant", "prepare"]
