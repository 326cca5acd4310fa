"""A site with very many invented patients in an embedded PostgreSQL, loaded with COPY."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import text

from app.demo_people import invent_names
from db.cohort import generate
from db.engines import engine_for

BATCH = 100_000
# Surnames as unevenly frequent as real ones: a million people do not share the hundred of the demonstration. A
# fifth do; the others have one of eight thousand made of these, the frequent ones a hundred times the rare ones.
SHARE_OF_DEMONSTRATION = 0.2
BEGINNINGS = (
    "Ab Ad Al Am An Ar Ash Bab Bal Bar Bas Beck Bel Ben Ber Bir Black Bor Bow Brad Bran Bren Brig Bru Buck Bur But "
    "Cal Cam Car Cas Chan Chap Cla Clif Col Con Coop Cor Cra Craw Cul Cum Dal Dan Dar Dav Daw Del Den Dev Dil Dix "
    "Don Dor Doug Drew Dun Dur Ed Eli Ell Em Er Es Ev Fair Fal Far Fen Fer Fin Fitz Fle Fol For Fos Fra Ful Gal Gar "
    "Gib Gil Gla God Gol Gor Gra Gre Grif Gun Had Hal Ham Han Har Has Hay Hen Her Hil Hob Hol Hop Hor How Hud Hun "
    "Hut Ing Ir Ja Jen Jer Jo Kauf Kel Ken Ker Kil Kim Kin Kir Kra Lam Lan Lar Law Led Len Lev Lin Lock Lom Lon Low "
    "Lud Lun Lyn Mac Mad Mal Man Mar Mas Mat May Mel Mer Mil Mit Mon Mor Mul Mun Nel New Nic Nor Now Oak Ol Or Os Ow "
    "Pal Par Pat Pay Pear Pen Per Pet Phil Pit Pol Por Pow Pres Pri Quin Ral Ram Ran Ray Red Reg Ren Rich Rid Rob "
    "Rod Rol Ros Row Rus Sal Sam San Saw Schu Sel Shel Sher Sim Sin Ske Smi Sol Som Spen Stan Ste Stod Stra Sul Sut "
    "Swan Tal Tan Tay Ter Thom Thor Til Tol Tur Und Van Var Ver Vin Wal Wan War Wat Web Wel Wes Whit Wil Win Wood "
    "Wor Wy Yar Yor Zim"
)
ENDINGS = (
    "son ton man ley field ford berg er ers ing ings well wood ham worth by land more nell lin kins den stein mann "
    "ez ski sen dale ner ett s ova elli ini aro"
)
EVEN_UNTIL = 80  # rank; the frequency of rank r is as 1 / (r + this)
SEED = 20
UNKNOWN_COST_SHARE = 0.1
SECOND_NAME_SHARE = 0.2  # of first names, as in Ada Mary
DOUBLE_NAME_SHARE = 0.1  # of last names, as in Kaur-Olsen
# Records were changed within these years, the newest now.
YEARS = 3
COLUMNS = (
    "first_name, last_name, age, sex, bmi, children, smoker, region, insurance_cost, created_at, updated_at"
)


def load_patients(url: str, rows: int) -> None:
    """Fill an empty site database with `rows` invented patients and let PostgreSQL take stock of them."""
    connection = engine_for(url).raw_connection()
    try:
        with connection.cursor() as cursor:
            for start in range(0, rows, BATCH):
                lines = _lines(min(BATCH, rows - start), SEED + start)
                cursor.copy_expert(f"COPY patients ({COLUMNS}) FROM STDIN WITH (FORMAT csv)", lines)
        connection.commit()
    finally:
        connection.close()
    # What autovacuum does in its own time after such a load.
    with engine_for(url).connect().execution_options(isolation_level="AUTOCOMMIT") as maintenance:
        maintenance.execute(text("VACUUM (ANALYZE) patients"))


def _surnames(random: np.random.Generator, size: int) -> list[str]:
    every = [beginning + ending for beginning in BEGINNINGS.split() for ending in ENDINGS.split()]
    np.random.default_rng(SEED).shuffle(every)
    weights = 1.0 / (np.arange(len(every)) + EVEN_UNTIL)
    chosen: list[str] = random.choice(every, size, p=weights / weights.sum()).tolist()
    return chosen


def _lines(size: int, seed: int) -> io.StringIO:
    people = generate(size, seed=seed)
    random = np.random.default_rng(seed)
    sexes = people.sex.tolist()
    names = invent_names(sexes, seed=seed)
    seconds = invent_names(sexes, seed=seed + 1)
    rare = random.random(size) >= SHARE_OF_DEMONSTRATION
    surnames = _surnames(random, size)
    two_first = random.random(size) < SECOND_NAME_SHARE
    two_last = random.random(size) < DOUBLE_NAME_SHARE
    unknown = random.random(size) < UNKNOWN_COST_SHARE
    ages_of_change = random.random(size) * YEARS * 365 * 86400
    now = datetime.now(UTC)
    lines = io.StringIO()
    writer = csv.writer(lines)
    for row in range(size):
        first, last = names[row]
        if rare[row]:
            last = surnames[row]
        second_first, second_last = seconds[row]
        changed = now - timedelta(seconds=float(ages_of_change[row]))
        writer.writerow(
            (
                f"{first} {second_first}" if two_first[row] else first,
                f"{last}-{second_last}" if two_last[row] else last,
                people.age[row],
                people.sex[row],
                f"{people.bmi[row]:.3f}",
                people.children[row],
                people.smoker[row],
                people.region[row],
                "" if unknown[row] else f"{people.insurance_cost[row]:.2f}",
                changed.isoformat(),
                changed.isoformat(),
            )
        )
    lines.seek(0)
    return lines
