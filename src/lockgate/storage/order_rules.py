"""The rules of the order, as conditions that refuse a row.

Three things carry every rule: the keys (a record points at exactly what it rests on), CHECKs on the
row itself, and triggers that repeat both, because foreign keys and checks are settings of each
connection. `INSERT OR REPLACE` would slip past delete triggers, so each append-only table also
refuses an insert over any of its keys.

- A row of an append-only table is never updated, deleted or replaced.
- A record is the newest thing in the ledger when it comes: none can be slipped in later.
- A promotion rests on a promotable decision about that very version and environment, made against
  what is live now, under the policy and the suites applied now, with no newer run, not expired.
- A decision that can be promoted rests on completed runs of its own version, on applied suites,
  and on all of them: none can be left out.
- A run ends once; it is completed only when every case has an answer in every repeat; afterwards it
  takes no answer.
- Attempt n needs the settlement of n - 1; only the newest attempt can be settled, once.
- A rehearsal reaches only where the applied policy allows it; a revert ends one, and a quarantine
  does not keep it from putting back what was live before. It is compared with what it took the
  place of.
- A break-glass promotion stops all others until a second person has closed it: with a decision
  that passed since and the approvals it needs, or once its version is no longer live.
- A rehearsal is recorded as it went, a recheck about what is live.
- The content of a release never expires; content goes right after its recorded removal, and what
  was redacted does not come back.
"""

from __future__ import annotations

_LIVE_GENERATION = """coalesce((SELECT max(s.generation) FROM settlement s
    WHERE s.system = NEW.system AND s.environment = NEW.environment AND s.outcome = 'live'), 0)"""

_QUARANTINED = """EXISTS (SELECT 1 FROM version v
    JOIN quarantine q ON q.system = v.system AND q.definition = v.definition
    WHERE v.id = NEW.version AND NOT EXISTS (SELECT 1 FROM lift l WHERE l.lifts = q.seq))"""

_HELD = """EXISTS (SELECT 1 FROM hold h
    WHERE h.system = NEW.system AND h.environment = NEW.environment
      AND NOT EXISTS (SELECT 1 FROM lift l WHERE l.lifts = h.seq))"""

_ENVIRONMENT = """(SELECT e.value FROM json_each((SELECT CAST(c.bytes AS TEXT)
    FROM policy_applied p JOIN content c ON c.digest = p.rules
    ORDER BY p.seq DESC LIMIT 1), '$.environments') e
    JOIN json_each(e.value, '$.name') n WHERE n.value = NEW.environment)"""
"""What the applied policy says about the environment, as JSON; NULL when it does not name it."""


def _asks(key: str) -> str:
    """Return SQL for one value of the environment in the applied policy.

    `json_each` is used for it because `json_extract` may not stand in a trigger when
    `trusted_schema` is off, which it is in all our connections.
    """
    return f"(SELECT j.value FROM json_each({_ENVIRONMENT}, '$.{key}') j)"


_COMPARED_GENERATION = f"""CASE (SELECT v.track FROM version v WHERE v.id = NEW.version)
    WHEN 'rehearsal' THEN coalesce((SELECT max(s.generation) FROM settlement s
        JOIN attempt a ON a.system = s.system AND a.environment = s.environment
            AND a.generation = s.generation
        WHERE s.system = NEW.system AND s.environment = NEW.environment
          AND s.outcome = 'live' AND a.kind <> 'rehearsal'), 0)
    ELSE {_LIVE_GENERATION} END"""

_STOOD = """{0}.seq <= r.seq + 2
    AND NOT EXISTS (SELECT 1 FROM lift l WHERE l.lifts = {0}.seq AND l.seq < r.seq)"""
"""What was in force when the attempt `r` was taken: it may be recorded right after it."""

_WAS_LIVE_AS = """EXISTS (SELECT 1 FROM attempt a JOIN settlement s ON s.system = a.system
    AND s.environment = a.environment AND s.generation = a.generation AND s.outcome = 'live'
    WHERE a.system = NEW.system AND a.environment = NEW.environment"""
"""Begins a condition about a deployment that was live there; ends with more of it and `)`."""


