"""What all widgets are made of: a box of knobs, and pieces of HTML that can be clicked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anywidget
import ipywidgets
import traitlets

from anyclaude_lab.views.html import Html

# Redraws when the HTML changes and tells which element with `data-turn` was clicked; arrows go from one to the next.
# The HTML is made by `views`, which escapes; as it is set as content, no script in it would run.
PIECES_JS = """
function render({ model, el }) {
  const near = (event) => event.target.closest("[data-turn]");
  const draw = () => {
    const had = el.contains(document.activeElement) ? document.activeElement.dataset.turn : undefined;
    const tops = [...el.querySelectorAll(".list")].map((list) => list.scrollTop);
    el.innerHTML = model.get("html");
    el.querySelectorAll(".list").forEach((list, at) => { list.scrollTop = tops[at] ?? 0; });
    if (had !== undefined) el.querySelector(`button[data-turn="${CSS.escape(had)}"]`)?.focus();
  };
  const choose = (event) => {
    const found = near(event);
    if (found === null) return;
    model.set("chosen", found.dataset.turn);
    model.save_changes();
  };
  const step = (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const buttons = [...el.querySelectorAll("button[data-turn]")];
    const at = buttons.indexOf(near(event));
    if (by === undefined || at < 0 || buttons[at + by] === undefined) return;
    event.preventDefault();
    buttons[at + by].focus();
  };
  el.addEventListener("click", choose);
  el.addEventListener("keydown", step);
  model.on("change:html", draw);
  draw();
  return () => {
    el.removeEventListener("click", choose);
    el.removeEventListener("keydown", step);
    model.off("change:html", draw);
  };
}
export default { render };
"""


class Pieces(anywidget.AnyWidget):
    """A piece of HTML. `chosen` is the `data-turn` that was clicked last."""

    _esm = PIECES_JS
    html = traitlets.Unicode("").tag(sync=True)
    chosen = traitlets.Unicode("").tag(sync=True)


class Shell(ipywidgets.VBox):  # type: ignore[misc]  # its bases are not typed
    """A widget that shows the same facts where there is no front end for widgets."""

    def __init__(self, knobs: list[ipywidgets.Widget], *pieces: ipywidgets.Widget) -> None:
        row = ipywidgets.HBox(knobs, layout=ipywidgets.Layout(flex_flow="row wrap", align_items="center"))
        super().__init__([row, *pieces])

    def shown(self) -> Html:
        """All facts as they stand now, without a script."""
        raise NotImplementedError

    def said(self) -> str:
        """The same in a line."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.said()}>"

    def _repr_html_(self) -> str:
        return self.shown()

    def _repr_mimebundle_(self, **asked: Any) -> dict[str, Any]:
        """The view of a widget, and what to show without one."""
        bundle: dict[str, Any] = super()._repr_mimebundle_(**asked) or {}
        return {**bundle, "text/plain": repr(self), "text/html": self.shown()}


def dropdown(label: str, options: Any, value: Any, changed: Callable[[], None]) -> ipywidgets.Dropdown:
    """A choice of one; `changed` is called after it was made."""
    return _told(
        ipywidgets.Dropdown(description=label, options=options, value=value, style=_WIDE, layout=_ROOM), changed
    )


def checkbox(label: str, value: bool, changed: Callable[[], None]) -> ipywidgets.Checkbox:
    """Yes or no."""
    return _told(ipywidgets.Checkbox(description=label, value=value, indent=False, layout=_ROOM), changed)


def button(label: str, clicked: Callable[[], None]) -> ipywidgets.Button:
    """Something to do."""
    made = ipywidgets.Button(description=label, layout=ipywidgets.Layout(width="auto"))
    made.on_click(lambda _: clicked())
    return made


def _told(knob: ipywidgets.Widget, changed: Callable[[], None]) -> Any:
    knob.observe(lambda _: changed(), names="value")
    return knob


_WIDE = {"description_width": "initial"}
_ROOM = ipywidgets.Layout(width="auto", max_width="96%", margin="2px 12px 2px 0")
