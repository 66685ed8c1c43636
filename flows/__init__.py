"""Prefect flows: one file for each that can be deployed."""
