"""Numbers as they are read: units are said, and what nobody knows is a dash, never a zero."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from anyclaude_lab.views.html import Html, tag

UNKNOWN = "–"  # noqa: RUF001  a dash, as in print


def whole(value: float | None) -> str:
    """`18,204`."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def seconds(value_s: float | None) -> str:
    """`0.52 s`, `12.3 s`, `2 min 5 s`: three digits at most."""
    if value_s is None:
        return UNKNOWN
    if value_s < 9.995:
        return f"{value_s:.2f} s"
    if value_s < 99.95:
        return f"{value_s:.1f} s"
    minutes, rest_s = divmod(round(value_s), 60)
    return f"{minutes} min {rest_s} s"


def percent(part: float | None, of: float | None) -> str:
    """`97 %`; 100 % and 0 % are said only where they are exact."""
    if part is None or not of:
        return UNKNOWN
    share = part / of
    if 0 < abs(share) < 0.005:
        return "< 1 %" if share > 0 else "> -1 %"
    return "99 %" if 0.99 < share < 1 else f"{share:.0%}".replace("%", " %")


def dollars(value_usd: float | None) -> str:
    """`$12.40`, `$0.0031`: two digits that count, cents at least."""
    if value_usd is None:
        return UNKNOWN
    sign, size = "-" if value_usd < 0 else "", abs(value_usd)
    if size == 0 or size >= 0.095:
        return f"{sign}${size:,.2f}"
    places = min(6, 1 - math.floor(math.log10(size)))
    return f"{sign}${size:.{places}f}" if size >= 0.0000005 else f"{sign}< $0.000001"


def plural(count: int, word: str) -> str:
    """`1 message`, `12 messages`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def clock(at: float | None) -> Html:
    """A point in time, seconds since 1970: UTC here; a page that can runs it into the reader's own time."""
    if at is None:
        return Html(UNKNOWN)
    moment = datetime.fromtimestamp(at, UTC)
    return tag("time", f"{moment:%H:%M:%S}", datetime=moment.isoformat(timespec="milliseconds"))
