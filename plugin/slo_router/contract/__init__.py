"""What the plugin, the agent and other programs share: values, Redis names, the metrics hash, the record, prices."""
