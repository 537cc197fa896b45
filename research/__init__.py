"""How the documents and the models in the package are made; not installed with it.

Run from the repository's root, as ``python -m research.make_features``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["DOCS"]

DOCS: Final = Path(__file__).parents[1] / "docs"
