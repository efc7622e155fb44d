"""One command for each published number: `python -m evaluation` lists them."""
