"""What the request records tell: spend and what it would have been, attainment, quality, and what another policy does.

Redis stream, JSONL files → journal → recorded ─→ counterfactual → tally → report → tables, JSON, CSV, HTML
                                               └→ redecision → replay
"""
