"""What every test starts from: no screen of its own, and no module of an extra that is not installed."""

import os
from importlib.util import find_spec

# the width of whoever runs the tests must not decide what a table shows
os.environ.pop("COLUMNS", None)
collect_ignore = [] if find_spec("numba") else ["monitor/stress/compiled_driver.py"]
