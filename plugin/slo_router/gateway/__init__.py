"""LiteLLM: its hooks, what is taken from it in each version, and its YAML. Nothing else imports it.

Our router strategy is LiteLLM's callback filter (`async_filter_deployments`). LiteLLM asks it while it narrows a group
down to the deployments that may serve a request. It answers with the one it decided for, or with the list as it came,
and then LiteLLM's own strategy picks. So what LiteLLM would do alone it does by itself, in every version.
"""
