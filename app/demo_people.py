"""Invented hospitals and names for the demonstration; any likeness to a real person is chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

HOSPITALS: dict[str, str] = {
    "northeast": "Harbour Light Hospital",
    "northwest": "Cedar Ridge Medical Center",
    "southeast": "Magnolia General Hospital",
    "southwest": "Desert Bloom Hospital",
}
ADDRESS = "Invented for demonstration; not a real hospital"

# Name and role of the people who belong to no hospital, by the name in their e-mail address.
CONSORTIUM_STAFF: dict[str, tuple[str, str]] = {
    "admin": ("Ines Calloway", "admin"),
    "scientist": ("Tomas Verhoeven", "data_scientist"),
}
# Hospital -> name in the e-mail address -> name and role.
HOSPITAL_STAFF: dict[str, dict[str, tuple[str, str]]] = {
    "northeast": {
        "doctor": ("Dr. Miriam Okafor", "doctor"),
        "nurse": ("Paul Lindqvist", "nurse"),
        "manager": ("Helen Marchetti", "institution_admin"),
    },
    "northwest": {
        "doctor": ("Dr. Hiro Tanabe", "doctor"),
        "nurse": ("Grace Whitfield", "nurse"),
        "manager": ("Owen Castillo", "institution_admin"),
    },
    "southeast": {
        "doctor": ("Dr. Lucia Fontaine", "doctor"),
        "nurse": ("Samuel Adeyemi", "nurse"),
        "manager": ("Ruth Delgado", "institution_admin"),
    },
    "southwest": {
        "doctor": ("Dr. Rafael Quintero", "doctor"),
        "nurse": ("Nina Petrova", "nurse"),
        "manager": ("Ivan Hollis", "institution_admin"),
    },
}

_WOMEN = (
    "Abigail Adele Agnes Alma Amara Beatrice Bianca Carmen Celeste Clara Dana Delphine Edith Elena Esther Faye "
    "Fiona Gwen Hana Hazel Ida Imani Irene Iris Jana Joan Josephine Judith Karen Keiko Laila Leona Lydia Mabel "
    "Marta Meera Naomi Nora Olga Paloma Petra Priya Renata Rosa Ruth Sabine Selma Talia Thea Ursula Vera Yasmin"
)
_MEN = (
    "Aaron Abel Adrian Albert Amos Anton Basil Bruno Caleb Cedric Dario Desmond Edgar Elias Emil Ezra Felix "
    "Gideon Gustav Hamid Harvey Hugo Ian Isaac Ivan Jamal Jasper Joel Jonas Kaito Karl Lars Leon Linus Magnus "
    "Marcus Milo Nathan Nils Omar Oscar Otis Pavel Quentin Ravi Rufus Silas Stefan Tariq Theo Victor Walter"
)
_FAMILIES = (
    "Abbott Achebe Alvarez Amari Arnold Baptiste Barlow Becker Bellamy Boateng Brandt Castillo Chandra Chen "
    "Clarke Costa Dalton Delgado Dubois Eriksen Estrada Farrell Ferrara Fischer Gallagher Garza Goldberg Greene "
    "Haddad Halloran Hayashi Hendricks Herrera Holloway Ibrahim Ito Jansen Jimenez Kaplan Kaur Keller Kowalski "
    "Laurent Leclerc Lopez Lund Mahmoud Marchetti Mbeki Meyer Molina Moreau Nakamura Navarro Nguyen Novak O'Brien "
    "Okonkwo Olsen Ortega Osei Palmer Park Pereira Popov Quinn Ramos Reyes Romano Rossi Saito Santos Schulz Shah "
    "Silva Singh Soto Suzuki Tanaka Thornton Torres Tran Underwood Vargas Vasquez Vega Wagner Walsh Weber Wong "
    "Yamada Young Zamora Zhang Ziegler"
)


def invent_names(sexes: Sequence[str], *, seed: int) -> list[tuple[str, str]]:
    """Return a first and a last name for each person, the same for the same arguments."""
    chance = np.random.default_rng(seed)
    families = chance.choice(_FAMILIES.split(), len(sexes))
    positions = chance.random(len(sexes))
    women, men = _WOMEN.split(), _MEN.split()
    names = []
    for sex, family, position in zip(sexes, families, positions, strict=True):
        given = women if sex == "female" else men
        names.append((given[int(position * len(given))], str(family)))
    return names
