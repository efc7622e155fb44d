"""Everything to the largest model, beside routing: recorded answers, emulated endpoints, the stock proxy."""
