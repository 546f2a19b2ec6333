"""Undo a run at any point of its life."""