def _approved(subject: str, barred: str) -> str:
    """Return SQL that is true when a decision has the approvals it needs, and nobody's no.

    Args:
        subject: SQL for the decision's id; its row is `d` and its version's row `v`.
        barred: SQL for a list of further names that do not count.
    """
    return f"""NOT (EXISTS (SELECT 1 FROM approval a WHERE a.subject = {subject} AND a.word = 'no')
            OR d.approvals_needed > (SELECT count(*) FROM approval a WHERE a.subject = {subject}
                AND a.word = 'yes' AND a.signer NOT IN (v.registrar, v.owner, {barred})
                AND coalesce(a.signer IN (SELECT r.value
                    FROM json_each({_ENVIRONMENT}, '$.reviewers') r)
                    AND (a.key IS NOT NULL
                        OR {_asks("accept_claimed")} = 1), 0)))"""


_BEFORE_REHEARSAL = """(SELECT a.version FROM attempt a
    JOIN settlement s ON s.system = a.system AND s.environment = a.environment
        AND s.generation = a.generation AND s.outcome = 'live'
    WHERE a.system = NEW.system AND a.environment = NEW.environment AND a.kind <> 'rehearsal'
    ORDER BY s.generation DESC LIMIT 1)"""

ORDER_RULES: tuple[tuple[str, str, str, str], ...] = (
    # table, rule's name, when it is broken, what the refusal says
    (
        "ledger",
        "is_dense",
        "NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM ledger)",
        "ledger numbers are dense",
    ),
    (
        "ledger",
        "time_never_goes_back",
        "NEW.at < (SELECT at FROM ledger ORDER BY seq DESC LIMIT 1)",
        "ledger time never goes back",
    ),
    (
        "definition_entry",
        "is_frozen",
        "EXISTS (SELECT 1 FROM definition d WHERE d.digest = NEW.definition)",
        "a registered definition never changes",
    ),
    (
        "suite_case",
        "is_frozen",
        "EXISTS (SELECT 1 FROM suite s WHERE s.digest = NEW.suite)",
        "a registered suite never changes",
    ),
    (
        "suite",
        "has_its_cases",
        "NEW.cases <> (SELECT count(*) FROM suite_case c WHERE c.suite = NEW.digest)",
        "a suite needs all of its cases",
    ),
    (
        "decision_run",
        "is_frozen",
        "EXISTS (SELECT 1 FROM decision d WHERE d.id = NEW.decision)",
        "a recorded decision never changes",
    ),
    (
        "decision_run",
        "rests_on_completed_run",
        """NOT EXISTS (SELECT 1 FROM run r JOIN run_end e ON e.run = r.id
            WHERE r.id = NEW.run AND r.version = NEW.version AND e.outcome = 'completed')""",
        "only a completed run of that version is evidence",
    ),
    (
        "version",
        "has_definition",
        "NOT EXISTS (SELECT 1 FROM definition d WHERE d.digest = NEW.definition)",
        "a version needs a registered definition",
    ),
    (
        "version",
        "has_system",
        "NOT EXISTS (SELECT 1 FROM system s WHERE s.name = NEW.system)",
        "a version needs a registered system",
    ),
    (
        "version",
        "has_parent",
        """NEW.parent IS NOT NULL AND NOT EXISTS (SELECT 1 FROM version v
            WHERE v.id = NEW.parent AND v.system = NEW.system)""",
        "the parent is not a registered version of this system",
    ),
    (
        "version",
        "changes_something",
        """EXISTS (SELECT 1 FROM version v WHERE v.id = NEW.parent
            AND v.definition = NEW.definition AND v.track = NEW.track)""",
        "an empty change is no version",
    ),
    (
        "lineage",
        "says_what_its_version_says",
        """NOT EXISTS (SELECT 1 FROM version v
            WHERE v.seq = NEW.seq AND v.id = NEW.version AND v.label = NEW.label
              AND NEW.parent IS (SELECT p.seq FROM version p WHERE p.id = v.parent))""",
        "a line of versions goes from each to its parent",
    ),
    (
        "policy_applied",
        "is_what_was_proposed",
        """NEW.proposal IS NOT NULL AND (NOT EXISTS (SELECT 1 FROM proposal p
            WHERE p.id = NEW.proposal AND p.kind = 'policy'
              AND p.after IN (NEW.policy, NEW.rules))
            OR EXISTS (SELECT 1 FROM approval a
                WHERE a.subject = NEW.proposal AND a.word = 'no'))""",
        "a policy is applied as it was proposed, and never over a no",
    ),
    (
        "suite_applied",
        "needs_registered_suite",
        """NOT EXISTS (SELECT 1 FROM suite s
            WHERE s.digest = NEW.suite AND s.system = NEW.system AND s.name = NEW.name)""",
        "only a registered suite of that system and name can be applied",
    ),
    (
        "suite_applied",
        "is_what_was_proposed",
        """NEW.proposal IS NOT NULL AND (NOT EXISTS (SELECT 1 FROM proposal p
            WHERE p.id = NEW.proposal AND p.kind = 'suite' AND p.system = NEW.system
              AND p.name = NEW.name AND p.after = NEW.suite)
            OR EXISTS (SELECT 1 FROM approval a
                WHERE a.subject = NEW.proposal AND a.word = 'no'))""",
        "a suite is applied as it was proposed, and never over a no",
    ),
    (
        "run",
        "needs_registered_version",
        """NOT EXISTS (SELECT 1 FROM version v
            WHERE v.id = NEW.version AND v.system = NEW.system)""",
        "only a registered version can be evaluated",
    ),
    (
        "run",
        "needs_registered_suite",
        """NOT EXISTS (SELECT 1 FROM suite s
            WHERE s.digest = NEW.suite AND s.system = NEW.system)""",
        "only a registered suite of that system can be run",
    ),
    (
        "answer",
        "needs_open_run",
        """NOT EXISTS (SELECT 1 FROM run r WHERE r.id = NEW.run)
            OR EXISTS (SELECT 1 FROM run_end e WHERE e.run = NEW.run)""",
        "a run that ended takes no answer",
    ),
    (
        "answer",
        "is_to_a_case",
        """NOT EXISTS (SELECT 1 FROM run r
            JOIN suite_case c ON c.suite = r.suite AND c.case_id = NEW.case_id
            WHERE r.id = NEW.run AND NEW.repeat <= r.repeats)""",
        "the answer is to no case of this run",
    ),
    (
        "answer",
        "is_not_asked_again",
        """NEW.asking <> 1 + (SELECT count(*) FROM answer a WHERE a.run = NEW.run
                AND a.case_id = NEW.case_id AND a.repeat = NEW.repeat)
            OR EXISTS (SELECT 1 FROM answer a WHERE a.run = NEW.run
                AND a.case_id = NEW.case_id AND a.repeat = NEW.repeat
                AND a.scores IS NOT NULL)""",
        "a case that was answered is not asked again",
    ),
    (
        "run_end",
        "needs_run",
        "NOT EXISTS (SELECT 1 FROM run r WHERE r.id = NEW.run)",
        "there is no such run to end",
    ),
    (
        "run_end",
        "is_complete",
        """NEW.outcome = 'completed' AND (SELECT count(*) FROM (
                SELECT DISTINCT a.case_id, a.repeat FROM answer a WHERE a.run = NEW.run))
            <> (SELECT s.cases * r.repeats FROM run r JOIN suite s ON s.digest = r.suite
                WHERE r.id = NEW.run)""",
        "a run that was cut short is not completed",
    ),
    (
        "run_end",
        "counts_errors",
        """NEW.outcome = 'completed' AND NEW.errors <> (SELECT count(*) FROM (
                SELECT a.case_id, a.repeat FROM answer a WHERE a.run = NEW.run
                GROUP BY a.case_id, a.repeat HAVING count(a.scores) = 0))""",
        "the count of errors is not what the answers say",
    ),
    (
        "run_end",
        "counts_answers",
        "NEW.answers <> (SELECT count(*) FROM answer a WHERE a.run = NEW.run)",
        "the count of answers is not what there is",
    ),
    (
        "decision",
        "needs_registered_version",
        """NOT EXISTS (SELECT 1 FROM version v
            WHERE v.id = NEW.version AND v.system = NEW.system)""",
        "only a registered version can be decided on",
    ),
    (
        "decision",
        "needs_evidence",
        """NEW.promotable = 1 AND NOT EXISTS (SELECT 1 FROM decision_run d
            WHERE d.decision = NEW.id AND d.version = NEW.version AND d.role = 'candidate')""",
        "no decision can pass without a completed run of its version",
    ),
    (
        "decision",
        "rests_on_its_own_runs",
        """EXISTS (SELECT 1 FROM decision_run d WHERE d.decision = NEW.id AND d.version <>
            CASE d.role WHEN 'candidate' THEN NEW.version
                        ELSE coalesce(NEW.baseline_version, '') END)""",
        "a decision rests on runs of its own version and of what is live",
    ),
    (
        "decision",
        "rests_on_applied_suites",
        """EXISTS (SELECT 1 FROM decision_run d JOIN run r ON r.id = d.run
            JOIN suite s ON s.digest = r.suite
            WHERE d.decision = NEW.id AND r.suite IS NOT (SELECT a.suite FROM suite_applied a
                WHERE a.system = NEW.system AND a.name = s.name ORDER BY a.seq DESC LIMIT 1))""",
        "a decision rests on runs of the suites that are applied",
    ),
    (
        "decision",
        "pools_all_runs",
        """EXISTS (SELECT 1 FROM decision_run d JOIN run r ON r.id = d.run
            JOIN run o ON o.version = r.version AND o.suite = r.suite
            JOIN run_end e ON e.run = o.id AND e.outcome = 'completed'
            WHERE d.decision = NEW.id AND NOT EXISTS (SELECT 1 FROM decision_run x
                WHERE x.decision = NEW.id AND x.run = o.id))""",
        "a decision pools all completed runs of a version on a suite",
    ),
    (
        "decision",
        "compares_with_live",
        f"""NEW.baseline_generation <> {_COMPARED_GENERATION}
            OR NEW.baseline_version IS NOT (SELECT a.version FROM attempt a
                WHERE a.system = NEW.system AND a.environment = NEW.environment
                AND a.generation = NEW.baseline_generation AND a.generation > 0)""",
        "a decision compares with what is live",
    ),
    (
        "decision",
        "asks_enough_reviewers",
        f"""NEW.promotable = 1
            AND NEW.approvals_needed < {_asks("approvals")}""",
        "a decision asks for as many reviewers as the policy",
    ),
    (
        "decision",
        "follows_applied_policy",
        """NEW.policy IS NOT (SELECT p.policy FROM policy_applied p ORDER BY p.seq DESC LIMIT 1)""",
        "a decision follows the applied policy",
    ),
    (
        "approval",
        "has_subject",
        """NOT EXISTS (SELECT 1 FROM decision d WHERE d.id = NEW.subject)
            AND NOT EXISTS (SELECT 1 FROM proposal p WHERE p.id = NEW.subject)""",
        "there is no such decision or proposal to approve",
    ),
    (
        "attempt",
        "follows_settlement",
        """NEW.generation > 0 AND (NOT EXISTS (SELECT 1 FROM settlement s
            WHERE s.system = NEW.system AND s.environment = NEW.environment
              AND s.generation = NEW.generation - 1)
            OR NEW.generation <> (SELECT max(a.generation) + 1 FROM attempt a
                WHERE a.system = NEW.system AND a.environment = NEW.environment))""",
        "an attempt takes the generation after the newest settled one",
    ),
    (
        "attempt",
        "has_registered_system",
        "NOT EXISTS (SELECT 1 FROM system s WHERE s.name = NEW.system)",
        "only a registered system has generations",
    ),
    (
        "attempt",
        "has_registered_version",
        """NEW.generation > 0 AND NOT EXISTS (SELECT 1 FROM version v
            WHERE v.id = NEW.version AND v.system = NEW.system)""",
        "only a registered version can reach an environment",
    ),
    (
        "attempt",
        "fits_its_track",
        """NEW.generation > 0 AND (SELECT v.track FROM version v WHERE v.id = NEW.version)
            <> CASE NEW.kind WHEN 'rehearsal' THEN 'rehearsal' ELSE 'release' END""",
        "only a release reaches an environment",
    ),
    (
        "attempt",
        "is_not_quarantined",
        f"""NEW.generation > 0 AND {_QUARANTINED}
            AND NOT (NEW.kind = 'revert' AND NEW.version IS {_BEFORE_REHEARSAL})""",
        "the definition is quarantined",
    ),
    (
        "attempt",
        "rehearses_where_it_may",
        f"""NEW.kind = 'rehearsal'
            AND {_asks("rehearsal")} IS NOT 1""",
        "a rehearsal reaches only an environment for rehearsals",
    ),
    (
        "attempt",
        "needs_promotable_decision",
        """NEW.kind = 'promote' AND NOT EXISTS (SELECT 1 FROM decision d
            WHERE d.id = NEW.decision AND d.system = NEW.system
              AND d.environment = NEW.environment AND d.version = NEW.version
              AND d.promotable = 1)""",
        "a promotion needs a passing decision about this version and environment",
    ),
    (
        "attempt",
        "decision_is_about_live",
        f"""NEW.kind = 'promote' AND (SELECT d.baseline_generation FROM decision d
            WHERE d.id = NEW.decision) <> {_LIVE_GENERATION}""",
        "the decision compared with a version that is no longer live",
    ),
    (
        "attempt",
        "decision_is_fresh",
        """NEW.kind = 'promote' AND NEW.at > (SELECT d.expires_at FROM decision d
            WHERE d.id = NEW.decision)""",
        "the decision has expired",
    ),
    (
        "attempt",
        "decision_is_not_void",
        """NEW.kind = 'promote' AND EXISTS (SELECT 1 FROM decision d WHERE d.id = NEW.decision AND (
            EXISTS (SELECT 1 FROM policy_applied p WHERE p.seq > d.seq)
            OR EXISTS (SELECT 1 FROM suite_applied s WHERE s.seq > d.seq AND s.system = d.system)
            OR EXISTS (SELECT 1 FROM decision n WHERE n.seq > d.seq AND n.version = d.version
                AND n.environment = d.environment)
            OR EXISTS (SELECT 1 FROM run r JOIN run_end e ON e.run = r.id
                WHERE r.version IN (d.version, d.baseline_version)
                  AND e.seq > d.seq AND e.outcome = 'completed')))""",
        "the decision is void: the policy, a suite, a run or a decision is newer",
    ),
    (
        "attempt",
        "decision_has_approvals",
        f"""NEW.kind = 'promote' AND EXISTS (SELECT 1 FROM decision d
            JOIN version v ON v.id = d.version WHERE d.id = NEW.decision
            AND NOT {_approved("d.id", "NEW.actor")})""",
        "the decision lacks the approvals it needs, or a reviewer said no",
    ),
    (
        "attempt",
        "environment_is_not_held",
        f"NEW.kind = 'promote' AND {_HELD}",
        "the environment is held",
    ),
    (
        "attempt",
        "break_glass_is_closed",
        f"""NEW.kind = 'promote' AND {_WAS_LIVE_AS} AND a.kind = 'break_glass'
            AND NOT EXISTS (SELECT 1 FROM closing c WHERE c.system = a.system
                AND c.environment = a.environment AND c.generation = a.generation))""",
        "a break-glass promotion is not closed",
    ),
    (
        "attempt",
        "goes_back_to_what_passed",
        f"""NEW.kind = 'rollback' AND NOT {_WAS_LIVE_AS} AND a.kind = 'promote'
            AND a.version = NEW.version AND a.generation < {_LIVE_GENERATION})""",
        "a rollback leads to what a passing gate had let in before what is live",
    ),
    (
        "attempt",
        "goes_back_to_what_was_live",
        f"NEW.kind = 'revert' AND NEW.version IS NOT {_BEFORE_REHEARSAL}",
        "a revert leads to what the rehearsal took the place of",
    ),
    (
        "attempt",
        "reverts_a_rehearsal",
        f"""NEW.kind = 'revert' AND NOT EXISTS (SELECT 1 FROM attempt a LEFT JOIN settlement s
                ON s.system = a.system AND s.environment = a.environment
                AND s.generation = a.generation
                WHERE a.system = NEW.system AND a.environment = NEW.environment
                AND (a.generation = {_LIVE_GENERATION} AND a.kind = 'rehearsal'
                    OR a.generation = NEW.generation - 1 AND (a.kind = 'rehearsal'
                        OR a.kind = 'revert' AND s.outcome IS NOT 'live')))""",
        "a revert ends a rehearsal",
    ),
    (
        "settlement",
        "settles_newest_attempt",
        """NEW.generation IS NOT (SELECT max(a.generation) FROM attempt a
            WHERE a.system = NEW.system AND a.environment = NEW.environment)""",
        "only the newest attempt can be settled",
    ),
    (
        "settlement",
        "of_a_rollback_stops_what_it_left",
        f"""NEW.outcome = 'live' AND EXISTS (SELECT 1 FROM attempt r
            WHERE r.system = NEW.system AND r.environment = NEW.environment
              AND r.generation = NEW.generation AND r.kind = 'rollback'
              AND NOT (EXISTS (SELECT 1 FROM hold h WHERE h.system = r.system
                      AND h.environment = r.environment AND {_STOOD.format("h")})
                  AND EXISTS (SELECT 1 FROM quarantine q JOIN version v
                      ON v.system = q.system AND v.definition = q.definition
                      JOIN attempt w ON w.version = v.id AND w.system = r.system
                          AND w.environment = r.environment AND w.generation = {_LIVE_GENERATION}
                      WHERE {_STOOD.format("q")})))""",
        "a rollback quarantines what it leaves and holds the environment",
    ),
    (
        "quarantine",
        "is_of_a_version",
        """NOT EXISTS (SELECT 1 FROM version v WHERE v.id = NEW.version
            AND v.system = NEW.system AND v.definition = NEW.definition)""",
        "there is no such version to quarantine",
    ),
    (
        "hold",
        "has_system",
        "NOT EXISTS (SELECT 1 FROM system s WHERE s.name = NEW.system)",
        "there is no such system to hold",
    ),
    (
        "lift",
        "ends_something",
        """NOT EXISTS (SELECT 1 FROM quarantine q WHERE q.seq = NEW.lifts)
            AND NOT EXISTS (SELECT 1 FROM hold h WHERE h.seq = NEW.lifts)""",
        "there is no such quarantine or hold to lift",
    ),
    (
        "note",
        "is_about_a_deployment",
        """NOT EXISTS (SELECT 1 FROM attempt a WHERE a.system = NEW.system
            AND a.environment = NEW.environment AND a.generation = NEW.generation)""",
        "there is no such generation to note something about",
    ),
    (
        "closing",
        "ends_a_break_glass",
        f"""NOT {_WAS_LIVE_AS} AND a.kind = 'break_glass'
            AND a.generation = NEW.generation)""",
        "there is no such break-glass promotion to close",
    ),
    (
        "closing",
        "is_by_somebody_else",
        """NEW.actor = (SELECT a.actor FROM attempt a WHERE a.system = NEW.system
            AND a.environment = NEW.environment AND a.generation = NEW.generation)""",
        "who broke the glass does not close it",
    ),
    (
        "closing",
        "comes_after_it",
        f"""NEW.decision IS NULL AND EXISTS (SELECT 1 FROM attempt b
            JOIN attempt a ON a.system = b.system AND a.environment = b.environment
                AND a.generation = {_LIVE_GENERATION} AND a.version = b.version
            WHERE b.system = NEW.system AND b.environment = NEW.environment
              AND b.generation = NEW.generation)""",
        "what broke the glass is live: closing it needs a decision that passed",
    ),
    (
        "closing",
        "rests_on_its_own_decision",
        f"""NEW.decision IS NOT NULL AND NOT EXISTS (SELECT 1 FROM decision d
            JOIN version v ON v.id = d.version
            JOIN attempt b ON b.system = d.system AND b.environment = d.environment
                AND b.version = d.version AND b.generation = NEW.generation
            WHERE d.id = NEW.decision AND d.system = NEW.system
              AND d.environment = NEW.environment AND d.promotable = 1 AND d.seq > b.seq
              AND {_approved("d.id", "b.actor")})""",
        "it is closed by an approved decision about that version, made since",
    ),
    (
        "rehearsal",
        "was_live",
        f"""NOT {_WAS_LIVE_AS} AND a.kind = 'rehearsal'
            AND a.generation = NEW.generation AND a.version = NEW.version)""",
        "only a rehearsal that was live is recorded",
    ),
    (
        "rehearsal",
        "was_taken_back",
        f"""NEW.reverted IS NOT NULL AND NOT {_WAS_LIVE_AS} AND a.kind = 'revert'
            AND a.generation = NEW.reverted)""",
        "a rehearsal is over when it was taken back",
    ),
    (
        "rehearsal",
        "says_what_the_gate_said",
        """NEW.decision IS NOT NULL AND NOT EXISTS (SELECT 1 FROM decision d
            WHERE d.id = NEW.decision AND d.version = NEW.version
              AND d.environment = NEW.environment
              AND (NEW.outcome = 'broken off'
                   OR d.promotable = (NEW.outcome = 'missed')))""",
        "a rehearsal is detected when the gate refused it",
    ),
    (
        "review",
        "has_system",
        "NOT EXISTS (SELECT 1 FROM system s WHERE s.name = NEW.system)",
        "there is no such system to review",
    ),
    (
        "recheck",
        "is_of_what_is_live",
        f"""NEW.generation <> {_LIVE_GENERATION} OR NEW.version IS NOT (SELECT a.version
            FROM attempt a WHERE a.system = NEW.system AND a.environment = NEW.environment
            AND a.generation = NEW.generation)""",
        "a recheck is about what is live",
    ),
    (
        "removal",
        "spares_releases",
        """NEW.kind = 'expire' AND EXISTS (SELECT 1 FROM definition_entry e
            JOIN version v ON v.definition = e.definition
            WHERE e.object = NEW.digest AND v.track = 'release')""",
        "the content of a release never expires",
    ),
    (
        "content",
        "was_not_redacted",
        """EXISTS (SELECT 1 FROM removal r
            WHERE r.digest = NEW.digest AND r.kind = 'redact')""",
        "what was redacted does not come back",
    ),
)
