"""Every error that the agent raises on purpose. The messages are written for the user.

    SloRouterError (slo_router.errors)
    ├── SettingsError          the YAML of the proxy is wrong
    └── BenchError
        ├── WorkloadError      a prompt is unusable: names file, line and field
        ├── SampleError        requests cannot be read, or a scrubber is unusable
        ├── SuiteError         an item of a quality suite is unusable: names file, line and field
        ├── AnswerStoreError   the file with the kept answers is unusable
        ├── UnreachableError   a deployment cannot be called as asked; the others are still measured
        └── StoppedError       a run, or its part on one deployment, ends early; its results are kept

A failed request is no exception. It is a `Sample` with an error class, for failures are measured.
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
