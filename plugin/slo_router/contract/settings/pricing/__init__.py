"""What a deployment costs and what it supports, by YAML and price map."""
