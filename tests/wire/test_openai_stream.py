"""Rules 19-25, 31, 34: a streamed completion of any server as one legal Messages stream."""

from typing import Any

import orjson
import pytest

from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.events import JsonObject, Usage
from anyclaude_lab.wire.openai_blocks import PLACEHOLDER_SIGNATURE
from anyclaude_lab.wire.openai_dialect import LLAMA_CPP, MLX_LM
from anyclaude_lab.wire.openai_reply import HELD_CHARS
from anyclaude_lab.wire.openai_stream import LOST_CALL, OpenAIStreamDecoder, reply_context
from anyclaude_lab.wire.request import Request
from anyclaude_lab.wire.tool_names import ToolNames
from anyclaude_lab.wire.tool_text import CallPiece, OfferedTools, Piece, TextPiece
from tests.wire.openai_streams import CONTEXT, TOOLS, chunk, decode, piece, sse, usage_chunk

LS = '{"command": "ls -la"}'


def kinds(decoded: Any) -> list[str]:
    return [block["type"] for block in decoded.content]


class Bracketed:
    """A parser of `<<Name {...}>>`, as small as one can be."""

    def __init__(self, offered: OfferedTools) -> None:
        self.offered, self.held = offered, ""

    def feed(self, text: str) -> list[Piece]:
        self.held += text
        pieces: list[Piece] = []
        while "<<" in self.held and ">>" in self.held:
            before, _, rest = self.held.partition("<<")
            call, _, self.held = rest.partition(">>")
            name, _, arguments = call.partition(" ")
            pieces.append(TextPiece(before))
            pieces.append(CallPiece(name, arguments) if name in self.offered else TextPiece(f"<<{call}>>"))
        return pieces

    def alarms(self) -> str | None:
        return None

    def passes(self, text: str) -> bool:
        return False

    def close(self) -> list[Piece]:
        return [TextPiece(self.held)] if self.held else []


# --- text, and the frame around it


def test_text_becomes_one_block() -> None:
    reply = decode([chunk(role="assistant", content=""), chunk(content="Hel"), chunk(content="lo"), chunk("stop")])
    assert reply.content == [{"type": "text", "text": "Hello"}]
    assert reply.ended == "end_turn"
    assert [e.type for e in reply.events] == [
        "message_start", "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
        "message_delta", "message_stop",
    ]  # fmt: skip


def test_the_requested_model_is_echoed_not_the_backends() -> None:
    assert decode([chunk(content="x"), chunk("stop")]).message["model"] == "claude-opus-5-5"


def test_content_and_finish_may_share_a_chunk() -> None:
    reply = decode([chunk(content="a"), chunk("stop", content="b")])
    assert (reply.text, reply.ended) == ("ab", "end_turn")


def test_a_call_and_its_finish_may_share_a_chunk() -> None:
    entry = {"index": 0, "id": "x", "function": {"name": "Bash", "arguments": LS}}
    reply = decode([chunk("tool_calls", tool_calls=[entry])])
    assert (reply.calls, reply.ended) == ([("Bash", {"command": "ls -la"})], "tool_use")


def test_only_the_first_of_several_choices_is_read() -> None:
    second = {"index": 1, "delta": {"content": "other"}, "finish_reason": "stop"}
    both = chunk(content="one") | {"choices": [chunk(content="one")["choices"][0], second]}
    assert decode([both, chunk("stop")]).text == "one"


def test_nothing_follows_message_stop() -> None:
    reply = decode([chunk(content="a"), chunk("stop"), usage_chunk(), usage_chunk(7, 7), chunk(content="late")])
    assert reply.events[-1].type == "message_stop"
    assert (reply.text, reply.decoder.usage.prompt_tokens) == ("a", 100)


@pytest.mark.parametrize(
    "noise", [b"data: not json\n\n", b"data: 17\n\n", b"data:\n\n", b": OPENROUTER PROCESSING\n\n", b"id: 3\n\n"]
)
def test_noise_between_chunks_is_passed_over(noise: bytes) -> None:
    reply = decode([noise, chunk(content="a"), noise, chunk("stop"), noise])
    assert (reply.text, reply.ending) == ("a", Ending.COMPLETE)


