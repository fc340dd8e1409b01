"""aiosmtpd, which nobody of us wrote, as the relay: prints its port, then a JSON line a letter. It wants a login, knows no mailbox that
begins with `gone`, and is busy once for one that begins with `busy`."""
import asyncio
import email
import email.policy
import json

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword


class Sink:
    def __init__(self):
        self.busy = set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("gone"):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        to = envelope.rcpt_tos[0]
        if to.startswith("busy") and to not in self.busy:
            self.busy.add(to)
            return "451 4.3.0 not now"
        letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
        plain = letter.get_body(("plain",))
        html = letter.get_body(("html",))
        print(json.dumps({
            "to": to,
            "from": str(letter["From"]),
            "subject": str(letter["Subject"]),
            "message_id": str(letter["Message-ID"]),
            "unsubscribe": letter["List-Unsubscribe"],
            "post": letter["List-Unsubscribe-Post"],
            "defects": [str(one) for part in letter.walk() for one in part.defects],
            "plain": plain.get_content(),
            "html": html.get_content(),
        }), flush=True)
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    known = isinstance(data, LoginPassword) and (data.login, data.password) == (b"tour", b"a secret")
    return AuthResult(success=known, handled=False)


async def main():
    controller = Controller(
        Sink(), hostname="127.0.0.1", port=0, authenticator=authenticate, auth_required=True, auth_require_tls=False)
    # The controller wants a port that it knows.
    import socket
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        controller.port = free.getsockname()[1]
    controller.start()
    print(controller.port, flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
