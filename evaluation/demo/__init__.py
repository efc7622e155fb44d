"""The whole product from nothing, in one command: `make demo`.

    endpoints → stock proxy with the plugin → benchmark → requests of three keys → who answered, why, at what cost

Emulated endpoints by default, two real but tiny models with `--real`, your own with `--endpoints FILE`.
"""