def test_done_may_be_missing_or_unterminated_and_garbage_may_follow() -> None:
    body = sse([chunk(content="a"), chunk("stop")], done=False)
    for end in (b"", b"data: [DONE]", b"data:[DONE]\r\n\r\n", b"data: [DONE]\n\n\x00garbage{{"):
        assert decode(body + end).text == "a"


def test_the_last_chunk_counts_without_its_blank_line() -> None:
    assert decode(sse([chunk(content="a"), chunk("stop")], done=False).rstrip()).ended == "end_turn"


def test_blank_text_opens_no_block() -> None:
    reply = decode([chunk(content="\n\n"), piece(LS, name="Bash", id="a"), chunk(content=" \n"), chunk("tool_calls")])
    assert kinds(reply) == ["tool_use"]


def test_blanks_before_text_are_kept() -> None:
    assert decode([chunk(content="  "), chunk(content="x = 1"), chunk("stop")]).text == "  x = 1"


def test_start_can_be_had_before_the_first_byte() -> None:
    decoder = OpenAIStreamDecoder(CONTEXT, MLX_LM)
    assert [e.type for e in decoder.start()] == ["message_start"]
    assert decoder.start() == []
    assert "message_start" not in [e.type for e in decoder.feed(sse([chunk(content="a"), chunk("stop")]))]


def test_an_empty_reply_is_an_empty_message() -> None:
    reply = decode([chunk("stop"), usage_chunk(10, 1)])
    assert (reply.content, reply.ended) == ([], "end_turn")


def test_mistral_content_lists_are_read() -> None:
    # docs.mistral.ai/capabilities/reasoning: content is a list of typed parts
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    reply = decode([chunk(content=[thinking]), chunk(content=[{"type": "text", "text": "yes"}]), chunk("stop")])
    assert (reply.thinking, reply.text) == ("hm", "yes")


# --- rule 20: tool calls in pieces

CALLS = {
    "as OpenAI writes it": [
        piece("", name="Bash", id="call_1"), piece('{"comma'), piece('nd": "ls '), piece('-la"}')
    ],
    "whole (mlx-lm)": [piece(LS, name="Bash", id="8a1f")],
    "id late": [piece("", name="Bash"), piece(LS, id="call_1")],
    "id repeated": [piece('{"command": ', name="Bash", id="c"), piece('"ls -la"}', id="c")],
    "id new with every piece": [piece('{"command": ', name="Bash", id="c1"), piece('"ls -la"}', id="c2")],
    "id and index absent": [piece('{"command": ', name="Bash", index=None), piece('"ls -la"}', index=None)],
    "name repeated": [piece('{"command": ', name="Bash", id="c"), piece('"ls -la"}', name="Bash")],
    "name null first": [chunk(tool_calls=[{"index": 0, "id": "c", "function": {"name": None, "arguments": ""}}]),
                        piece(LS, name="Bash")],
    "name in pieces": [piece("", name="Ba", id="c"), piece("", name="sh"), piece(LS)],
    "name growing": [piece("", name="Ba", id="c"), piece("", name="Bash"), piece(LS)],
    "name behind the arguments": [piece('{"command": ', id="c"), piece('"ls -la"}', name="Bash")],
    "name in small letters": [piece(LS, name="bash", id="c")],
    "arguments an object": [piece({"command": "ls -la"}, name="Bash", id="c")],
    "arguments null first": [
        chunk(tool_calls=[{"index": 0, "id": "c", "function": {"name": "Bash", "arguments": None}}]), piece(LS)
    ],
    "arguments sent again at the end": [piece('{"command"', name="Bash", id="c"), piece(': "ls -la"}'),
                                        piece(LS, name="Bash", id="c")],
    "arguments sent again under a new id": [piece(LS, name="Bash", id="c"), piece(LS, name="Bash", id="d")],
    "garbage behind the arguments": [piece(LS + "}", name="Bash", id="c"), piece("\n\n")],
    "arguments encoded twice (mlx-lm)": [piece('"{\\"command\\": \\"ls -la\\"}"', name="Bash", id="c")],
    "blanks around": [piece("\n ", name="Bash", id="c"), piece(LS + " ")],
    "function_call": [chunk(function_call={"name": "Bash", "arguments": '{"command": '}),
                      chunk(function_call={"arguments": '"ls -la"}'})],
}  # fmt: skip


