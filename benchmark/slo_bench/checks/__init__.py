"""Finds deployments whose answers are broken although every request succeeds.

A wrong chat template, the wrong tokenizer or too few bits per weight answer with HTTP 200, often fast and cheap. The
text and how it ended give them away:

    alone       empty, truncated, special_token, undecodable, looping, broken_json          `findings`
    beside      no_stop, gibberish: found only beside other deployments' answers to the     `comparison`
    others      same prompts

A cell is judged by the share of its answers that failed, with its interval (`verdict`). What reads well but is wrong
takes a quality suite.
"""
