"""Why a demo ends early."""


class DemoError(Exception):
    """Something does not start or does not answer. The message is for the user who started the demo."""