@pytest.mark.parametrize("pieces", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("finish", ["tool_calls", "stop", "function_call"])
def test_a_call_in_any_pieces_is_one_call(pieces: list[Any], finish: str) -> None:
    reply = decode([chunk(content="Let me look."), *pieces, chunk(finish)])
    assert kinds(reply) == ["text", "tool_use"]
    assert reply.calls == [("Bash", {"command": "ls -la"})]
    assert reply.ended == "tool_use"


def test_input_travels_in_deltas_only_and_as_it_came() -> None:
    long = "x" * HELD_CHARS  # a shorter call goes out whole
    reply = decode(
        [piece("", name="Bash", id="c"), piece('{"command" :"' + long), piece(" ls"), piece('"}'), chunk("tool_calls")]
    )
    starts = [e.data["content_block"] for e in reply.events if e.type == "content_block_start"]
    deltas = [e.data["delta"] for e in reply.events if e.type == "content_block_delta"]
    assert starts[0]["input"] == {}
    assert [d["partial_json"] for d in deltas] == ['{"command" :"' + long, " ls", '"}']


@pytest.mark.parametrize("arguments", [None, "", "{}", {}, "null", " "])
def test_a_call_without_arguments_has_an_empty_object(arguments: Any) -> None:
    reply = decode([piece(arguments, name="ListAgents", id="c"), chunk("tool_calls")])
    assert (reply.calls, reply.ended) == ([("ListAgents", {})], "tool_use")


def test_ids_are_our_own_and_never_repeat() -> None:
    # Several servers number calls from 0 in every reply; the client would mix up the results of two turns.
    entries = [
        piece(LS, name="Bash", id="call_0", index=0),
        piece('{"file_path": "/a"}', name="Read", id="call_0", index=1),
    ]
    first = decode([*entries, chunk("tool_calls")])
    second = decode([*entries, chunk("tool_calls")], message_id="msg_next")
    ids = [block["id"] for reply in (first, second) for block in reply.content]
    assert len(set(ids)) == 4
    assert all(i.startswith("toolu_") and i.replace("_", "").isalnum() for i in ids)
    assert first.content == decode([*entries, chunk("tool_calls")]).content


def test_several_calls_come_one_after_the_other() -> None:
    reply = decode([
        piece("", name="Bash", id="a", index=0), piece(LS, index=0),
        piece('{"file_path"', name="Read", id="b", index=1), piece(': "/a"}', index=1), chunk("tool_calls"),
    ])  # fmt: skip
    assert reply.calls == [("Bash", {"command": "ls -la"}), ("Read", {"file_path": "/a"})]


def test_interleaved_calls_wait_for_their_turn() -> None:
    reply = decode([
        piece('{"comm', name="Bash", id="a", index=0), piece('{"file', name="Read", id="b", index=1),
        piece('and": "l', index=0), piece('_path": "/a', index=1), chunk(content="Two at once."),
        piece('s -la"}', index=0), piece('"}', index=1), chunk("tool_calls"),
    ])  # fmt: skip
    assert reply.calls == [("Bash", {"command": "ls -la"}), ("Read", {"file_path": "/a"})]
    assert reply.text == "Two at once."


def test_whole_calls_that_all_have_index_zero_are_told_apart() -> None:
    # Gemini's OpenAI endpoint and older Ollama
    reply = decode([piece(LS, name="Bash", id="a"), piece('{"command": "pwd"}', name="Bash", id="b"), chunk("stop")])
    assert [arguments["command"] for _, arguments in reply.calls] == ["ls -la", "pwd"]


def test_calls_without_index_are_told_apart_by_their_names() -> None:
    # ml-explore/mlx-lm#598, lmstudio-ai/lmstudio-bug-tracker#830: no index
    reply = decode([
        piece(LS, name="Bash", id="a", index=None), piece('{"file_path": "/a"}', name="Read", id="b", index=None),
        chunk("tool_calls"),
    ])  # fmt: skip
    assert [name for name, _ in reply.calls] == ["Bash", "Read"]


def test_a_call_without_arguments_does_not_swallow_the_next() -> None:
    reply = decode([
        piece("", name="ListAgents", id="a", index=0), piece("", name="Bash", id="b", index=1), piece(LS, index=1),
        chunk("tool_calls"),
    ])  # fmt: skip
    assert reply.calls == [("ListAgents", {}), ("Bash", {"command": "ls -la"})]


def test_text_between_calls_stays_between_them() -> None:
    reply = decode([
        chunk(content="a"), piece(LS, name="Bash", id="x", index=0), chunk(content="b"),
        piece(LS, name="Bash", id="y", index=1), chunk("tool_calls"),
    ])  # fmt: skip
    assert kinds(reply) == ["text", "tool_use", "text", "tool_use"]


def test_a_string_that_holds_a_list_is_mended_where_the_schema_wants_a_list() -> None:
    arguments = '{"todos": "[{\\"content\\": \\"x\\"}]", "note": "[1]"}'
    reply = decode([piece(arguments[:20], name="TodoWrite", id="c"), piece(arguments[20:]), chunk("tool_calls")])
    assert reply.calls == [("TodoWrite", {"todos": [{"content": "x"}], "note": "[1]"})]


def test_right_arguments_are_passed_unchanged_where_the_schema_wants_a_list() -> None:
    arguments = '{ "todos":[],"note" :"x" }'
    reply = decode([piece(arguments, name="TodoWrite", id="c"), chunk("tool_calls")])
    assert [e.data["delta"]["partial_json"] for e in reply.events if e.type == "content_block_delta"] == [arguments]


def test_a_raw_line_break_inside_a_string_is_mended() -> None:
    reply = decode([piece('{"todos": [{"content": "a\nb"}]}', name="TodoWrite", id="c"), chunk("tool_calls")])
    assert reply.calls == [("TodoWrite", {"todos": [{"content": "a\nb"}]})]


def test_a_tool_nobody_offered_is_passed_on_when_the_server_calls_it() -> None:
    # The client answers it with an error result, from which the model recovers.
    reply = decode([piece(LS, name="Shell", id="c"), chunk("tool_calls")])
    assert (reply.calls, reply.ended) == ([("Shell", {"command": "ls -la"})], "tool_use")


def test_shortened_names_come_back_whole() -> None:
    long = "mcp__" + "server_" * 12 + "do"
    names = ToolNames.for_tools([long])
    reply = decode(
        [piece("{}", name=names.to_backend(long), id="c"), chunk("tool_calls")], names=names, offered={long: {}}
    )
    assert reply.calls == [(long, {})]


def test_calls_written_as_text_are_found_by_the_parser() -> None:
    chunks = [chunk(content="Now <<Ba"), chunk(content=f"sh {LS}>> and <<Shell {{}}>>."), chunk("stop")]
    reply = decode(chunks, parser=Bracketed)
    assert kinds(reply) == ["text", "tool_use", "text"]
    assert reply.calls == [("Bash", {"command": "ls -la"})]
    assert (reply.text, reply.ended) == ("Now  and <<Shell {}>>.", "tool_use")


def test_text_the_parser_held_comes_before_a_structured_call() -> None:
    reply = decode([chunk(content="a <<half"), piece(LS, name="Bash", id="c"), chunk("tool_calls")], parser=Bracketed)
    assert (kinds(reply), reply.text) == (["text", "tool_use"], "a <<half")


def test_the_parser_knows_shortened_names_too() -> None:
    long = "mcp__" + "server_" * 12 + "do"
    names = ToolNames.for_tools([long])
    for written in (long, names.to_backend(long)):
        body = [chunk(content=f"<<{written} {{}}>>"), chunk("stop")]
        assert decode(body, names=names, offered={long: {}}, parser=Bracketed).calls == [(long, {})]


# --- rule 21: why it ended

REASONS = {
    "stop": "end_turn", "length": "max_tokens", "content_filter": "refusal", "eos_token": "end_turn",
    "unknown": "end_turn",
}  # fmt: skip


@pytest.mark.parametrize(("finish", "reason"), REASONS.items())
def test_finish_reasons_of_plain_text(finish: str, reason: str) -> None:
    assert decode([chunk(content="x"), chunk(finish)]).ended == reason


@pytest.mark.parametrize("finish", ["stop", "tool_calls", "eos_token"])
def test_a_delivered_call_is_tool_use_whatever_the_server_says(finish: str) -> None:
    # Ollama says stop; BerriAI/litellm#34692
    assert decode([piece(LS, name="Bash", id="c"), chunk(finish)]).ended == "tool_use"


def test_done_without_a_finish_reason_is_an_end() -> None:
    assert decode([chunk(content="x")]).ended == "end_turn"
    assert decode([piece(LS, name="Bash", id="c")]).ended == "tool_use"


def test_a_dropped_call_is_said_to_the_user() -> None:
    # mlx-lm 0.32: a call its parser cannot read vanishes, finish_reason stays tool_calls
    assert decode([chunk("tool_calls")], dialect=MLX_LM).content == [{"type": "text", "text": LOST_CALL}]
    reply = decode([chunk(content="I will list them."), chunk("tool_calls")], dialect=MLX_LM)
    assert (reply.text, reply.ended) == (f"I will list them.\n\n{LOST_CALL}", "end_turn")


def test_a_dropped_call_that_stands_in_the_text_is_rescued() -> None:
    reply = decode([chunk(content=f"<<Bash {LS}>>"), chunk("tool_calls")], parser=Bracketed)
    assert (reply.calls, reply.ended) == ([("Bash", {"command": "ls -la"})], "tool_use")


@pytest.mark.parametrize("name", ["Bash", "TodoWrite"])
def test_a_call_cut_by_max_tokens_is_closed_unmended_and_said_to_be_cut(name: str) -> None:
    reply = decode([piece('{"command": "ls', name=name, id="c"), chunk("length")])
    assert reply.ended == "max_tokens"
    deltas = [e.data["delta"]["partial_json"] for e in reply.events if e.type == "content_block_delta"]
    assert "".join(deltas) == '{"command": "ls'


def test_a_stop_sequence_is_named_where_the_server_names_it() -> None:
    # vLLM: choices[].stop_reason; SGLang: matched_stop
    for field in ("stop_reason", "matched_stop"):
        reply = decode([chunk(content="x"), chunk("stop", choice={field: "END"})], stop_sequences=("END",))
        assert (reply.ended, reply.message["stop_sequence"]) == ("stop_sequence", "END")
    assert decode([chunk(content="x"), chunk("stop", choice={"stop_reason": 151645})]).ended == "end_turn"


def test_a_refusal_is_shown() -> None:
    assert decode([chunk(refusal="I cannot."), chunk("content_filter")]).text == "I cannot."


# --- rules 22, 23, 34: usage


def test_usage_behind_the_finish_is_used() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 90}}
    reply = decode([chunk(content="x"), chunk("stop"), usage_chunk(100, 7, **details)])
    usage = reply.message["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (10, 90, 7)
    assert usage["cache_creation_input_tokens"] == 0
    assert reply.decoder.usage == Usage(100, 90, 7)


def test_the_rest_is_cache_creation_where_the_client_asked_for_caching() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 90}}
    reply = decode([chunk(content="x"), chunk("stop"), usage_chunk(100, 7, **details)], cache_was_asked=True)
    usage = reply.message["usage"]
    assert (usage["input_tokens"], usage["cache_creation_input_tokens"], usage["cache_read_input_tokens"]) == (
        1,
        9,
        90,
    )


