"""The one exception that means "the user's input, not our code"."""


class InputError(ValueError):
    """Bad input from a user: the message says what, what was found and what is allowed, in one line.

    The command line prints it without a traceback and exits with status 2. A bad model reply is never
    an `InputError`: it is data, and gets a verdict.
    """
