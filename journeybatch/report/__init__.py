"""The report: one HTML page that stands on its own, and what it says of a run or an evaluation.

``page`` turns a Page into HTML and knows nothing of runs; ``run`` and ``evaluation`` make Pages. In between stand plain
values: ``blocks`` for what is read from top to bottom, ``browser`` for the rows one looks through.
"""
