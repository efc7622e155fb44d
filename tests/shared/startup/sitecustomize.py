"""Python runs this at the start of each process that a test starts: it looks for garbage rarely.

A proxy imports millions of objects that stay; looking through them again and again takes a quarter of its start.
"""

import gc

gc.set_threshold(100_000, 20, 20)
