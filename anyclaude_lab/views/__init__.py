"""View models and escaped HTML shared by reprs, report, dashboard and widgets. Pure.

`html` escapes, `figures` writes numbers, `bars` and `charts` draw; the other modules turn facts into pieces of HTML. No
piece has a script, an inline style or an address of another host; `style.css` is what they look like.
"""
