"""How good the answers are: suites of items with known answers, graded per deployment and category.

    suite ─→ asking (guard, kept answers) ─→ grade (`grading`) ─→ scores ─→ gating (publishes), report

Asking and grading are apart: answers are kept, so that a run that was killed goes on, and a changed grader costs
nothing.
"""
