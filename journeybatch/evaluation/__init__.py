"""Evaluations: which prompt or model is best over a table, whether the difference is real, and what it costs."""
