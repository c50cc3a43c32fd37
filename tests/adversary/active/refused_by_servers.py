"""What a server of active mode refuses, by its id: see refusals.py."""

from __future__ import annotations

from tests.adversary.active.seen_by import (
    DEALERS,
    ENDED,
    LOSSES,
    MEMBERS,
    ONCE,
    SESSIONS,
    TWICE,
    Refused,
)

SERVERS: tuple[Refused, ...] = (
    (
        "active/server.py",
        f"{SESSIONS} {ONCE} {ENDED} {DEALERS} {TWICE}",
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
                "R8-evidence",
                "            self._evidence += [proof] if proof is not None else []\n",
                "            pass\n",
            ),
            (
                "R5-evidence",
                "            self._evidence.append(evidence.of_share(self._stage.fixed, error))\n",
                "            pass\n",
            ),
            (
                "R7-evidence",
                "self._evidence.append(evidence.of_complaints(*known.said, party))",
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
        "active/contradiction.py",
        TWICE,
        (
            ("R8-second-signed", "        stage.check(index, statement, signature)\n", ""),
            ("R8-shares", "    Tag.SHARE_KEYS: _shares,\n", ""),
            ("R8-input", "    Tag.MASKED_INPUT: _input,\n", ""),
            ("R8-answer", "    Tag.UNMASK_ANSWER: _answer,\n", ""),
        ),
    ),
    (
        "active/cohort.py",
        f"{MEMBERS} {SESSIONS} {TWICE}",
        (
            (
                "R3-own-delivery",
                "told = self._sharers, self.signed[index][0]\n",
                "told = self._sharers, self.signed[0][0]\n",
            ),
        ),
    ),
    (
        "active/stages/agree.py",
        f"{MEMBERS} {LOSSES}",
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
        MEMBERS,
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
        f"{MEMBERS} {SESSIONS} {LOSSES}",
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
            (
                "R3-shares-whole",
                "        reader.finish()\n        self.check(",
                "        self.check(",
            ),
            (
                "R3-shares-signature",
                "        self.check(index, cohort.shares(index, said), said.signature)\n",
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
        f"{MEMBERS} {DEALERS} {SESSIONS} {LOSSES}",
        (
            ("R3-input-whole", "        reader.finish()\n        failed = ", "        failed = "),
            (
                "R7-failed-in-U2",
                "        if not failed <= self._masked.sharers:\n            raise",
                "        if False:\n            raise",
            ),
            (
                "R3-input-signature",
                "self.check(index, self._deliveries.input(index, said.failed, digest), "
                "said.signature)",
                "pass",
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
        f"{MEMBERS} {DEALERS} {LOSSES}",
        (
            (
                "R5-answer-whole",
                "        reader.finish()\n        digests = ",
                "        digests = ",
            ),
            (
                "R5-answer-signature",
                "self.check(index, fixed.answer(index, digests), said.signature)",
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
                "if digest != dealt.named(True):",
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
        f"{MEMBERS} {ONCE} {ENDED}",
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