def test_input_tokens_are_never_zero_so_that_the_client_drops_the_estimate() -> None:
    """Claude Code keeps `message_start`'s estimate where the end says 0, and counts the cached tokens on top."""
    for cached in (0, 40, 99, 100):
        usage = Usage(100, cached, 7).as_anthropic(cache_was_asked=True)
        counts = [count for name, count in usage.items() if name != "output_tokens"]
        assert usage["input_tokens"] > 0
        assert sum(counts) == 100


def test_the_estimate_stands_until_the_backend_reports() -> None:
    reply = decode([chunk(content="12345678"), chunk("stop"), usage_chunk(100, 7)])
    assert reply.events[0].data["message"]["usage"]["input_tokens"] == 1000
    assert reply.message["usage"]["input_tokens"] == 100
    silent = decode([chunk(content="12345678"), chunk("stop")])
    assert (silent.message["usage"]["input_tokens"], silent.message["usage"]["output_tokens"]) == (1000, 2)
    assert silent.decoder.usage == Usage()


def test_usage_with_every_chunk_ends_with_the_last() -> None:
    # vLLM: continuous_usage_stats; LocalAI: zeros until the end
    counts = [{"usage": {"prompt_tokens": p, "completion_tokens": o}} for p, o in ((0, 0), (100, 1), (100, 2))]
    body = [chunk(content="x") | counts[0], chunk(content="y") | counts[1], chunk("stop") | counts[2]]
    assert decode(body).decoder.usage == Usage(100, None, 2)


