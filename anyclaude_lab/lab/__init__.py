"""Replay, metrics, fidelity, tables."""
