"""The proxy's YAML as LiteLLM reads it: the plugin's settings, the deployments, and what is wrong with either."""
