"""A site, as the server knows it."""


class Client:
    def __init__(self, name: str, token: str) -> None:
        self.name, self.token = name, token
