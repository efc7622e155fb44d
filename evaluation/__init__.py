"""One command for each number in the README: `python -m evaluation` lists them."""
