"""Packshot: from a product catalog to permanent, traceable product images."""

__version__ = "0.1.0"
