"""What a Run found out besides its Rounds: what taking part brings each hospital, the baseline, an evaluation."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from app.components.formats import count, number, plain, signed_usd, usd
from app.services.run_results import Baseline, Evaluation, Figures, Gain


def show_gains(gains: Mapping[str, Gain], names: Mapping[str, str]) -> None:
    """Say for every hospital whether taking part pays, with figure and spread; nothing if the Run did not compare."""
    if not gains:
        return
    st.header("Does taking part pay?", anchor=False)
    st.caption(
        "Each hospital also trained alone. Both models were tried on its own held-out patients. The error is the RMSE, "
        "in US dollars a year; the true difference lies in the interval with 90 % confidence."
    )
    for code, gain in gains.items():
        st.markdown(gain_in_words(gain, names.get(code, code)))
    rows = [
        {
            "Hospital": plain(names.get(code, code)),
            "R² together": number(gain.r2_federated),
            "R² alone": number(gain.r2_local),
            "Error saved (USD a year)": plain(signed_usd(gain.gain)),
            "90 % interval (USD a year)": plain(f"{signed_usd(gain.low)} to {signed_usd(gain.high)}"),
            "Held-out patients": count(gain.num_examples),
        }
        for code, gain in gains.items()
    ]
    with st.expander("The figures"):
        st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)


def gain_in_words(gain: Gain, name: str) -> str:
    """Return the sentence on one hospital, as Markdown."""
    if gain.gain is None or gain.low is None or gain.high is None:
        return f"- **{plain(name)}**: not known; too few held-out patients, or it did not train alone."
    spread = f"(90 % interval {signed_usd(gain.low)} to {signed_usd(gain.high)}, {count(gain.num_examples, 'patient')})"
    verdicts = {
        "gain": f"yes. The common model errs by {usd(abs(gain.gain))} a year less than one trained here alone",
        "loss": f"no. A model trained here alone errs by {usd(abs(gain.gain))} a year less than the common one",
        "unclear": f"cannot be told. The difference of {signed_usd(gain.gain)} a year may be chance",
    }
    return f"- **{plain(name)}**: {plain(verdicts[gain.verdict] + ' ' + spread)}."


def show_baseline(baseline: Baseline, names: Mapping[str, str]) -> None:
    """Show the least squares baseline by itself."""
    _show_figures(baseline.overall)
    st.caption(
        "Least squares with interactions, on held-out patients of all hospitals: what a model without any "
        "training reaches."
    )
    rows = [
        {
            "Hospital": plain(names.get(code, code)),
            "R²": number(figures.r2),
            "MAE (USD a year)": plain(usd(figures.mae)),
            "RMSE (USD a year)": plain(usd(figures.rmse)),
            "Held-out patients": count(figures.num_examples),
        }
        for code, figures in baseline.institutions.items()
    ]
    if rows:
        st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)
    if baseline.coefficients:
        with st.expander("Coefficients"):
            st.caption(
                "USD a year for one unit more of each input; of one-hot inputs, beside the others of the same feature."
            )
            table = [
                {"Input": plain(name), "Coefficient": number(value)} for name, value in baseline.coefficients
            ]
            st.table(pd.DataFrame(table), border="horizontal", hide_index=True)


def show_evaluation(evaluation: Evaluation, names: Mapping[str, str]) -> None:
    """Show how a version did beside the version in use."""
    before = evaluation.champion
    what = f"version {evaluation.version}" + (f" beside {before}, which is in use" if before else "")
    st.markdown(
        f"Evaluated: {plain(what)}. Both on the same held-out patients."
        if before
        else f"Evaluated: {plain(what)}."
    )
    if evaluation.decision:
        st.info(plain(evaluation.decision), icon=":material/gavel:")
    places = [("All hospitals", (evaluation.overall, evaluation.champion_overall))]
    places += [(names.get(code, code), both) for code, both in evaluation.institutions.items()]
    rows = []
    for name, (new, old) in places:
        row = {
            "Hospital": plain(name),
            "R²": number(new.r2),
            "MAE (USD a year)": plain(usd(new.mae)),
            "RMSE (USD a year)": plain(usd(new.rmse)),
            "Held-out patients": count(new.num_examples),
        }
        if before:
            row[f"R² of {before}"] = number(old.r2)
            row[f"MAE of {before} (USD a year)"] = plain(usd(old.mae))
        rows.append(row)
    st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)


def _show_figures(figures: Figures) -> None:
    with st.container(horizontal=True, gap="medium"):
        for label, value in (
            ("R²", number(figures.r2)),
            ("MAE (USD a year)", usd(figures.mae)),
            ("RMSE (USD a year)", usd(figures.rmse)),
            ("Held-out patients", count(figures.num_examples)),
        ):
            st.metric(label, plain(value), width=150)
