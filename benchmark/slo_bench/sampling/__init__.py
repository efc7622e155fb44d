"""Makes a workload from production traffic: reads it, samples it by strata, and scrubs it before storing anything."""
