"""Whether routing rests on what is so: categories, verbosity, first tokens, and what a replay foretells."""
