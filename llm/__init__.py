"""Asking language models: one client of OpenAI-compatible endpoints for the data scripts and the evaluation."""
