"""A page that needs nothing else: the pieces, what they look like, and a policy that lets nothing be loaded or run."""

from __future__ import annotations

from importlib import resources

from anyclaude_lab.views.html import Child, Html, joined, tag

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def style() -> Html:
    """`style.css` as an element."""
    return tag("style", Html(resources.files(__package__).joinpath("style.css").read_text("utf-8")))


def document(title: str, *parts: Child) -> str:
    """The page. The parts stand in its `main`."""
    head = joined(
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        style(),
    )
    body = tag("body", tag("main", *parts), class_="facts page")
    return "<!doctype html>" + tag("html", tag("head", head), body, lang="en")
