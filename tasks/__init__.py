"""Prefect tasks: each a thin wrapper around one function of packshot."""
