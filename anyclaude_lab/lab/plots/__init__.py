"""`lab.plots`: pictures of runs, each one call. A title says what was found, axes have units, n is on the plot.

Made with matplotlib (the extra `notebooks`), which is imported when the first one is drawn. The same run gives the same
picture, byte for byte, on the same machine.
"""

from anyclaude_lab.lab.plots.answers import ladder, pareto, stubs
from anyclaude_lab.lab.plots.cache import reuse, shared_head, ttft
from anyclaude_lab.lab.plots.prompts import depth, sections

__all__ = ["depth", "ladder", "pareto", "reuse", "sections", "shared_head", "stubs", "ttft"]
