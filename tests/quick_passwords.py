"""bcrypt at its smallest cost, in this process: the tests sign in a thousand times."""

from __future__ import annotations

from functools import partial

import bcrypt

usual_salt = bcrypt.gensalt  # for who measures how long a sign-in takes
bcrypt.gensalt = partial(usual_salt, rounds=4)
