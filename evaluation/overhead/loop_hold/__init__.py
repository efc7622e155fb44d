"""How long the plugin holds a worker's event loop, with many deployments and many workers."""
