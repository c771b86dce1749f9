"""Run Claude Code on local or cheap models, and measure what that costs.

The notebook names are resolved on first use, so that importing the package (and starting the proxy) stays cheap.
"""

from __future__ import annotations

__version__ = "0.1.0"
