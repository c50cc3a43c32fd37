"""Every refusal of active mode, by its id, and what is there where it is taken out.

`python -m tests.mutants active` takes each out in a copy of the tree, and says whether a test saw
it. An id is the rule, and what it refuses. A refusal that is written down nowhere here is a failure
of tests/adversary/active/test_refusals.py: who adds one adds its id.
"""

from __future__ import annotations

from typing import TypeAlias

Row: TypeAlias = tuple[str, str, str]
"""Id; the text, once in its file; what stands in its place."""

HERE = "protocols/secagg_protocols/secagg/"
_U1 = "tests/adversary/active/test_lying_about_u1.py"
_U2 = "tests/adversary/active/test_lying_about_u2.py"
_U3 = "tests/adversary/active/test_lying_about_u3.py"
_SPLITS = "tests/adversary/active/test_splits.py"
_MEMBERS = "tests/adversary/active/test_lying_members.py"
_DEALERS = "tests/adversary/active/test_lying_dealers.py"
_LOSSES = "tests/adversary/active/test_liars_and_losses.py"
_ENDED = "tests/adversary/active/test_ended.py"
_SESSIONS = "tests/protocols/test_active_sessions.py"

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
    ("C3-session", "if session != bound:", "if False:"),
    (
        "V2-cohort-signature",
        "    statements.COHORT(terms.offer, session, size, bitmap, root).check(\n"
        "        roster.server, listed.signature\n    )\n",
        "",
    ),
    (
        "C3-neighbours",
        "if tuple(listed.keys) != binding.neighbours(session, size, params.degree, index):",
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
    (
        "V4-sharers-signature",
        "    statements.SHARERS(seat.session, sharers, len(listed.sharers)).check(\n"
        "        roster.server, listed.signature\n    )\n",
        "",
    ),
    (
        "V4-sharers-number",
        "statements.SHARERS(seat.session, sharers, len(listed.sharers))",
        "statements.SHARERS(seat.session, sharers, seat.size - 1)",
    ),
    (
        "V4-delivery-signature",
        "statements.DELIVERY(seat.session, seat.index, delivery).check(roster.server, "
        "listed.delivery)",
        "pass",
    ),
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
        "    said.check(roster_of(terms).server, shown.signature)\n",
        "",
    ),
    (
        "V7-own-U2",
        "said = statements.SURVIVORS(seat.session, now.sharers, survivors, len(shown.members))",
        "said = statements.SURVIVORS(seat.session, survivors, survivors, len(shown.members))",
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
        "        self._process.check()\n        super().receive(sender, message)",
        "        super().receive(sender, message)",
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
        "        reader.finish()\n        self._move(Tag.SHARE_LIST",
        "        self._move(Tag.SHARE_LIST",
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
        "        looked = dealing.look_at(now, shown, self._terms)\n"
        "        survivors = frozenset(now.seat.ids[index] for index in shown.members)\n"
        "        self._judge(survivors)\n",
        "        survivors = frozenset(now.seat.ids[index] for index in shown.members)\n"
        "        self._judge(survivors)\n"
        "        looked = dealing.look_at(now, shown, self._terms)\n",
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
SHARED_CLIENT: tuple[tuple[str, str, tuple[Row, ...]], ...] = (
    (
        "survivors.py",
        f"{_U3} {_SPLITS} tests/adversary/test_lying_server.py",
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
        _U1,
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
        f"{_U2} {_SPLITS} {_DEALERS}",
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
        f"{_U3} {_U2} {_ENDED}",
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
PARAMS: tuple[Row, ...] = ()
SERVER: tuple[tuple[str, str, tuple[Row, ...]], ...] = (
    (
        "active/server.py",
        f"{_SESSIONS} {_SPLITS} {_ENDED} {_DEALERS}",
        (
            ("R2-own-key", "        session.check_signing(ME, signing)\n", ""),
            ("R1-asked", "    if len(terms.parties) > most:\n", "    if False:\n"),
            (
                "R2-plan",
                "    if labels.digest(labels.PLAN, session.plan) != session.plan_digest:\n",
                "    if False:\n",
            ),
            ("R2-plan-checked", "        _check(terms)\n", ""),
            (
                "R2-start-in-a-fork",
                "        self._process.check()\n        super().start()",
                "        super().start()",
            ),
            (
                "R2-receive-in-a-fork",
                "        self._process.check()\n        super().receive(sender, message)",
                "        super().receive(sender, message)",
            ),
            (
                "R2-close-in-a-fork",
                "        self._process.check()\n        super().close_phase()",
                "        super().close_phase()",
            ),
            (
                "R2-outgoing-in-a-fork",
                "        self._process.check()\n        return super().outgoing()",
                "        return super().outgoing()",
            ),
            (
                "R2-written-before",
                "                self._written.add(kind, body)\n",
                "                pass\n",
            ),
            (
                "R5-evidence",
                "            self._evidence.append(evidence.of_share(self._stage.fixed, error))\n",
                "            pass\n",
            ),
            (
                "R7-evidence",
                "self._evidence.append(evidence.of_complaints(self._stage.fixed, party))",
                "pass",
            ),
            (
                "R6-evidence",
                "self._evidence.append(evidence.of_secret(self._stage.fixed, reason))",
                "pass",
            ),
            (
                "R6-named",
                "            self._drop(reason.party, Fault.INVALID_SHARE, reason.detail)\n",
                "            pass\n",
            ),
        ),
    ),
    (
        "active/stages/agree.py",
        f"{_MEMBERS} {_LOSSES}",
        (
            (
                "R4-signers",
                "        if index not in signers:\n            raise",
                "        if False:\n            raise",
            ),
            (
                "R4-agree-signature",
                "        self.check(index, self.fixed.agreement(index), said.signature)\n",
                "",
            ),
            (
                "R4-agree-whole",
                "        said = Agree.read(reader)\n        reader.finish()\n",
                "        said = Agree.read(reader)\n",
            ),
            (
                "R4-quorum",
                '        at_least(len(self._agreed), quorum, "signers agreed on the survivors")\n',
                "",
            ),
            (
                "S6-recoverable-again",
                "check_recoverable(self.fixed.survival, held, self.terms.params.threshold)",
                "pass",
            ),
            (
                "R4-lowest",
                "chosen = sorted(self._agreed)[:quorum]",
                "chosen = sorted(self._agreed)",
            ),
            (
                "R4-awaited",
                "return alive & self.named(self.fixed.survivors & frozenset(signers))",
                "return alive",
            ),
        ),
    ),
    (
        "active/stages/base.py",
        _MEMBERS,
        (
            (
                "R3-signatures",
                "        statement.check(self.cohort.key_of(index), signature)\n",
                "        pass\n",
            ),
        ),
    ),
    (
        "active/stages/join.py",
        f"{_MEMBERS} {_SESSIONS} {_LOSSES}",
        (
            (
                "R1-keys-whole",
                "        said = SignedKeys.read(reader)\n        reader.finish()\n",
                "        said = SignedKeys.read(reader)\n",
            ),
            ("S4-keys", "        check_advertised([said])\n", ""),
            (
                "S4-another's-key",
                "        if not self._keys.isdisjoint(said.both):\n",
                "        if False:\n",
            ),
            (
                "R1-keys-signature",
                "        statement.check(roster_of(self.terms).key_of(sender), said.signature)\n",
                "",
            ),
            (
                "R1-keys-place",
                "statements.KEYS(self.terms.offer, sender, said.c_pk, said.s_pk)",
                "statements.KEYS(self.terms.offer, 4, said.c_pk, said.s_pk)",
            ),
            (
                "S5-U1",
                'at_least(len(self._advertised), params.min_clients, "clients advertised keys")',
                "pass",
            ),
            ("R3-shares-whole", "        reader.finish()\n        leaf = ", "        leaf = "),
            (
                "R3-shares-signature",
                "        self.check(\n"
                "            index, statements.SHARES(cohort.session, index, leaf, said.digest), "
                "said.signature\n        )\n",
                "",
            ),
            (
                "S5-U2",
                '        at_least(len(sharers), params.min_survivors, "clients shared keys")\n',
                "",
            ),
            (
                "S5-U2-alive",
                "there = [index for index in self._dealt if ids[index] in alive]",
                "there = [index for index in self._dealt]",
            ),
        ),
    ),
    (
        "active/stages/mask.py",
        f"{_MEMBERS} {_DEALERS} {_SESSIONS} {_LOSSES}",
        (
            ("R3-input-whole", "        reader.finish()\n        failed = ", "        failed = "),
            (
                "R7-failed-in-U2",
                "        if not failed <= self._masked.sharers:\n            raise",
                "        if False:\n            raise",
            ),
            (
                "R3-input-signature",
                "self.check(index, statements.INPUT(cohort.session, index, *told), said.signature)",
                "pass",
            ),
            (
                "R3-own-delivery",
                "delivery, _ = self._deliveries.signed[index]\n",
                "delivery, _ = self._deliveries.signed[0]\n",
            ),
            (
                "S5-U3",
                'at_least(len(survivors), params.min_survivors, "clients sent a masked input")',
                "pass",
            ),
            ("S6-recoverable", "        check_recoverable(survival, held, params.threshold)\n", ""),
        ),
    ),
    (
        "active/stages/open.py",
        f"{_MEMBERS} {_DEALERS} {_LOSSES}",
        (
            (
                "R5-answer-whole",
                "        reader.finish()\n        digests = [",
                "        digests = [",
            ),
            (
                "R5-answer-signature",
                "self.check(index, statements.ANSWER(cohort.session, index, *told), "
                "said.signature)",
                "pass",
            ),
            (
                "R5-share-digest",
                "        self._check_digests(index, dealers, digests, said.signature)\n",
                "",
            ),
            (
                "R5-share-digest-of-all",
                "                raise WrongShare(dealer, holder, tuple(digests), signature)\n",
                "                raise WrongShare(dealer, holder, tuple(digests), signature)\n"
                "            break\n",
            ),
            ("R5-share-of-field", '        shamir.check_shares(b"".join(said.shares))\n', ""),
            (
                "R5-which-share",
                "if digest != dealt.named(dealer in self.fixed.survivors):",
                "if digest not in (dealt.b, dealt.s):",
            ),
            (
                "S6-shares",
                "            at_least(len(self._answers[dealer]), threshold, what)\n",
                "            pass\n",
            ),
            (
                "R6-t-of-smallest-x",
                "dict(sorted(self._answers[d].items())[:threshold])",
                "dict(sorted(self._answers[d].items())[-threshold:])",
            ),
            (
                "R6-t-and-no-more",
                "dict(sorted(self._answers[d].items())[:threshold])",
                "dict(self._answers[d])",
            ),
            (
                "R6-wrong-secret",
                "        if failed is not None:\n            shares",
                "        if False:\n            shares",
            ),
        ),
    ),
    (
        "staged.py",
        f"{_MEMBERS} {_SPLITS} {_ENDED}",
        (
            (
                "S1-strangers",
                "return sender in self._terms.parties and sender not in self._gone",
                "return sender not in self._gone",
            ),
            (
                "S1-dropped",
                "return sender in self._terms.parties and sender not in self._gone",
                "return sender in self._terms.parties",
            ),
            (
                "S2-equivocation",
                'self._drop(sender, Fault.EQUIVOCATION, "two different messages of one kind")',
                "pass",
            ),
            (
                "S1-phase",
                "        elif (self._state, tag) not in self.table:\n",
                "        elif False:\n",
            ),
            (
                "S1-bound",
                "elif bound != (self._terms.offer if tag == Tag.ABORT else stage.binding):",
                "elif False:",
            ),
            ("S1-late", "            self._drop(party, Fault.LATE)\n", "            pass\n"),
            (
                "S10-stage",
                "        self._stage, self._state = None, ServerState.ABORTED\n",
                "        self._state = ServerState.ABORTED\n",
            ),
        ),
    ),
)

REFUSALS: tuple[tuple[str, str, tuple[Row, ...]], ...] = (
    ("active/dealing.py", _U1, JOIN),
    ("active/dealing.py", f"{_U2} {_SPLITS}", OPEN),
    ("active/dealing.py", f"{_U3} {_SPLITS} {_MEMBERS} {_ENDED}", LOOK),
    ("active/client.py", f"{_U3} {_U2} {_U1} {_SPLITS} {_ENDED} {_SESSIONS}", CLIENT),
    ("active/messages.py", f"{_U1} {_U3} {_U2} {_MEMBERS} {_DEALERS}", MESSAGES),
    ("active/statements.py", f"{_U1} {_U3} {_MEMBERS}", STATEMENTS),
    *SHARED_CLIENT,
    *SERVER,
)
"""The file below HERE, the tests that should see it, and the refusals in it."""
