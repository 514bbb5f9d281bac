"""Every code an error of the API can have, with its usual status and what it means. A test compares this with the source."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A code for programs and its meaning for people."""

    code: str
    status: int
    meaning: str


def _table(status: int, meanings: dict[str, str]) -> dict[str, Problem]:
    return {code: Problem(code=code, status=status, meaning=meaning) for code, meaning in meanings.items()}


PROBLEMS: dict[str, Problem] = {
    **_table(
        400,
        {
            "bad_request": "The request cannot be understood.",
            "broken_json": "The body is not valid JSON; the sentence says where.",
            "body_not_utf8": "The body is not UTF-8 text.",
            "body_not_an_object": "The body is JSON, but not an object in braces.",
            "content_type_missing": "The body came without a Content-Type.",
            "text_not_unicode": "A text of the body holds NUL or half of a surrogate pair.",
            "limit_range": "The query parameter limit is not a whole number from 1 to 200.",
            "cursor_invalid": "The query parameter cursor is not from the “next” of this list.",
            "idempotency_key_invalid": "The header Idempotency-Key is empty, longer than 255 characters, or not printable ASCII.",
        },
    ),
    **_table(
        401,
        {
            "not_authenticated": "The request has neither an API token nor a browser's session.",
            "token_malformed": "The token is not of this portal's form: cut off, mistyped or from elsewhere.",
            "token_invalid": "The token is unknown, expired or revoked, or its user is disabled or no longer a member.",
            "token_in_address": "The token was sent in the address, where it ends up in logs; revoke it.",
        },
    ),
    **_table(
        403,
        {
            "forbidden": "You may not do this.",
            "role_missing": "Your role in this tenant does not include it.",
            "scope_missing": "Your role includes it, but the token lacks the scope.",
            "mfa_required": "The tenant asks its members for a second factor, and your account has none.",
            "only_people": "A service account cannot do this; a person must.",
            "another_address": "The invitation is for another address than those of your account.",
            "csrf_failed": "A change with a browser's session came without the header X-CSRFToken of a page of this portal.",
        },
    ),
    **_table(
        404,
        {
            "not_found": "There is nothing at this address.",
            "tenant_not_found": "There is no such tenant, or you are no member of it, or the token is for another one.",
            "bay_not_found": "The tenant has no such bay.",
            "operation_not_found": "The bay has no such operation.",
            "token_not_found": "You have no such token.",
            "service_account_not_found": "The tenant has no such service account.",
            "user_not_found": "There is no active user with this address.",
            "member_not_found": "The tenant has no such member.",
            "invitation_not_found": "The tenant has no such open invitation.",
            "invitation_invalid": "No invitation has this secret, or it was used, withdrawn, replaced, or is too old.",
            "quota_request_not_found": "The tenant has no such request for higher limits.",
            "problem_not_found": "There is no problem with this code.",
            "invoice_not_found": "The tenant has no such invoice.",
            "budget_not_found": "The tenant has no such budget.",
        },
    ),
    **_table(405, {"method_not_allowed": "The address does not know this method; the header Allow lists those it knows."}),
    **_table(406, {"not_acceptable": "The header Accept excludes JSON, which this address answers with."}),
    **_table(
        409,
        {
            "conflict": "It is not possible in the present state of things.",
            "name_taken": "The name is in use.",
            "bay_busy": "Another operation of the bay is not done yet.",
            "bay_not_ready": "The bay is not ready for it yet; ask again when it is active.",
            "already_deleting": "The bay is being deleted already.",
            "limit_reached": "The tenant's limits do not allow it.",
            "quota_request_open": "The tenant waits for the answer to an earlier request for higher limits.",
            "quota_request_decided": "The request for higher limits is decided or withdrawn already.",
            "too_many_tokens": "The user has as many valid tokens in this tenant as one may have; revoke some.",
            "too_many_service_accounts": "The tenant has as many service accounts as one may have.",
            "tenant_has_bays": "The tenant has bays; delete them first.",
            "only_tenant": "It is your personal tenant and the only one you belong to.",
            "last_owner": "The tenant would be left without an owner.",
            "own_membership": "You cannot remove yourself; leave the tenant instead.",
            "role_changed": "Your own role in the tenant was changed at the same moment.",
            "already_member": "They are a member already.",
            "already_invited": "There is an open invitation to this address.",
            "second_factor_missing": "You have no second factor yourself.",
            "too_many_tenants": "You own as many tenants as one person may.",
            "no_capacity": "No cloud has room for it now.",
            "no_cloud": "The portal has no cloud that hosts could come from.",
            "payment_overdue": "An invoice is overdue: no growth until it is paid. What runs goes on.",
            "budget": "A budget is spent that allows no growth: raise it, or wait for the next month. What runs goes on.",
            "credit": "The prepaid credit is used up: no growth until more is added. What runs goes on.",
            "too_many_budgets": "The tenant has as many budgets as one may have.",
            "credit_used": "The credit was used meanwhile by another invoice.",
            "credit_reference_reused": "This reference stands for other credit already.",
            "xml_not_possible": "The invoice has no XML; the sentence says what the standard asks for that it does not have.",
            "nothing_owed": "Nothing is owed on the invoice.",
            "no_checkout": "This way to pay has no page; follow the instructions on the invoice.",
            "payment_under_way": "The invoice was just paid at the provider; it is noted here when the provider says so.",
            "payment_refused": "The payment provider does not take this payment; the sentence says why.",
            "idempotency_in_progress": "The first request with this Idempotency-Key is not done yet; send it again after Retry-After.",
            "idempotency_answer_secret": "The request was carried out, and its answer was a secret that is not kept; take a new key.",
        },
    ),
    **_table(411, {"length_required": "The body was sent in chunks; send it with a Content-Length."}),
    **_table(412, {"precondition_failed": "The bay was changed since the ETag in If-Match was read."}),
    **_table(413, {"body_too_large": "The body is larger than 64 KiB."}),
    **_table(415, {"unsupported_media_type": "The body is not JSON; send Content-Type: application/json."}),
    **_table(
        422,
        {
            "invalid": "A value is not allowed; the field's sentence says why.",
            "type": "A value is of the wrong kind, such as text for a number.",
            "field_unknown": "The body has a field this request does not know.",
            "one_change": "A change must have exactly one field.",
            "name_empty": "The name is missing.",
            "name_too_long": "The name is too long.",
            "name_characters": "The name has characters that names cannot have.",
            "name_reserved": "The name is reserved.",
            "role_unknown": "There is no such role.",
            "email_invalid": "The e-mail address is none, or gets no mail.",
            "coe_unknown": "There is no such orchestrator.",
            "version_unknown": "The orchestrator has no such version.",
            "flavor_unknown": "There is no such flavor.",
            "flavor_not_offered": "No cloud gives this flavor; the sentence says why.",
            "cloud_unknown": "There is no such cloud.",
            "node_count_range": "The number of hosts is out of range.",
            "manager_count_range": "The number of managers is not one the orchestrator can have, or larger than the number of hosts.",
            "below_quorum": "The bay would have fewer hosts than managers.",
            "tags_too_many": "A bay has at most 20 tags.",
            "tag_key": "A tag's key is not made of 1 to 63 letters, digits and - _ . : / alone, or comes twice.",
            "tag_value": "A tag's value is longer than 128 characters, has some that cannot be printed, or a space at an end.",
            "ttl_range": "The time to live is out of range.",
            "quota_nothing_more": "The request for limits asks for nothing that is more than now.",
            "provider_not_offered": "This portal offers no such way to pay.",
            "csr_missing": "The certificate signing request is missing.",
            "csr_rejected": "The certificate signing request is not accepted; the sentence says why.",
            "idempotency_key_reused": "The Idempotency-Key was used here with another body.",
        },
    ),
    **_table(429, {"too_many_requests": "Too many requests; the header Retry-After says when the next one is possible."}),
    **_table(500, {"internal": "A mistake in Carina itself; name the request_id to the operator."}),
    **_table(
        503,
        {
            "unavailable": "Something the portal needs does not answer; send the same request again after Retry-After.",
            "cloud_unreachable": "The cloud the hosts would come from does not answer; send the same request again after Retry-After.",
            "payment_provider_unreachable": "The payment provider does not answer; send the same request again after Retry-After.",
        },
    ),
}
