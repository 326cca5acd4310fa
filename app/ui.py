"""The Streamlit entry script: who is it, which pages may they open, and the page that they chose."""

from __future__ import annotations

import streamlit as st

from app.auth.login_form import current_actor, require_actor
from app.components.browser import theme_colour
from app.components.choose_password import password_page
from app.components.demonstration import show_demo_accounts, show_demo_note
from app.components.guard import errors_shown
from app.components.navigation import PAGES, menu_for, page
from app.components.sidebar import show_sidebar
from app.errors import FedcostError, SessionEnded
from app.settings import PROJECT_ROOT

ASSETS = PROJECT_ROOT / "app" / "components" / "assets"
SIGN_IN_WIDTH = 440  # pixels
# Streamlit's wide layout leaves five rem at either side, which three charts beside each other cannot spare; and it
# writes white on primary buttons and on chosen options, which the dark variant's light primary colour cannot carry.
# Its running man with a Stop button would blink at every tick of a live Run, and Stop would stop the page and not the
# Run. The sign-in form is streamlit-authenticator's, whose button has no emphasis. Its links to pages look like text,
# and its tables leave the columns of a telephone little room.
STYLE = """<style>
[data-testid=stMainBlockContainer]{{padding-left:clamp(1rem,3vw,3rem);padding-right:clamp(1rem,3vw,3rem);
  max-width:1480px}}
[data-testid^=stBaseButton-primary]{{color:{on_primary}}}
[data-testid=stMultiSelect] span[title]{{color:{on_primary}}}
.st-key-sign_in [data-testid=stBaseButton-secondaryFormSubmit]{{width:100%;color:{on_primary};
  background:{primary};border-color:{primary}}}
[class*=st-key-figures] :is(th,td):not(:first-child){{text-align:right!important}}
[data-testid=stMain] [data-testid=stPageLink-NavLink]{{padding:0;background:none}}
[data-testid=stMain] [data-testid=stPageLink-NavLink] *{{color:{link}}}
[data-testid=stMain] [data-testid=stPageLink-NavLink]:hover p{{text-decoration:underline}}
@media (max-width:640px){{
  [data-testid=stTable] :is(th,td){{padding-left:.2rem!important;padding-right:.2rem!important}}
}}
[data-testid=stStatusWidget]:not(:has([data-testid=stConnectionStatus])){{display:none}}
</style>"""


def signed_out() -> bool:
    """Tell whether the sign-in form will be shown, so that it gets its surroundings."""
    try:
        current_actor()
    except SessionEnded:
        return True
    except FedcostError:
        return False  # `require_actor` shows the sentence
    return False


def show_sign_in() -> None:
    """Show the sign-in form under the product's name; stops the script while nobody is signed in."""
    # Takes away the menu of who was here before; the address stays, and leads there after signing in.
    home = st.Page(lambda: None, title="Fedcost", url_path="home", default=True)
    link_page = password_page()
    chosen = st.navigation([home, link_page, *(page(entry.name) for entry in PAGES)], position="hidden")
    opens_link = chosen.url_path == link_page.url_path
    st.set_page_config(page_title=f"{link_page.title if opens_link else 'Sign in'} · Fedcost")
    with st.container(horizontal_alignment="center"), st.container(width=SIGN_IN_WIDTH, key="sign_in"):
        st.image(ASSETS / "logo.svg", width=170, alt="Fedcost")
        if opens_link:
            chosen.run()
            st.stop()
        st.markdown(
            "Hospitals predict a patient's insurance cost together, without showing each other a patient."
        )
        show_demo_note()
        show_demo_accounts()
        require_actor()


def show_app() -> None:
    """Show the menu of the person's role and the chosen page."""
    st.logo(ASSETS / "logo.svg", size="large", icon_image=ASSETS / "mark.svg")
    actor = require_actor()
    # The files of pages that the role may not open are not given to Streamlit: their addresses lead to a refusal.
    chosen = st.navigation(menu_for(actor))
    st.set_page_config(page_title=f"{chosen.title} · Fedcost")
    show_sidebar(actor)
    chosen.run()


st.set_page_config(
    page_title="Fedcost",
    page_icon=str(ASSETS / "mark.svg"),
    layout="wide",
    menu_items={"Get help": None, "Report a bug": None, "About": None},
)
st.html(
    STYLE.format(
        on_primary=theme_colour("backgroundColor"),
        primary=theme_colour("primaryColor"),
        link=theme_colour("linkColor"),
    )
)
with errors_shown():
    if signed_out():
        show_sign_in()
    show_app()
