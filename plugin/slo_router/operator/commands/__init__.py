"""The commands of `slo-router`, one module each; `slo_router.cli` puts them together."""
