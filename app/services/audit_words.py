"""What people call the actions of the audit trails."""

from __future__ import annotations

import re

WORDS = {
    # Signing in
    "sign_in": "Signed in",
    "sign_out": "Signed out",
    "password_changed": "Changed the own password",
    "reset_link_made": "Made a link to set a password",
    "sessions_ended": "Ended sessions",
    "first_account_made": "Made the first administrator",
    "worker_added": "Added a person",
    "worker_changed": "Changed a person",
    "reset_link_used": "Set a password by a one-time link",
    "refresh_token_reused": "Used a refresh token a second time",
    # Patients
    "patient_added": "Added a patient",
    "patient_read": "Opened a patient",
    "patient_edited": "Edited a patient",
    "patient_edit_conflict": "Edited a patient whom somebody had changed meanwhile",
    "patient_deleted": "Deleted a patient",
    "patient_delete_conflict": "Deleted a patient whom somebody had changed meanwhile",
    "patient_restored": "Restored a patient",
    "patient_erased": "Erased a patient for good",
    "patient_erased_again": "Erased a patient again after a restore",
    "patient_history_read": "Read a patient's changes",
    "patients_listed": "Listed patients",
    "patients_searched": "Searched patients",
    "patients_counted": "Counted patients",
    "patients_exported": "Exported patients",
    "patients_imported": "Imported patients",
    "import_compared": "Compared a file with the patients",
    "deleted_patients_listed": "Listed deleted patients",
    "possible_duplicates_searched": "Looked for records of the same person",
    "person_exported": "Exported everything on a patient",
    "cost_distribution_read": "Looked at the costs' distribution",
    "overview_read": "Opened the overview",
    # Predictions
    "prediction_saved": "Saved a prediction",
    "predictions_listed": "Listed predictions",
    "predictions_exported": "Exported predictions",
    "predictions_summarised": "Looked at how right predictions were",
    "patients_predicted": "Predicted many patients",
    "batch_exported": "Exported a batch of predictions",
    # Training
    "run_started": "Started a run",
    "run_cancelled": "Cancelled a run",
    "run_moved_to_front": "Moved a run to the front",
    "queue_paused": "Paused the queue",
    "queue_resumed": "Resumed the queue",
    "trigger_added": "Added a trigger",
    "trigger_changed": "Changed a trigger",
    "trigger_deleted": "Deleted a trigger",
    "trigger_paused": "Paused a trigger",
    "trigger_run": "Fired a trigger by hand",
    "trigger_resumed": "Resumed a trigger",
    "participation_changed": "Decided whether the hospital takes part",
    "run_approval_decided": "Approved or refused a run",
    # Model versions
    "model_promote": "Promoted a version",
    "model_reject": "Rejected a version",
    "model_rollback": "Rolled back to a version",
    "model_propose": "Proposed a version",
    "model_shadow_start": "Started a shadow",
    "model_shadow_stop": "Stopped a shadow",
    "model_exported": "Exported a version",
    "model_imported": "Imported a version",
    # Consortium and operation
    "institution_added": "Added an institution",
    "institution_deactivated": "Deactivated an institution",
    "institution_reactivated": "Reactivated an institution",
    "supernode_key_registered": "Registered a SuperNode's key",
    "supernode_key_revoked": "Revoked a SuperNode's key",
    "demo_data_begun": "Began to load the demonstration",
    "demo_data_loaded": "Loaded the demonstration",
    "backup_made": "Made a backup",
    "audit_exported": "Exported the audit",
    "audit_verified": "Verified the audit",
    "retention_changed": "Changed how long data are kept",
    "retention_ran": "Archived and deleted old data",
}
OUTCOME_WORDS = {"ok": "Done", "refused": "Refused", "failed": "Failed"}
_ROUTE = re.compile(r"(GET|POST|PUT|PATCH|DELETE) (/.*)")
_PAGE = re.compile(r"pages/(\w+)\.py(?: .*)?")
_COMPONENT = re.compile(r"components/(\w+)\.py (\w+)")


def action_words(action: str) -> str:
    """Return what people call an action; of a refusal, what was asked for."""
    if action in WORDS:
        return WORDS[action]
    if match := _ROUTE.fullmatch(action):
        return f"Asked the API for {match[1]} {match[2]}"
    if match := _PAGE.fullmatch(action):
        return f"Asked for the page {match[1].replace('_', ' ')}"
    if match := _COMPONENT.fullmatch(action):
        return f"Asked for {match[2].strip('_').replace('_', ' ')} ({match[1].replace('_', ' ')})"
    return action.replace("_", " ").capitalize()
