"""Figures, each of a program of its own (docs/development.md), and a demonstration that checks itself."""
