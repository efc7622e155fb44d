"""Why a demo ends early."""


class DemoError(Exception):
    """Something does not start or answer; the message is for whoever started the demo."""
