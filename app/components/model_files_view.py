"""Model versions as files: downloads of one, and the dialog that takes one in."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from app.actor import Actor
from app.components.dialogs import close_dialog, is_open, open_dialog
from app.components.downloads import file_content
from app.components.formats import plain
from app.components.guard import acting
from app.databases import central_session
from app.errors import Conflict, InvalidInput
from app.permissions import Permission
from app.services import model_files
from fl.features import INPUT_NAMES

IMPORT = "models_import"  # dialog
_NOTICE = "models_imported"


@acting(Permission.MODELS_EXPORT)
def show_export(actor: Actor, version: str) -> None:
    """Offer a version as an ONNX and as a Keras file, made when the button is pressed."""
    with st.popover("Export", icon=":material/download:", key="models_export"):
        st.markdown(
            "A file with weights and scaler for other programs. It takes the 13 inputs below, not scaled, and answers "
            "the cost in USD a year. It holds no patient. Each export is recorded."
        )
        formats: tuple[tuple[model_files.Format, str], ...] = (("onnx", "ONNX"), ("keras", "Keras"))
        with st.container(horizontal=True):
            for format, label in formats:
                st.download_button(
                    f"Download {label}",
                    data=_content(actor, version, format),
                    file_name=f"fedcost-{version}.{format}",
                    mime=model_files.MEDIA_TYPES[format],
                    icon=":material/download:",
                    key=f"models_export_{format}",
                    on_click="ignore",
                )
        st.caption("Keras takes some seconds the first time.")
        st.caption(f"Inputs in order: {plain(', '.join(INPUT_NAMES))}")


def _content(actor: Actor, version: str, format: model_files.Format) -> Callable[[], bytes]:
    def make(presses: Actor) -> bytes:
        with central_session() as central:
            return model_files.export_version(
                central=central, actor=presses, version=version, format=format
            ).content

    return lambda: file_content(actor, Permission.MODELS_EXPORT, make)


def show_import() -> None:
    """Draw the button that opens the import, and what came of the last one."""
    st.button(
        "Import a model",
        icon=":material/upload_file:",
        key="models_import",
        on_click=open_dialog,
        args=(IMPORT,),
    )
    if is_open(IMPORT):
        st.dialog("Import a model", on_dismiss=close_dialog)(import_dialog)()


def show_imported() -> None:
    """Say once what was imported."""
    name = st.session_state.pop(_NOTICE, None)
    if name:
        st.success(
            f"{plain(name)} is imported and waits. It has no figures until it was evaluated.",
            icon=":material/check_circle:",
        )


@acting(Permission.MODELS_IMPORT)
def import_dialog(actor: Actor) -> None:
    """Take a file, and either import it or say below the field what is different about it."""
    st.markdown(
        "A `.keras` file of our own network: as it was exported, perhaps trained further. It becomes a version that "
        "waits for its evaluation. Code in a file is never run; anything but this network is refused."
    )
    file = st.file_uploader("Keras file", type="keras", key="models_import_file")
    bare = st.checkbox(
        "It is the bare network: use the scaler of the version in use",
        key="models_import_bare",
        help="Only for a file without Normalization and Rescaling that was trained on inputs and costs standardised "
        "with exactly this scaler.",
    )
    problem = st.empty()
    with st.container(horizontal=True):
        wanted = st.button("Import", type="primary", key="models_import_confirmed", disabled=file is None)
        st.button("Cancel", key="models_import_cancelled", on_click=close_dialog)
    if not wanted or file is None:
        return
    try:
        with st.spinner("Reading the file, which takes some seconds …"), central_session() as central:
            row = model_files.import_keras(
                central=central,
                actor=actor,
                content=file.getvalue(),
                file_name=file.name,
                use_scaler_in_use=bare,
            )
            name = row.version
    except (InvalidInput, Conflict) as refused:
        problem.error(plain(str(refused)), icon=":material/error:")
        return
    st.session_state[_NOTICE] = name
    st.query_params["version"] = name
    close_dialog()
    st.rerun()
