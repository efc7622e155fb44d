"""Studies of quality: answer checks, floors, comparisons, routing by category, estimates, the objective `value`."""
