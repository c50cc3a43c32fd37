"""What is signed in active mode, by whom, and about what (specs/12-active.md §3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from secagg.crypto import labels, sign
from secagg.crypto.labels import SIGN
from secagg.errors import InvalidSignature, WireError
from secagg.shown import short
from secagg.types import Seed
from secagg.wire.codec import Reader, Writer
from secagg.wire.header import DIGEST_SIZE

# Every statement names its session, or before there is one its offer, so none is of use in another;
# and its name is in the label, so none is of use as another. Which fields come first is not by
# chance: they are the context, in which its signer says this once. Two statements of one name,
# signer and context that differ are a proof that the signer has said two things
# (specs/12-active.md §8), which is why honest machines sign nothing twice.

Value: TypeAlias = bytes | int


@dataclass(frozen=True, slots=True)
class Form:
    """name: in the label. fields: their names and sizes in bytes, 0 for an integer, the context
    first. context: how many of them it is. once: whether an honest signer says it once in each."""

    name: str
    context: int
    fields: tuple[tuple[str, int], ...]
    once: bool = True

    def __call__(self, *values: Value) -> Statement:
        return Statement(self, values)


def _form(name: str, context: str, rest: str, *, once: bool = True) -> Form:
    """From words: those that are numbers stand behind a #, those that are keys are 32 bytes too."""
    words = context.split(), rest.split()
    fields = tuple(
        (word.lstrip("#"), 0 if word.startswith("#") else DIGEST_SIZE)
        for part in words
        for word in part
    )
    return Form(name, len(words[0]), fields, once)


# A client that was started again, or that was announced an offer twice, says other keys and is
# honest: of these alone two prove nothing.
KEYS = _form("keys", "offer #id", "c_pk s_pk", once=False)
COHORT = _form("cohort", "offer", "session #size members root")
SHARES = _form("shares", "session #index", "leaf body")
SHARERS = _form("sharers", "session", "sharers #number")
DELIVERY = _form("delivery", "session #holder", "list")
INPUT = _form("input", "session #index", "sharers delivery failed vector")
SURVIVORS = _form("survivors", "session", "sharers survivors #number")
AGREE = _form("agree", "session #index", "sharers survivors #number")
ANSWER = _form("answer", "session #index", "survivors shares")
RESULT = _form("result", "session", "survivors answered result head")

OF_CLIENTS = (KEYS, SHARES, INPUT, AGREE, ANSWER)
OF_SERVERS = (COHORT, SHARERS, DELIVERY, SURVIVORS, RESULT)
FORMS = {form.name: form for form in OF_CLIENTS + OF_SERVERS}
_MAX_NAME = 16


@dataclass(frozen=True, slots=True)
class Statement:
    """A form and its values, in the form's order: 32 bytes each, or a u32."""

    form: Form
    values: tuple[Value, ...] = field(repr=False)

    __repr__ = short

    @property
    def context(self) -> tuple[Value, ...]:
        return self.values[: self.form.context]

    @property
    def message(self) -> bytes:
        """The bytes that are signed: E(SIGN name, values)."""
        return labels.encode(SIGN + self.form.name.encode("ascii"), *self.values)

    def signed(self, secret: Seed) -> bytes:
        """64 bytes, the same every time: Ed25519 draws nothing."""
        return sign.sign(secret, self.message)

    def check(self, public: bytes, signature: bytes) -> None:
        """InvalidSignature, naming the statement and no value of it."""
        try:
            sign.verify(public, self.message, signature)
        except InvalidSignature:
            raise InvalidSignature(f"the signature of {self.form.name!r} is not valid") from None

    def write(self, writer: Writer) -> Writer:
        """Prefixed name, then the values: fixed sizes, as the form has them."""
        writer.prefixed(self.form.name.encode("ascii"))
        for value in self.values:
            if isinstance(value, int):
                writer.u32(value)
            else:
                writer.raw(value)
        return writer

    @classmethod
    def read(cls, reader: Reader) -> Statement:
        """Raises WireError for a form that is none of these."""
        name = reader.prefixed(_MAX_NAME, "name of a statement").decode("latin-1")
        if name not in FORMS:
            raise WireError("a statement of an unknown name")
        form = FORMS[name]
        return cls(
            form,
            tuple(
                reader.fixed(size, what) if size else reader.u32(what) for what, size in form.fields
            ),
        )
