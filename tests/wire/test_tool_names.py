"""Tool names: short where they must be, the same in every request, and back."""

import re

from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.wire.tool_names import ToolNames, short_name

LONG = "mcp__a_server_with_a_long_name__" + "a_tool_with_a_long_name" * 3


def test_legal_names_stay() -> None:
    names = ToolNames.for_tools(["Bash", "mcp__github__create-issue"])
    assert names.to_backend("Bash") == "Bash"
    assert names.to_backend("mcp__github__create-issue") == "mcp__github__create-issue"


@given(st.lists(st.text(min_size=1, max_size=120), unique=True, max_size=8), st.sampled_from([64, 40]))
def test_names_fit_come_back_and_depend_on_nothing_else(originals: list[str], limit: int) -> None:
    names = ToolNames.for_tools(originals, limit)
    for name in originals:
        short = names.to_backend(name)
        assert 0 < len(short) <= limit
        assert re.fullmatch("[A-Za-z0-9_-]+", short)
        assert names.to_client(short) == name
        assert ToolNames.for_tools([], limit).to_backend(name) == short


def test_names_with_a_common_beginning_stay_apart() -> None:
    names = ToolNames.for_tools([LONG + "a", LONG + "b"])
    assert names.to_backend(LONG + "a") != names.to_backend(LONG + "b")


def test_a_difference_in_case_is_mended_where_only_one_tool_can_be_meant() -> None:
    names = ToolNames.for_tools(["Bash", "Read", "read"])
    assert names.to_client("BASH ") == "Bash"
    assert names.to_client("READ") == "READ"
    assert names.to_client("read") == "read"


def test_unknown_names_stay_as_they_are() -> None:
    names = ToolNames.for_tools(["Bash"])
    assert names.to_client("Shell") == "Shell"
    assert not names.offers("Shell")
    assert names.offers("Bash")


def test_characters_no_server_takes_are_replaced() -> None:
    assert short_name("my.tool/x").startswith("my_tool_x_")
