"""What the operator says of an answer: `slo-router feedback`."""
