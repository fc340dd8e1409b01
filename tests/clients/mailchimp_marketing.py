"""Mailchimp's own client (PyPI mailchimp-marketing) against the stand-in: its host is fixed, so the transport is turned."""

import hashlib
import sys

# This file is named as the package is: what lies beside it is not what is meant.
sys.path.pop(0)

import requests  # noqa: E402

BASE, KEY = sys.argv[1], sys.argv[2]
original = requests.adapters.HTTPAdapter.send


def send(self, request, **options):
    request.url = request.url.replace("https://us21.api.mailchimp.com", BASE)
    return original(self, request, **options)


requests.adapters.HTTPAdapter.send = send

from mailchimp_marketing import Client  # noqa: E402
from mailchimp_marketing.api_client import ApiClientError  # noqa: E402

client = Client()
client.set_config({"api_key": KEY, "server": "us21"})


def member(email, status="subscribed"):
    return {"email_address": email, "status": status}


def hashed(email):
    return hashlib.md5(email.lower().encode()).hexdigest()


made = client.lists.batch_list_members(
    "a6b5da1054", {"members": [member("anna@example.com"), member("not-an-address")], "update_existing": False}
)
assert made["total_created"] == 1 and made["error_count"] == 1, made
again = client.lists.batch_list_members(
    "a6b5da1054", {"members": [member("Anna@Example.com")], "update_existing": False}
)
assert "already a list member" in again["errors"][0]["error"], again
assert client.lists.get_list_member("a6b5da1054", hashed("anna@example.com"))["status"] == "subscribed"

gone = client.lists.batch_list_members(
    "a6b5da1054", {"members": [member("anna@example.com", "unsubscribed")], "update_existing": True}
)
assert gone["total_updated"] == 1, gone
kept = client.lists.set_list_member(
    "a6b5da1054", hashed("anna@example.com"), {"email_address": "anna@example.com", "status_if_new": "subscribed"}
)
assert kept["status"] == "unsubscribed", kept
try:
    client.lists.set_list_member(
        "a6b5da1054",
        hashed("anna@example.com"),
        {"email_address": "anna@example.com", "status_if_new": "subscribed", "status": "subscribed"},
    )
    raise SystemExit("who left came back")
except ApiClientError as error:
    assert error.status_code == 400 and "Compliance" in error.text, error.text
try:
    client.lists.get_list_member("a6b5da1054", hashed("nobody@example.com"))
    raise SystemExit("nobody was found")
except ApiClientError as error:
    assert error.status_code == 404, error.text

many = [member(f"fan{n}@example.com") for n in range(501)]
try:
    client.lists.batch_list_members("a6b5da1054", {"members": many})
    raise SystemExit("501 members were taken")
except ApiClientError as error:
    assert error.status_code == 400, error.text

wrong = Client({"api_key": "wrong-us21", "server": "us21"})
try:
    wrong.lists.get_list_member("a6b5da1054", hashed("anna@example.com"))
    raise SystemExit("a wrong key opened")
except ApiClientError as error:
    assert error.status_code == 401, error.text
print("content")