CACHED: dict[str, JsonObject] = {
    "DeepSeek": {"usage": {"prompt_tokens": 100, "completion_tokens": 5, "prompt_cache_hit_tokens": 64}},
    "Moonshot": {"usage": {"prompt_tokens": 100, "completion_tokens": 5, "cached_tokens": 64}},
    "llama.cpp": {"timings": {"cache_n": 64, "prompt_n": 36, "prompt_ms": 1.0, "predicted_n": 5, "predicted_ms": 2.0}},
    "Groq": {"x_groq": {"usage": {"prompt_tokens": 100, "completion_tokens": 5,
                                  "prompt_tokens_details": {"cached_tokens": 64}}}},
}  # fmt: skip


@pytest.mark.parametrize("counts", CACHED.values(), ids=CACHED)
def test_cached_tokens_under_every_name(counts: Any) -> None:
    assert decode([chunk(content="x"), chunk("stop") | counts]).decoder.usage == Usage(100, 64, 5)


def test_a_count_that_is_not_repeated_stands() -> None:
    # Some servers send the prompt's count with the first chunk only
    body = [chunk(content="x") | {"usage": {"prompt_tokens": 100}}, chunk("stop") | {"usage": {"completion_tokens": 2}}]
    assert decode(body).decoder.usage == Usage(100, None, 2)


