"""Models from a hub: nothing is downloaded before its size was told and agreed to.

    python -m anyclaude_lab.engine.hub OWNER/NAME        downloads what is missing, with progress

The download is a process of its own. It is killed when its starter is interrupted or dies, which does no harm: a file
gets its name when it is whole, and the next download goes on where this one ended. `HF_ENDPOINT`, `HF_TOKEN` and
`HF_HOME` mean what they mean to huggingface_hub.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from anyclaude_lab.engine.mlx_server import HUB_ID, missing_part, require_mlx_lm
from anyclaude_lab.errors import SettingsError, printable

if TYPE_CHECKING:
    from huggingface_hub import DryRunFileInfo

# What mlx-lm reads of a repository. Source: mlx_lm/utils.py, 0.32.2.
PATTERNS = ("*.json", "model*.safetensors", "*.py", "*.tiktoken", "tokenizer.model", "*.txt", "*.jsonl", "*.jinja")
SPARE_BYTES = 1 << 30  # left free on the disk
GB = 1e9
SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Download:
    """What is missing of a model, and the disk that it goes to."""

    name: str
    missing_bytes: int
    free_bytes: int
    cache: Path

    @property
    def told(self) -> str:
        """`4.3 GB to download into FOLDER, where 120.1 GB are free`."""
        missing, free = self.missing_bytes / GB, self.free_bytes / GB
        return f"{missing:.1f} GB to download into {self.cache}, where {free:.1f} GB are free"


def is_hub_id(model: str) -> bool:
    """Whether a model's name is that of a repository on a hub, and of nothing on this machine."""
    return HUB_ID.fullmatch(model) is not None and not Path(model).expanduser().exists()


def obtain(name: str, folder: Path | None, ask: Callable[[str], bool] | None, *, agreed: bool) -> None:
    """Have the model with this hub id on the machine. `folder`: where it lies, as far as it does.

    `ask` puts the question to the user, and is None where nobody can answer; `agreed`: the answer was given beforehand.
    Raises SettingsError where it cannot be had, and KeyboardInterrupt where the download was interrupted.
    """
    if folder is not None and missing_part(folder) is None:
        return
    require_mlx_lm()  # what could not be run need not be downloaded
    download = look_up(name)
    if download.missing_bytes + SPARE_BYTES > download.free_bytes:
        raise SettingsError(
            f"{name} does not fit on the disk: {download.told}. Make room, or set HF_HOME to another disk."
        )
    if not agreed and ask is None:
        raise SettingsError(f"{name} is not on this machine: {download.told}. To download it: {command(name)}")
    if (
        not agreed
        and ask is not None
        and not ask(f"{name} is not on this machine: {download.told}. Download it? [y/N] ")
    ):
        raise SettingsError(f"{name} was not downloaded. To do it later: {command(name)}")
    print(f"anyclaude: {name}: {download.told}", file=sys.stderr, flush=True)
    fetch(name)


def command(name: str) -> str:
    """What downloads it without a question."""
    return f"anyclaude --model {name} --yes"


def look_up(name: str) -> Download:
    """Ask the hub what is missing. Raises SettingsError where it does not tell."""
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

    disable_progress_bars()
    try:
        files = snapshot_download(name, allow_patterns=list(PATTERNS), dry_run=True)
    except Exception as error:
        raise SettingsError(_why_not(name, error)) from None
    finally:
        enable_progress_bars()
    cache = Path(constants.HF_HUB_CACHE).expanduser()
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    missing = sum(file.file_size or 0 for file in files if file.will_download)
    return Download(name, missing, shutil.disk_usage(existing).free, cache)


def fetch(name: str) -> None:
    """Download what is missing, with progress on stderr. Raises SettingsError, KeyboardInterrupt."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "anyclaude_lab.engine.tether", "anyclaude_lab.engine.hub", name],
        stdin=subprocess.PIPE,  # the tether
        start_new_session=True,  # Ctrl-C comes to us
    )
    try:
        code = process.wait()
    except KeyboardInterrupt:
        print(f"\nanyclaude: interrupted; what has arrived is kept. To go on: {command(name)}", file=sys.stderr)
        raise
    finally:
        process.kill()
        process.wait()
    if code:
        raise SettingsError(
            f"{name} was not downloaded as a whole; what has arrived is kept. To go on: {command(name)}"
        )


def _why_not(name: str, error: Exception) -> str:
    cause = error.__cause__ or error
    status = getattr(getattr(cause, "response", None), "status_code", None)
    if status in (401, 403, 404):
        return (
            f"The hub has no model {name} for you (HTTP {status}): check its name; one that is gated needs your "
            "token in HF_TOKEN."
        )
    said = printable(" ".join(str(cause).split()))[:200]
    return f"{name} is not on this machine, and no hub answers ({type(cause).__name__}: {said}): is there a network?"


def _fetch_weights(name: str, file: DryRunFileInfo) -> None:
    """A large file, from where the last download of it ended, into the place where the library looks for it.

    quirk(huggingface_hub 2.4): its own download of a file begins anew in every process. Large files are named by their
    SHA-256; the others are left to it.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import WeakFileLock, build_hf_headers

    url = hf_hub_url(name, file.filename, revision=file.commit_hash)
    about = get_hf_file_metadata(url)
    if about.etag is None or SHA256.fullmatch(about.etag) is None:
        return
    blob = Path(file.local_path).parents[len(PurePosixPath(file.filename).parts) + 1] / "blobs" / about.etag
    blob.parent.mkdir(parents=True, exist_ok=True)
    partial = blob.with_name(f"{about.etag}.anyclaude.incomplete")
    with WeakFileLock(f"{partial}.lock"):
        if blob.exists():
            return
        with partial.open("ab") as out:
            http_get(
                url,
                out,
                resume_size=partial.stat().st_size,
                headers=build_hf_headers(),
                expected_size=about.size,
                displayed_filename=file.filename,
            )
        with partial.open("rb") as whole:
            right = hashlib.file_digest(whole, "sha256").hexdigest() == about.etag
        if not right:
            partial.unlink()
            raise OSError(f"{file.filename} arrived damaged")
        partial.replace(blob)


def main(argv: list[str]) -> int:
    """Download; 1, after one sentence, where that fails."""
    from huggingface_hub import snapshot_download

    try:
        for file in snapshot_download(argv[0], allow_patterns=list(PATTERNS), dry_run=True):
            if file.will_download:
                _fetch_weights(argv[0], file)
        snapshot_download(argv[0], allow_patterns=list(PATTERNS))
    except Exception as error:  # of the network, of the disk
        print(f"anyclaude: {_why_not(argv[0], error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
