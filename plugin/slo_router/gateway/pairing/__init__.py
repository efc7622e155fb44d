"""Shadow evaluation's side of LiteLLM: which requests may be compared, and how others are asked."""
