"""The version of this package. Owns the number; reading it from the installed package's metadata takes 3 MB."""

from __future__ import annotations

__version__ = "0.1.0"
