"""Whether the benchmark agent measures right, foresees its runs, and keeps up."""
