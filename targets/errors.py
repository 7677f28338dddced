"""The one error a user sees: what is wrong, where, which value, which limit, what to do.

Inner code raises :class:`InputError`; the command line prints it as one sentence and exits with 2.
Anything else that escapes is a defect of dlink and keeps its traceback.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator

EXIT_BAD_INPUT = 2
#: No space, no quota, or a limit on the size of a file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class InputError(Exception):
    """Something the user gave cannot be used.

    Parameters
    ----------
    what : str
        The fault in a few words, without a final stop ("recording is truncated").
    where : object
        File, key, tensor or node it is about.
    value, limit : object
        What was found, and what would have been allowed. ``None`` leaves them out.
    todo : str
        What the user can do about it, as an imperative sentence.
    """

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        value: object = None,
        limit: object = None,
        todo: str = "",
    ) -> None:
        self.what, self.where, self.value, self.limit, self.todo = what, where, value, limit, todo
        super().__init__(what)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where is not None else self.what
        if self.value is not None:
            text += f" (found {self.value})" if self.limit is None else f" (found {self.value}"
        if self.limit is not None:
            text += f"{', ' if self.value is not None else ' ('}allowed {self.limit})"
        return f"{text}. {self.todo}" if self.todo else f"{text}."


def disk_full(err: BaseException) -> str | None:
    """Return the system's words if an error says that an output found no room, else None.

    Native libraries wrap the system's error in one of their own: then its text tells.
    """
    seen: BaseException | None = err
    while seen is not None:
        for code in _FULL:
            words = os.strerror(code)
            if isinstance(seen, OSError) and seen.errno == code:
                return words
            if not isinstance(seen, InputError) and words in str(seen):
                return words
        seen = seen.__cause__ or seen.__context__
    return None


@contextlib.contextmanager
def user_errors(command: str) -> Iterator[None]:
    """Turn :class:`InputError` into one line on stderr and exit code 2; a full disk too.

    An interrupt (Ctrl-C) exits with 130 and one line: nothing half-written stays behind, because
    every writer goes through :mod:`targets.files`.
    """
    try:
        yield
    except InputError as err:
        print(f"{command}: error: {err}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    except OSError as err:
        reason = disk_full(err)
        if reason is None:
            raise
        full = InputError("disk is full", where=err.filename, value=reason,
                          todo="Free some space, or choose a folder on another disk.")  # fmt: skip
        print(f"{command}: error: {full}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        print(f"{command}: interrupted; nothing half-written was left", file=sys.stderr)
        sys.exit(130)
