"""How long does a newcomer wait: a fresh clone, `make run`, the first tool call answered by the demonstration model?

Packages come from pip's cache or the network, so the first line depends on the connection; the second does not.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks.results import Number, Options, Table

HERE = Path(__file__).parents[2]
URL_LINE_S = 1200
ASKED = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 200,
    "messages": [{"role": "user", "content": "Run the command `ls -la src`"}],
    "tools": [
        {
            "name": "Bash",
            "description": "Runs a command.",
            "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
        }
    ],
}


def proxy_url(process: subprocess.Popen[str]) -> str:
    """The URL from the first line that the proxy prints; raises RuntimeError if it ends before."""
    assert process.stdout is not None
    for line in process.stdout:
        if "http://127.0.0.1:" in line:
            return "http://127.0.0.1:" + line.split("http://127.0.0.1:")[1].split()[0].strip("/.,")
    raise RuntimeError("make run ended without a URL")


def figures(options: Options) -> Table:
    """Clone what is committed, run it, ask once."""
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch, "clone")
        subprocess.run(["git", "clone", "--quiet", str(HERE), str(clone)], check=True)
        env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"} | {"PYTHONUNBUFFERED": "1"}
        began = time.perf_counter()
        with subprocess.Popen(
            ["make", "run", "ARGS=--port 0"],
            cwd=clone,
            env=env,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                url = proxy_url(process)
                up_s = time.perf_counter() - began
                answer = httpx.post(f"{url}/v1/messages", json=ASKED, timeout=600, trust_env=False)
                answered_s = time.perf_counter() - began
            finally:
                os.killpg(process.pid, signal.SIGTERM)
        answer.raise_for_status()
    calls = [block["name"] for block in answer.json()["content"] if block["type"] == "tool_use"]
    row: dict[str, Number] = {"to_url_s": up_s, "to_answer_s": answered_s - up_s, "called": ", ".join(calls)}
    return Table({"make run": row}, "n = 1; to_url_s includes the installation, to_answer_s loads the model")
