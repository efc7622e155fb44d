"""LiteLLM: its hooks, what is taken from it in each version, and its YAML. Only `proxy` imports this folder.

Our router strategy is LiteLLM's callback filter (`async_filter_deployments`). LiteLLM calls it while it narrows a group
down to the deployments that may serve a request. The filter returns the deployment that it decided for, or the
unchanged list. From that list LiteLLM's own strategy picks, as it would without the plugin, in every version.
"""
