"""One page with everything an evaluation knows: for committees, for paper, and for a browser on this machine.

:mod:`monitor.report.gather` turns an evaluation into finished texts, :mod:`monitor.report.page` turns those into one
self-contained HTML document. The page asks nothing of the network and works without a script.
"""
