"""What a deployment costs and can, by YAML and price map."""
