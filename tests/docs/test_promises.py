"""The promises of the README, and the tests that inject the faults they name."""

from __future__ import annotations

import re

from tests.docs.documents import PROJECT, README

PROMISES = {
    "Once.": ("test_killed_or_cut",),
    "One at a time.": ("test_runners_started_at_once", "test_waiting_runner_reports_who_did_the_work"),
    "No half state to repair by hand.": (
        "test_killed_or_cut", "test_resumes_at_the_failed_statement", "test_killed_step_is_examined",
    ),
    "No edited past.": ("test_edited_file", "test_missing_file", "test_line_ends_and_mark_are_no_edit"),
    "A stack rollback succeeds.": ("test_older_package_on_newer_database", "test_older_package_after_a_late_merge",
                                     "test_old_package_on_the_newer_database"),
    "The application does not queue.": ("test_table_locked_for_a_while", "test_table_locked_too_long"),
    "It leaves in time.": ("test_deadline", "test_lambda_deadline"),
    "No invalid index stays.": ("test_failed_build_leaves_no_index", "test_invalid_index_of_another_session_is_rebuilt"),
    "Orphans end.": ("test_orphan_of_a_killed_runner_ends",),
    "The writer only.": ("test_standby", "test_read_only_session"),
    "`psql` is not needed, and its files run.": ("test_result_equals_that_of_psql",),
    "Bad files are found first.": ("test_refused_before_anything_is_touched",),
    "Another tool's down migration is not run.": ("test_files_of_other_tools", "test_folders_of_other_tools"),
    "No password is shown.": ("test_password_in_a_failing_statement", "test_wrong_password_is_not_shown"),
    "Limited users converge.": (
        "test_killed_while_making_users", "test_killed_while_rotating", "test_50_deploys", "test_8_deploys_at_once",
        "test_a_second_deploy_keeps_the_passwords", "test_the_secret_of_a_limited_user_works",
    ),
    "What is taken over is proven.": (
        "test_deploy_records_what_is_proven_and_applies_the_rest", "test_nothing_is_proven", "test_contradictory_evidence",
    ),
    "A rehearsal leaves nothing.": ("test_killed_or_cut", "test_files_build_on_each_other_and_nothing_stays"),
    "A failed check rolls its file back.": (
        "test_failed_check_takes_its_file_back", "test_error_in_a_check", "test_check_of_a_large_file", "test_check_of_a_stepwise_file",
    ),
    "A rollback is refused whole.": (
        "test_missing_down_files_refuse_the_whole", "test_broken_down_migration_refuses_the_whole",
    ),
    "A rollback that was cut off goes on.": (
        "test_killed_or_cut", "test_cut_off_steps_are_not_done_twice",
        "test_stepwise_down_migration_resumes", "test_killed_after_anything", "test_answer_that_nobody_heard",
        "test_rollback_whose_answer_was_lost",
    ),
    "An older package can roll back.": ("test_older_package_uses_the_stored_text", "test_recorded_without_being_run"),
    "A changed history is noticed.": (
        "test_every_column_counts", "test_removed_rows", "test_added_and_swapped_rows", "test_runs_refuse", "test_killed_runs",
    ),
    "Drift is found.": ("test_planted_drift", "test_restored_dump_is_no_drift", "test_adopted_database_is_no_drift"),
    "A failed migration fails the deploy.": (
        "test_bad_sql", "test_bad_sql_in_the_first_deploy", "test_crash_of_the_runtime", "test_lambda_timeout",
        "test_application_goes_live_after_the_migrations",
    ),
    "A deploy invoked twice makes one set of changes.": ("test_overlapping_invocations", "test_answer_that_is_lost"),
}  # fmt: skip


def test_promises_have_tests() -> None:
    """Every promise of the README is here, and every test that is named here exists."""
    text = README.read_text(encoding="utf-8").partition("## What it promises")[2].partition("\n## ")[0]
    assert re.findall(r"^- \*\*(.+?)\*\*", text, re.MULTILINE) == list(PROMISES)
    sources = "".join(file.read_text(encoding="utf-8") for file in (PROJECT / "tests").rglob("test_*.py"))
    written = set(re.findall(r"^def (test_\w+)\(", sources, re.MULTILINE))
    assert {name for names in PROMISES.values() for name in names} - written == set()
