"""The whole product, set up and shown by one command: `make demo`.

    endpoints → stock proxy with the plugin → benchmark → requests of three keys → who answered, why, at what cost

The endpoints are emulated by default, two real but tiny models with `--real`, your own with `--endpoints FILE`.
"""
