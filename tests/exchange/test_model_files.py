"""Counting with the files of a model that only its server named."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from anyclaude_lab.backends.base import Backend
from anyclaude_lab.engine import embedded
from anyclaude_lab.exchange.count import PromptCounter
from anyclaude_lab.wire.request import Request

REQUEST = Request({"model": "m", "messages": [{"role": "user", "content": "Read the file notes.txt, please. " * 40}]})


@pytest.fixture
def downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The snapshot of one model, a Qwen by its name, in a Hugging Face cache of its own."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--maker--Qwen3-tiny" / "snapshots" / "1"
    shutil.copytree(embedded.folder(), snapshot)
    return snapshot


def counter() -> PromptCounter:
    async def no_endpoint(request: Request) -> None:
        return None

    return PromptCounter(cast(Backend, SimpleNamespace(name="b", count=no_endpoint)))


async def method_after(model: str, reported_tokens: int | None = None) -> tuple[str, bool]:
    counting = counter()
    first = await counting.count(REQUEST)
    assert first.method.startswith("characters")
    counting.learn(first, 2 * first.tokens, model)  # of another way to count: teaches which model it is, no more
    counting.learn(await counting.count(REQUEST), reported_tokens, model)
    count = await counting.count_exactly(REQUEST)
    return count.method, count.exact


@pytest.mark.usefixtures("downloaded")
async def test_the_model_a_server_named_is_counted_with_its_own_tokenizer() -> None:
    assert await method_after("maker/Qwen3-tiny") == ("template and tokenizer", True)


@pytest.mark.usefixtures("downloaded")
async def test_a_relative_counts_where_the_model_itself_is_not_here_and_is_corrected_by_reports() -> None:
    assert await method_after("qwen2.5-coder:7b") == ("template and family tokenizer", False)
    method, exact = await method_after("qwen2.5-coder:7b", reported_tokens=900)
    assert (method, exact) == ("template and family tokenizer, calibrated (replies: 1)", False)


@pytest.mark.usefixtures("downloaded")
@pytest.mark.parametrize("model", ["llama3.2:3b", "no-family-known", "elsewhere/absent"])
async def test_a_stranger_is_counted_by_characters(model: str) -> None:
    assert (await method_after(model))[0].startswith("characters")


async def test_a_download_that_cannot_be_read_is_passed_over(downloaded: Path) -> None:
    (downloaded / "tokenizer.json").write_text("not a tokenizer")
    method, exact = await method_after("maker/Qwen3-tiny")
    assert (method, exact) == ("template and characters", False)
