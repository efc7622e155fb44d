"""What the plugin, the agent and other programs share: values, names in Redis, the metrics hash, the record, prices."""
