"""Known weaknesses of the locked packages, asked of the database of the Python Packaging Authority (osv.dev).

    python .ci/audit.py LOCK...

Code 1 where a package has one, with its number there. Code 0 where the database cannot be reached: a build without a
network is no weaker for it.
"""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from http.client import HTTPException
from pathlib import Path

DATABASE = "https://api.osv.dev/v1"
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", re.MULTILINE)
WAIT_S = 10


def ask(path: str, body: object = None) -> dict[str, list[dict[str, object]]]:
    """One answer of the database. Raises OSError."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{DATABASE}/{path}", data, {"content-type": "application/json"})  # noqa: S310 - a fixed https address
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:  # noqa: S310 - a fixed https address
        return dict(json.load(answer))


def main(locks: list[str]) -> int:
    """The exit code."""
    pinned = sorted({pair for lock in locks for pair in PINNED.findall(Path(lock).read_text("utf-8"))})
    queries = [{"package": {"name": name, "ecosystem": "PyPI"}, "version": version} for name, version in pinned]
    try:
        results = ask("querybatch", {"queries": queries})["results"]
    except (OSError, HTTPException, ValueError, KeyError) as error:  # a network may answer for the database
        print(f"{len(pinned)} packages were not audited: {DATABASE} cannot be reached ({error})")
        return 0
    weak = [(pair, found) for pair, found in zip(pinned, results, strict=True) if found.get("vulns")]
    for (name, version), found in weak:
        print(f"{name} {version}: {', '.join(str(one['id']) for one in found['vulns'])}")
    print(f"{len(pinned)} packages audited, {len(weak)} with known weaknesses")
    return 1 if weak else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
