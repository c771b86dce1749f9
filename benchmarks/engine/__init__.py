"""Figures of our own engine, with the stock server beside it. `python -m benchmarks.engine`."""
