"""The error that is the user's to mend."""


class UserError(Exception):
    """One or two sentences that say what is wrong, where, and what to do.

    Command lines print the message without a traceback and exit with status 2.
    """
