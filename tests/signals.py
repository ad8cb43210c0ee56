import signal


def answer_to_signals():
    """Restore the signals' default actions in a test's own process.

    The program that started the tests may have made them ignore these signals.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
