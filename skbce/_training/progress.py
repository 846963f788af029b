"""What `verbose` prints: a line an epoch, not more often than a person reads."""

import time

from skbce._training.history import History

_SECONDS_BETWEEN_LINES = 0.5


class Progress:
    """Prints how training goes.

    Parameters
    ----------
    verbose : int
        0 is silent, 1 a line at most every half second, 2 a line every epoch.
    unit : str
        What is counted: "epoch" or "iteration".
    most : int
        How many of them there will be at most.
    n_rows : int
        Rows of each.
    """

    def __init__(self, verbose: int, unit: str, most: int, n_rows: int):
        self._verbose = int(verbose)
        self._unit = unit
        self._most = most
        self._n_rows = n_rows
        self._last_line = -_SECONDS_BETWEEN_LINES
        self._last_time = time.perf_counter()
        self._last_epoch = 0
        self._pending = ""

    def epoch_ended(self, n: int, loss: float, history: History | None = None) -> None:
        """Print the facts of epoch n, or keep them for `end`."""
        if not self._verbose:
            return
        now = time.perf_counter()
        rows_per_second = (n - self._last_epoch) * self._n_rows / max(now - self._last_time, 1e-9)
        self._pending = f"{self._unit} {n:>{len(str(self._most))}}/{self._most}  loss {loss:.6f}"
        if history is not None:
            if history.validation_scores:
                self._pending += f"  validation loss {history.validation_loss_curve[-1]:.6f}"
                self._pending += f"  score {history.validation_scores[-1]:.4f}"
            self._pending += f"  learning rate {history.learning_rate_curve[-1]:.3g}"
        self._pending += f"  {_readable(rows_per_second)} rows/s"
        if self._verbose > 1 or now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._print_pending()
            self._last_line, self._last_time, self._last_epoch = now, now, n

    def say(self, text: str) -> None:
        """Print a remark, after the facts that led to it."""
        if self._verbose:
            self._print_pending()
            print(text)

    def end(self) -> None:
        """Print the last epoch, where it has not been."""
        self._print_pending()

    def _print_pending(self) -> None:
        line, self._pending = self._pending, ""
        if line:
            print(line, flush=True)


def _readable(number: float) -> str:
    """12.3k, 4.56M."""
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor:
            return f"{number / factor:.3g}{letter}"
    return f"{number:.3g}"
