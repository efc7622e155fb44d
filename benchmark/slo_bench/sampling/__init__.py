"""A workload out of production traffic: read, sampled by strata, and scrubbed before anything is stored. Pure."""
