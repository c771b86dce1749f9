"""A fast BLAS for mlx on Linux.

quirk(mlx): the CPU wheel bundles the reference BLAS: 4 GFLOP/s on a float32 matrix product where OpenBLAS reaches 180.
The same symbols from a library that is loaded first take its place, without a rebuild.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

FOLDERS = ("/usr/lib/*-linux-gnu/openblas-pthread", "/usr/lib/*-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib")
NAMES = ("libopenblas.so.0", "libopenblas.so", "libopenblasp.so.0")
SYMBOL = "cblas_sgemm"


@cache
def find_openblas() -> Path | None:
    """The machine's OpenBLAS, or None where there is none or none is needed (not Linux)."""
    return first_usable(_installed()) if sys.platform == "linux" else None


def first_usable(libraries: Iterable[Path]) -> Path | None:
    """The first library that loads here and has the plain symbol; builds with prefixed names do not help mlx."""
    for library in libraries:
        try:
            if hasattr(ctypes.CDLL(str(library)), SYMBOL):
                return library
        except OSError:
            continue
    return None


def _installed() -> Iterator[Path]:
    conda = Path(sys.prefix, "lib")
    folders = [conda, *(found for pattern in FOLDERS for found in sorted(Path("/").glob(pattern.lstrip("/"))))]
    return (folder / name for folder in folders for name in NAMES if (folder / name).exists())