def test_reasoning_tokens_are_output() -> None:
    # xAI: in total_tokens only
    reply = decode([chunk(content="x"), chunk("stop"), usage_chunk(100, 5, total_tokens=150)])
    assert reply.message["usage"]["output_tokens"] == 50


def test_counts_are_never_scaled() -> None:
    reply = decode([chunk(content="x"), chunk("stop"), usage_chunk(31_000, 5)])
    usage = reply.message["usage"]
    assert sum(usage[k] for k in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")) == 31_000


def test_the_backends_own_numbers_are_kept() -> None:
    reply = decode([chunk(content="x"), chunk("stop") | CACHED["llama.cpp"], usage_chunk(100, 5, cost=0.001)])
    assert reply.decoder.reported["timings"]["prompt_ms"] == 1.0
    assert reply.decoder.reported["usage"]["cost"] == 0.001


# --- prefill progress


def test_prefill_progress_of_mlx_lm_and_llama_cpp() -> None:
    mlx = OpenAIStreamDecoder(CONTEXT, MLX_LM)
    assert mlx.feed(b": keepalive 2048/8192\n\n: ping\n\n") == []
    assert mlx.progress == (2048, 8192)
    llama = OpenAIStreamDecoder(CONTEXT, LLAMA_CPP)
    seen = {"prompt_progress": {"total": 900, "cache": 100, "processed": 300, "time_ms": 5}}
    assert llama.feed(sse([chunk(role="assistant", content=None) | seen], done=False)) == []
    assert llama.progress == (300, 900)


# --- rule 24: reasoning

REASONING = {
    "DeepSeek, vLLM, LM Studio": [chunk(reasoning_content="think "), chunk(reasoning_content="more")],
    "mlx-lm, Ollama": [chunk(reasoning="think "), chunk(reasoning="more")],
    "both names": [chunk(reasoning="think ", reasoning_content="think "),
                   chunk(reasoning="more", reasoning_content="more")],
    "OpenRouter": [chunk(reasoning="think more",
                         reasoning_details=[{"type": "reasoning.text", "text": "think more"}])],
    "details only": [chunk(reasoning_details=[{"type": "reasoning.text", "text": "think more"},
                                              {"type": "reasoning.encrypted", "data": "xxxx"}])],
    "inline": [chunk(content="<think>think more</think>\n\n")],
    "inline, cut": [chunk(content="<th"), chunk(content="ink>think"), chunk(content=" more</"), chunk(content="think>"),
                    chunk(content="\n\n")],
    "inline behind blanks": [chunk(content="\n<think>"), chunk(content="think more</think>\n")],
    "inline, Mistral": [chunk(content="[THINK]think more[/THINK]")],
}  # fmt: skip


@pytest.mark.parametrize("pieces", REASONING.values(), ids=REASONING)
def test_reasoning_in_every_spelling_is_a_signed_block_before_the_text(pieces: list[Any]) -> None:
    reply = decode([*pieces, chunk(content="Yes."), chunk("stop")])
    assert reply.content == [
        {"type": "thinking", "thinking": "think more", "signature": PLACEHOLDER_SIGNATURE},
        {"type": "text", "text": "Yes."},
    ]


@pytest.mark.parametrize("pieces", REASONING.values(), ids=REASONING)
def test_reasoning_nobody_asked_to_see_is_dropped(pieces: list[Any]) -> None:
    reply = decode([*pieces, chunk(content="Yes."), chunk("stop")], show_thinking=False)
    assert [block["type"] for block in reply.content] == ["text"]
    assert reply.text.strip() == "Yes."


def test_reasoning_after_text_is_a_block_of_its_own() -> None:
    reply = decode([chunk(content="a"), chunk(reasoning="b"), piece(LS, name="Bash", id="c"), chunk(reasoning="d"),
                    chunk(content="e"), chunk("tool_calls")])  # fmt: skip
    assert kinds(reply) == ["text", "thinking", "tool_use", "thinking", "text"]


def test_a_closing_tag_that_nothing_opened_is_taken_out_and_remembered() -> None:
    # Templates of DeepSeek-R1 and Qwen3-Thinking open the block themselves
    chunks = [chunk(content="I should look.\n</th"), chunk(content="ink>\n\nYes."), chunk("stop")]
    reply = decode(chunks)
    assert (reply.text, reply.decoder.closed_unopened_reasoning) == ("I should look.\n\n\nYes.", True)
    next_reply = decode(chunks, starts_in_reasoning=True)
    assert (next_reply.thinking, next_reply.text) == ("I should look.\n", "Yes.")


def test_a_closing_tag_counts_at_the_beginning_of_a_line_only() -> None:
    parts = [chunk(content="I should look,"), chunk(content=" twice.\n"), chunk(content="</think>Yes."), chunk("stop")]
    assert decode(parts).text == "I should look, twice.\nYes."
    parts[1] = chunk(content=" twice. ")
    assert decode(parts).text == "I should look, twice. </think>Yes."


def test_tags_in_the_middle_of_a_sentence_are_text() -> None:
    text = "The <think> tag is closed by </think>, and `</think>` too."
    assert decode([chunk(content=text), chunk("stop")]).text == text


def test_an_unclosed_reasoning_block_is_reasoning() -> None:
    reply = decode([chunk(content="<think>on and on"), chunk("length")])
    assert (reply.thinking, reply.ended) == ("on and on", "max_tokens")


# --- rule 25: special tokens


@pytest.mark.parametrize("token", ["<|im_end|>", "<|eot_id|>", "<end_of_turn>", "[TOOL_CALLS]", "<|tool_call|>"])
def test_leaked_tokens_are_stripped_wherever_they_are_cut(token: str) -> None:
    for cut in range(len(token) + 1):
        body = [chunk(content="yes" + token[:cut]), chunk(content=token[cut:]), chunk("stop")]
        assert decode(body).text == "yes"


@pytest.mark.parametrize(
    "text",
    [
        "```\n<|im_end|>\n```\n",
        "the token `<|im_end|>` ends a turn",
        "~ < | [ a[0] <b> [TOOL_CALL <|im_en",
        "````\n```\n<|im_end|>\n````",
        "x[i] < y",
    ],
)
def test_what_the_user_asked_to_see_stays(text: str) -> None:
    for size in (1, 3, 1000):
        pieces = [chunk(content=text[at : at + size]) for at in range(0, len(text), size)]
        assert decode([*pieces, chunk("stop")]).text == text


def test_tokens_behind_code_are_stripped_again() -> None:
    text = "`a` <|im_end|>```\n<|im_end|>\n```\n<|im_end|>an `unclosed\n<|im_end|>"
    body = [*(chunk(content=c) for c in text), chunk("stop")]
    assert decode(body).text == "`a` ```\n<|im_end|>\n```\nan `unclosed\n"


def test_a_familys_own_tokens_are_stripped() -> None:
    assert decode([chunk(content="yes</s>"), chunk("stop")], special_tokens=("</s>",)).text == "yes"


# --- rule 31: replies that are no stream


def completion(**message: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant"} | message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107},
    }


def test_a_completion_as_one_json_body_is_read_as_a_reply() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "Bash", "arguments": LS}}
    reply = decode(b"\r\n " + orjson.dumps(completion(content="Look.", reasoning="hm", tool_calls=[call])))
    assert kinds(reply) == ["thinking", "text", "tool_use"]
    assert (reply.ended, reply.decoder.usage) == ("tool_use", Usage(100, None, 7))
    message = reply.message
    assert message["id"].startswith("msg_")
    assert (message["type"], message["role"], message["stop_sequence"]) == ("message", "assistant", None)


