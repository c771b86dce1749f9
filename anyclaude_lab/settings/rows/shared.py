"""Keys that stand in the blocks of several modes."""

from __future__ import annotations

from dataclasses import replace

from anyclaude_lab.settings.kinds import Choice, Kind, Names, Switch, Text
from anyclaude_lab.settings.rows.row import Setting

TIERS = ("off", "minimal", "moderate", "aggressive", "extreme", "auto")
ADAPTERS = ("auto", "qwen", "mistral", "llama", "generic", "none")

_TRANSLATING = (
    Setting(
        "smallModel",
        Text("the id of a model"),
        "Model for Claude Code's background requests (titles, summaries, checks).",
        unset="the same model",
        env=("ANYCLAUDE_SMALL_MODEL",),
    ),
    Setting(
        "filterTier",
        Choice(TIERS),
        "How much of Claude Code's system prompt is left out: minimal the least, extreme the most; auto decides at "
        "the first request of a conversation, by the model's window.",
        env=("ANYCLAUDE_FILTER_TIER",),
        flag="--filter-tier",
        flag_value="TIER",
    ),
    Setting(
        "adapter",
        Choice(ADAPTERS),
        "Family whose habits the prompt is adapted to; auto goes by the model's name.",
        default="auto",
        env=("ANYCLAUDE_ADAPTER",),
        flag="--adapter",
        flag_value="FAMILY",
    ),
    Setting(
        "stubToolDescriptions",
        Switch(),
        "Replace long tool descriptions by one line each.",
        default=False,
        env=("ANYCLAUDE_STUB_TOOLS",),
        flag="--stub-tools",
        off_flag="--no-stub-tools",
        flag_alone=True,
    ),
    Setting(
        "fullToolDescriptions",
        Names(),
        "Tools whose descriptions are not replaced.",
        unset="none",
    ),
    Setting(
        "deferMcpTools",
        Switch(),
        "Name the tools of MCP servers only, where they are many, and define one when the model asks for it.",
        default=False,
    ),
    Setting(
        "loopHint",
        Switch(),
        "Tell a model that makes the same tool call with the same result a third time that it goes in a circle.",
        default=False,
        env=("ANYCLAUDE_LOOP_HINT",),
    ),
    Setting(
        "stabilisePrefix",
        Switch(),
        "Tell what differs between sessions (folders, git status, date) in the first user turn, so that a prompt "
        "cache holds from one session to the next.",
        default=True,
        env=("ANYCLAUDE_STABILISE",),
    ),
    Setting(
        "toolAllowlist",
        Names(),
        "Tools that the model may use; upper and lower case are the same. [] allows none.",
        unset="all tools",
        env=("ANYCLAUDE_TOOL_ALLOWLIST",),
    ),
    Setting(
        "stripBilling",
        Switch(),
        "Remove the attribution block, which differs in every conversation and so defeats prompt caches.",
        default=True,
    ),
)


def every_backend(mode: str) -> tuple[Setting, ...]:
    """Keys that stand in the block of every mode."""
    chosen_if = "Whether this backend may be used. Where nothing names a `backend`, the one enabled here is taken."
    return (
        Setting(
            f"backends.{mode}.enabled",
            Switch(),
            chosen_if,
            unset="true",
            env=("MLX_CLUSTER_ENABLED",) if mode == "mlx-cluster" else (),
        ),
        Setting(f"backends.{mode}.description", Kind(), "A note to yourself.", unset="no note"),
    )


def translating(mode: str, tier: str) -> tuple[Setting, ...]:
    """Keys that stand in the block of every mode that rewrites requests for another API; `tier`: its default."""
    return tuple(
        replace(row, key=f"backends.{mode}.{row.key}", default=tier if row.key == "filterTier" else row.default)
        for row in _TRANSLATING
    )
