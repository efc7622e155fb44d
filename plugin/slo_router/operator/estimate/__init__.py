"""`slo-router estimate`: what routing would have saved on traffic that a LiteLLM proxy already served.

reading     reads rows from spend logs or request records, without their text
totals      adds the rows up: the sums fit into memory, however many rows there are
candidates  the deployments and models that could have answered, and their prices
lengths     how many tokens they would have answered with
evidence    whether their answers are good enough: shown, stated, open, or no
what_if     which candidate would have answered, and what that would have cost
summary     the estimate with its intervals and assumptions; `show` shows it
"""
