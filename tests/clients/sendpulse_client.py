"""SendPulse's own client (PyPI pysendpulse) against the stand-in: its host is fixed, so its address is turned."""

import sys
import tempfile

from pysendpulse.pysendpulse import PySendPulse

BASE, KEY = sys.argv[1], sys.argv[2]
PySendPulse._PySendPulse__api_url = BASE
folder = tempfile.mkdtemp() + "/"
try:
    PySendPulse("stagedoor", "another key", "FILE", folder)
    raise AssertionError("a wrong secret was taken")
except Exception as error:
    assert "Could not connect" in str(error), error

client = PySendPulse("stagedoor", KEY, "FILE", folder)
people = [{"email": "anna@example.com", "variables": {"name": "Анна"}}, {"email": "boris@example.com"}]
assert client.add_emails_to_addressbook(134, people) == {"result": True}
assert client.delete_emails_from_addressbook(134, ["boris@example.com"]) == {"result": True}
gone = client.delete_emails_from_addressbook(134, ["boris@example.com"])
assert gone["data"]["is_error"] and gone["data"]["http_code"] == 400, gone
print("content")
