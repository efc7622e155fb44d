"""Proof that moving code changed nothing: what must stay the same is recorded before and compared after."""
