"""Everything to the largest model beside routed: recorded answers, emulated endpoints, the stock proxy."""
