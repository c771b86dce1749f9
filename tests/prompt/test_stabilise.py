"""What is a session's own leaves the system prompt, and nothing else does."""

from __future__ import annotations

import pytest

from anyclaude_lab.prompt.stabilise import INTRODUCTION, stabilise, working_directory
from anyclaude_lab.wire.request import Request
from tests.prompt.conversations import text

ENV = """<env>
Working directory: {folder}
Is directory a git repo: Yes
Today's date: 2026-11-22
</env>"""
OLDER = f"You help.\n\nYou run here:\n{ENV}\nYou are a model.\n\ngitStatus: As it was.\nCurrent branch: {{branch}}\n\n"
OLDER += "Recent commits:\n89e3407 {branch} begun"
NEWER = """You help.

# Memory

Notes are kept in `/home/{branch}/.claude/projects/-x/memory/`, one fact a file.

Write them well.

# Environment
You are here:
 - Primary working directory: {folder}
 - Platform: linux

# Style
Be brief. See ~/.claude/settings.json and /usr/bin/env."""


def request(system: str, *messages: str) -> Request:
    said = [{"role": "user", "content": content} for content in messages or ("Hello",)]
    return Request({"model": "m", "messages": said, "system": [text(system)]})


def system_of(request: Request) -> str:
    return "\n".join(block["text"] for block in request.system)


def told(request: Request) -> str:
    return str(request.messages[0]["content"][0]["text"])


@pytest.mark.parametrize("prompt", [OLDER, NEWER], ids=["older", "newer"])
def test_two_projects_share_their_system_prompt(prompt: str) -> None:
    here, there = (
        stabilise(request(prompt.format(folder=f"/home/{name}/code", branch=name))) for name in ("anna", "otto")
    )
    assert system_of(here) == system_of(there)
    for name, done in (("anna", here), ("otto", there)):
        assert told(done).startswith(f"<system-reminder>\n{INTRODUCTION}")
        assert f"/home/{name}/code" in told(done) and name in told(done)
        assert done.messages[0]["content"][1] == text("Hello")
        assert stabilise(done) is done


def test_the_environment_moves_whole_and_the_rest_stays() -> None:
    done = stabilise(request(OLDER.format(folder="/srv/app", branch="main")))
    assert system_of(done) == "You help.\n\nYou are a model."
    assert ENV.format(folder="/srv/app") in told(done)
    assert "89e3407" in told(done)
    done = stabilise(request(NEWER.format(folder="/srv/app", branch="main")))
    assert "# Environment" not in system_of(done) and " - Platform: linux" in told(done)
    assert "# Memory\n\nWrite them well." in system_of(done)
    assert system_of(done).endswith("# Style\nBe brief. See ~/.claude/settings.json and /usr/bin/env.")


def test_a_heading_with_nothing_left_below_moves_too() -> None:
    done = stabilise(
        request("You help.\n\n# Scratchpad\n\nUse /tmp/x/0b5c8f1e-1111-4222-8333-123456789abc/pad.\n\n# End\nBye.")
    )
    assert system_of(done) == "You help.\n\n# End\nBye."
    assert "# Scratchpad\n\nUse /tmp/x/0b5c8f1e-1111-4222-8333-123456789abc/pad." in told(done)


def test_a_line_that_names_the_project_moves() -> None:
    done = stabilise(request("You help.\nBuild in /srv/app/out.\nWorking directory: /srv/app\n\nRead /etc/hosts."))
    assert working_directory(request("Working directory: /srv/app")) == "/srv/app"
    assert system_of(done) == "Read /etc/hosts."


@pytest.mark.parametrize(
    "system",
    [
        "You help.",
        "You help with `<env>` in /usr/lib and on 2026-03-05, see ~/.claude/agents and $HOME/.claude/x.",
        "<env>\nnever closed",
        "Working directory: /srv/app",  # there is nothing else
    ],
)
def test_nothing_of_a_session_nothing_done(system: str) -> None:
    given = request(system)
    assert stabilise(given) is given


def test_no_user_to_tell_it_to() -> None:
    given = Request({"model": "m", "messages": [], "system": NEWER.format(folder="/srv/app", branch="main")})
    assert stabilise(given) is given


def test_a_directory_that_is_a_slash_moves_no_other_line() -> None:
    done = stabilise(request("Read a/b and c/d.\n\nWorking directory: /"))
    assert system_of(done) == "Read a/b and c/d."
