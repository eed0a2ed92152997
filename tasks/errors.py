"""The exception for bad input from a user, as opposed to a defect in our code."""


class InputError(ValueError):
    """Bad input from a user: one line that says what is wrong, what was found and what is allowed.

    The command line prints it without a traceback and exits with status 2. A bad model reply is no
    `InputError`: it is data and gets a verdict.
    """
