"""Detectors as an operator sees them, on generated plants and on labelled files."""
