"""From the records of one run to a page that answers: which strategy was first, and why.

Reads ``records.RunFolder`` and nothing else: no simulation code, no torch, at any time after the
run. ``verdict.verdict`` says it in three lines, ``page.write_report`` writes the page, its Markdown
twin and the figures. A figure is one file in ``figures/``.
"""
