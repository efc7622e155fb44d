"""Reports from the request records: spend and the baseline's cost, attainment and quality.

Redis stream, JSONL files → journal → recorded ─→ counterfactual → tally → report → tables, JSON, CSV, HTML
                                               └→ redecision → replay
"""
