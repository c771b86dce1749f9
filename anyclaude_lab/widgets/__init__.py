"""Notebook widgets over the views."""
