"""A listmonk client that nobody of us wrote (PyPI listmonk) against the stand-in."""

import sys

import httpx2
import listmonk

BASE, KEY = sys.argv[1], sys.argv[2]
listmonk.set_url_base(BASE)
assert not listmonk.login("stagedoor", "another key")
assert listmonk.login("stagedoor", KEY)

made = listmonk.create_subscriber("anna@example.com", "Анна", {134}, pre_confirm=True, attribs={})
assert made.email == "anna@example.com" and made.id > 0, made
try:
    listmonk.create_subscriber("anna@example.com", "Анна", {134}, pre_confirm=True, attribs={})
    raise AssertionError("a second one was made")
except httpx2.HTTPStatusError as error:
    assert error.response.status_code == 409, error

known = listmonk.subscriber_by_email("anna@example.com")
assert known and known.id == made.id, known
assert [one["subscription_status"] for one in known.lists] == ["confirmed"], known
assert listmonk.subscriber_by_email("nobody@example.com") is None
assert listmonk.add_subscribers_to_lists([made.id], [135])
assert {one["id"] for one in listmonk.subscriber_by_email("anna@example.com").lists} == {134, 135}
print("content")
