"""Questions with answers in seconds or a few minutes, a module each: `python -m benchmarks [NAME ...]`.

The first line of a module's docstring is the question. `figures(options)` measures, and gives a table: what the rows
and columns are called, and the numbers in them.
"""
