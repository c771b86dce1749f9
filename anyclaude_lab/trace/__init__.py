"""Recorded sessions: one JSON line per exchange, redacted before it is written.

| field | what it is |
|---|---|
| `format`, `version` | `anyclaude-trace`, 1 |
| `session`, `lane`, `agent`, `request_class` | the session, the conversation in it, and what the client calls it |
| `request_id` | our id of the request |
| `at`, `started_s` | wall clock (UTC), and monotonic seconds since the recorder started |
| `request` | `headers` (by allow-list), `body` as text, `body_exact`, `body_sha256`, `stored_sha256` |
| `sent` | what translating did: `steps` of the prompt work, `max_tokens`; null where the bytes went on as they came |
| `response` | `status`, `headers`, `pieces`, `exact`, `sha256`, `stored_sha256` |
| `backend`, `model`, `usage`, `ending`, `stop_reason`, `error`, `*_s` | as in the log line of the request |

`pieces` are `[offset_s, text]` as the client got them, inflated where they travelled compressed; `unread` names a
compression that is not read. `sha256` and `body_sha256` are of the bytes as they were, `stored_sha256` of the text in
the line (UTF-8): equal where `exact` is true. Where it is false something was redacted, which keeps the number of
characters, or cut at a size cap.
"""
