"""`python -m tests.fuzz.guided TARGET [--seconds 30] [--keep]`: inputs that coverage chooses, from a kept corpus.

Needs atheris, which there is for Linux on x86-64. `--keep` writes back what reached new code. Ends with another code
than 0 at the first defect, which libFuzzer prints and leaves in `build/fuzz`.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.corpus import read, write

LONGEST_BYTES = 512  # what is kept stays readable; long input is the other fuzzer's
SLOW_S = 5
DEFECTS = Path(__file__).parents[2] / "build" / "fuzz"
CODE_UNDER_TEST = ["anyclaude_lab.wire", "anyclaude_lab.models", "anyclaude_lab.backends"]


def fuzz(name: str, flags: list[str]) -> None:
    """libFuzzer over one target; it ends the process."""
    import atheris  # type: ignore[import-untyped,unused-ignore]  # it has no types, and is not everywhere

    with atheris.instrument_imports(include=CODE_UNDER_TEST):
        from tests.fuzz.targets import TARGETS, Target
    planted = Target("planted", _bursts, (b"",))
    target = next(target for target in (*TARGETS, planted) if target.name == name)

    def one(data: bytes) -> None:
        target.run(data, random.Random(len(data)))

    atheris.Setup([sys.argv[0], *flags, f"-max_len={LONGEST_BYTES}", f"-timeout={SLOW_S}"], one)
    atheris.Fuzz()


def _bursts(data: bytes, chance: random.Random) -> None:
    assert not data.startswith(b"\x01"), "planted"


def explore(name: str, seconds: int, *, keep: bool = False) -> int:
    """Fuzz in a process of its own for so long; its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(read(name)):
            Path(folder, str(number)).write_bytes(data)
        DEFECTS.mkdir(parents=True, exist_ok=True)
        flags = [f"-max_total_time={seconds}", f"-artifact_prefix={DEFECTS}/", folder]
        line = [sys.executable, "-m", "tests.fuzz.guided", name, "--here", *flags]
        code = subprocess.run(line, check=False).returncode
        if code == 0 and keep:
            write(name, [path.read_bytes() for path in Path(folder).iterdir()])
        return code


def main() -> int:
    if sys.argv[2:3] == ["--here"]:
        fuzz(sys.argv[1], sys.argv[3:])
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided")
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--keep", action="store_true")
    asked = parser.parse_args()
    return explore(asked.target, asked.seconds, keep=asked.keep)


if __name__ == "__main__":
    sys.exit(main())
