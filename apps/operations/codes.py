"""What went wrong, in words: every code says what happened, whether the user can mend it, and how."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Code:
    """`title` says what happened, `advice` what to do; `user_can_fix` tells whether that is up to the user or to the operator."""

    title: str
    advice: str
    user_can_fix: bool


CODES: dict[str, Code] = {
    "cloud_error": Code(
        title="The cloud did not do what was asked.",
        advice="Try again; if it happens twice, ask the operator of this portal and name the operation's id.",
        user_can_fix=False,
    ),
    "cloud_unreachable": Code(
        title="The cloud does not answer.",
        advice="Nothing is lost: Carina goes on by itself as soon as the cloud answers again.",
        user_can_fix=False,
    ),
    "cloud_busy": Code(
        title="Something in the cloud is still in the way.",
        advice="Nothing to do: Carina tries again by itself within seconds.",
        user_can_fix=False,
    ),
    "cloud_crowded": Code(
        title="The cloud is busy starting other hosts.",
        advice="Nothing to do: the turn of this bay comes by itself, and waiting for it costs none of the time it has.",
        user_can_fix=False,
    ),
    "cloud_refused": Code(
        title="The cloud refused the request.",
        advice="The operator of this portal must look at the cloud's settings; delete the bay or try again after that.",
        user_can_fix=False,
    ),
    "cloud_credentials": Code(
        title="The cloud no longer accepts this portal's credentials.",
        advice="The operator of this portal must renew them (manage.py add_cloud). Deletions then go on by themselves; heal other bays.",
        user_can_fix=False,
    ),
    "no_capacity": Code(
        title="The cloud has no room left for these hosts.",
        advice="Choose a smaller flavor or fewer hosts, or delete a bay you no longer need, then try again.",
        user_can_fix=True,
    ),
    "cloud_quota": Code(
        title="A limit set in the cloud for this organisation is reached.",
        advice="Delete a bay you no longer need, or ask the operator to raise the limit, then try again.",
        user_can_fix=True,
    ),
    "flavor_missing": Code(
        title="The cloud no longer has a flavor for these hosts.",
        advice="Choose another flavor; the operator of this portal sees on the cloud's page which one is missing.",
        user_can_fix=True,
    ),
    "host_failed": Code(
        title="The cloud could not start a host.",
        advice="Carina deletes what is left of it and asks again by itself; if the bay ends as an error, heal it, or ask the operator.",
        user_can_fix=False,
    ),
    "image_missing": Code(
        title="The node image is not in the cloud.",
        advice="The operator of this portal must import it; try again after that.",
        user_can_fix=False,
    ),
    "no_network_left": Code(
        title="No free network address range is left for another bay.",
        advice="Delete a bay you no longer need, or ask the operator to widen CARINA_BAY_NETWORKS.",
        user_can_fix=True,
    ),
    "no_port_left": Code(
        title="No free public port is left for another bay.",
        advice="Delete a bay you no longer need, or ask the operator to widen CARINA_PUBLIC_PORTS.",
        user_can_fix=True,
    ),
    "engine_not_ready": Code(
        title="A host's container engine does not answer yet.",
        advice="Carina keeps asking; if it ends as an error, try again or replace the host by “Heal”.",
        user_can_fix=True,
    ),
    "engine_refused": Code(
        title="A host's container engine refused the request.",
        advice="Try again; if it happens twice, delete the bay and create it anew.",
        user_can_fix=True,
    ),
    "engine_error": Code(
        title="A host's container engine failed.",
        advice="Try again; if it happens twice, delete the bay and create it anew.",
        user_can_fix=True,
    ),
    "quorum_lost": Code(
        title="Too few managers of the cluster answer, so that it cannot change.",
        advice="Bring the lost managers back by “Heal”; containers that run go on running.",
        user_can_fix=True,
    ),
    "leftovers": Code(
        title="Some things of this bay are still in the cloud.",
        advice="Nothing to do: Carina keeps deleting until nothing is left.",
        user_can_fix=False,
    ),
    "timed_out": Code(
        title="It took longer than it may.",
        advice="Try again; the operation's last message says what it waited for.",
        user_can_fix=True,
    ),
    "internal": Code(
        title="A mistake in Carina itself.",
        advice="Try again; if it happens twice, tell the operator the operation's id: the log has the details.",
        user_can_fix=False,
    ),
    "cancelled": Code(title="A later request took its place.", advice="Nothing to do.", user_can_fix=True),
    "host_lost": Code(
        title="A host no longer answers its cluster.",
        advice="If it does not come back by itself, press “Heal”: the host is replaced at the same address.",
        user_can_fix=True,
    ),
}


def code_named(*, code: str) -> Code:
    """Return the words for a code; an unknown one gets those of `internal`."""
    return CODES.get(code, CODES["internal"])
