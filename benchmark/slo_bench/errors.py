"""Every error that the agent raises on purpose; each message is meant for the person at the keyboard.

    SloRouterError (slo_router.errors)
    ├── SettingsError          the YAML of the proxy is wrong
    └── BenchError
        ├── WorkloadError      a prompt is unusable: names file, line and field
        ├── SampleError        requests cannot be read, or what scrubs them is unusable
        ├── SuiteError         an item of a quality suite is unusable, likewise
        ├── AnswerStoreError   the file with the kept answers is unusable
        ├── UnreachableError   a deployment cannot be called as asked: the others are measured all the same
        └── StoppedError       a run, or its part on one deployment, ends before the plan does: what it has is kept

What goes wrong with a request is no exception but a `Sample` with an error class: it is what is measured.
"""

from __future__ import annotations

from slo_router.errors import SloRouterError


class BenchError(SloRouterError, ValueError):
    """The command cannot do what it was asked."""


class WorkloadError(BenchError):
    """A workload file is unusable."""


class SampleError(BenchError):
    """No sample can be taken of these requests."""


class SuiteError(BenchError):
    """A quality suite is unusable."""


class AnswerStoreError(BenchError):
    """The file with the kept answers cannot be opened, read or written."""


class UnreachableError(BenchError):
    """There is no way to call a deployment directly."""


class StoppedError(BenchError):
    """No further request is sent; the message says why."""
