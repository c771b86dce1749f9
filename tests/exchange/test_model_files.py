"""Counting with the files of a model that only its server named."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import tiktoken

from anyclaude_lab.backends.base import Backend
from anyclaude_lab.engine import embedded
from anyclaude_lab.exchange import model_files
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


@pytest.fixture
def vocabulary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in tiktoken's cache that is taken for one of its vocabularies; the real ones are fetched, and large."""
    file = tmp_path / "cached"
    file.write_bytes(b"ranks")
    monkeypatch.setitem(model_files.VOCABULARIES, "o200k_base", (file.name, hashlib.sha256(b"ranks").hexdigest()))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    letters = tiktoken.Encoding(
        "o200k_base", pat_str=".", mergeable_ranks={bytes([n]): n for n in range(256)}, special_tokens={}
    )
    monkeypatch.setattr(tiktoken, "get_encoding", {"o200k_base": letters}.__getitem__)
    return file


@pytest.mark.usefixtures("vocabulary")
async def test_a_stranger_is_counted_with_a_vocabulary_that_lies_here() -> None:
    counting = counter()
    first = await counting.count(REQUEST)
    counting.learn(first, None, "no-family-known")
    count = await counting.count_exactly(REQUEST)
    assert (count.method, count.exact) == ("tiktoken o200k_base, without template", False)
    assert count.tokens > 3 * first.tokens  # that one makes a token of each letter


async def test_a_spoilt_vocabulary_is_not_asked_for_again(vocabulary: Path) -> None:
    vocabulary.write_bytes(b"rank")
    assert (await method_after("no-family-known"))[0].startswith("characters")


@pytest.mark.usefixtures("vocabulary")
async def test_without_tiktoken_characters_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    assert (await method_after("no-family-known"))[0].startswith("characters")


async def test_a_download_that_cannot_be_read_is_passed_over(downloaded: Path) -> None:
    (downloaded / "tokenizer.json").write_text("not a tokenizer")
    method, exact = await method_after("maker/Qwen3-tiny")
    assert (method, exact) == ("template and characters", False)
