// The published client amocrm-js (npm) against the sandbox: its host and https are fixed, so the transport is turned.
const http = require("http");
const https = require("https");
const assert = require("assert");

const base = new URL(process.argv[2]);
https.request = (options, answer) => http.request({ ...options, protocol: "http:", host: base.hostname, hostname: base.hostname, port: base.port, agent: undefined }, answer);

const { Client } = require(process.argv[3] + "/amocrm-js");

const client = new Client({
  domain: "demo.amocrm.ru",
  auth: { client_id: "dev-client", client_secret: "dev-client-secret", redirect_uri: "http://127.0.0.1:8080/oauth", code: "demo-code" },
});

(async () => {
  const account = await client.request.get("/api/v4/account");
  assert.equal(account.data.subdomain, "demo");
  const made = await client.request.post("/api/v4/contacts", [{ name: "Анна", request_id: "mine" }, { name: "Пётр" }]);
  const rows = made.data._embedded.contacts;
  assert.deepEqual(rows.map((row) => row.request_id), ["mine", "1"]);
  const complex = await client.request.post("/api/v4/leads/complex", [
    { name: "Вишнёвый сад", price: 1500, _embedded: { contacts: [{ first_name: "Фирс" }] } },
  ]);
  assert.ok(complex.data[0].id && complex.data[0].contact_id && complex.data[0].merged === false);
  const lead = complex.data[0].id;
  const plain = await client.request.get(`/api/v4/leads/${lead}`);
  assert.equal(plain.data._embedded.contacts, undefined, "contacts come only when asked for");
  const whole = await client.request.get(`/api/v4/leads/${lead}`, { with: "contacts" });
  assert.equal(whole.data._embedded.contacts[0].id, complex.data[0].contact_id);
  const bad = await client.request.post("/api/v4/leads", [{ name: "x", status_id: 1 }]).catch((error) => error);
  assert.equal(bad.data["validation-errors"][0].errors[0].code, "NotSupportedChoice");
  const none = await client.request.get("/api/v4/contacts", { query: "nobody at all" });
  assert.equal(none.response.statusCode, 204);
  const token = client.token.getValue();
  await client.token.refresh();
  assert.notEqual(client.token.getValue().refresh_token, token.refresh_token);
  const page = await client.request.get("/api/v4/contacts", { limit: 2 });
  assert.equal(page.data._embedded.contacts.length, 2);
  assert.ok(page.data._links.next.href.startsWith("https://"));
  console.log("amocrm-js is content");
})().catch((error) => { console.error(error); process.exit(1); });
