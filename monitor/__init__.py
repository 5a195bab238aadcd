"""Canary: early warning for leveraged compute."""

__version__ = "0.1.0"
