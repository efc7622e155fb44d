"""How good a deployment's answers are in a category, and what may be promised of it. Pure: `believe` is the way in."""
