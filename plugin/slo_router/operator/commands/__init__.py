"""The commands of `slo-router`, one module each; `slo_router.operator.cli` puts them together."""
