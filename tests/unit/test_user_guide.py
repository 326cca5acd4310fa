"""The user guide shows pictures that the script makes, and leaves out no page of the menu."""

from __future__ import annotations

import re

import pytest
from PIL import Image

from app.components.navigation import PAGES
from app.settings import PROJECT_ROOT
from tests.browser.pictures import IMAGES, LARGEST, PICTURES

GUIDE = (PROJECT_ROOT / "docs" / "user-guide.md").read_text(encoding="utf-8")
MADE = {f"{picture.name}.png": picture for picture in PICTURES}


def _shown(text: str) -> set[str]:
    return set(re.findall(r"images/([\w-]+\.png)", text))


def test_every_picture_of_the_guide_and_readme_is_made_by_the_script_and_the_other_way_round() -> None:
    readme = (PROJECT_ROOT / "README.md").read_text(encoding="utf-8")
    assert _shown(GUIDE) == set(MADE)
    assert _shown(readme) <= set(MADE)
    assert {path.name for path in IMAGES.iterdir()} == set(MADE)


@pytest.mark.parametrize("name", MADE)
def test_a_picture_is_as_wide_as_the_script_makes_it_and_small_enough(name: str) -> None:
    path = IMAGES / name
    assert path.stat().st_size <= LARGEST
    with Image.open(path) as image:
        assert image.width == MADE[name].width
        assert image.height <= MADE[name].height


@pytest.mark.parametrize("title", [entry.title for entry in PAGES if entry.listed])
def test_every_page_of_the_menu_has_a_heading_in_the_guide(title: str) -> None:
    assert title in re.findall(r"^##+ (.+)$", GUIDE, re.MULTILINE)
