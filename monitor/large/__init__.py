"""Large private books: a loan tape of thousands of obligors over a million paths, on one machine or on Dask.

:mod:`monitor.large.tape` reads the file, :mod:`monitor.large.cells` makes arrays of its columns,
:mod:`monitor.large.solve` is the work of one chunk and how results are added up, :mod:`monitor.large.local` and
:mod:`monitor.large.on_dask` carry chunks out, :mod:`monitor.large.results` keeps what is finished.

Whatever the engine and however the work is cut, the answer is the same to the last bit: rows and paths are grouped in
blocks of a fixed size, paths come from their number, counts are whole numbers, and sums are added in block order.
"""
