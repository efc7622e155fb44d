"""`slo-router estimate`: what routing would have saved on traffic that a LiteLLM proxy already served.

reading     rows out of spend logs or request records, and nothing of their text
totals      the rows as sums: few enough to work on, whatever there is of them
candidates  who could have answered, at which prices; lengths: and in how many tokens
evidence    whether its answers are good enough: shown, stated, open, or not
what_if     who would have answered, and what it would have cost
summary     that with its interval and its assumptions, which `show` shows
"""
