"""sqlite-utils without pandas, which it loads wherever it is installed: half a second and 40 MB nobody here uses."""

from __future__ import annotations

import sys

_absent = "pandas" not in sys.modules
if _absent:
    # an entry of None makes `import pandas` fail as if it were not installed; sqlite-utils does without
    sys.modules["pandas"] = None  # type: ignore[assignment]
try:
    import sqlite_utils
finally:
    if _absent:
        del sys.modules["pandas"]

__all__ = ["sqlite_utils"]
