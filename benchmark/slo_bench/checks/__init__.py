"""Finds deployments whose answers are broken although every request succeeds.

A wrong chat template, the wrong tokenizer or too few bits per weight answer with HTTP 200, often fast and cheap. What
gives them away stands in the text and in how it ended:

    alone       empty, truncated, special_token, undecodable, looping, broken_json          `findings`
    beside      no_stop, gibberish: other deployments' answers to the same prompts are      `comparison`
    others      needed, for a long answer or a rare language is no fault in itself

One odd answer proves nothing, so a cell is judged by the share that failed, with its interval (`verdict`). What reads
well but is wrong is not found here: that takes a quality suite.
"""
