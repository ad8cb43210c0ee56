import signal


def answer_to_signals():
    """For a test's own process: what started the tests may have told them to ignore these."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
