"""Every refusal of active mode, by its id, and what is there where it is taken out.

`python -m tests.mutants active` takes each out in a copy of the tree, and says whether a test saw
it. An id is the rule, and what it refuses. A refusal that is written down nowhere here is a failure
of tests/adversary/active/test_refusals.py: who adds one adds its id.
"""

from __future__ import annotations

from tests.adversary.active.refused_by_servers import SERVERS
from tests.adversary.active.seen_by import (
    DEALERS,
    ENDED,
    HERE,
    MEMBERS,
    ONCE,
    SESSIONS,
    SPLITS,
    U1,
    U2,
    U3,
    VECTORS,
    Refused,
    Row,
)

__all__ = ["HERE", "REFUSALS"]

JOIN: tuple[Row, ...] = (
    ("C3-omitted", "    if me not in members:\n        raise", "    if False:\n        raise"),
    ("V2-stranger", "if not members <= roster.members:", "if False:"),
    (
        "V2-least",
        "if not params.min_clients <= size <= params.clients:",
        "if not size <= params.clients:",
    ),
    (
        "V2-most",
        "if not params.min_clients <= size <= params.clients:",
        "if not params.min_clients <= size:",
    ),
    (
        "C3-session",
        "if binding.session_id(terms.offer, roster.size, ids, bytes(root)) != bound:",
        "if False:",
    ),
    ("V2-cohort-signature", "    says(said, listed.signature)\n", ""),
    (
        "C3-neighbours",
        "if tuple(listed.keys) != binding.neighbours(SessionId(bound), size, params.degree, "
        "index):",
        "if False:",
    ),
    ("V3-keys-signature", "    _check_keys(terms, roster, ids, listed.keys)\n", ""),
    (
        "V3-keys-signature-of-all",
        "said.check(roster.key_of(party), keys.signature)\n",
        "said.check(roster.key_of(party), keys.signature)\n            break\n",
    ),
    ("V3-keys-offer", "statements.KEYS(terms.offer, party,", "statements.KEYS(bytes(32), party,"),
    (
        "V3-keys-place",
        "said = statements.KEYS(terms.offer, party, keys.c_pk, keys.s_pk)\n        try:",
        "said = statements.KEYS(terms.offer, index, keys.c_pk, keys.s_pk)\n        try:",
    ),
    (
        "C4-keys",
        "dealing.check_advertised([own, *listed.keys.values()])",
        "str([own, *listed.keys.values()])",
    ),
    ("C4-own-key", "check_advertised([own, *listed", "check_advertised([*listed"),
    ("V3-index", "    if index >= len(ids):\n        raise", "    if False:\n        raise"),
    (
        "V3-all-listed",
        "if len(every) != size or index in leaves:",
        "if index in leaves:",
    ),
    ("V3-path", "        return binding.path_root(own, index, size, listed.path)", "        pass"),
)
OPEN: tuple[Row, ...] = (
    ("V4-sharers-signature", "    says(of_sharers, signature)\n", ""),
    (
        "V4-sharers-number",
        "number, digest = len(listed.sharers), listed.digest(place.size)",
        "number, digest = place.size - 1, listed.digest(place.size)",
    ),
    ("V4-delivery-signature", "    says(of_list, delivery)\n", ""),
    ("V4-dealers-signature", "    _check_dealers(now, entries, roster)\n", ""),
    (
        "V4-dealers-signature-of-all",
        "            said.check(roster.key_of(party), entry.signature)\n",
        "            said.check(roster.key_of(party), entry.signature)\n            break\n",
    ),
    (
        "V4-dealers-leaf",
        "statements.SHARES(now.seat.session, v, now.leaves[v], entry.body)\n        try:",
        "statements.SHARES(now.seat.session, v, now.leaves[min(now.leaves)], entry.body)\n"
        "        try:",
    ),
    (
        "V5-digests",
        "lambda pair: Digests.of(seat.session, pair).digest == entries[pair.dealer].digests,",
        "lambda pair: True,",
    ),
)
LOOK: tuple[Row, ...] = (
    (
        "V7-survivors-signature",
        "    says(survivors_statement(now.seat.place, now.sharers, shown), shown.signature)\n",
        "",
    ),
    (
        "V7-own-U2",
        "statements.SURVIVORS(place.session, sharers, survivors, len(shown.members))",
        "statements.SURVIVORS(place.session, survivors, survivors, len(shown.members))",
    ),
    ("C8-before-the-signature", "    check_members(now.masked.view, shown.members)\n", ""),
    (
        "V8-agree-signature",
        "agreement(now, index).check(roster_of(terms).key_of(party), signature)",
        "pass",
    ),
    (
        "V8-agree-signature-of-all",
        "agreement(now, index).check(roster_of(terms).key_of(party), signature)\n",
        "agreement(now, index).check(roster_of(terms).key_of(party), signature)\n"
        "                break\n",
    ),
    (
        "V8-agree-own-U2",
        "statements.AGREE(now.seat.session, index, now.sharers, survivors, len(now.survivors))",
        "statements.AGREE(now.seat.session, index, survivors, survivors, len(now.survivors))",
    ),
    ("V8-signers-in-U3", "        if not shown <= members:\n", "        if False:\n"),
    ("V8-whole", "    reader.finish()\n    shown = {", "    shown = {"),
    (
        "V8-committee",
        "return binding.committee(place.session, place.size, number), quorum",
        "return binding.committee(b'' * 32 or place.session, place.size, place.size), quorum",
    ),
    (
        "V8-quorum",
        "UnmaskRequest.read(reader, len(signers), quorum)",
        "UnmaskRequest.read(reader, len(signers), quorum - 1)",
    ),
    (
        "V6-salt",
        'randomness(SALT_SIZE), packed, b"")',
        'bytes(SALT_SIZE), packed, b"")',
    ),
    (
        "C9-kind",
        "kind = messages.B if dealer in now.survivors else messages.S",
        "kind = messages.B",
    ),
)
CLIENT: tuple[Row, ...] = (
    (
        "V1-own-key",
        "        session.check_signing(me, signing)\n",
        "",
    ),
    (
        "V1-start-in-a-fork",
        "        self._process.check()\n        if (self._state, Input.START)",
        "        if (self._state, Input.START)",
    ),
    (
        "V1-receive-in-a-fork",
        "        self._process.check()\n        try:\n",
        "        try:\n",
    ),
    (
        "V1-input-in-a-fork",
        "        self._process.check()\n        super().set_input(",
        "        super().set_input(",
    ),
    (
        "V1-outgoing-in-a-fork",
        "        self._process.check()\n        return super().outgoing()",
        "        return super().outgoing()",
    ),
    ("V1-start-twice", "if (self._state, Input.START) not in self.table:", "if False:"),
    (
        "V3-key-list-whole",
        "        reader.finish()\n        own = in_state(",
        "        own = in_state(",
    ),
    (
        "V4-share-list-bound",
        "        check_bound(bound, now.seat.session)\n        listed = messages.ShareList",
        "        listed = messages.ShareList",
    ),
    (
        "V4-share-list-whole",
        "        reader.finish()\n        opened = ",
        "        opened = ",
    ),
    (
        "V7-survivors-bound",
        "        check_bound(bound, now.seat.session)\n        shown = messages.Survivors",
        "        shown = messages.Survivors",
    ),
    (
        "V7-survivors-whole",
        "        reader.finish()\n        looked = ",
        "        looked = ",
    ),
    ("V7-judge", "        self._judge(survivors)\n", ""),
    (
        "V7-judge-after-C8",
        "        looked = dealing.look_at(now, shown, self._heard.says)\n"
        "        survivors = frozenset(now.seat.ids[index] for index in shown.members)\n"
        "        self._judge(survivors)\n",
        "        survivors = frozenset(now.seat.ids[index] for index in shown.members)\n"
        "        self._judge(survivors)\n"
        "        looked = dealing.look_at(now, shown, self._heard.says)\n",
    ),
    ("V7-signers-only", "if now.seat.index not in signers:", "if False:"),
    (
        "V8-request-bound",
        "        check_bound(bound, now.seat.session)\n        answered, said",
        "        answered, said",
    ),
    ("V6-forgotten", "vector, self._vector = self._vector, None", "vector = self._vector"),
    ("V9-keys-once", "    commits_keys = True\n", ""),
)
SHARED: tuple[Refused, ...] = (
    (
        "survivors.py",
        f"{U3} {SPLITS} tests/adversary/test_lying_server.py",
        (
            ("C8-omitted", "if view.index not in members:", "if False:"),
            ("C8-outside-U2", "if not members <= view.in_u2():", "if False:"),
            ("C8-least", "if len(members) < view.min_survivors:", "if False:"),
            ("C8-holders", "if len(members & view.holders) < view.threshold:", "if False:"),
            (
                "C9-one-share",
                "held[dealer].b_share if dealer in survivors.members else held[dealer].s_share",
                "held[dealer].b_share",
            ),
            ("V8-agreed-before", "    agreed(members)\n", ""),
            ("C9-made-by-a-check", "if token is not _CHECKED:", "if False:"),
            (
                "C8-whoever-signed",
                "    check_members(view, members)\n    agreed(",
                "    agreed(",
            ),
            (
                "C8-in-suite-1",
                "    check_members(view, members)\n    return SurvivorSet(members, _CHECKED)\n\n\n"
                "def check_agreed",
                "    return SurvivorSet(members, _CHECKED)\n\n\ndef check_agreed",
            ),
        ),
    ),
    (
        "binding.py",
        U1,
        (
            (
                "V3-path-alone",
                "elif step != _ALONE:",
                "elif False:",
            ),
            (
                "V3-path-side",
                "_node(step, node) if index % 2 else",
                "_node(node, step) if index % 2 else",
            ),
        ),
    ),
    (
        "dealing.py",
        f"{U1} {U2} {SPLITS} {DEALERS}",
        (
            ("C5-omitted", "if place.index not in sharers:", "if False:"),
            (
                "C5-holders",
                '((len(present) + 1, "holders are in U2"), (len(held), "pairs are valid"))',
                '((len(held), "pairs are valid"),)',
            ),
            (
                "C6-valid-pairs",
                '((len(present) + 1, "holders are in U2"), (len(held), "pairs are valid"))',
                '((len(present) + 1, "holders are in U2"),)',
            ),
            ("V5-fits", "if pair is not None and fits(pair):", "if pair is not None:"),
            (
                "C6-field-b",
                "        shamir.check_share(pair.b_share)\n",
                "",
            ),
            (
                "C6-ends",
                "return pair if (pair.dealer, pair.holder) == (dealer, place.index) else None",
                "return pair",
            ),
            (
                "C4-twice",
                "            if check_public(key) in seen:\n",
                "            if check_public(key) and False:\n",
            ),
            ("C4-order", "if check_public(key) in seen:", "if key in seen:"),
        ),
    ),
    (
        "answering.py",
        f"{U1} {U3} {U2} {ENDED}",
        (
            (
                "C1-memo",
                "if digest in self._memo:  # rule C1: the same",
                "if False:  # the same",
            ),
            (
                "C1-table",
                "if (self._state, tag) not in self.table:",
                "if False:",
            ),
            ("C2-payload", "if payload_digest != self._terms.session.payload_digest:", "if False:"),
            (
                "C1-ended",
                "if sender != SERVER or isinstance(self._now, Ended):",
                "if sender != SERVER:",
            ),
            ("C1-abort-bound", "if bound != self._terms.offer:", "if False:"),
            (
                "C1-bound",
                '    if bound != session:\n        raise RemoteProtocolError("the message',
                '    if False:\n        raise RemoteProtocolError("the message',
            ),
            (
                "C1-unknown",
                "        if tag not in self.names:\n            raise BadTag",
                "        if False:\n            raise BadTag",
            ),
            ("S10-forgets-replies", "        self._memo.clear()\n", ""),
            (
                "S10-forgets-the-input",
                "self._now, self._vector = self._ended(event), None",
                "self._now = self._ended(event)",
            ),
            (
                "S10-forgets-frames",
                "            return _bare(error)\n",
                "            return error\n",
            ),
            (
                "V7-refused-ends",
                "            self.abort(AbortReason.CANCELLED)\n"
                "            raise _bare(error)  # noqa: B904\n        except CryptoError",
                "            raise _bare(error)  # noqa: B904\n        except CryptoError",
            ),
        ),
    ),
)
MESSAGES: tuple[Row, ...] = (
    ("B1-9-neighbours-ascending", "            if index <= last:\n", "            if False:\n"),
    ("V8-exactly-q", "        if len(who) != quorum:\n", "        if False:\n"),
    ("V8-no-fewer", "if len(who) != quorum:", "if len(who) > quorum:"),
    ("V8-no-more", "if len(who) != quorum:", "if len(who) < quorum:"),
    (
        "V3-path-length",
        "steps = 0 if complete else max(len(members) - 1, 0).bit_length()",
        "steps = 0",
    ),
    (
        "V5-digest-of-s",
        "% (_BOTH, self.b, self.s)",
        "% (_BOTH, self.b, self.b)",
    ),
    (
        "V4-body-of-all",
        "return labels.digest(labels.BODY, self.body)",
        "return labels.digest(labels.BODY, self.body[:-64])",
    ),
    (
        "R3-vector-signed",
        "return labels.digest(labels.MASKED, self.salt, self.vector)",
        "return labels.digest(labels.MASKED, self.salt)",
    ),
    (
        "R3-salt-signed",
        "return labels.digest(labels.MASKED, self.salt, self.vector)",
        "return labels.digest(labels.MASKED, self.vector)",
    ),
)
SHARE = "dealer.to_bytes(4), holder.to_bytes(4), kind, share)"
MESSAGES += (
    ("R5-digest-session", f"(_SHARE, session, {SHARE}", f"(_SHARE, bytes(32), {SHARE}"),
    ("R5-digest-dealer", SHARE, SHARE.replace("dealer", "holder")),
    ("R5-digest-holder", SHARE, SHARE.replace("holder", "dealer")),
    ("R5-digest-kind", SHARE, SHARE.replace("kind", "B")),
)
STATEMENTS: tuple[Row, ...] = (
    (
        "signatures-verified",
        "            sign.verify(public, self.message, signature)\n",
        "            pass\n",
    ),
    (
        "statement-name-signed",
        'labels.encode(SIGN + self.form.name.encode("ascii"), *self.values)',
        "labels.encode(SIGN, *self.values)",
    ),
    (
        "statement-last-field-signed",
        'self.form.name.encode("ascii"), *self.values)\n\n    def signed',
        'self.form.name.encode("ascii"), *self.values[:-1])\n\n    def signed',
    ),
    (
        "statement-first-field-signed",
        'self.form.name.encode("ascii"), *self.values)\n\n    def signed',
        'self.form.name.encode("ascii"), *self.values[1:])\n\n    def signed',
    ),
    (
        "statement-known",
        "        if name not in FORMS:\n            raise",
        "        if False:\n            raise",
    ),
)
REFUSALS: tuple[Refused, ...] = (
    ("active/dealing.py", U1, JOIN),
    ("active/dealing.py", f"{U2} {SPLITS}", OPEN),
    ("active/dealing.py", f"{U3} {SPLITS} {MEMBERS} {ENDED}", LOOK),
    ("active/client.py", f"{U3} {U2} {U1} {ONCE} {ENDED} {SESSIONS}", CLIENT),
    (
        "active/heard.py",
        f"{U1} {U2} {U3}",
        (
            (
                "V2-signed-by-the-server",
                "statement.check(dealing.roster_of(self._terms).server, signature)",
                "pass",
            ),
        ),
    ),
    ("active/messages.py", f"{U1} {U3} {U2} {MEMBERS} {DEALERS} {VECTORS}", MESSAGES),
    ("active/statements.py", f"{U1} {U3} {MEMBERS} {VECTORS}", STATEMENTS),
    *SHARED,
    *SERVERS,
)
