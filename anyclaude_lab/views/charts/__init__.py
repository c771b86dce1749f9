"""Pictures of measured numbers, as HTML and SVG: what is not known is said, never drawn as zero.

Every chart is made of plain values by one function. A chart of rows (`strips`, `waterfall`) is a table,
so that its figures are read without the picture too; `scatter` has such a table beside it. Positions are percentages
of the width there is: marks move, letters keep their size.
"""

from anyclaude_lab.views.charts.axes import Axis, axis
from anyclaude_lab.views.charts.rows import Bar, Dot, Group, strips
from anyclaude_lab.views.charts.scatter import Point, front, scatter
from anyclaude_lab.views.charts.timeline import Lane, Turn, timeline
from anyclaude_lab.views.charts.waterfall import Reuse, waterfall

__all__ = [
    "Axis", "Bar", "Dot", "Group", "Lane", "Point", "Reuse", "Turn",
    "axis", "front", "scatter", "strips", "timeline", "waterfall",
]  # fmt: skip
