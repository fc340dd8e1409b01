"""A MAX client that nobody of us wrote (PyPI maxapi) against the stand-in. It reads answers strictly."""

import asyncio
import sys

from maxapi import Bot
from maxapi.enums.attachment import AttachmentType
from maxapi.exceptions.max import InvalidToken, MaxApiError
from maxapi.types.attachments.attachment import ButtonsPayload
from maxapi.types.attachments.buttons import LinkButton, MessageButton, RequestContactButton

BASE, TOKEN = sys.argv[1], sys.argv[2]


def bot(token: str) -> Bot:
    made = Bot(token, auto_check_subscriptions=False)
    made.set_api_url(BASE)
    return made


async def refusal(call) -> MaxApiError:
    try:
        await call
    except MaxApiError as error:
        return error
    raise AssertionError("it was taken")


async def main() -> None:
    stranger = bot("another")
    try:
        await stranger.get_me()
        raise AssertionError("a wrong token was taken")
    except InvalidToken:
        pass
    await stranger.close_session()

    own = bot(TOKEN)
    assert (await own.get_me()).is_bot
    rows = [[LinkButton(text="Билеты", url="https://t.example/p/1")], [RequestContactButton(text="Телефон")]]
    keyboard = ButtonsPayload(buttons=[*rows, [MessageButton(text="1. Цены")]]).pack()
    sent = await own.send_message(user_id=123, text="Привет", attachments=[keyboard])
    assert sent.message.body.mid and sent.message.body.text == "Привет", sent
    assert sent.message.recipient.user_id == 123 and sent.message.sender.is_bot, sent
    assert [one.type for one in sent.message.body.attachments] == [AttachmentType.INLINE_KEYBOARD], sent

    blocked = await refusal(own.send_message(user_id=403, text="x"))
    assert (blocked.code, blocked.raw["code"]) == (403, "chat.denied"), blocked
    assert (await refusal(own.send_message(user_id=404, text="x"))).code == 404
    assert (await refusal(own.send_message(text="x"))).code == 400

    url = "https://hub.example/messaging/max"
    assert (await own.subscribe_webhook(url, secret="abcde")).success
    assert [one.url for one in (await own.get_subscriptions()).subscriptions] == [url]
    assert (await own.unsubscribe_webhook(url)).success
    assert not (await own.get_subscriptions()).subscriptions
    await own.close_session()
    print("content")


asyncio.run(main())
