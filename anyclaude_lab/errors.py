"""One error tree for everything that can go wrong between Claude Code and a backend.

An `AnyclaudeError` knows the HTTP status and the Messages-API error type it is answered with, whether asking again
can help, and one hint for the person reading. Error types: docs.anthropic.com/en/api/errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Self

# What could forge a line of a log, or move the cursor of the terminal that shows it.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


def printable(text: str) -> str:
    """What others wrote, as one line for a log, a terminal or an error: control characters are spelled out."""
    return text.translate(_CONTROL)


class AnyclaudeError(Exception):
    """Base of the tree. `message` is one sentence: what was found, what is allowed, what to do."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "api_error"
    retryable: ClassVar[bool] = True

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, Any]:
        """The Messages-API envelope: `{"type": "error", "error": {"type", "message"}}`."""
        return {"type": "error", "error": {"type": self.type, "message": self.message}}

    def headers(self) -> dict[str, str]:
        """`retry-after` in whole seconds where known (the client ignores fractions), `x-should-retry` otherwise."""
        if self.retry_after_s is not None:
            return {"retry-after": str(self.retry_after_s)}
        return {} if self.retryable else {"x-should-retry": "false"}

    def unframed(self) -> Self:
        """Itself, for whoever keeps it: without the frames it came through.

        They hold the request that holds the error, and hundreds of such circles in a minute are more than the
        collector is meant for.
        """
        return self.with_traceback(None)


class InvalidRequest(AnyclaudeError):
    """400: the request cannot be served as it is."""

    status, type, retryable = 400, "invalid_request_error", False


class PromptTooLong(InvalidRequest):
    """400 in the exact words by which Claude Code recognises an overflow and compacts by itself."""

    def __init__(self, prompt_tokens: int, window_tokens: int) -> None:
        super().__init__(f"prompt is too long: {prompt_tokens} tokens > {window_tokens} maximum")


class Unauthenticated(AnyclaudeError):
    """401: the backend refused the key."""

    status, type, retryable = 401, "authentication_error", False


class Forbidden(AnyclaudeError):
    """403."""

    status, type, retryable = 403, "permission_error", False


class NotFound(AnyclaudeError):
    """404."""

    status, type, retryable = 404, "not_found_error", False


class WrongMethod(AnyclaudeError):
    """405: the path is known, the method is not."""

    status, type, retryable = 405, "invalid_request_error", False

    def __init__(self, message: str, allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed

    def headers(self) -> dict[str, str]:
        return super().headers() | {"allow": self.allowed}


class RequestTooLarge(AnyclaudeError):
    """413: body over the size cap."""

    status, type, retryable = 413, "request_too_large", False


class RateLimited(AnyclaudeError):
    """429."""

    status, type = 429, "rate_limit_error"


class BackendFailed(AnyclaudeError):
    """500: the backend answered with something that is neither a reply nor a known error."""


class BackendTimeout(AnyclaudeError):
    """504: the backend did not answer within its budget."""

    status, type = 504, "timeout_error"


class BackendUnavailable(AnyclaudeError):
    """529: nothing answers at the backend's address, or it is loading; the client waits and asks again."""

    status, type = 529, "overloaded_error"


class BackendBusy(BackendUnavailable):
    """529: somebody is there, but too busy to say what kind of server it is; the request was not put to it yet."""


class SettingsError(AnyclaudeError):
    """A wrong flag, variable or configuration key: exit code 2, never a stack trace."""

    status, type, retryable = 500, "api_error", False


# What is installed only where it was asked for, and the extra of this package that has it.
EXTRAS = {
    "pandas": "lab",
    "pyarrow": "parquet",
    "duckdb": "duckdb",
    "ray": "ray",
    **dict.fromkeys(("anywidget", "ipywidgets", "matplotlib", "traitlets"), "notebooks"),
}


@contextmanager
def extras() -> Iterator[None]:
    """Around an import of such a thing: where it is missing, SettingsError says how to get it."""
    try:
        yield
    except ModuleNotFoundError as missing:
        name = str(missing.name).partition(".")[0]
        if name not in EXTRAS:
            raise
        raise SettingsError(
            f"This needs {name}, which is not installed: pip install 'anyclaude-lab[{EXTRAS[name]}]'."
        ) from None


class StreamCut(AnyclaudeError):
    """The backend's stream ended before its end; what was sent so far may be incomplete."""


BY_STATUS: dict[int, type[AnyclaudeError]] = {
    400: InvalidRequest,
    401: Unauthenticated,
    402: Forbidden,
    403: Forbidden,
    404: NotFound,
    408: BackendTimeout,
    413: RequestTooLarge,
    422: InvalidRequest,
    429: RateLimited,
    502: BackendUnavailable,
    503: BackendUnavailable,
    504: BackendTimeout,
    529: BackendUnavailable,
}


def for_status(status: int, message: str, *, retry_after_s: int | None = None) -> AnyclaudeError:
    """The error of the tree that fits an HTTP status of a backend; unknown 4xx are 400, the rest 500."""
    kind = BY_STATUS.get(status) or (InvalidRequest if 400 <= status < 500 else BackendFailed)
    return kind(message, retry_after_s=retry_after_s)
