"""Python runs this at the start of each process that a test starts. It makes garbage collections rare.

A proxy imports millions of lasting objects. Scanning them again and again takes a quarter of its start.
"""

import gc

gc.set_threshold(100_000, 20, 20)
