"""Proof that moving code about changed nothing: what must stay the same, recorded before and compared after."""
