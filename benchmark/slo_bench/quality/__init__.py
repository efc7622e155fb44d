"""Measures the quality of answers: suites of items with known answers, graded per deployment and category.

    suite ─→ asking (guard, kept answers) ─→ grade (`grading`) ─→ scores ─→ gating (publishes), report

Asking and grading are separate. Answers are kept, so a killed run continues, and a changed grader costs no requests.
"""
