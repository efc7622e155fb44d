"""Finds deployments whose answers are broken although every request succeeds.

With a wrong chat template, a wrong tokenizer or too few bits per weight, a server still answers HTTP 200, often fast
and cheap. The text and its end show the fault:

    `findings`      in one answer: empty, truncated, special_token, undecodable, looping, broken_json
    `comparison`    only beside other deployments' answers to the same prompts: no_stop, gibberish

`verdict` judges a cell by the share of its answers that failed, with its interval. Only a quality suite finds answers
that read well but are wrong.
"""
