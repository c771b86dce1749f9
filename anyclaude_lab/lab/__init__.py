"""Recorded sessions as tables, replayed on any backend, measured and judged.

What is measured and how: `metrics/`, one module for each question. Only this package and the widgets import pandas.
"""
