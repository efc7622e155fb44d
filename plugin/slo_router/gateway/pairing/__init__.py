"""Shadow evaluation's side of LiteLLM: which requests may be compared, and how other deployments are asked."""