def test_null_content_and_unopened_reasoning_in_a_completion() -> None:
    decoder = OpenAIStreamDecoder(CONTEXT, MLX_LM)
    assert decoder.decode_completion(completion(content=None))[-1].type == "message_stop"
    reply = decode(orjson.dumps(completion(content="hm\n</think>\n\nYes.")))
    assert (reply.thinking, reply.text) == ("hm\n", "Yes.")


# --- the context of a reply


def test_the_context_follows_from_the_original_request() -> None:
    body = {
        "model": "claude-x[1m]",
        "max_tokens": 5,
        "messages": [],
        "thinking": {"type": "adaptive"},
        "stop_sequences": ["END"],
        "tools": [
            {"name": "Bash", "input_schema": TOOLS["Bash"]},
            {"name": "WebFetch", "input_schema": {"type": "object"}, "defer_loading": True},
            {"type": "web_search_20250305", "name": "web_search"},
        ],
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
    }
    names = ToolNames.for_tools(["Bash"])
    context = reply_context(Request(body), message_id="msg_1", names=names)
    assert (context.model, context.show_thinking, context.cache_was_asked) == ("claude-x[1m]", True, True)
    assert (list(context.offered), context.stop_sequences) == (["Bash", "WebFetch"], ("END",))
    hidden = Request(body | {"thinking": {"type": "adaptive", "display": "omitted"}, "system": "s"})
    context = reply_context(hidden, message_id="msg_1", names=names)
    assert (context.show_thinking, context.cache_was_asked) == (False, False)
