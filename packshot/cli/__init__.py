"""The packshot command, a module for each group of subcommands."""

from packshot.cli.main import app, main

__all__ = ["app", "main"]
