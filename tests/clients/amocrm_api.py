"""The published client amocrm-api (PyPI) against the sandbox: its host is fixed, so the transport is turned."""

import sys

import requests

BASE = sys.argv[1]
original = requests.adapters.HTTPAdapter.send


def send(self, request, **options):
    request.url = request.url.replace("https://demo.amocrm.ru", BASE)
    return original(self, request, **options)


requests.adapters.HTTPAdapter.send = send

from amocrm.v2 import Contact, Lead, tokens  # noqa: E402
from amocrm.v2.exceptions import NotFound  # noqa: E402

tokens.default_token_manager(
    client_id="dev-client",
    client_secret="dev-client-secret",
    subdomain="demo",
    redirect_url="http://127.0.0.1:8080/oauth",
    storage=tokens.MemoryTokensStorage(),
)
tokens.default_token_manager.init("demo-code", skip_error=False)

contact = Contact(name="Анна Каренина")
contact.create()
assert contact.id, "a created contact has an id"
again = Contact.objects.get(contact.id)
assert again.name == "Анна Каренина", again.name
found = list(Contact.objects.filter(query="Каренина"))
assert [one.id for one in found] == [contact.id], found

lead = Lead(name="Вишнёвый сад", price=1500)
lead.create()
assert Lead.objects.get(lead.id).price == 1500
lead.price = 3000
lead.update()
assert Lead.objects.get(lead.id).price == 3000

for number in range(60):
    Contact(name=f"Fan {number}").create()
assert len(list(Contact.objects.all())) == 61, "more than one page is walked to its end"

try:
    Lead.objects.get(1)
except NotFound:
    pass
else:
    raise AssertionError("a missing lead is 204, which the client takes for NotFound")
print("amocrm-api is content")
