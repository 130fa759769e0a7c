"""The only place that picks adapters: which registry, runner, signer and folder reader are used.

Every import of an adapter is inside the function that needs it, so that a command which only looks
never pays for runners, pydantic or sqlite-utils.
"""

from lockgate.wiring.auditing import WrittenEvidence, write_evidence
from lockgate.wiring.compared import (
    policy_apart,
    policy_state,
    signers_files,
    suite_file_system,
    suite_files,
    suite_states,
    surroundings,
    unapplied,
)
from lockgate.wiring.deploying import (
    check_deploy,
    host_key,
    host_key_problem,
    make_host_key,
    offline_target,
    other_instances,
    ready_around,
    target,
)
from lockgate.wiring.folders import (
    find_secrets,
    locked_version,
    materialise,
    read_draft,
    workplace,
    write_file,
    write_lock,
)
from lockgate.wiring.people import ACTOR_VARIABLE, REGISTRY_VARIABLE, actor, git_user, signing
from lockgate.wiring.places import (
    find_folder,
    find_place,
    find_root,
    folders_by_system,
    near_system,
    several_systems,
    system_folder,
    system_folders,
)
from lockgate.wiring.registries import (
    applied_policy,
    applied_policy_or_none,
    choose_system,
    choose_version,
    create_registry,
    open_registry,
    page_system,
    registry_identity,
)
from lockgate.wiring.running import runner_opener, ship_tools

__all__ = [
    "ACTOR_VARIABLE",
    "REGISTRY_VARIABLE",
    "WrittenEvidence",
    "actor",
    "applied_policy",
    "applied_policy_or_none",
    "check_deploy",
    "choose_system",
    "choose_version",
    "create_registry",
    "find_folder",
    "find_place",
    "find_root",
    "find_secrets",
    "folders_by_system",
    "git_user",
    "host_key",
    "host_key_problem",
    "locked_version",
    "make_host_key",
    "materialise",
    "near_system",
    "offline_target",
    "open_registry",
    "other_instances",
    "page_system",
    "policy_apart",
    "policy_state",
    "read_draft",
    "ready_around",
    "registry_identity",
    "runner_opener",
    "several_systems",
    "ship_tools",
    "signers_files",
    "signing",
    "suite_file_system",
    "suite_files",
    "suite_states",
    "surroundings",
    "system_folder",
    "system_folders",
    "target",
    "unapplied",
    "workplace",
    "write_evidence",
    "write_file",
    "write_lock",
]
