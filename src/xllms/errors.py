"""What xllms says when it cannot go on: what is wrong, where, and what to do next."""


class XllmsError(Exception):
    """A failure that the command line prints as one line, never as a traceback."""

    exit_code = 1


class InputError(XllmsError):
    """The user's input is wrong: a recipe, a data file, a name, a folder. Exit code 2."""

    exit_code = 2
